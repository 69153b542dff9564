"""Greedy decoding and sampling inside the graph."""

import keras
from keras import ops


def greedy(step, states, start, **options):
    """Takes the most probable token at every step; options as of `sample`."""
    return sample(step, states, start, **{"temperature": 0.0, **options})


def sample(
    step,
    states,
    start,
    *,
    end,
    max_length,
    min_length=0,
    temperature=1.0,
    top_k=0,
    top_p=1.0,
    min_p=0.0,
    repetition_penalty=1.0,
    mask=None,
    log_probs=False,
    seed=None,
    uniforms=None,
):
    """Draws sequences token by token within one compiled loop.

    The rules and their order are those of `elman.apps.core.decoding.sample`: the same logits and uniforms give the
    same sequences.

    Args:
        step: `step(tokens (rows,), states) -> (logits (rows, vocabulary), states)`; more that it returns is left alone.
        states: any nest of tensors whose first axis is rows.
        start: int tensor (rows,), the first tokens fed in.
        end: the token that ends a sequence, or None. max_length, min_length: tokens drawn; the end counts to the first.
        temperature, top_k, top_p, min_p: see `cut_logits`; temperature 0 takes the maximum.
        repetition_penalty: the logit of a token drawn before is divided by it if positive, else multiplied.
        mask: `mask(tokens (rows, max_length), length, logits) -> bool tensor that broadcasts to the logits`, True where
            the token may come next; `tokens` is filled up to `length`, a scalar tensor.
        log_probs: the step returns log-probabilities; nothing is normalised.
        seed: int or `keras.random.SeedGenerator`. uniforms: tensor (max_length, rows) in [0, 1) instead, such as an
            input of an exported signature.

    Returns:
        A dict of `tokens` (rows, max_length), without the end token and padded with it (with 0 where `end` is None),
        `lengths` (rows,), and `scores` (rows,), the tokens' log-probability under the unchanged model.
    """
    check_options(end, min_length, max_length)
    _check_cuts(temperature, top_k, top_p, min_p, repetition_penalty)
    start = ops.cast(start, "int32")
    rows = ops.shape(start)[0]
    if uniforms is None and temperature:
        uniforms = keras.random.uniform((max_length, rows), seed=seed)
    flat, pack = flatten_states(states)

    def body(length, tokens, history, lengths, scores, running, *flat):
        logits, states, *_ = step(tokens, pack(flat))
        check_vocabulary(logits, end)
        allowed = barred_end(logits, length, end, min_length)
        if mask is not None:
            allowed = ops.where(mask(history, length, logits), allowed, -float("inf"))
        drawn = logits + ops.cast(allowed, logits.dtype)
        if repetition_penalty != 1:
            drawn = _penalize(drawn, history, length, repetition_penalty)
        if temperature:
            drawn = cut_logits(drawn, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
            tokens = draw(drawn, ops.take(uniforms, length, axis=0))
        else:
            tokens = ops.cast(ops.argmax(drawn, axis=-1), "int32")
        logs = logits if log_probs else ops.log_softmax(logits, axis=-1)
        taken = ops.squeeze(ops.take_along_axis(logs, tokens[:, None], axis=1), 1)
        scores = scores + ops.where(running, ops.cast(taken, "float32"), 0.0)
        if end is not None:
            tokens = ops.where(running, tokens, end)
            running = ops.logical_and(running, tokens != end)
        history = ops.where(ops.arange(max_length) == length, tokens[:, None], history)
        return (length + 1, tokens, history, lengths + ops.cast(running, "int32"), scores, running, *leaves(states))

    zeros = ops.zeros_like(start)
    history = ops.zeros((rows, max_length), "int32") + (0 if end is None else end)
    _, _, tokens, lengths, scores, *_ = ops.while_loop(
        lambda length, tokens, history, lengths, scores, running, *flat: ops.logical_and(
            length < max_length, ops.any(running)
        ),
        body,
        (ops.convert_to_tensor(0, "int32"), start, history, zeros, ops.cast(zeros, "float32"), zeros == 0, *flat),
    )
    return {"tokens": tokens, "lengths": lengths, "scores": scores}


def _check_cuts(temperature, top_k, top_p, min_p, repetition_penalty):
    if not (temperature >= 0 and top_k >= 0 and 0 < top_p <= 1 and 0 <= min_p <= 1 and repetition_penalty > 0):
        raise ValueError(
            "expected temperature >= 0, top_k >= 0, 0 < top_p <= 1, 0 <= min_p <= 1, repetition_penalty > 0, "
            f"received {temperature=}, {top_k=}, {top_p=}, {min_p=}, {repetition_penalty=}"
        )


def cut_logits(logits, *, temperature=1.0, top_k=0, top_p=1.0, min_p=0.0):
    """Divides logits (rows, vocabulary) by the temperature and sets to −inf what the cuts leave out.

    Args:
        top_k: keeps the k most probable tokens (ties with the last stay); 0 keeps all.
        top_p: keeps the fewest most probable tokens whose probabilities reach p.
        min_p: keeps tokens at least min_p times as probable as the most probable.
    """
    impossible = ops.cast(-float("inf"), logits.dtype)
    logits = logits / temperature
    if 0 < top_k < logits.shape[-1]:
        last = ops.top_k(logits, top_k)[0][:, -1:]
        logits = ops.where(logits < last, impossible, logits)
    if top_p < 1:
        ranked, order = ops.top_k(logits, logits.shape[-1])
        weights = ops.exp(ranked - ranked[:, :1])
        before = ops.cumsum(weights, axis=-1) - weights
        dropped = before >= top_p * ops.sum(weights, axis=-1, keepdims=True)
        dropped = ops.take_along_axis(ops.cast(dropped, "int32"), ops.argsort(order, axis=-1), axis=-1)
        logits = ops.where(dropped > 0, impossible, logits)
    if min_p > 0:
        least = ops.max(logits, axis=-1, keepdims=True) + ops.log(ops.cast(min_p, logits.dtype))
        logits = ops.where(logits < least, impossible, logits)
    return logits


def draw(logits, uniforms):
    """The first token whose cumulative probability exceeds the uniform number (rows,)."""
    cumulative = ops.cumsum(ops.exp(logits - ops.max(logits, axis=-1, keepdims=True)), axis=-1)
    below = cumulative <= ops.cast(uniforms, logits.dtype)[:, None] * cumulative[:, -1:]
    return ops.minimum(ops.sum(ops.cast(below, "int32"), axis=-1), logits.shape[-1] - 1)


def _penalize(logits, history, length, penalty):
    seen = ops.one_hot(history, logits.shape[-1], dtype="float32")
    filled = ops.cast(ops.arange(history.shape[1]) < length, "float32")
    seen = ops.max(seen * filled[None, :, None], axis=1) > 0
    return ops.where(seen, ops.where(logits > 0, logits / penalty, logits * penalty), logits)


def barred_end(logits, length, end, min_length):
    """What to add to the logits before `min_length`: −inf for the end token, else zeros; (1, vocabulary)."""
    if end is None or not min_length:
        return ops.zeros((1, logits.shape[-1]))
    barred = ops.logical_and(ops.arange(logits.shape[-1]) == end, length < min_length)
    return ops.where(barred, -float("inf"), 0.0)[None]


def check_options(end, min_length, max_length):
    """Refuses lengths and end tokens that no sequence can have."""
    if not (max_length >= 1 and 0 <= min_length <= max_length):
        found = f"min_length={min_length}, max_length={max_length}"
        raise ValueError(f"expected 0 <= min_length <= max_length and max_length >= 1, received {found}")
    if end is not None and end < 0:
        raise ValueError(f"expected an end token of 0 or more, or None, received {end}")


def check_vocabulary(logits, end):
    """Refuses logits without a static vocabulary, or whose vocabulary has no place for the end token."""
    vocabulary = logits.shape[-1]
    if len(logits.shape) != 2 or not vocabulary:
        raise ValueError(f"expected logits of shape (rows, vocabulary), vocabulary known, received {logits.shape}")
    if end is not None and end >= vocabulary:
        raise ValueError(f"expected an end token in 0 … {vocabulary - 1} (the vocabulary), received {end}")


def leaves(states):
    """The tensors of a nest; None is no tensor."""
    return [leaf for leaf in keras.tree.flatten(states) if leaf is not None]


def flatten_states(states):
    """The tensors of a nest, and the function that puts such a list back into the nest."""
    structure = keras.tree.flatten(states)

    def pack(flat):
        remaining = iter(flat)
        filled = [None if leaf is None else next(remaining) for leaf in structure]
        return keras.tree.pack_sequence_as(states, filled)

    return [ops.convert_to_tensor(leaf) for leaf in leaves(states)], pack
