"""Pictures of lines: ink rendered as a pen would leave it on paper, and pictures made ready for a model. NumPy only.

A picture is (height, width) of grey in [0, 1], ink dark.
"""

import numpy as np

from .ink import Ink

MOST_PIXELS = 40_000_000


def render(ink: Ink, height: float, pen: float, rng: np.random.Generator | None = None) -> np.ndarray:
    """The ink on white paper: uint-free grey in [0, 1], dark where the pen went.

    Args:
        height: pixels of the ink's height; the paper reaches a little further.
        pen: width of the pen in pixels.
        rng: varies the pressure along each stroke; None keeps it even.
    """
    points = np.concatenate([stroke[:, :2] for stroke in ink.strokes])
    low, high = points.min(0), points.max(0)
    scale = height / max(high[1] - low[1], 0.1 * (high[0] - low[0]) / 4, 1e-9)
    margin = pen + 2
    width, tall = np.ceil((high - low) * scale + 2 * margin).astype(int) + 1
    if width * tall > MOST_PIXELS:
        raise ValueError(f"expected a picture of at most {MOST_PIXELS:,} pixels, received {width} x {tall}")
    dots, weights = [], []
    for stroke in ink.strokes:
        at = (stroke[:, :2] - low) * scale + margin
        dots.append(_dense(at, 0.4))
        pressure = np.ones(len(dots[-1]))
        if rng is not None:
            pressure = 1 + 0.25 * np.sin(np.arange(len(pressure)) * rng.uniform(0.005, 0.05) + rng.uniform(0, 6.28))
        weights.append(pressure)
    return 1 - _ink(np.concatenate(dots), np.concatenate(weights), pen / 2, (tall, width))


def _dense(at: np.ndarray, step: float) -> np.ndarray:
    """Points along a polyline, `step` pixels apart."""
    if len(at) == 1:
        return at
    path = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(at, axis=0).T))])
    places = np.linspace(0, path[-1], max(int(path[-1] / step), 1) + 1)
    return np.stack([np.interp(places, path, at[:, 0]), np.interp(places, path, at[:, 1])], 1)


def _ink(dots: np.ndarray, weights: np.ndarray, radius: float, shape: tuple[int, int]) -> np.ndarray:
    """How dark each pixel is: one less its distance to the nearest dot beyond the pen's radius, smoothly."""
    most = radius * weights.max() + 0.5
    steps = np.arange(-int(most), int(most) + 2)
    base = np.floor(dots).astype(int)
    across, down = (np.square(steps[:, None] - (dots - base)[:, axis]).astype(np.float32) for axis in (0, 1))
    limit = (radius * weights + 0.5).astype(np.float32)
    dark = np.zeros(shape, np.float32)
    for row, dy in zip(down, steps, strict=True):
        value = limit - np.sqrt(across + row)
        there = value > 0
        x = (base[:, 0] + steps[:, None])[there]
        y = np.broadcast_to(base[:, 1] + dy, value.shape)[there]
        inside = (x >= 0) & (y >= 0) & (x < shape[1]) & (y < shape[0])
        np.maximum.at(dark.reshape(-1), y[inside] * shape[1] + x[inside], value[there][inside])
    return np.minimum(dark, 1)


def weather(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The picture as a camera or scanner might give it: paper, uneven light, ruling, faded ink, blur, noise."""
    tall, wide = picture.shape
    paper, ink = rng.uniform(0.65, 1.0), rng.uniform(0.0, 0.45)
    light = np.linspace(rng.uniform(-0.15, 0.15), rng.uniform(-0.15, 0.15), wide)[None]
    light = light + np.linspace(rng.uniform(-0.1, 0.1), rng.uniform(-0.1, 0.1), tall)[:, None]
    ground = paper + light + 0.04 * rng.random() * _smooth(rng.normal(size=picture.shape), 3) * 3
    if rng.random() < 0.15:
        ground[int(rng.integers(tall // 2, tall))] -= rng.uniform(0.05, 0.3)  # a ruled line
    found = ground * picture + np.minimum(ink, paper - 0.25) * (1 - picture)
    if rng.random() < 0.6:
        found = _smooth(found, int(rng.integers(2, 4)))
    found = found + rng.normal(0, rng.uniform(0.0, 0.06), picture.shape)
    return np.clip(found, 0, 1)


def _smooth(picture: np.ndarray, size: int) -> np.ndarray:
    """Mean over squares of `size` pixels."""
    padded = np.pad(picture, ((size // 2, (size - 1) // 2), (size // 2, (size - 1) // 2)), mode="edge")
    sums = np.cumsum(np.cumsum(np.pad(padded, ((1, 0), (1, 0))), axis=0), axis=1)
    return (sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size]) / size**2


def prepare(picture: np.ndarray, height: int) -> np.ndarray:
    """A picture as a model sees it: cropped to its ink, `height` pixels tall, ink 1 and paper 0; (columns, height), an
    even number of columns.

    The crop leaves out what is not ink above and below, so that the size of the paper does not matter.
    """
    dark = picture.max() - picture if np.median(picture) >= picture.mean() else picture - picture.min()
    ground = np.median(dark)
    low, high = ground, np.quantile(dark, 0.995)
    if high - low < 0.05:
        return np.zeros((4, height), np.float32)
    ink = np.clip((dark - low) / (high - low), 0, 1)
    strong = ink > 0.4
    rows, columns = _span(strong.sum(1) > 0.004 * ink.shape[1]), _span(strong.any(0))
    edge = max(2, (rows[1] - rows[0]) // 12)
    ink = ink[max(rows[0] - edge, 0) : rows[1] + edge, max(columns[0] - edge, 0) : columns[1] + edge]
    width = 2 * max(2, round(ink.shape[1] * height / ink.shape[0] / 2))
    return resize(ink, height, width).T.astype(np.float32)


def _span(there: np.ndarray) -> tuple[int, int]:
    found = np.flatnonzero(there)
    return (int(found[0]), int(found[-1]) + 1) if len(found) else (0, len(there))


def resize(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """A picture of another size: means over the pixels that it covers."""
    return _rows(_rows(picture, height).T, width).T


def _rows(picture: np.ndarray, count: int) -> np.ndarray:
    size = len(picture)
    sums = np.concatenate([np.zeros((1, picture.shape[1])), np.cumsum(picture, axis=0)])
    if count >= size:  # enlarge: between the centres
        at = np.clip((np.arange(count) + 0.5) * size / count - 0.5, 0, size - 1)
        low = np.minimum(at.astype(int), max(size - 2, 0))
        share = (at - low)[:, None]
        return (1 - share) * picture[low] + share * picture[np.minimum(low + 1, size - 1)]
    edges = np.arange(count + 1) * size / count
    low = np.minimum(edges.astype(int), size - 1)
    summed = sums[low] + (edges - low)[:, None] * picture[low]
    return np.diff(summed, axis=0) * count / size
