"""Greedy decoding and sampling over any step."""

import numpy as np

from .constraints import Restrictions, phrases_of_items
from .steps import (
    Hypothesis,
    call_step,
    check_end,
    check_lengths,
    check_range,
    first_tokens,
    log_normalizer,
    map_states,
)


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
    n=1,
    temperature=1.0,
    top_k=0,
    top_p=1.0,
    min_p=0.0,
    repetition_penalty=1.0,
    no_repeat_ngram=0,
    forbidden=(),
    mask=None,
    log_probs=False,
    seed=None,
    uniforms=None,
):
    """Draws sequences token by token, from logits that are restricted, penalised, tempered and cut, in that order.

    Args:
        step, states: see `steps.py`; the states have one row per item.
        start: the first token fed in, one for all or (batch,).
        end: the token that ends a sequence, or None. max_length, min_length: tokens drawn; the end counts to the first.
        n: sequences per item.
        temperature: logits are divided by it; 0 takes the maximum.
        top_k, top_p, min_p: see `cut_logits`.
        repetition_penalty: θ of CTRL: the logit of a token drawn before is divided by θ if positive, else multiplied.
        no_repeat_ngram, forbidden, mask: as in `beam_search`.
        log_probs: the step returns log-probabilities; nothing is normalised.
        seed: seed of NumPy's generator. uniforms: (max_length, batch × n) numbers in [0, 1) instead, to draw the same
            on another engine: the drawn token is the first whose cumulative probability exceeds the number.

    Returns:
        For each item a list of n hypotheses in order of drawing; score and log_prob are the log-probability of the
        tokens under the model, before any penalty, temperature or cut.

    Reference: Holtzman et al. 2020 (top-p); Keskar et al. 2019 (repetition penalty); Nguyen et al. 2024 (min-p).
    """
    check_lengths(min_length, max_length)
    check_cuts(temperature, top_k, top_p, min_p, repetition_penalty)
    start = first_tokens(start, states)
    batch, rows = start.size, start.size * n
    uniforms = np.random.default_rng(seed).random((max_length, rows)) if uniforms is None else np.asarray(uniforms)
    if n < 1 or uniforms.shape != (max_length, rows):
        raise ValueError(f"expected n >= 1 and uniforms ({max_length}, {rows}), received {n} and {uniforms.shape}")
    states = map_states(lambda array: np.repeat(array, n, axis=0), states)
    history = np.empty((rows, max_length + 1), np.int64)  # column 0 is the start token
    history[:, 0] = np.repeat(start, n)
    log_prob, lengths, running = np.zeros(rows), np.zeros(rows, int), np.ones(rows, bool)
    attentions, everyone = [], np.arange(rows)
    for length in range(max_length):
        logits, states, attention = call_step(step, history[:, length].copy(), states)
        largest = logits.max(-1)
        check_range(largest, log_probs)
        if not length:
            check_end(end, logits.shape[1], start)
            banned = phrases_of_items(forbidden, batch)
            restrictions = Restrictions(logits.shape[1], end, min_length, banned, n, no_repeat_ngram, mask)
        past = history[:, 1 : 1 + length]
        scores = penalize_repeats(restrictions.apply(logits, past), past, repetition_penalty)
        tokens = _draw(scores, uniforms[length], running, temperature, top_k, top_p, min_p)
        tokens = np.where(running, tokens, end if end is not None else 0)
        normalizer = 0.0 if log_probs else log_normalizer(logits, largest)
        log_prob += np.where(running, logits[everyone, tokens] - normalizer, 0)
        history[:, length + 1] = tokens
        attentions.append(attention)
        restrictions.advance(everyone, tokens)
        if end is not None:
            running &= tokens != end
        lengths += running
        if not running.any():
            break
    drawn = [_hypothesis(history, log_prob, lengths, running, attentions, row) for row in everyone]
    return [drawn[i * n : (i + 1) * n] for i in range(batch)]


def _hypothesis(history, log_prob, lengths, running, attentions, row):
    steps = attentions[: lengths[row]]
    attention = None if attentions[-1] is None else np.array([step[row] for step in steps])
    total = float(log_prob[row])
    return Hypothesis(history[row, 1 : 1 + lengths[row]], total, total, not running[row], attention)


def _draw(scores, uniforms, running, temperature, top_k, top_p, min_p):
    best = scores.argmax(-1)
    if np.isneginf(scores[np.arange(len(best)), best])[running].any():
        raise ValueError("no token is allowed next: the mask and the constraints rule out the whole vocabulary")
    if not temperature:
        return best
    scores = cut_logits(scores, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    cumulative = np.exp(scores - scores.max(-1, keepdims=True), dtype=np.float64).cumsum(-1)
    tokens = (cumulative <= uniforms[:, None] * cumulative[:, -1:]).sum(-1)
    return np.minimum(tokens, scores.shape[1] - 1)


def check_cuts(temperature, top_k, top_p, min_p, repetition_penalty=1.0):
    """Refuses sampling options out of their range."""
    if not (temperature >= 0 and top_k >= 0 and 0 < top_p <= 1 and 0 <= min_p <= 1 and repetition_penalty > 0):
        raise ValueError(
            "expected temperature >= 0, top_k >= 0, 0 < top_p <= 1, 0 <= min_p <= 1, repetition_penalty > 0, "
            f"received {temperature=}, {top_k=}, {top_p=}, {min_p=}, {repetition_penalty=}"
        )


def penalize_repeats(logits, history, penalty):
    """Divides positive and multiplies negative logits of the tokens in history (rows, length) by `penalty`."""
    if penalty == 1 or not history.shape[1]:
        return logits
    seen = np.take_along_axis(logits, history, axis=1)
    logits = logits.copy()
    np.put_along_axis(logits, history, np.where(seen > 0, seen / penalty, seen * penalty), axis=1)
    return logits


def cut_logits(logits, *, temperature=1.0, top_k=0, top_p=1.0, min_p=0.0):
    """Divides logits (rows, vocabulary) by the temperature and sets to −inf what the cuts leave out.

    Args:
        temperature: 0 keeps the most probable token alone.
        top_k: keeps the k most probable tokens (ties with the last stay); 0 keeps all.
        top_p: keeps the fewest most probable tokens whose probabilities reach p.
        min_p: keeps tokens at least min_p times as probable as the most probable.
    """
    check_cuts(temperature, top_k, top_p, min_p)
    if not temperature:
        return np.where(logits < logits.max(-1, keepdims=True), -np.inf, logits)
    logits = logits / temperature
    if 0 < top_k < logits.shape[1]:
        last = np.partition(logits, -top_k, axis=1)[:, -top_k, None]
        logits = np.where(logits < last, -np.inf, logits)
    if top_p < 1:
        order = np.argsort(-logits, axis=1, kind="stable")
        ranked = np.take_along_axis(logits, order, axis=1)
        weights = np.exp(ranked - ranked[:, :1], dtype=np.float64)
        before = weights.cumsum(-1) - weights
        np.put_along_axis(logits, order, np.where(before >= top_p * weights.sum(-1, keepdims=True), -np.inf, ranked), 1)
    if min_p > 0:
        logits = np.where(logits < logits.max(-1, keepdims=True) + np.log(min_p), -np.inf, logits)
    return logits
