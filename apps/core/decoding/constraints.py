"""Lexical constraints: phrases that must or must not occur, and n-grams that must not come twice."""

import numpy as np


class Phrases:
    """Follows many token phrases through many sequences at once, one Knuth-Morris-Pratt automaton per phrase.

    A state is how many tokens of the phrase the sequence now ends with; a phrase once matched stays matched. Phrases
    may overlap in the sequence.

    Args:
        items: for each item of the batch its phrases, each a sequence of tokens.
        vocabulary: the number of tokens.
    """

    def __init__(self, items, vocabulary):
        self.phrases = sorted({phrase for phrases in items for phrase in phrases})
        for phrase in self.phrases:
            if not phrase or min(phrase) < 0 or max(phrase) >= vocabulary:
                raise ValueError(f"expected phrases of tokens in 0 … {vocabulary - 1}, received {list(phrase)}")
        self.active = np.array([[phrase in phrases for phrase in self.phrases] for phrases in items])
        self.lengths = np.array([len(phrase) for phrase in self.phrases])
        # tokens that no phrase holds share symbol 0, so the table does not grow with the vocabulary
        symbols = sorted({token for phrase in self.phrases for token in phrase})
        self._symbol = np.zeros(vocabulary, np.int64)
        self._symbol[symbols] = np.arange(1, len(symbols) + 1)
        self._table = np.zeros((len(self.phrases), self.lengths.max() + 1, len(symbols) + 1), np.int64)
        self.following = np.zeros(self._table.shape[:2], np.int64)
        for number, phrase in enumerate(self.phrases):
            self.following[number, : len(phrase)] = phrase
            self._fill(self._table[number], self._symbol[list(phrase)])

    @staticmethod
    def _fill(table, phrase):
        fallback = 0
        for state, symbol in enumerate(phrase):
            table[state] = table[fallback] if state else 0
            if state:
                fallback = table[fallback, symbol]
            table[state, symbol] = state + 1
        table[len(phrase)] = len(phrase)

    def advance(self, states, tokens):
        """Moves states (…, phrases) on by one token each (…)."""
        return self._table[np.arange(len(self.phrases)), states, self._symbol[tokens][..., None]]

    def completing(self, states, active):
        """(row, token) pairs whose token would complete an active phrase; states (rows, phrases)."""
        rows, numbers = np.nonzero(active & (states == self.lengths - 1))
        return rows, self.following[numbers, states[rows, numbers]]

    def advancing(self, states, active):
        """(row, token) pairs whose token takes an active, unmatched phrase one step further."""
        rows, numbers = np.nonzero(active & (states < self.lengths))
        return rows, self.following[numbers, states[rows, numbers]]


