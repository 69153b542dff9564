"""Regular expressions that a text being written may still fulfil: which letters may come next. NumPy only.

Python's `re` says whether a whole text matches, not whether a beginning can: here a pattern becomes an automaton.
"""

import re
from functools import lru_cache

import numpy as np

from ..core.errors import UsageError

_MOST_STATES = 20_000
_EMPTY = None  # the label of a move without a letter


class Pattern:
    """A regular expression over an alphabet, matched against whole texts.

    Literals, `.`, sets `[a-z]` and `[^…]`, \\d \\w \\s, groups, `|`, `* + ? {m} {m,} {m,n}`; `^`, `$` are implied.
    """

    def __init__(self, pattern: str, alphabet):
        try:
            re.compile(pattern)
        except re.error as error:
            raise UsageError(f"--pattern {pattern!r}: {error}") from None
        self.pattern, self.alphabet = pattern, tuple(alphabet)
        self._moves: list[list[tuple]] = []
        self._text, self._at = pattern, 0
        start, self._end = self._alternatives()
        if self._at < len(pattern):
            raise UsageError(f"--pattern {pattern!r}: unexpected '{pattern[self._at]}' at {self._at + 1}")
        self._start = self._closure({start})
        self.after = lru_cache(50_000)(self._after)

    def allowed(self, prefix: str) -> np.ndarray:
        """(1 + letters,) whether each letter may follow; in place 0, whether the text may end."""
        states = self.after(prefix)
        mask = np.zeros(len(self.alphabet) + 1, bool)
        mask[0] = self._end in states
        letters = set().union(*(label for state in states for label, _ in self._moves[state] if label is not _EMPTY))
        mask[1:] = [letter in letters for letter in self.alphabet]
        return mask

    def _after(self, prefix: str) -> frozenset:
        if not prefix:
            return self._start
        before, letter = self.after(prefix[:-1]), prefix[-1]
        moves = (move for state in before for move in self._moves[state])
        return self._closure({to for label, to in moves if label is not _EMPTY and letter in label})

    def _closure(self, states: set) -> frozenset:
        todo = list(states)
        while todo:
            for label, to in self._moves[todo.pop()]:
                if label is _EMPTY and to not in states:
                    states.add(to)
                    todo.append(to)
        return frozenset(states)

    def _state(self) -> int:
        if len(self._moves) >= _MOST_STATES:
            raise UsageError(f"--pattern {self.pattern[:40]!r}: too large; use smaller numbers in {{m,n}}")
        self._moves.append([])
        return len(self._moves) - 1

    def _alternatives(self) -> tuple[int, int]:
        start, end = self._state(), self._state()
        while True:
            first, last = self._sequence()
            self._moves[start].append((_EMPTY, first))
            self._moves[last].append((_EMPTY, end))
            if self._peek() != "|":
                return start, end
            self._at += 1

    def _sequence(self) -> tuple[int, int]:
        first = last = self._state()
        while self._peek() not in ("", "|", ")"):
            begin = self._at
            atom = self._atom()
            least, most = self._quantity()
            after = self._at
            for number in range(most if most is not None else max(least, 1)):
                if number:  # each repetition has states of its own
                    self._at = begin
                    atom = self._atom()
                start, end = atom
                self._moves[last].append((_EMPTY, start))
                if number >= least:
                    self._moves[last].append((_EMPTY, end))
                if most is None and number == max(least, 1) - 1:
                    self._moves[end].append((_EMPTY, start))
                last = end
            self._at = after
        return first, last

    def _atom(self) -> tuple[int, int]:
        letter = self._peek()
        self._at += 1
        if letter == "(":
            if self._text.startswith("?:", self._at):
                self._at += 2
            elif self._peek() == "?":
                raise UsageError(f"--pattern {self.pattern!r}: '(?{self._text[self._at + 1]}' is not supported")
            found = self._alternatives()
            self._at += 1
            return found
        start, end = self._state(), self._state()
        if letter in "^$":
            self._moves[start].append((_EMPTY, end))
            return start, end
        text = letter
        if letter == "[":
            stop = self._at + (self._peek() == "^") + 1
            while self._text[stop] != "]":
                stop += 2 if self._text[stop] == "\\" else 1
            text = self._text[self._at - 1 : stop + 1]
            self._at = stop + 1
        elif letter == "\\":
            text += self._peek()
            self._at += 1
            if text[1] in "bBAZ" or text[1].isdigit():
                raise UsageError(f"--pattern {self.pattern!r}: '{text}' is not supported")
        one = re.compile(text)
        self._moves[start].append((frozenset(c for c in self.alphabet if one.fullmatch(c)), end))
        return start, end

    def _quantity(self) -> tuple[int, int | None]:
        found = re.compile(r"\{(\d+)(,?)(\d*)\}").match(self._text, self._at)
        if found:
            self._at = found.end()
            least = int(found[1])
            most = int(found[3]) if found[3] else None if found[2] else least
            return least, most
        ways = {"*": (0, None), "+": (1, None), "?": (0, 1)}
        if self._peek() in ways and self._peek():
            self._at += 1
            return ways[self._text[self._at - 1]]
        return 1, 1

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]
