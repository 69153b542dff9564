"""What training draws its batches from. NumPy only: an application's data module imports no Keras."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Source:
    """Rows to learn from: how many there are, and how to gather some of them.

    `gather(indices) -> (inputs, targets)` or `(inputs, targets, weights)`, arrays or dicts of arrays, rows first.
    `sizes() -> (count,)` gives the length of each row where lengths differ: rows of like length then share a batch.
    """

    count: int
    gather: Callable[[np.ndarray], tuple]
    sizes: Callable[[], np.ndarray] | None = None
