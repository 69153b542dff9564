"""Ink to the numbers that a network sees: height, slope and slant taken out, points at equal arc length. NumPy only."""

import numpy as np

from .ink import Ink

POINT_FEATURES = 8
_LIFT = 0.35  # a pen lift counts as so much path for each unit of its length, within these bounds:
_LIFT_LEAST, _LIFT_MOST = 0.3, 0.9
_DOT = 0.3  # path that every stroke has at least, so that no dot is lost


def normalise(ink: Ink, *, deskew: bool = True, first: int = 0) -> tuple[np.ndarray, np.ndarray, float]:
    """The ink in units of about the height of an x; with `deskew`, a straight and upright line.

    Args:
        first: take the height from so many first strokes (0: all), so that more ink does not change it.

    Returns:
        points (points, 2) with y up, the stroke of each point (points,), and how many input units a unit is.
    """
    points = np.concatenate([stroke[:, :2] for stroke in ink.strokes]) * [1.0, -1.0]
    owner = np.repeat(np.arange(len(ink.strokes)), [len(stroke) for stroke in ink.strokes])
    points = points - points[0]
    extent = float(np.ptp(points[owner < first] if first else points, axis=0).max()) or 1.0
    points = points / extent
    if deskew:
        points[:, 1] -= baseline(points)
    known = owner < first if first else np.ones(len(owner), bool)
    height = _height(points[known], owner[known])
    points = points / height
    if deskew:
        points[:, 0] -= _slant(points, owner) * points[:, 1]
    return points, owner, extent * height


