"""Batches that depend on nothing but (seed, epoch, step), so that a resumed run sees the same data."""

import keras
import numpy as np

from .source import Source


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

    def __len__(self) -> int:
        return -(-self.rows // self.batch_size)

    def __getitem__(self, step: int) -> tuple:
        return self.source.gather(self._order[step * self.batch_size : (step + 1) * self.batch_size])
