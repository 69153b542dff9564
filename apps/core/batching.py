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
        if self.source.sizes is not None:
            self._order = self._alike(self._order, self.source.sizes()[self._order], epoch)

    def _alike(self, order: np.ndarray, sizes: np.ndarray, epoch: int) -> np.ndarray:
        """The rows of each pool by length, and the batches so made in another order; the last may be short.

        The longest and the shortest batch come first: Keras takes the dimensions that vary from the first few.
        """
        pool = POOL * self.batch_size
        pooled = np.concatenate(
            [s + np.argsort(sizes[s : s + pool], kind="stable") for s in range(0, len(order), pool)]
        )
        whole = self.rows // self.batch_size * self.batch_size
        batches = order[pooled][:whole].reshape(-1, self.batch_size)
        if self.seed is not None:
            batches = np.random.default_rng((self.seed, epoch, 1)).permutation(batches)
        if len(batches) > 1:
            lengths = dict(zip(order.tolist(), sizes.tolist(), strict=True))
            last = [lengths[row] for row in batches[:, -1].tolist()]
            longest, shortest = int(np.argmax(last)), int(np.argmin(last))
            rest = [i for i in range(len(batches)) if i not in (longest, shortest)]
            batches = batches[list(dict.fromkeys([longest, shortest, *rest]))]
        return np.concatenate([batches.ravel(), order[pooled][whole:]])

    def __len__(self) -> int:
        return -(-self.rows // self.batch_size)

    def __getitem__(self, step: int) -> tuple:
        return self.source.gather(self._order[step * self.batch_size : (step + 1) * self.batch_size])
