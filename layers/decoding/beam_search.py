"""Beam search inside the graph."""

import functools

from keras import ops

from .sampling import barred_end, check_options, check_vocabulary, flatten_states, leaves


def beam_search(
    step,
    states,
    start,
    *,
    end,
    max_length,
    min_length=0,
    beam=5,
    n_best=1,
    length_penalty=None,
    alpha=1.0,
    mask=None,
    log_probs=False,
    early_stopping=True,
):
    """Finds the n best sequences of each item by beam search within one compiled loop.

    The rules are those of `elman.apps.core.decoding.beam_search`, and so are the hypotheses on the same logits: of the
    2 × beam best continuations those that end and rank among the first `beam` are finished, the best `beam` of the
    others live on; score = log p / normaliser(length), with 1 (None), length^α ("average") or ((5 + length) / 6)^α
    ("wu").

    Args:
        step: `step(tokens (rows,), states) -> (logits (rows, vocabulary), states)`, rows = batch × beam; more that it
            returns is left alone.
        states: any nest of tensors whose first axis is the batch; repeated for the beam.
        start: int tensor (batch,), the first tokens fed in.
        end: the token that ends a sequence, or None. max_length: steps at most, the end token counted. min_length:
            tokens before the end at least.
        beam, n_best: width, and sequences returned; n_best <= beam <= vocabulary.
        length_penalty, alpha: as above.
        mask: `mask(tokens (rows, max_length), length, logits) -> bool tensor that broadcasts to the logits`, True where
            the token may come next; `tokens` is filled up to `length`, a scalar tensor.
        log_probs: the step returns log-probabilities; nothing is normalised.
        early_stopping: the loop ends when no continuation can change the n best of any item.

    Returns:
        A dict, best first: `tokens` (batch, n_best, max_length), without the end token and padded with it (with 0 where
        `end` is None), `lengths`, `scores`, `log_probs` (batch, n_best). Where the rules leave fewer, scores are −inf.
    """
    check_options(end, min_length, max_length)
    _check_beam(n_best, beam, length_penalty, alpha)
    start = ops.cast(start, "int32")
    batch = ops.shape(start)[0]
    flat, pack = flatten_states(states)
    flat = [ops.repeat(leaf, beam, axis=0) for leaf in flat]
    empty = ops.zeros((batch, beam, max_length), "int32") + (0 if end is None else end)

    normalizer = functools.partial(_normalizer, length_penalty=length_penalty, alpha=alpha)

    def body(length, tokens, history, total, *rest):
        pool, flat = rest[:4], rest[4:]
        logits, states, *_ = step(tokens, pack(flat))
        check_vocabulary(logits, end)
        vocabulary = logits.shape[-1]
        _check_width(beam, vocabulary, end)
        logs = _log_probs(logits, log_probs) + barred_end(logits, length, end, min_length)
        if mask is not None:
            allowed = mask(ops.reshape(history, (-1, max_length)), length, logits)
            logs = ops.where(allowed, logs, -float("inf"))
        scores = total[..., None] + ops.reshape(logs, (-1, beam, vocabulary))
        width = beam if end is None else 2 * beam
        scores, flat_index = ops.top_k(ops.reshape(scores, (-1, beam * vocabulary)), width)
        rows, tokens = flat_index // vocabulary, ops.cast(flat_index % vocabulary, "int32")
        if end is not None:
            weight = normalizer(length + 1)
            pool, scores, rows, tokens = _retire(pool, scores, rows, tokens, history, length, beam, end, weight)
        history = ops.where(ops.arange(max_length) == length, tokens[..., None], pick(history, rows))
        done = _done(pool[0], scores, normalizer(max_length), early_stopping)
        total = ops.where(done[:, None], -float("inf"), scores)
        states = _reordered(states, rows, batch, beam)
        return (length + 1, ops.reshape(tokens, (-1,)), history, total, *pool, *states)

    total, pool = _start(batch, beam, empty[:, :n_best])
    _, _, history, total, *rest = ops.while_loop(
        lambda length, tokens, history, total, *rest: ops.logical_and(
            length < max_length, ops.any(total > -float("inf"))
        ),
        body,
        (ops.convert_to_tensor(0, "int32"), ops.repeat(start, beam, axis=0), empty, total, *pool, *flat),
    )
    scores, totals, tokens, lengths = _merge(rest[:4], total / normalizer(max_length), total, history, max_length)
    return {"tokens": tokens, "lengths": lengths, "scores": scores, "log_probs": totals}


def _check_beam(n_best, beam, length_penalty, alpha):
    if not 1 <= n_best <= beam or length_penalty not in (None, "average", "wu") or alpha < 0:
        found = f"{n_best=}, {beam=}, {length_penalty=}, {alpha=}"
        rule = "1 <= n_best <= beam, length_penalty None, 'average' or 'wu', alpha >= 0"
        raise ValueError(f"expected {rule}, received {found}")


def _check_width(beam, vocabulary, end):
    if beam > vocabulary or (end is not None and vocabulary < 2):
        raise ValueError(f"expected a beam no wider than the vocabulary ({vocabulary}), received {beam}")


def _start(batch, beam, tokens):
    """The scores of the first step, where all but one row of a beam are lost, and a pool without any hypothesis."""
    alone = ops.where(ops.arange(beam) == 0, 0.0, -float("inf"))
    lost = ops.zeros((batch, tokens.shape[1])) - float("inf")
    return ops.zeros((batch, beam)) + alone, (lost, lost, tokens, ops.zeros((batch, tokens.shape[1]), "int32"))


def _log_probs(logits, log_probs):
    return ops.cast(logits if log_probs else ops.log_softmax(logits, axis=-1), "float32")


def _normalizer(length, length_penalty, alpha):
    length = ops.cast(length, "float32")
    return 1.0 if length_penalty is None else (length if length_penalty == "average" else (5 + length) / 6) ** alpha


def _merge(pool, scores, totals, tokens, length):
    """The n best of the pool and of new hypotheses; the pool wins ties."""
    lengths = ops.zeros_like(scores, "int32") + length
    joined = [ops.concatenate(pair, axis=1) for pair in zip(pool, (scores, totals, tokens, lengths), strict=True)]
    best = ops.top_k(joined[0], pool[0].shape[1])[1]
    return [pick(array, best) for array in joined]


def _retire(pool, scores, rows, tokens, history, length, beam, end, weight):
    """Moves the continuations that end, and rank among the first `beam`, to the pool; the best others live on."""
    ends = tokens == end
    finished = ops.where(ends, scores, -float("inf"))[:, :beam]
    pool = _merge(pool, finished / weight, finished, pick(history, rows[:, :beam]), length)
    scores, places = ops.top_k(ops.where(ends, -float("inf"), scores), beam)
    return pool, scores, pick(rows, places), pick(tokens, places)


def _done(pooled, scores, longest, early_stopping):
    """Which items no continuation can change: the worst of the pool is as good as the best may become."""
    bound = ops.max(scores, axis=1) / longest
    done = pooled[:, -1] >= bound
    return done if early_stopping else ops.logical_and(done, bound == -float("inf"))


def _reordered(states, rows, batch, beam):
    """The states of the rows that live on."""
    first = ops.cast(ops.arange(batch), rows.dtype)[:, None] * beam
    order = ops.reshape(first + rows, (-1,))
    return [ops.take(leaf, order, axis=0) for leaf in leaves(states)]


def pick(array, places):
    """array[b, places[b, i], …] for arrays (batch, n, …)."""
    shape = (-1, places.shape[1]) + (1,) * (len(array.shape) - 2)
    return ops.take_along_axis(array, ops.reshape(places, shape), axis=1)
