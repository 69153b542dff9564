"""Ink: pen strokes with the text that they are. NumPy only."""

from dataclasses import dataclass

import numpy as np

from ..core.errors import DataError

MOST_STROKES = 4_000
MOST_POINTS = 200_000


@dataclass(frozen=True)
class Ink:
    """Strokes as the pen made them.

    Attributes:
        strokes: each (points, 3): x to the right, y **down** as on a screen, time in seconds.
        text: what they say; None where it is not known. For drawings of one symbol, its label.
        name: file or row, for messages. writer: who wrote it; "" where it is not known.
        split: train, validation or test where the data say so; else "".
    """

    strokes: tuple[np.ndarray, ...]
    text: str | None = None
    name: str = ""
    writer: str = ""
    split: str = ""

    @property
    def points(self) -> int:
        return sum(len(stroke) for stroke in self.strokes)


def make_ink(strokes, text=None, name="", writer="", split="") -> Ink:
    """Ink from lists of points (x, y) or (x, y, t); refuses what cannot be written with a pen.

    Points without time get one every 10 ms, strokes 100 ms apart.
    """
    if len(strokes) > MOST_STROKES:
        raise DataError(
            f"{name}: {len(strokes):,} strokes; expected at most {MOST_STROKES:,} in a line; give one line at a time"
        )
    arrays = [_stroke(points, f"{name}: stroke {number}") for number, points in enumerate(strokes, 1)]
    arrays = [a for a in arrays if len(a)]
    count = sum(map(len, arrays))
    if count == 0:
        raise DataError(f"{name}: no ink; expected one or more strokes of x, y points")
    if count > MOST_POINTS:
        raise DataError(
            f"{name}: {count:,} points; expected at most {MOST_POINTS:,} in a line; give one line at a time"
        )
    if count == 1 or np.ptp(np.concatenate([a[:, :2] for a in arrays]), axis=0).max() == 0:
        raise DataError(f"{name}: all its points are one; expected strokes with an extent")
    _check_time(arrays, name)
    return Ink(tuple(_timed(arrays)), text, name, writer, split)


def _stroke(points, where: str) -> np.ndarray:
    try:
        array = np.asarray(points, np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{where}: expected points of two or three numbers (x, y, t)") from None
    if array.size == 0:
        return np.zeros((0, 2))
    if array.ndim != 2 or array.shape[1] not in (2, 3):
        raise DataError(f"{where}: expected points of two or three numbers (x, y, t), received shape {array.shape}")
    bad = np.argwhere(~np.isfinite(array[:, :2]))
    if len(bad):
        raise DataError(
            f"{where}, point {bad[0][0] + 1}: {'xy'[bad[0][1]]} is {array[tuple(bad[0])]}; expected a number"
        )
    if np.abs(array[:, :2]).max() > 1e9:
        raise DataError(f"{where}: a coordinate beyond 1e9; expected pixels, millimetres or tablet units")
    return array if array.shape[1] == 2 or np.isfinite(array[:, 2]).all() else array[:, :2]


def _check_time(arrays: list[np.ndarray], name: str) -> None:
    last = -np.inf
    for number, array in enumerate(arrays, 1):
        if array.shape[1] < 3:
            continue
        times = array[:, 2]
        back = np.flatnonzero(np.diff(times, prepend=last) < 0)
        if len(back):
            before = times[back[0] - 1] if back[0] else last
            raise DataError(
                f"{name}: stroke {number}, point {back[0] + 1}: time runs backwards, from {before:g} to "
                f"{times[back[0]]:g}; expected points in the order of writing (leave time out if it is not known)"
            )
        last = times[-1]


def _timed(arrays: list[np.ndarray]) -> list[np.ndarray]:
    if all(a.shape[1] == 3 for a in arrays):
        return arrays
    out, now = [], 0.0
    for array in arrays:
        times = now + 0.01 * np.arange(len(array))
        out.append(np.column_stack([array[:, :2], times]))
        now = times[-1] + 0.1
    return out
