"""What a model has to beat: each key or symbol by its own frequency, and Markov chains over whole steps. NumPy only."""

import numpy as np

from .codec import Codec

ORDERS = {"unigram": 0, "markov-1": 1, "markov-2": 2}


class Markov:
    """A chain over whole steps that backs off to shorter pasts, and at last to independent keys or symbols.

        p_n(y | h) = (c(h, y) + t(h) p_{n−1}(y | h')) / (c(h) + t(h))

    with c counts, t(h) the number of distinct steps that follow h, h' the past without its first step; p_{−1} is the
    product of the frequencies of the step's keys or symbols (add one half). Order 0 is that product alone.
    Reference: Witten and Bell 1991, The zero-frequency problem.

    Args:
        codec: gives the kind of the steps. order: steps of the past.
        sequences: the training data.
    """

    def __init__(self, codec: Codec, order: int, sequences: list[np.ndarray]):
        self.codec, self.order = codec, order
        values = 2 if codec.kind == "frames" else codec.symbols
        steps = np.concatenate([s.reshape(len(s), -1) for s in sequences])
        counts = np.stack([np.bincount(column, minlength=values) for column in steps.T]) + 0.5
        self.base = counts / counts.sum(axis=1, keepdims=True)  # (parts, values)
        self.tables: list[dict[tuple, dict[bytes, int]]] = [{} for _ in range(order + 1 if order else 0)]
        self.shape = sequences[0].shape[1:]
        for sequence in sequences:
            names = self._names(sequence)
            for t in range(order, len(names)):
                for n, table in enumerate(self.tables):
                    following = table.setdefault(tuple(names[t - n : t]), {})
                    following[names[t]] = following.get(names[t], 0) + 1

    def _names(self, sequence: np.ndarray) -> list[bytes]:
        blank = np.repeat(self.codec.blank[None], self.order, axis=0)
        return [step.tobytes() for step in np.concatenate([blank, sequence]).astype(np.int32)]

    def step_scores(self, sequence: np.ndarray) -> np.ndarray:
        """−log p of every step in nats."""
        flat = sequence.reshape(len(sequence), -1)
        scores = np.log(self.base[np.arange(flat.shape[1]), flat]).sum(axis=1)
        if not self.order:
            return -scores
        names = self._names(sequence)
        for n, table in enumerate(self.tables):
            for t in range(len(sequence)):
                place = t + self.order
                following = table.get(tuple(names[place - n : place]))
                if following:
                    distinct, count = len(following), sum(following.values())
                    seen = following.get(names[place], 0)
                    scores[t] = np.logaddexp(_log(seen), np.log(distinct) + scores[t]) - np.log(count + distinct)
        return -scores

    def draw(self, steps: int, rng: np.random.Generator) -> np.ndarray:
        """A sequence from the chain."""
        names = self._names(np.zeros((0, *self.shape), np.int32))
        for _ in range(steps):
            names.append(self._next(names, rng))
        made = [np.frombuffer(name, np.int32).reshape(self.shape) for name in names[self.order :]]
        return np.stack(made).astype(np.uint8 if self.codec.kind == "frames" else np.int32)

    def _next(self, names: list[bytes], rng: np.random.Generator) -> bytes:
        for n in range(len(self.tables) - 1, -1, -1):
            following = self.tables[n].get(tuple(names[len(names) - n :]))
            if following:
                counts = np.fromiter(following.values(), float)
                place = rng.random() * (counts.sum() + len(counts))
                if place < counts.sum():
                    return list(following)[int(np.searchsorted(np.cumsum(counts), place, side="right"))]
        levels = np.cumsum(self.base, axis=1)
        parts = (rng.random((len(levels), 1)) >= levels[:, :-1]).sum(axis=1)
        return parts.astype(np.int32).tobytes()


def _log(count: int) -> float:
    return np.log(count) if count else -np.inf
