"""Beam search over any step, vectorised over batch, beam and vocabulary."""

import itertools
from dataclasses import dataclass

import numpy as np

from .constraints import Phrases, Restrictions, check_phrases, phrases_of_items
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

_BLOCK = 100  # tokens a block: the maximum of each block bounds what it can hold


def length_normalizer(length, penalty, alpha):
    """What a log-probability is divided by: 1 (None), length^α ("average"), or ((5 + length) / 6)^α ("wu")."""
    if penalty is None:
        return 1.0
    return float(length if penalty == "average" else (5 + length) / 6) ** alpha


def coverage_penalty(covered, beta, memory_mask=None):
    """β Σ_i log min(Σ_t a_ti, 1) of attention a summed over steps t, `covered` (…, positions); Wu et al. 2016."""
    logs = np.log(np.clip(covered, 1e-10, 1.0))
    return beta * (logs if memory_mask is None else np.where(memory_mask, logs, 0)).sum(-1)


def block_maxima(logits):
    """Maxima of consecutive blocks of the vocabulary: (rows, vocabulary) -> (rows, blocks)."""
    rows, vocabulary = logits.shape
    whole = vocabulary // _BLOCK * _BLOCK
    maxima = logits[:, :whole].reshape(rows, -1, _BLOCK).max(-1)
    return maxima if whole == vocabulary else np.hstack([maxima, logits[:, whole:].max(-1, keepdims=True)])


