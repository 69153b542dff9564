"""In-graph decoders against the NumPy ones, compiled, on the backend of the moment; prints how many cases held.

On TensorFlow half of the cases go through XLA, half through a plain graph: compiling is what takes the time.

Run as `python -m tests.layers.decoding.equivalence` with KERAS_BACKEND set.
"""

import keras
import numpy as np

from elman.apps.core import decoding as numpy_decoding
from elman.layers.decoding import beam_search, sample, scheduled_sampling, sequence_loss

from .models import BEAMS, SAMPLES, Toy, check_beams, only_even, only_even_in_graph, split


def compiled(function, xla=True):
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    import tensorflow as tf

    return tf.function(function, jit_compile=xla, autograph=False)


def check_beam(options, toy, batch, start):
    expected = numpy_decoding.beam_search(
        toy.numpy_step, toy.states(batch), start, max_length=7, **split(options, only_even)
    )
    options = split(options, only_even_in_graph)
    run = compiled(lambda states, start: beam_search(toy.step, states, start, max_length=7, **options), batch == 1)
    check_beams(run(toy.states(batch), start), expected, options["end"])


def check_sample(options, toy, batch, start):
    uniforms = np.random.default_rng(batch).random((7, batch)).astype(np.float32)
    expected = numpy_decoding.sample(
        toy.numpy_step, toy.states(batch), start, max_length=7, uniforms=uniforms, **split(options, only_even)
    )
    options = split(options, only_even_in_graph)
    run = compiled(
        lambda states, start, u: sample(toy.step, states, start, max_length=7, uniforms=u, **options), batch == 1
    )
    found = {name: np.asarray(value) for name, value in run(toy.states(batch), start, uniforms).items()}
    for row, (hypothesis,) in enumerate(expected):
        length = found["lengths"][row]
        assert found["tokens"][row, :length].tolist() == hypothesis.tokens.tolist()
        assert (found["tokens"][row, length:] == (options["end"] or 0)).all()
        np.testing.assert_allclose(found["scores"][row], hypothesis.log_prob, rtol=1e-4, atol=1e-5)


def check_training(toy, batch, start):
    """Scheduled sampling against a loop by hand."""
    rng = np.random.default_rng(batch)
    targets, mask = rng.integers(0, toy.vocabulary, (batch, 5)), rng.random((batch, 5)) < 0.8
    uniforms = rng.random((2, 4, batch)).astype(np.float32)
    run = compiled(lambda s, u: scheduled_sampling(toy.step, s, start, targets, mask, rate=0.5, uniforms=u)[0])
    found = np.asarray(run(toy.states(batch), uniforms))
    states, tokens = toy.states(batch), start
    for place in range(5):
        logits, new = toy.numpy_step(tokens, states)
        np.testing.assert_allclose(found[:, place], logits, rtol=2e-4, atol=1e-4)
        keep = mask[:, place, None]
        states = {
            "h": np.where(keep, new["h"], states["h"]),
            "rest": (np.where(keep, new["rest"][0], states["rest"][0]), None),
        }
        if place < 4:
            p = np.exp(logits - np.logaddexp.reduce(logits, axis=-1)[:, None])
            drawn = (p.cumsum(-1) <= uniforms[1, place][:, None]).sum(-1)
            tokens = np.where(uniforms[0, place] < 0.5, drawn, targets[:, place])
    loss = float(sequence_loss(found, targets, mask))
    logs = found - np.logaddexp.reduce(found, axis=-1)[..., None]
    expected = -np.take_along_axis(logs, targets[..., None], -1)[..., 0][mask].mean()
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def main():
    cases = 0
    for seed, (vocabulary, batch) in enumerate([(8, 1), (11, 3)]):
        toy, start = Toy(seed, vocabulary), np.arange(1, batch + 1, dtype=np.int32)
        beams, samples = BEAMS[seed::2], SAMPLES[seed::2]  # every case once, on one of the two shapes
        for options in beams:
            check_beam(options, toy, batch, start)
        for options in samples:
            check_sample(options, toy, batch, start)
        cases += len(beams) + len(samples)
    check_training(toy, batch, start)
    print(f"{cases + 1} cases equal on {keras.backend.backend()}")


if __name__ == "__main__":
    main()
