"""Batches that depend on nothing but (seed, epoch, step), so that a resumed run sees the same data."""

import keras
import numpy as np
from keras import tree

from .source import Source

POOL = 32  # batches among whose rows those of like length are put together


class Batches(keras.utils.PyDataset):
    """The rows of a source in batches, in a new order each epoch; the last batch may be short.

    Args:
        source: the rows.
        batch_size: rows per batch.
        seed: orders the epochs; None keeps the rows in order.
        rows: at most this many rows an epoch (all of them when 0); each epoch draws others.
        epoch: the one that it begins with.
    """

    def __init__(self, source: Source, batch_size: int, seed: int | None = None, rows: int = 0, epoch: int = 0):
        super().__init__()
        self.source, self.batch_size, self.seed = source, batch_size, seed
        self.rows = min(rows or source.count, source.count)
        self._fresh = source.fresh or (lambda epoch: source)
        self.start_epoch(epoch)

    def start_epoch(self, epoch: int) -> None:
        """Orders the rows for `epoch`."""
        self.source = self._fresh(epoch)
        count = self.source.count
        if self.seed is None:
            self._order = np.arange(self.rows) * count // max(self.rows, 1)
        else:
            self._order = np.random.default_rng((self.seed, epoch)).permutation(count)[: self.rows]
        if self.varies:
            self.batches = self._of_like_length(self._order, self.source.sizes(), epoch)
        else:
            self.batches = self._cut(self._order)

    @property
    def varies(self) -> bool:
        """Whether batches differ in length."""
        return self.source.sizes is not None and self.source.alike

    def _cut(self, order: np.ndarray) -> list[np.ndarray]:
        return [order[start : start + self.batch_size] for start in range(0, len(order), self.batch_size)]

    def _of_like_length(self, order: np.ndarray, sizes: np.ndarray, epoch: int) -> list[np.ndarray]:
        """Batches of rows of like length, from one pool after the other, in another order; one may be short.

        The longest and the shortest batch come first: Keras takes the dimensions that vary from the first two.
        """
        pool = POOL * self.batch_size
        pools = [order[start : start + pool] for start in range(0, len(order), pool)]
        batches = self._cut(np.concatenate([rows[np.argsort(sizes[rows], kind="stable")] for rows in pools]))
        if self.seed is not None:
            shuffled = np.random.default_rng((self.seed, epoch, 1)).permutation(len(batches))
            batches = [batches[i] for i in shuffled]
        longest = [int(sizes[rows].max()) for rows in batches]
        first = dict.fromkeys([int(np.argmax(longest)), int(np.argmin(longest)), *range(len(batches))])
        return [batches[i] for i in first]

    def padding(self) -> dict[str, float] | None:
        """The `share` of an epoch's steps that are padding, and as `plain` what it would be with rows of any length in
        a batch; None where all rows are as long."""
        if self.source.sizes is None or not self.rows:
            return None
        found = {"share": self.batches, **({"plain": self._cut(self._order)} if self.varies else {})}
        return {name: self._wasted(batches, self.source.sizes()) for name, batches in found.items()}

    def _wasted(self, batches: list[np.ndarray], sizes: np.ndarray) -> float:
        steps = sum(self.source.padded(int(sizes[rows].max())) * len(rows) for rows in batches)
        return 1.0 - sum(int(sizes[rows].sum()) for rows in batches) / max(steps, 1)

    def __len__(self) -> int:
        return -(-self.rows // self.batch_size)

    def __getitem__(self, step: int) -> tuple:
        return self.source.gather(self.batches[step])


class Rest(keras.utils.PyDataset):
    """What is left of an epoch after its first `skipped` batches, in their order.

    Before it begins Keras looks at two batches, for the dimensions that vary: it sees the first two of the whole epoch,
    the longest and the shortest.
    """

    def __init__(self, batches: keras.utils.PyDataset, skipped: int):
        super().__init__()
        self.batches, self.skipped = batches, skipped
        self.varies = batches.varies
        self._start = skipped if len(self) == 1 else 0  # one batch alone is what it looks at

    def on_epoch_begin(self) -> None:
        """Told by Keras after it has looked."""
        self._start = self.skipped

    def __len__(self) -> int:
        return len(self.batches) - self.skipped

    def __getitem__(self, step: int) -> tuple:
        return self.batches[self._start + step]


def pipeline(batches: keras.utils.PyDataset):
    """The batches as `fit` is to read them: on TensorFlow a `tf.data` pipeline without automatic tuning.

    The one that Keras makes of a `PyDataset` is tuned by a thread that sleeps, for seconds after a slow first epoch,
    and every epoch waits for that of the epoch before to wake up.
    """
    if keras.backend.backend() != "tensorflow":
        return batches
    import tensorflow as tf

    def spec(*arrays):
        sizes = [set(dimension) for dimension in zip(*(a.shape[1:] for a in arrays), strict=True)]
        if varies:
            sizes[:1] = [set() for _ in sizes[:1]]
        return tf.TensorSpec([None, *(n.pop() if len(n) == 1 else None for n in sizes)], arrays[0].dtype)

    def epoch():
        batches.on_epoch_begin()
        yield from (batches[step] for step in range(len(batches)))

    varies = getattr(batches, "varies", False)  # in another epoch too, where the first two batches are as long
    looked_at = [batches[step] for step in range(min(2, len(batches)))]
    found = tf.data.Dataset.from_generator(epoch, output_signature=tree.map_structure(spec, *looked_at))
    options = tf.data.Options()
    options.autotune.enabled = False
    counted = found.apply(tf.data.experimental.assert_cardinality(len(batches)))
    return counted.prefetch(2).with_options(options)