def top_scores(logits, maxima, offsets, count):
    """The `count` largest of logits + offsets over the rows of each item, ties to the lower row and token.

    The count-th largest block maximum is a lower bound of the count-th largest score, so only blocks that reach it
    are looked into: exact, and far cheaper than a partition of all.

    Args:
        logits: (items, rows, vocabulary). maxima: (items, rows, blocks). offsets: (items, rows).

    Returns:
        scores, rows, tokens of shape (items, count), best first; −inf where there are fewer.
    """
    items, _, vocabulary = logits.shape
    bounds = (maxima + offsets[..., None]).reshape(items, -1)
    scores, flat = np.full((items, count), -np.inf), np.zeros((items, count), np.int64)
    for item, bound in enumerate(bounds):
        threshold = np.partition(bound, -count)[-count] if count <= bound.size else -np.inf
        blocks = (bound >= max(threshold, np.finfo(bound.dtype).min)).nonzero()[0]
        row, block = np.divmod(blocks, maxima.shape[2])
        where = (row * vocabulary + block * _BLOCK)[:, None] + np.arange(_BLOCK)
        values = logits[item].ravel().take(where, mode="clip") + offsets[item, row, None]
        reached = values >= threshold
        if vocabulary % _BLOCK:  # the last block of a row is short
            reached &= where < (row[:, None] + 1) * vocabulary
        values, where = values[reached], where[reached]
        order = np.lexsort((where, -values))[:count]
        scores[item, : order.size], flat[item, : order.size] = values[order], where[order]
    return scores, *np.divmod(flat, vocabulary)


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
    coverage=0.0,
    memory_mask=None,
    no_repeat_ngram=0,
    groups=1,
    diversity=0.5,
    required=(),
    forbidden=(),
    mask=None,
    log_probs=False,
    early_stopping=True,
):
    """Finds the n best sequences of each item by beam search.

    At every step the 2 × beam best continuations of an item are ranked by log-probability. Those that end and rank
    among the first `beam` become hypotheses; the best `beam` of the others live on. At `max_length` the living become
    hypotheses too. The hypotheses are ranked by score = log p / normaliser(length) + coverage penalty, where length
    counts the end token. Rules bar tokens after the softmax: what is left is not renormalised.

    Args:
        step, states: see `steps.py`; the states have one row per item and are repeated for the beam.
        start: the first token fed in, one for all or (batch,).
        end: the token that ends a sequence, or None. max_length: steps at most, the end token counted. min_length:
            tokens before the end at least.
        beam, n_best: width, and hypotheses returned; n_best <= beam <= vocabulary.
        length_penalty, alpha: None, "average" or "wu", see `length_normalizer`.
        coverage, memory_mask: β of `coverage_penalty`, which needs attention; real positions, (batch, positions).
        no_repeat_ngram: n-grams of this size come at most once; 0 allows any.
        groups, diversity: the beam in groups that search in turn, a token's score falling by `diversity` for every time
            that an earlier group took it at this step. The returned scores are without it. A sequence that several
            groups find is returned once.
        required, forbidden: phrases (token lists) that must or must not occur; one list for all, or one per item.
            Required phrases are met by dynamic beam allocation: the beam is shared out by how many of their tokens are
            met, and only a sequence that meets all may end.
        mask: `mask(tokens (rows, length), logits (rows, vocabulary)) -> bool array that broadcasts to the logits`, True
            where the token may come next; row r belongs to item r // beam.
        log_probs: the step returns log-probabilities; nothing is normalised.
        early_stopping: an item stops when no continuation can change its n best. Log-probabilities only fall and the
            normaliser only grows, so log p / normaliser(max_length) bounds what a living sequence can reach.

    Returns:
        For each item a list of at most n_best hypotheses, best first; fewer where the rules leave fewer.

    Reference: Wu et al. 2016 (penalties); Vijayakumar et al. 2018 (groups); Post and Vilar 2018 (required phrases).
    """
    check_lengths(min_length, max_length)
    _check_beam(beam, n_best, groups, no_repeat_ngram)
    rules = _Rules(end, max_length, n_best, length_penalty, alpha, coverage, memory_mask, diversity, early_stopping)
    start = first_tokens(start, states)
    required, forbidden = phrases_of_items(required, start.size), phrases_of_items(forbidden, start.size)
    check_phrases(required, forbidden, end, max_length, no_repeat_ngram)
    search = None
    states = map_states(lambda array: np.repeat(array, beam, axis=0), states)
    tokens = np.repeat(start, beam)
    for length in range(1, max_length + 1):
        logits, states, attention = call_step(step, tokens, states)
        if search is None:
            vocabulary = logits.shape[1]
            check_end(end, vocabulary, start)
            if beam > vocabulary or (end is not None and vocabulary < 2):
                raise ValueError(f"expected a beam no wider than the vocabulary ({vocabulary}), received {beam}")
            if coverage and attention is None:
                raise ValueError("expected a step that returns attention for the coverage penalty, received none")
            restrictions = Restrictions(vocabulary, end, min_length, forbidden, beam, no_repeat_ngram, mask)
            search = _Search(rules, (start.size, groups, beam // groups), required, vocabulary)
        order, tokens = search.update(logits, attention, restrictions, length, log_probs)
        if search.done.all():
            break
        if not np.array_equal(order, np.arange(order.size)):
            states = map_states(lambda array: array[order], states)  # noqa: B023
    return search.results()


def _check_beam(beam, n_best, groups, no_repeat_ngram):
    if not 1 <= n_best <= beam:
        raise ValueError(f"expected 1 <= n_best <= beam, received n_best={n_best}, beam={beam}")
    if groups < 1 or beam % groups:
        raise ValueError(f"expected groups that divide the beam, received {groups} groups, a beam of {beam}")
    if no_repeat_ngram < 0:
        raise ValueError(f"expected no_repeat_ngram of 0 or more, received {no_repeat_ngram}")


@dataclass(frozen=True)
class _Rules:
    end: int | None
    max_length: int
    n_best: int
    length_penalty: str | None
    alpha: float
    coverage: float
    memory_mask: np.ndarray | None
    diversity: float
    early_stopping: bool

    def __post_init__(self):
        if self.length_penalty not in (None, "average", "wu"):
            raise ValueError(f"expected length_penalty None, 'average' or 'wu', received {self.length_penalty!r}")
        if min(self.alpha, self.coverage, self.diversity) < 0:
            found = f"{self.alpha}, {self.coverage}, {self.diversity}"
            raise ValueError(f"expected alpha, coverage and diversity of 0 or more, received {found}")

    def score(self, log_prob, length, covered=None, item=None):
        score = log_prob / length_normalizer(length, self.length_penalty, self.alpha)
        if self.coverage and covered is not None:
            real = None if self.memory_mask is None else self.memory_mask[item]
            score = score + coverage_penalty(covered, self.coverage, real)
        return score


class _Search:
    """The living and the finished of one search; arrays are (batch, groups, width), a row is a place in that order."""

    def __init__(self, rules, shape, required, vocabulary):
        self.rules, self.shape = rules, shape
        batch, groups, width = shape
        self.total = np.full(shape, -np.inf)  # log-probabilities of the living
        self.total[..., 0] = 0.0
        self.handicap = np.zeros(shape)  # what diversity has cost them
        self.done = np.zeros((batch, groups), bool)
        self.finished = [[[] for _ in range(groups)] for _ in range(batch)]
        self.keep = min(rules.n_best, width)  # hypotheses a group
        self.worst = np.full((batch, groups), -np.inf)  # the last score of a full list of hypotheses
        self.places = np.arange(batch)[:, None], np.arange(batch * groups).reshape(batch, groups, 1) * width
        self.history = np.zeros((batch * groups * width, rules.max_length), np.int64)
        self.parents, self.attentions, self.covered = [], [], None
        self.phrases = Phrases(required, vocabulary) if any(required) else None
        if self.phrases:
            self.progress = np.zeros((*shape, len(self.phrases.phrases)), np.int64)
            self.needed = np.broadcast_to(self.phrases.active[:, None, None], self.progress.shape)

    def results(self):
        """The n best of each item over its groups, a sequence only once."""
        lists = []
        for groups in self.finished:
            distinct = {}
            for hypothesis in sorted(itertools.chain(*groups), key=lambda hypothesis: -hypothesis.score):
                distinct.setdefault((hypothesis.tokens.tobytes(), hypothesis.ended), hypothesis)
            lists.append(list(distinct.values())[: self.rules.n_best])
        return lists

    def update(self, logits, attention, restrictions, length, log_probs):
        """Takes one step: finishes and picks. Returns the rows to continue and the tokens they continue with."""
        maxima = block_maxima(logits)
        check_range(maxima, log_probs)
        offsets = self.total + self.handicap
        if not log_probs:
            offsets = offsets - log_normalizer(logits, maxima.max(-1)).reshape(self.shape)
        edited = restrictions.apply(logits, self.history[:, : length - 1])
        if self.phrases and self.rules.end is not None:
            edited = edited.copy()
            edited.reshape(*self.shape, -1)[~self._met(), self.rules.end] = -np.inf
        if edited is not logits:
            maxima = block_maxima(edited)
        if attention is not None:
            self.attentions.append(attention)
            self.covered = attention + (self.covered if len(self.attentions) > 1 else 0)
        edited, maxima = edited.reshape(*self.shape, -1), maxima.reshape(*self.shape, -1)
        rows, tokens = self._pick(edited, maxima, offsets, length)
        order = (self.places[1] + rows).ravel()
        self.history = self.history[order]
        self.history[:, length - 1] = tokens.ravel()
        self.parents.append(order)
        if self.covered is not None:
            self.covered = self.covered[order]
        restrictions.advance(order, tokens.ravel())
        self._stop(length)
        return order, tokens.ravel()

    def _pick(self, logits, maxima, offsets, length):
        """Chooses each group's continuations in turn; updates totals, handicaps and progress."""
        batch, groups, width = self.shape
        diversity, end = self.rules.diversity, self.rules.end
        rows, tokens = np.zeros(self.shape, np.int64), np.zeros(self.shape, np.int64)
        items = self.places[0]
        taken = np.zeros((batch, logits.shape[-1])) if groups > 1 else None
        for group in range(groups):
            view, tops, start = logits[:, group], maxima[:, group], offsets[:, group]
            if group:
                view = view - diversity * taken[:, None]
                tops = block_maxima(view.reshape(batch * width, -1)).reshape(batch, width, -1)
            scores, row, token = top_scores(view, tops, start, width if end is None else 2 * width)
            banks = None
            if self.phrases:
                scores, row, token, banks = self._add_candidates(group, view, start, row, token)
            totals = scores
            if groups > 1:
                handicap = self.handicap[items, group, row] - (diversity * taken[items, token] if group else 0)
                totals = scores - handicap
            barred = scores == -np.inf
            if end is not None:
                ends = token == end
                self._finish(group, totals, row, ends & ~barred, banks, length)
                barred |= ends
            places = self._allocate(group, barred, banks)
            alive = ~barred[items, places]
            rows[:, group], tokens[:, group] = row[items, places], np.where(alive, token[items, places], 0)
            self.total[:, group] = np.where(alive, totals[items, places], -np.inf)
            if groups > 1:
                self.handicap[:, group] = np.where(alive, handicap[items, places], 0)
                np.add.at(taken, (items, tokens[:, group]), alive)
        if self.phrases:
            self.progress = self.phrases.advance(np.take_along_axis(self.progress, rows[..., None], axis=2), tokens)
        return rows, tokens

    def _finish(self, group, totals, rows, ends, banks, length):
        """Turns continuations that end, and rank within the width (in their bank), into hypotheses."""
        for item, place in zip(*ends.nonzero(), strict=True):
            rank = place if banks is None else (banks[item, :place] == banks[item, place]).sum()
            if rank < self.shape[2]:
                row = self.places[1][item, group, 0] + rows[item, place]
                self._keep(item, group, row, totals[item, place], length, True)

    def _keep(self, item, group, row, total, length, ended):
        covered = None if self.covered is None else self.covered[row]
        score = float(self.rules.score(total, length, covered, item))
        pool = self.finished[item][group]
        if score <= self.worst[item, group]:
            return
        tokens = self.history[row, : length - ended].copy()
        attention = self._trace(row, length - ended, ended) if self.attentions else None
        pool.append(Hypothesis(tokens, score, float(total), ended, attention))
        pool.sort(key=lambda hypothesis: -hypothesis.score)
        del pool[self.keep :]
        if len(pool) == self.keep:
            self.worst[item, group] = pool[-1].score

    def _trace(self, row, steps, ended):
        """Attention of the steps that led to `row`, which counts before this step's pick if `ended`, else after it."""
        weights = []
        for step in reversed(range(len(self.attentions))):
            if step < len(self.parents):
                row = self.parents[step][row]
            weights.append(self.attentions[step][row])
        return np.array(weights[::-1])[:steps]

    def _stop(self, length):
        """Marks items whose n best are certain, and at the end takes in the living."""
        if length == self.rules.max_length:
            met = self._met() if self.phrases else True
            for item, group, place in zip(*((self.total > -np.inf) & met).nonzero(), strict=True):
                row = self.places[1][item, group, 0] + place
                self._keep(item, group, row, self.total[item, group, place], length, False)
            self.done[:] = True
            return
        bounds = self.rules.score(self.total.max(-1), self.rules.max_length)
        self.done |= (self.worst >= bounds) if self.rules.early_stopping else (bounds == -np.inf)
        self.total[self.done] = -np.inf

    def _met(self):
        return ((self.progress == self.phrases.lengths) | ~self.needed).all(-1)

    def _add_candidates(self, group, logits, offsets, rows, tokens):
        """Adds each row's best continuation and those that take a required phrase further; best first, with banks."""
        batch, width, vocabulary = logits.shape
        found = []
        for item, flat in enumerate(rows * vocabulary + tokens):
            more, token = self.phrases.advancing(self.progress[item, group], self.needed[item, group])
            best = np.arange(width) * vocabulary + logits[item].argmax(-1)
            found.append(np.unique(np.concatenate([flat, more * vocabulary + token, best])))
        flat = np.zeros((batch, max(map(len, found))), np.int64)
        scores = np.full(flat.shape, -np.inf)
        for item, candidates in enumerate(found):
            flat[item, : len(candidates)] = candidates
            row, token = np.divmod(candidates, vocabulary)
            scores[item, : len(candidates)] = logits[item, row, token] + offsets[item, row]
        order = np.argsort(-scores, axis=1, kind="stable")
        rows, tokens = np.divmod(flat[self.places[0], order], vocabulary)
        held = self.progress[:, group][self.places[0], rows]
        banks = (self.phrases.advance(held, tokens) * self.needed[:, group, :1]).sum(-1)
        return scores[self.places[0], order], rows, tokens, banks

    def _allocate(self, group, barred, banks):
        """Places of the continuations that live on (batch, width): the best, or with required phrases each bank's."""
        width = self.shape[2]
        if not self.phrases:
            return barred.argsort(axis=1, kind="stable")[:, :width]
        chosen = np.zeros((len(barred), width), np.int64)
        for item, total in enumerate((self.needed[:, group, 0] * self.phrases.lengths).sum(-1)):
            bank = np.where(barred[item], -1, banks[item])
            there = np.bincount(bank[bank >= 0], minlength=total + 1)
            share = np.full(total + 1, width // (total + 1))
            share[-1] += width % (total + 1)
            share = np.minimum(share, there)
            for number in reversed(range(total + 1)):  # places left over go to the fullest banks first
                share[number] += min(there[number] - share[number], width - share.sum())
            picked = np.concatenate([np.flatnonzero(bank == number)[:room] for number, room in enumerate(share)])
            chosen[item] = np.concatenate([np.sort(picked), np.flatnonzero(barred[item])])[:width]
        return chosen
