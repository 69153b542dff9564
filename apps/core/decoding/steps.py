"""What every decoder shares: the step contract, adapters to it, and the hypothesis they hand back.

A step is any `step(tokens, states) -> (logits, states)` or `(logits, states, attention)`: `tokens` is an int array of
shape (rows,), `logits` has shape (rows, vocabulary), `attention` has shape (rows, positions), and `states` is any
nest of dicts, lists, tuples and None over arrays whose first axis is rows. The rows never change in number during a
search, so an engine with a fixed batch serves: batch × beam of them.
"""

from typing import NamedTuple

import numpy as np


class Hypothesis(NamedTuple):
    """One decoded sequence.

    tokens: int array (length,), without the start and the end token. score: what the ranking used. log_prob: the
    model's log-probability of the tokens (and of the end token, if `ended`). attention: (length, positions) or None.
    """

    tokens: np.ndarray
    score: float
    log_prob: float
    ended: bool
    attention: np.ndarray | None = None


def map_states(function, states):
    """Applies `function` to every array of a nest of dicts, lists, tuples and None."""
    if states is None:
        return None
    if isinstance(states, dict):
        return {key: map_states(function, value) for key, value in states.items()}
    if isinstance(states, tuple) and hasattr(states, "_fields"):
        return type(states)(*(map_states(function, value) for value in states))
    if isinstance(states, (list, tuple)):
        return type(states)(map_states(function, value) for value in states)
    return function(np.asarray(states))


def first_tokens(start, states):
    """Returns `start` as an int array (batch,); a lone token is repeated for as many rows as the states have."""
    start = np.asarray(start)
    if start.ndim > 1 or not np.issubdtype(start.dtype, np.integer):
        raise ValueError(f"expected start to be a token or one token per item, received {start.dtype} {start.shape}")
    rows = set()
    map_states(lambda array: rows.add(array.shape[0] if array.ndim else None), states)
    if len(rows) > 1 or None in rows:
        raise ValueError(f"expected states that share their first axis, received first axes {sorted(map(str, rows))}")
    batch = start.size if start.ndim else next(iter(rows), 1)
    if rows and rows != {batch}:
        raise ValueError(f"expected states of {batch} rows, one per start token, received {rows.pop()}")
    return np.broadcast_to(start, batch).astype(np.int64)


def call_step(step, tokens, states):
    """Runs a step and checks what it returns: logits (rows, vocabulary), states, attention or None."""
    logits, states, *rest = step(tokens, states)
    logits = np.asarray(logits)
    if logits.ndim != 2 or logits.shape[0] != tokens.size:
        raise ValueError(f"expected logits of shape ({tokens.size}, vocabulary), received {logits.shape}")
    if not logits.shape[1]:
        raise ValueError("expected a vocabulary of at least one token, received logits with none")
    if logits.dtype.kind != "f":
        raise ValueError(f"expected logits of floating point, received {logits.dtype}")
    return logits, states, np.asarray(rest[0]) if rest and rest[0] is not None else None


def check_range(largest, log_probs):
    """Refuses NaN and infinite logits, and logits handed over as log-probabilities; `largest`: maxima (NaN wins)."""
    top = largest.max()
    if not top < np.inf:
        raise ValueError(f"expected finite logits (or −inf for impossible tokens), received {top}")
    if log_probs and top > 1e-2:
        raise ValueError(f"expected log-probabilities (log_probs=True), received a value of {top:.4g}, above zero")


def log_sum_exp(logits, largest):
    """log Σ exp over the last axis, in one pass given the maxima; −inf where all is −inf."""
    shift = np.where(np.isneginf(largest), 0, largest)
    with np.errstate(divide="ignore"):
        return shift + np.log(np.exp(logits - shift[..., None]).sum(-1))


def log_normalizer(logits, largest):
    """What to subtract from logits for log-probabilities; finite also for a row that is −inf throughout."""
    return np.maximum(log_sum_exp(logits, largest), np.finfo(np.float32).min)


