"""Strokes as cubic Bézier curves: as few as come within a tolerance, each one frame of a network. NumPy only.

Reference: Carbune et al. 2020, "Fast multi-language LSTM-based online handwriting recognition". Departures: control
points are given by their offsets, not by angles and ratios; there are no coefficients of time.
"""

import numpy as np

FEATURES = 10
TOLERANCE = 0.06  # heights of an x
_LEAST = 4  # points that a curve is fitted to


def fit(points: np.ndarray, tolerance: float = TOLERANCE) -> list[tuple[int, int, np.ndarray]]:
    """A polyline (points, 2) as cubic curves end to end: (first point, last point, control points (4, 2)) of each."""
    done, todo = [], [(0, len(points) - 1)]
    while todo:
        first, last = todo.pop()
        controls, worst = _cubic(points[first : last + 1], tolerance)
        if worst is None or last - first < _LEAST:
            done.append((first, last, controls))
        else:
            middle = first + min(max(worst, 1), last - first - 1)
            todo += [(middle, last), (first, middle)]
    return done


def _cubic(points: np.ndarray, tolerance: float) -> tuple[np.ndarray, int | None]:
    """Control points (4, 2), the ends those of the polyline; and where to split it, None where it is near enough."""
    if len(points) < _LEAST:
        return _straight(points[0], points[-1]), None
    path = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    if path[-1] <= 0:
        return _straight(points[0], points[-1]), None
    u = path / path[-1]
    for _ in range(7):
        basis = _basis(u)
        rest = points - basis[:, :1] * points[0] - basis[:, 3:] * points[-1]
        inner = basis[:, 1:3]
        found = np.linalg.solve(inner.T @ inner + 1e-6 * np.eye(2), inner.T @ rest)
        controls = np.stack([points[0], *found, points[-1]])
        error = np.hypot(*(basis @ controls - points).T)
        if error.max() <= tolerance:
            return controls, None
        if error.max() > 5 * tolerance:
            break  # no other parameters will mend that
        u = _nearer(u, controls, points)
    return controls, int(error.argmax())


def _straight(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    return start + np.array([0, 1 / 3, 2 / 3, 1])[:, None] * (end - start)


def _basis(u: np.ndarray) -> np.ndarray:
    v = 1 - u
    return np.stack([v**3, 3 * u * v**2, 3 * u**2 * v, u**3], 1)


def _nearer(u: np.ndarray, controls: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Parameters (points,) of the curve's places that are nearer to the points: a Newton step, kept in order."""
    away = _basis(u) @ controls - points
    slope = 3 * np.stack([(1 - u) ** 2, 2 * u * (1 - u), u**2], 1) @ np.diff(controls, axis=0)
    found = u - (away * slope).sum(1) / np.maximum((slope * slope).sum(1), 1e-9)
    found = np.maximum.accumulate(np.clip(found, 0, 1))
    found[0], found[-1] = 0.0, 1.0
    return found


def encode(points: np.ndarray, owner: np.ndarray, tolerance: float = TOLERANCE) -> tuple[np.ndarray, np.ndarray]:
    """What the network sees of each curve (curves, 10), and the point at which it begins (curves,).

    End right and up of the start, both control points from their ends, the lift before (zero within a stroke), height
    of the middle above the mean of the curves before, and whether a stroke begins.

    Args:
        points: (points, 2), normalised, y up. owner: the stroke of each.
    """
    rows, places, heights = [], [], []
    cuts = np.flatnonzero(np.diff(owner)) + 1
    before = None
    for start, stroke in zip([0, *cuts], np.split(points, cuts), strict=True):
        for number, (first, _, controls) in enumerate(fit(stroke, tolerance)):
            lift = controls[0] - before if before is not None and number == 0 else np.zeros(2)
            heights.append(controls[:, 1].mean())
            above = heights[-1] - np.mean(heights[-25:])
            ends = controls[3] - controls[0], controls[1] - controls[0], controls[2] - controls[3]
            rows.append([*ends[0], *ends[1], *ends[2], *lift, above, float(number == 0)])
            places.append(start + first)
            before = controls[3]
    return np.clip(np.array(rows), -4, 4).astype(np.float32), np.array(places, float)