def _pieces(points: np.ndarray, owner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pen-down pieces (pieces, 2) and their lengths."""
    step = np.diff(points, axis=0)[owner[1:] == owner[:-1]]
    return step, np.hypot(step[:, 0], step[:, 1])


def baseline(points: np.ndarray) -> np.ndarray:
    """(points,) the course of a line through points (points, 2): straight, of long lines a curve; nothing where it is
    too short to have one."""
    x, y = points[:, 0] - points[:, 0].mean(), points[:, 1]
    length = np.ptp(x)
    if length <= 4 * y.std():
        return np.zeros(len(y))
    x = x / length
    straight = _course(x, y, 1, length)
    rest = y - straight
    return _course(x, y, 3, length) if length > 25 * np.abs(rest - rest.mean()).mean() else straight


def _course(x: np.ndarray, y: np.ndarray, degree: int, length: float) -> np.ndarray:
    terms = np.vander(x, degree + 1, increasing=True)
    found = np.linalg.solve(terms.T @ terms + np.diag([0.0, 1e-6, 1e-2, 1e-2][: degree + 1]) * len(x), terms.T @ y)
    found[1] = np.clip(found[1], -0.3 * length, 0.3 * length)
    return terms[:, 1:] @ found[1:]


def _height(points: np.ndarray, owner: np.ndarray) -> float:
    """A scale for the line: from how far its ink lies above and below the local middle, weighed by length."""
    length = _pieces(points, owner)[1]
    if length.sum() <= 0:
        return 1.0
    middle = (points[1:] + points[:-1])[owner[1:] == owner[:-1]] / 2
    weight = length / length.sum()
    y = middle[:, 1] - (weight * middle[:, 1]).sum()
    spread = float((weight * np.abs(y)).sum())
    return max(2.4 * spread, 0.02 * float(np.ptp(points[:, 1])), 1e-3)


def _slant(points: np.ndarray, owner: np.ndarray) -> float:
    """Shear of the strokes that go up or down."""
    step, length = _pieces(points, owner)
    steep = (np.abs(step[:, 1]) > 1.2 * np.abs(step[:, 0])) & (length > 0)
    weight = length[steep] * np.abs(step[steep, 1])
    if weight.sum() <= 0:
        return 0.0
    lean = step[steep, 0] / step[steep, 1]
    return float(np.clip((weight * lean).sum() / weight.sum(), -0.8, 0.8)) * 0.8


def resample(points: np.ndarray, owner: np.ndarray, spacing: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points at equal distances along the path of the pen; a lift of the pen is a piece of path too.

    Returns:
        points (n, 2), the share of each that the pen is down (n,), and the place of each among the input's points (n,).
    """
    step = np.diff(points, axis=0)
    length = np.hypot(step[:, 0], step[:, 1])
    down = owner[1:] == owner[:-1]
    path = np.where(down, length, np.clip(_LIFT * length, _LIFT_LEAST, _LIFT_MOST))
    strokes = owner[-1] + 1
    whole = np.bincount(owner[:-1][down], length[down], strokes)
    pieces = np.bincount(owner[:-1][down], minlength=strokes)
    lacking = np.maximum(_DOT - whole, 0) / np.maximum(pieces, 1)
    path = path + np.where(down, lacking[owner[:-1]], 0.0)
    clock = np.concatenate([[0.0], np.cumsum(path)])
    at = np.arange(spacing / 2, clock[-1], spacing)
    place = np.interp(at, clock, np.arange(len(clock)))
    before = np.minimum(place.astype(int), len(down) - 1)
    found = np.stack([np.interp(at, clock, points[:, 0]), np.interp(at, clock, points[:, 1])], 1)
    return found, down[before].astype(float), place


def point_features(points: np.ndarray, down: np.ndarray, spacing: float, causal: bool) -> np.ndarray:
    """What the network sees of each point (n, 8).

    Step right and up, whether the pen is down, height above the local middle, cosine and sine of the turn, how far
    left of the rightmost ink so far, and the height of the last pen-down place.

    Args:
        causal: nothing looks ahead, so that ink can be read as it is written.
    """
    step = np.diff(points, axis=0, prepend=points[:1]) / spacing
    length = np.hypot(step[:, 0], step[:, 1])
    unit = step / np.maximum(length, 1e-3)[:, None]
    before = np.concatenate([unit[:1], unit[:-1]])
    cosine = (unit * before).sum(1)
    sine = before[:, 0] * unit[:, 1] - before[:, 1] * unit[:, 0]
    x, y = points[:, 0], points[:, 1]
    middle = _running(y, down, 120, causal)
    back = x - np.maximum.accumulate(x)
    short = _running(y, down, 16, causal)
    found = [
        np.clip(step[:, 0], -3, 3), np.clip(step[:, 1], -3, 3), down, np.clip(y - middle, -3, 3), cosine, sine,
        np.clip(back, -6, 0) / 2, np.clip(y - short, -3, 3),
    ]  # fmt: skip
    return np.stack(found, 1).astype(np.float32)


def _running(y: np.ndarray, down: np.ndarray, width: int, causal: bool) -> np.ndarray:
    """Mean of y over pen-down points around each point, or before it."""
    weight = np.maximum(down, 1e-3)
    sums = np.cumsum(np.concatenate([[0.0], weight * y]))
    counts = np.cumsum(np.concatenate([[0.0], weight]))
    index = np.arange(len(y))
    low = np.maximum(index - width, 0)
    high = index + 1 if causal else np.minimum(index + width, len(y) - 1) + 1
    return (sums[high] - sums[low]) / (counts[high] - counts[low])


def stack(points: np.ndarray, count: int) -> np.ndarray:
    """`count` points a frame (frames, count × features), the last frame filled up with zeros."""
    frames = -(-len(points) // count)
    out = np.zeros((frames * count, points.shape[1]), np.float32)
    out[: len(points)] = points
    return out.reshape(frames, -1)


def symbol(points: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """A drawing's points (points, 2), y up, centred in a box whose longer side is 2."""
    low, high = points.min(0), points.max(0)
    return (points - (low + high) / 2) * (2 / max((high - low).max(), 1e-9))


def symbol_features(points: np.ndarray, down: np.ndarray, spacing: float) -> np.ndarray:
    """What the network sees of each point of a drawing (n, 8): step, pen, turn, place, progress."""
    step = np.diff(points, axis=0, prepend=points[:1]) / spacing
    unit = step / np.maximum(np.hypot(step[:, 0], step[:, 1]), 1e-3)[:, None]
    before = np.concatenate([unit[:1], unit[:-1]])
    turn = [(unit * before).sum(1), before[:, 0] * unit[:, 1] - before[:, 1] * unit[:, 0]]
    place = np.linspace(0, 1, len(points))
    found = [*np.clip(step, -3, 3).T, down, *turn, *points.T, place]
    return np.stack(found, 1).astype(np.float32)
