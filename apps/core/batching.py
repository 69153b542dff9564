"""Batches that depend on nothing but (seed, epoch, step), so that a resumed run sees the same data."""

import keras
import numpy as np

from .source import Source

POOL = 32  # batches among whose rows those of like length are put together


class Batches(keras.utils.PyDataset):
    """The rows of a source in batches, in a new order each epoch; the last batch may be short.

    Args:
        source: the rows.
        batch_size: rows per batch.
        seed: orders the epochs; None keeps the rows in order.
        rows: at most this many rows an epoch (all of them when 0); each epoch draws others.
    """

    def __init__(self, source: Source, batch_size: int, seed: int | None = None, rows: int = 0):
        super().__init__()
        self.source, self.batch_size, self.seed = source, batch_size, seed
        self.rows = min(rows or source.count, source.count)
        self.start_epoch(0)

    def start_epoch(self, epoch: int) -> None:
        """Orders the rows for `epoch`."""
        count = self.source.count
        if self.seed is None:
            self._order = np.arange(self.rows) * count // max(self.rows, 1)
        else:
            self._order = np.random.default_rng((self.seed, epoch)).permutation(count)[: self.rows]
        if self.source.sizes is None:
            self.batches = self._cut(self._order)
        else:
            self.batches = self._alike(self._order, self.source.sizes(), epoch)

    def _cut(self, order: np.ndarray) -> list[np.ndarray]:
        return [order[start : start + self.batch_size] for start in range(0, len(order), self.batch_size)]

    def _alike(self, order: np.ndarray, sizes: np.ndarray, epoch: int) -> list[np.ndarray]:
        """Batches of rows of like length, from one pool after the other, in another order; one may be short.

        The longest and the shortest batch come first: Keras takes the dimensions that vary from the first two.
        """
        pool = POOL * self.batch_size
        pools = [order[start : start + pool] for start in range(0, len(order), pool)]
        batches = self._cut(np.concatenate([rows[np.argsort(sizes[rows], kind="stable")] for rows in pools]))
        if self.seed is not None:
            shuffled = np.random.default_rng((self.seed, epoch, 1)).permutation(len(batches))
            batches = [batches[i] for i in shuffled]
        return [batches[i] for i in self.varying_first(batches)]

    def varying_first(self, batches: list[np.ndarray]) -> list[int]:
        """The places of batches, that of the longest and of the shortest one first where lengths differ."""
        if self.source.sizes is None:
            return list(range(len(batches)))
        sizes = self.source.sizes()
        longest = [int(sizes[rows].max()) for rows in batches]
        return list(dict.fromkeys([int(np.argmax(longest)), int(np.argmin(longest)), *range(len(batches))]))

    def __len__(self) -> int:
        return -(-self.rows // self.batch_size)

    def __getitem__(self, step: int) -> tuple:
        return self.source.gather(self.batches[step])


class Rest(keras.utils.PyDataset):
    """What is left of an epoch after its first `skipped` batches, in their order; with the longest and the shortest of
    them first where lengths differ, as in a whole epoch."""

    def __init__(self, batches: Batches, skipped: int):
        super().__init__()
        self.batches, left = batches, batches.batches[skipped:]
        self._steps = [skipped + place for place in batches.varying_first(left)]

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, step: int) -> tuple:
        return self.batches[self._steps[step]]