def log_softmax(logits):
    """Logarithm of the softmax over the last axis."""
    return logits - log_normalizer(logits, logits.max(-1))[..., None]


def check_end(end, vocabulary, start=None):
    """Refuses an end or start token that the logits have no place for."""
    if end is not None and not 0 <= end < vocabulary:
        raise ValueError(f"expected an end token in 0 … {vocabulary - 1} (the vocabulary), received {end}")
    if start is not None and (start.min() < 0 or start.max() >= vocabulary):
        raise ValueError(f"expected start tokens in 0 … {vocabulary - 1}, received {start.min()} … {start.max()}")


def check_lengths(min_length, max_length):
    """Refuses lengths that no sequence can have."""
    if not (max_length >= 1 and 0 <= min_length <= max_length):
        found = f"min_length={min_length}, max_length={max_length}"
        raise ValueError(f"expected 0 <= min_length <= max_length and max_length >= 1, received {found}")


def engine_step(
    engine, signature="step", *, tokens="tokens", logits="logits", attention=None, feeds=None, constants=None
):
    """Makes a step of an engine's signature: `engine(signature, **arrays) -> dict of arrays`.

    Args:
        tokens, logits, attention: names of the signature's input and outputs.
        feeds: output name -> the input that it feeds at the next step; what the engine's signature declares, by
            default. The states are a dict by those input names.
        constants: inputs of shape (batch, …) that no step changes, such as an encoder's memory: repeated for the beam
            once, and never moved with it.
    """
    constants, repeated = dict(constants or {}), {}
    feeds = dict(engine.signatures[signature].states if feeds is None else feeds)

    def step(ids, states):
        if constants and repeated.get("rows") != ids.size:
            for name, array in constants.items():
                if ids.size % len(array):
                    raise ValueError(f"expected {name} to have a divisor of {ids.size} rows, received {len(array)}")
                repeated[name] = np.repeat(array, ids.size // len(array), axis=0)
            repeated["rows"] = ids.size
        fixed = {name: repeated[name] for name in constants}
        if set(states or {}) != set(feeds.values()):
            raise ValueError(f"expected states {sorted(feeds.values())}, received {sorted(states or {})}")
        outputs = engine(signature, **{tokens: ids.astype(np.int32)}, **fixed, **(states or {}))
        following = {target: outputs[name] for name, target in feeds.items()}
        return outputs[logits], following, outputs[attention] if attention else None

    return step


def ensemble(steps, weights=None, *, log_linear=False, log_probs=False):
    """Makes one step of several models over the same vocabulary; its states are the list of theirs.

    p(token) = Σ_m w_m p_m(token), or with `log_linear` log p(token) = Σ_m w_m log p_m(token), with w_m the weights
    (equal by default, made to sum to one). The result is log-probabilities: search it with `log_probs=True`.
    Attention is the weighted mean where every model returns it.
    """
    steps = list(steps)
    weights = np.full(len(steps), 1.0) if weights is None else np.asarray(weights, float)
    if not steps or weights.shape != (len(steps),) or not (weights > 0).all():
        raise ValueError(f"expected steps and one positive weight for each, received {len(steps)} and {weights}")
    weights = weights / weights.sum()

    def step(tokens, states):
        results = [call_step(one, tokens, state) for one, state in zip(steps, states, strict=True)]
        sizes = {logits.shape[1] for logits, _, _ in results}
        if len(sizes) > 1:
            raise ValueError(f"expected models of one vocabulary, received sizes {sorted(sizes)}")
        for logits, _, _ in results:
            check_range(logits, log_probs)
        scores = np.stack([logits if log_probs else log_softmax(logits) for logits, _, _ in results])
        if log_linear:
            scores = np.einsum("m,mrv->rv", weights, scores)
        else:
            scores = scores + np.log(weights)[:, None, None]
            scores = log_sum_exp(np.moveaxis(scores, 0, -1), scores.max(0))
        attention = [weight for _, _, weight in results]
        given = all(weight is not None for weight in attention)
        return scores, [state for _, state, _ in results], np.tensordot(weights, attention, 1) if given else None

    return step
