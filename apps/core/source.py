"""What training draws its batches from. NumPy only: an application's data module imports no Keras."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Source:
    """Rows to learn from: how many there are, and how to gather some of them.

    `gather(indices) -> (inputs, targets)` or `(inputs, targets, weights)`, arrays or dicts of arrays, rows first.
    `sizes() -> (count,)` gives the length of each row where lengths differ: rows of like length then share a batch,
    unless `alike` is false. `padded(longest)` is the length to which a batch is filled up whose longest row is that
    long, by default no more. `chains()` lists the rows that follow on each other, the windows of a stream in order:
    training then reads them so and carries the states over (see `streams`). `fresh(epoch)` gives the rows of an epoch
    where each has its own, as many; what stands beside it are those of the first.
    """

    count: int
    gather: Callable[[np.ndarray], tuple]
    sizes: Callable[[], np.ndarray] | None = None
    alike: bool = True
    padded: Callable[[int], int] = int
    chains: Callable[[], list[np.ndarray]] | None = None
    fresh: Callable[[int], Source] | None = None


def ragged(sequences, targets, padding=0) -> Source:
    """A source of sequences of different length, filled up at their end, with a mask.

    Args:
        sequences: a list of arrays, or a ragged tensor: a row for each, (steps, …).
        targets: an array with a row for each of them; or a sequence of targets for each, one a step, whose weights are
            then 0 where there is no step.
        padding: what is filled in.

    Rows are `{"sequence": (batch, steps, …), "mask": (batch, steps)}`, targets, and weights where those are sequences.
    """
    rows, answers = [np.asarray(row) for row in sequences], [np.asarray(row) for row in targets]
    if len(rows) != len(answers):
        raise ValueError(f"expected a target for each sequence, received {len(rows)} and {len(answers)}")
    sizes = np.array([len(row) for row in rows])
    stepwise = all(a.ndim and len(a) == n for a, n in zip(answers, sizes, strict=True)) and len(set(sizes)) > 1

    def gather(indices):
        longest = sizes[indices].max()
        mask = np.arange(longest) < sizes[indices][:, None]
        inputs = {"sequence": _fill([rows[i] for i in indices], longest, padding), "mask": mask}
        if not stepwise:
            return inputs, np.stack([answers[i] for i in indices])
        return inputs, _fill([answers[i] for i in indices], longest, 0), mask.astype("float32")

    return Source(len(rows), gather, lambda: sizes)


def _fill(rows: list[np.ndarray], longest: int, padding) -> np.ndarray:
    filled = np.full((len(rows), longest, *rows[0].shape[1:]), padding, rows[0].dtype)
    for place, row in zip(filled, rows, strict=True):
        place[: len(row)] = row
    return filled
