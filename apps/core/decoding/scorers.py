"""What may guide a CTC prefix search beside the network: language model, lexicon, hotwords, a grammar.

A scorer follows a prefix by a hashable state: `start`; `scores(state)`, an array (classes,) of what each next class
adds to the log score; `advance(state, class)`; `finish(state)`, what ending the text there adds.
"""

from functools import lru_cache

import numpy as np

_CACHED = 4096  # rows of scores kept


class CharacterScorer:
    """weight × log p(character) + bonus, of a `LanguageModel` over the decoder's alphabet."""

    def __init__(self, model, characters, blank, weight, bonus):
        self._model, self._weight, self._bonus = model, weight, bonus
        self._symbols = np.insert(model.symbols(characters), blank, model.end)
        self.start = model.start
        self.scores = lru_cache(_CACHED)(self.scores)

    def scores(self, state):
        return self._weight * self._model.log_probs(state)[self._symbols] + self._bonus

    def advance(self, state, index):
        return self._model.advance(state, int(self._symbols[index]))

    def finish(self, state):
        return self._weight * self._model.log_probs(state)[self._model.end]


class BonusScorer:
    """A constant for every character, against the shortening that a beam prefers."""

    start = None

    def __init__(self, classes, bonus):
        self._scores = np.full(classes, float(bonus))

    def scores(self, state):
        return self._scores

    def advance(self, state, index):
        return None

    def finish(self, state):
        return 0.0


def _tree(words, delimiters):
    """Nodes of a prefix tree, [{class: node}], and the node of each word."""
    nodes, ends = [{}], {}
    for word in words:
        if not word or word[0] in delimiters or word[-1] in delimiters:
            raise ValueError(f"expected words that neither begin nor end with a delimiter, received classes {word}")
        node = 0
        for index in word:
            if index not in nodes[node]:
                nodes[node][index] = len(nodes)
                nodes.append({})
            node = nodes[node][index]
        ends[node] = word
    return nodes, ends


class Lexicon:
    """A penalty, once a word, for words outside a list; −inf forbids them.

    The penalty falls at the first character that leaves the list, or at the delimiter after a word left unfinished.
    """

    start = 0

    def __init__(self, words, classes, delimiters, unknown):
        self._nodes, ends = _tree(words, delimiters)
        self._ends, self._classes, self._delimiters, self._unknown = set(ends), classes, sorted(delimiters), unknown
        self.scores = lru_cache(_CACHED)(self.scores)

    def scores(self, state):
        row = np.zeros(self._classes)
        if state >= 0:
            row[:] = self._unknown
            row[list(self._nodes[state])] = 0.0
            row[self._delimiters] = self.finish(state)
        return row

    def advance(self, state, index):
        if index in self._delimiters:
            return 0
        return self._nodes[state].get(index, -1) if state >= 0 else -1

    def finish(self, state):
        return 0.0 if state <= 0 or state in self._ends else self._unknown


class Hotwords:
    """A reward for each of some words or phrases, spread over its characters and taken back if it does not come about.

    The reward counts where a word begins at a word's beginning and ends at a word's end. A phrase that breaks off
    leaves what its first words earn, and the word at which it broke may still earn its own.
    """

    start = 0

    def __init__(self, rewards, classes, delimiters):
        self._nodes, ends = _tree(rewards, delimiters)
        self._classes, self._delimiters = classes, delimiters
        self._ahead = np.zeros(len(self._nodes) + 1)  # reward paid out on the way to a node; the last is for −1
        self._earned = np.zeros(len(self._nodes))  # of that, what a phrase completed before the last delimiter keeps
        self._final = {node: rewards[word] for node, word in ends.items()}
        for word, reward in rewards.items():
            node = 0
            for place, index in enumerate(word, 1):
                node = self._nodes[node][index]
                self._ahead[node] = max(self._ahead[node], reward * place / len(word))
        # −1 in the first word; else where the word now under way stands by itself, −2 if nowhere
        self._alone = np.full(len(self._nodes), -1)
        for node, children in enumerate(self._nodes):  # parents come before children
            for index, child in children.items():
                alone = self._alone[node]
                if index in delimiters:
                    self._earned[child], self._alone[child] = self._kept(node), 0
                elif alone != -1:
                    self._alone[child] = self._nodes[alone].get(index, -2) if alone >= 0 else -2
                    self._earned[child] = self._earned[node]
        self.scores = lru_cache(_CACHED)(self.scores)

    def scores(self, state):
        moves = [self._move(state, index) for index in range(self._classes)]
        return np.array([gain + self._ahead[node] - self._ahead[state] for node, gain in moves])

    def advance(self, state, index):
        return self._move(state, index)[0]

    def finish(self, state):
        return self._kept(state) - self._ahead[state]

    def _move(self, node, index):
        """The next node, −1 within a word that is none of the phrases, and what leaving this one keeps."""
        if node < 0:
            return (0 if index in self._delimiters else -1), 0.0
        if index in self._nodes[node]:
            return self._nodes[node][index], 0.0
        if index in self._delimiters:
            return 0, self._kept(node)
        if self._alone[node] < 0:
            return -1, self._earned[node]
        following, kept = self._move(self._alone[node], index)
        return following, kept + self._earned[node]

    def _kept(self, node):
        if node < 0:
            return 0.0
        return max(self._final.get(node, 0.0), self._earned[node] + self._kept(self._alone[node]))


class Grammar:
    """A callback `allowed(prefix text) -> bool (classes,)`: what may follow; the blank's place: may the text end."""

    start = ""

    def __init__(self, allowed, labels, blank):
        self._allowed, self._labels, self._blank = allowed, labels, blank

    def scores(self, state):
        mask = np.asarray(self._allowed(state))
        if mask.dtype != bool or mask.shape != (len(self._labels),):
            found = f"{mask.dtype} {mask.shape}"
            raise ValueError(f"expected the callback to return {len(self._labels)} booleans, received {found}")
        return np.where(mask, 0.0, -np.inf)

    def advance(self, state, index):
        return state + self._labels[index]

    def finish(self, state):
        return self.scores(state)[self._blank]