def repeated_ngrams(history, n):
    """(row, token) pairs whose token would make an n-gram that the row's history (rows, length) already holds."""
    length = history.shape[1]
    if length < n:
        return np.zeros((2, 0), np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(history, n, axis=1)
    match = (windows[:, :, : n - 1] == history[:, None, length - n + 1 :]).all(-1)
    where = np.nonzero(match)
    return where[0], windows[where][:, -1]


def phrases_of_items(phrases, batch):
    """Phrases as one list per item: either one list of phrases for all, or a list of such lists, one per item."""
    phrases = list(phrases)
    if any(not np.iterable(entry) or isinstance(entry, str) for entry in phrases):
        raise ValueError(f"expected phrases as lists of tokens, received {phrases}")
    phrases = [list(entry) for entry in phrases]
    if not phrases or (any(phrases) and not any(np.ndim(token) for entry in phrases for token in entry)):
        phrases = [phrases] * batch
    if len(phrases) != batch:
        raise ValueError(f"expected phrases for {batch} items, received {len(phrases)} lists")
    flat = [phrase for entry in phrases for phrase in entry]
    if any(np.ndim(phrase) != 1 or np.asarray(phrase).dtype.kind not in "iu" for phrase in flat if len(phrase)):
        raise ValueError(f"expected phrases as lists of tokens, received {flat}")
    return [[tuple(int(token) for token in phrase) for phrase in entry] for entry in phrases]


def least_length(phrases):
    """At least how many tokens hold all the phrases, however they overlap."""

    def overlap(left, right):
        longest = min(len(left), len(right)) - 1
        return next((k for k in range(longest, 0, -1) if left[-k:] == right[:k]), 0)

    outer = [p for p in set(phrases) if not any(p != q and _holds(q, p) for q in phrases)]
    saved = sorted(max((overlap(q, p) for q in outer if q != p), default=0) for p in outer)
    return sum(map(len, outer)) - sum(saved[1:])  # the first has none before it


def _holds(phrase, part):
    return any(phrase[i : i + len(part)] == part for i in range(len(phrase) - len(part) + 1))


def check_phrases(required, forbidden, end, max_length, no_repeat_ngram):
    """Refuses constraints that no sequence can meet."""
    for needed, banned in zip(required, forbidden, strict=True):
        if least_length(needed) > max_length:
            found = f"{[list(phrase) for phrase in needed]} take more than max_length={max_length} tokens"
            raise ValueError(f"contradictory constraints: required phrases {found}")
        for phrase in needed:
            if end in phrase:
                raise ValueError(f"contradictory constraints: required phrase {list(phrase)} holds the end token {end}")
            for part in banned:
                if _holds(phrase, part):
                    raise ValueError(f"contradictory constraints: {list(phrase)} is required, {list(part)} forbidden")
            grams = [phrase[i : i + no_repeat_ngram] for i in range(len(phrase) - no_repeat_ngram + 1)]
            if no_repeat_ngram and len(set(grams)) < len(grams):
                raise ValueError(f"contradictory constraints: {list(phrase)} repeats an n-gram of {no_repeat_ngram}")


class Restrictions:
    """What may not come next: all the hard rules of one search, as one edit of the scores.

    Args:
        vocabulary, end, min_length: the end token is barred before `min_length` tokens.
        forbidden: phrases for each item. rows: rows per item.
        no_repeat_ngram: n-grams of this size come at most once; 0 allows any.
        mask: `mask(tokens (rows, length), logits (rows, vocabulary)) -> bool, True where allowed`, or None.
    """

    def __init__(self, vocabulary, end, min_length, forbidden, rows, no_repeat_ngram, mask):
        self._end, self._min_length, self._no_repeat_ngram, self._mask = end, min_length, no_repeat_ngram, mask
        self._phrases = Phrases(forbidden, vocabulary) if any(forbidden) else None
        if self._phrases:
            self._active = np.repeat(self._phrases.active, rows, axis=0)
            self._states = np.zeros(self._active.shape, np.int64)

    def apply(self, scores, history):
        """Returns scores (rows, vocabulary) with −inf at what may not follow `history` (rows, length)."""
        edits = []
        if self._end is not None and history.shape[1] < self._min_length:
            edits.append((slice(None), self._end))
        if self._phrases:
            edits.append(self._phrases.completing(self._states, self._active))
        if self._no_repeat_ngram:
            edits.append(tuple(repeated_ngrams(history, self._no_repeat_ngram)))
        if self._mask:
            allowed = np.asarray(self._mask(history, scores))
            fits = allowed.ndim <= 2 and all(
                m in (1, n) for m, n in zip(allowed.shape[::-1], scores.shape[::-1], strict=False)
            )
            if allowed.dtype != bool or not fits:
                found = f"{allowed.dtype} {allowed.shape}"
                raise ValueError(f"expected the mask callback to return booleans {scores.shape}, received {found}")
            edits.append(np.broadcast_to(~allowed, scores.shape))
        if edits:
            scores = scores.copy()  # the step may hand out its own buffer
        for edit in edits:
            scores[edit] = -np.inf
        return scores

    def advance(self, order, tokens):
        """Follows the rows: row i continues what was row order[i] with tokens[i]."""
        if self._phrases:
            self._states = self._phrases.advance(self._states[order], tokens)
