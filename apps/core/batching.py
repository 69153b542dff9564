"""Batches that depend on nothing but (seed, epoch, step), so that a resumed run sees the same data."""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np


@dataclass(frozen=True)
class Source:
    """Rows to learn from: how many there are, and how to gather some of them.

    `gather(indices) -> (inputs, targets)` or `(inputs, targets, weights)`, arrays or dicts of arrays, rows first.
    """

    count: int
    gather: Callable[[np.ndarray], tuple]


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
