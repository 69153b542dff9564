"""A character n-gram model with modified Kneser-Ney smoothing, built from text and kept in one small file."""

import os

import numpy as np

_CACHED = 20_000  # rows of next-character log-probabilities kept


class LanguageModel:
    """Character n-gram model: p(next character | the last order − 1 characters).

    p(c | h) = max(N(h c) − D, 0) / N(h ·) + γ(h) p(c | h'), with N counts (below the highest order: the number of
    different characters seen before the n-gram, unless it opens a text), h' the history h without its first
    character, D one of three discounts by count (1, 2, 3 or more) estimated per order, γ the mass that they free. The
    lowest order is mixed with the uniform distribution over the alphabet and the end of the text.

    The file holds the counts of the highest order; all else follows from them.

    Args:
        alphabet: the characters, in the order of their symbols 1 … len(alphabet); 0 pads, len + 1 ends a text.
        order: n. keys, counts: sorted n-grams as integers in base len(alphabet) + 2, and how often each was seen.

    Reference: Chen and Goodman 1999, "An empirical study of smoothing techniques for language modeling".
    """

    def __init__(self, alphabet, order, keys, counts):
        self.alphabet, self.order = str(alphabet), int(order)
        self.base = _base(self.alphabet, self.order)
        self.keys, self.counts = np.asarray(keys, np.int64), np.asarray(counts, np.int64)
        if self.keys.ndim != 1 or self.keys.shape != self.counts.shape or not self.keys.size:
            found = f"{self.keys.shape} and {self.counts.shape}"
            raise ValueError(f"expected one count for each of one or more n-grams, received {found}")
        self.end = len(self.alphabet) + 1
        self.start = 0  # a history of padding alone
        self._index = {character: symbol for symbol, character in enumerate(self.alphabet, 1)}
        self._levels = self._smooth()
        self._rows = {}

    @classmethod
    def train(cls, texts, order=6, alphabet=None):
        """Counts n-grams in an iterable of texts; the alphabet is that of the texts unless given."""
        texts = [texts] if isinstance(texts, str) else list(texts)
        found = set().union(*texts)
        alphabet = "".join(sorted(found)) if alphabet is None else "".join(alphabet)
        if not found or found - set(alphabet):
            missing = f"characters outside it: {''.join(sorted(found - set(alphabet)))!r}" if found else "no text"
            raise ValueError(f"expected texts over the alphabet {alphabet!r}, received {missing}")
        base = _base(alphabet, order)
        codes = np.array([ord(character) for character in alphabet])
        by_code = np.argsort(codes)
        padding, end = np.zeros(order - 1, np.int64), [len(alphabet) + 1]
        pieces = []
        for text in texts:
            points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
            pieces += [padding, by_code[np.searchsorted(codes[by_code], points)] + 1, end]
        symbols = np.concatenate(pieces)
        size = symbols.size - order + 1
        keys = sum(symbols[i : i + size] * base ** (order - 1 - i) for i in range(order))
        return cls(alphabet, order, *np.unique(keys[symbols[order - 1 :] > 0], return_counts=True))

    def save(self, path):
        """Writes the model as a compressed .npz without pickle."""
        path = os.fspath(path)
        counts = self.counts.astype(np.min_scalar_type(self.counts.max()))
        with open(f"{path}.partial", "wb") as file:
            steps = np.diff(self.keys, prepend=0)
            np.savez_compressed(file, alphabet=self.alphabet, order=self.order, steps=steps, counts=counts)
        os.replace(f"{path}.partial", path)

    @classmethod
    def load(cls, path):
        """Reads what `save` wrote."""
        try:
            opened = np.load(path, allow_pickle=False)
        except ValueError:
            raise ValueError(f"{path}: expected a language model (.npz), received a file of another kind") from None
        with opened as file:
            missing = {"alphabet", "order", "steps", "counts"} - set(file)
            if missing:
                raise ValueError(f"{path}: expected a language model, received a file without {sorted(missing)}")
            return cls(str(file["alphabet"]), int(file["order"]), np.cumsum(file["steps"]), file["counts"])

    def advance(self, state, symbol):
        """The history `state` followed by a symbol."""
        return (state * self.base + symbol) % self.base ** (self.order - 1)

    def log_probs(self, state):
        """Log-probabilities of what follows: array (len(alphabet) + 2,) by symbol, the padding −inf, the end last."""
        return self._row(state, self.order)

    def score(self, text, end=True):
        """Log-probability (natural) of a text, its end included unless `end` is False."""
        unknown = set(text) - set(self.alphabet)
        if unknown:
            raise ValueError(f"expected text over the model's alphabet, received {''.join(sorted(unknown))!r}")
        total, state = 0.0, self.start
        for symbol in [self._index[character] for character in text] + [self.end] * end:
            total += float(self.log_probs(state)[symbol])
            state = self.advance(state, symbol)
        return total

    def symbols(self, characters):
        """Symbols of characters; refuses those of another alphabet."""
        foreign = [character for character in characters if character not in self._index]
        if foreign:
            raise ValueError(
                f"expected a language model of the same alphabet, received one without {foreign} "
                "(build it with alphabet=…, the characters that the network writes)"
            )
        return np.array([self._index[character] for character in characters])

    def _row(self, history, order):
        row = self._rows.get((order, history))
        if row is None:
            contexts, gamma, starts, symbols, share = self._levels[order - 1]
            row = self._row(history % self.base ** max(order - 2, 0), order - 1) if order > 1 else self._uniform()
            place = contexts.searchsorted(history)
            if place < contexts.size and contexts[place] == history:
                row = np.exp(row) * gamma[place]
                inside = slice(starts[place], starts[place + 1])
                row[symbols[inside]] += share[inside]
                with np.errstate(divide="ignore"):
                    row = np.log(row)
            if len(self._rows) >= _CACHED:
                self._rows.clear()
            self._rows[order, history] = row
        return row

    def _uniform(self):
        row = np.full(self.end + 1, -np.log(self.end))
        row[0] = -np.inf
        return row

    def _smooth(self):
        """Per order: contexts, γ, where each context's n-grams start, their last symbols and discounted shares."""
        keys, counts, levels = self.keys, self.counts, []
        for order in range(self.order, 0, -1):
            discounts = _discounts(counts)
            contexts, starts = np.unique(keys // self.base, return_index=True)
            totals = np.add.reduceat(counts, starts)
            cut = discounts[np.minimum(counts, 3)]
            share = (counts - cut) / np.repeat(totals, np.diff(starts, append=keys.size))
            gamma = np.add.reduceat(cut, starts) / totals
            levels.append((contexts, gamma, np.append(starts, keys.size), keys % self.base, share))
            if order > 1:
                suffixes, inverse = np.unique(keys % self.base ** (order - 1), return_inverse=True)
                # an n-gram that opens a text has padding alone before it: its own count stands
                opens = suffixes // self.base ** (order - 2) == 0
                weights = np.where(opens[inverse], counts, 1)
                keys, counts = suffixes, np.bincount(inverse, weights).astype(np.int64)
        return levels[::-1]


def _base(alphabet, order):
    if not alphabet or len(set(alphabet)) < len(alphabet):
        raise ValueError(f"expected an alphabet of different characters, received {alphabet!r}")
    base = len(alphabet) + 2
    if order < 1 or base**order >= 2**63:
        longest = int(63 * np.log(2) / np.log(base))
        raise ValueError(f"expected an order of 1 to {longest} for {len(alphabet)} characters, received {order}")
    return base


def _discounts(counts):
    """Discounts for counts 0 to 3 or more, from how many n-grams were seen once to four times."""
    one, two, three, four = np.bincount(np.minimum(counts, 5), minlength=6)[1:5]
    if min(one, two, three, four) > 0:
        share = one / (one + 2 * two)
        found = np.array([0, 1 - 2 * share * two / one, 2 - 3 * share * three / two, 3 - 4 * share * four / three])
        if (found[1:] > 0).all() and (found <= [0, 1, 2, 3]).all():
            return found
    return np.array([0, 0.5, 1.0, 1.5])  # too little text to estimate them
