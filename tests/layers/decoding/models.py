"""One small recurrent model in NumPy and in keras.ops, to decode with both."""

import numpy as np
from keras import ops


class Toy:
    """h' = tanh(E[token] + h U), c' = c + 1, logits = scale · h' W + B[c]; states {"h": h, "rest": (c, None)}."""

    def __init__(self, seed, vocabulary, units=6, room=16, scale=2.5):
        rng = np.random.default_rng(seed)
        self.vocabulary, self.units = vocabulary, units
        self.embedding = rng.normal(size=(vocabulary, units)).astype(np.float32)
        self.recurrent = rng.normal(size=(units, units)).astype(np.float32)
        self.kernel = (scale * rng.normal(size=(units, vocabulary))).astype(np.float32)
        self.bias = rng.normal(size=(room, vocabulary)).astype(np.float32)

    def states(self, batch, seed=0):
        h = np.random.default_rng(seed).normal(size=(batch, self.units)).astype(np.float32)
        return {"h": h, "rest": (np.zeros((batch, 1), np.int32), None)}

    def numpy_step(self, tokens, states):
        h, c = states["h"], states["rest"][0]
        h = np.tanh(self.embedding[tokens] + h @ self.recurrent)
        return h @ self.kernel + self.bias[c[:, 0]], {"h": h, "rest": (c + 1, None)}

    def step(self, tokens, states):
        h, c = states["h"], states["rest"][0]
        h = ops.tanh(ops.take(ops.convert_to_tensor(self.embedding), tokens, axis=0) + ops.matmul(h, self.recurrent))
        bias = ops.take(ops.convert_to_tensor(self.bias), c[:, 0], axis=0)
        return ops.matmul(h, self.kernel) + bias, {"h": h, "rest": (c + 1, None)}


def check_beams(found, expected, end):
    """The in-graph dict against the NumPy decoders' hypotheses."""
    found = {name: np.asarray(value) for name, value in found.items()}
    for item, hypotheses in enumerate(expected):
        for place, hypothesis in enumerate(hypotheses):
            length = found["lengths"][item, place]
            tokens = found["tokens"][item, place]
            assert tokens[:length].tolist() == hypothesis.tokens.tolist()
            assert (tokens[length:] == (end or 0)).all()
            np.testing.assert_allclose(found["scores"][item, place], hypothesis.score, rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(found["log_probs"][item, place], hypothesis.log_prob, rtol=1e-4, atol=1e-5)
        assert np.isneginf(found["scores"][item, len(hypotheses) :]).all()


def only_even(tokens, logits):
    """Only even tokens, for the NumPy decoders."""
    return np.arange(logits.shape[-1]) % 2 == 0


def only_even_in_graph(tokens, length, logits):
    return ops.arange(logits.shape[-1]) % 2 == 0


BEAMS = [
    {"end": 0, "beam": 1, "n_best": 1},
    {"end": 0, "beam": 4, "n_best": 4},
    {"end": 2, "beam": 5, "n_best": 3, "length_penalty": "average", "min_length": 2},
    {"end": 0, "beam": 6, "n_best": 6, "length_penalty": "wu", "alpha": 0.6, "early_stopping": False},
    {"end": None, "beam": 3, "n_best": 2},
    {"end": 0, "beam": 3, "n_best": 3, "masked": True},
]
SAMPLES = [
    {"end": 0},
    {"end": 3, "temperature": 0.7, "top_k": 4, "min_length": 3},
    {"end": 0, "temperature": 1.5, "top_p": 0.8, "min_p": 0.05},
    {"end": None, "repetition_penalty": 1.4},
    {"end": 0, "temperature": 0.0, "masked": True},
]


def split(options, mask):
    options = dict(options)
    return {**options, "mask": mask} if options.pop("masked", False) else options
