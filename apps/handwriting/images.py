"""Pictures of lines: ink rendered as a pen would leave it on paper, and weathered; sizes. NumPy only.

A picture is (height, width) of grey in [0, 1], ink dark.
"""

import numpy as np

from .ink import Ink

MOST_PIXELS = 40_000_000
_STEP = 0.6  # pixels between the dots that a stroke is drawn as


def render(ink: Ink, height: float, pen: float, rng: np.random.Generator | None = None) -> np.ndarray:
    """The ink on white paper: grey in [0, 1], dark where the pen went.

    Args:
        height: pixels of the ink's height; the paper reaches a little further.
        pen: width of the pen in pixels.
        rng: varies the pressure along each stroke; None keeps it even.
    """
    points = np.concatenate([stroke[:, :2] for stroke in ink.strokes])
    owner = np.repeat(np.arange(len(ink.strokes)), [len(stroke) for stroke in ink.strokes])
    low, high = points.min(0), points.max(0)
    scale = height / max(high[1] - low[1], 0.1 * (high[0] - low[0]) / 4, 1e-9)
    margin = pen + 2
    width, tall = np.ceil((high - low) * scale + 2 * margin).astype(int) + 1
    if width * tall > MOST_PIXELS:
        raise ValueError(f"expected a picture of at most {MOST_PIXELS:,} pixels, received {width} x {tall}")
    dots, path, owner = _dense((points - low) * scale + margin, owner)
    pressure = np.ones(len(dots))
    if rng is not None:
        pace, phase = rng.uniform(0.012, 0.12, len(ink.strokes)), rng.uniform(0, 6.28, len(ink.strokes))
        pressure += 0.25 * np.sin(path * pace[owner] + phase[owner])
    return 1 - _ink(dots, pressure, pen / 2, (tall, width))


def _dense(at: np.ndarray, owner: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points along polylines, `_STEP` pixels apart, with how far along all of them each is and the stroke of each."""
    same = owner[1:] == owner[:-1]
    path = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(at, axis=0).T) * same)])
    between = np.arange(0, path[-1], _STEP)
    places = np.concatenate([np.arange(len(at)), np.interp(between, path, np.arange(len(at)))])
    before = np.minimum(places.astype(int), len(at) - 1)
    after = np.minimum(before + 1, len(at) - 1)
    share = ((places - before) * (owner[after] == owner[before]))[:, None]
    return (1 - share) * at[before] + share * at[after], path[before], owner[before]


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
    picture = np.asarray(picture, np.float32)
    paper, ink = rng.uniform(0.65, 1.0), rng.uniform(0.0, 0.45)
    across, down = rng.uniform(-0.15, 0.15, 2), rng.uniform(-0.1, 0.1, 2)
    light = np.linspace(*across, wide, dtype=np.float32) + np.linspace(*down, tall, dtype=np.float32)[:, None]
    ground = np.float32(paper) + light
    if rng.random() < 0.15:
        ground[int(rng.integers(tall // 2, tall))] -= rng.uniform(0.05, 0.3)  # a ruled line
    ink = np.float32(min(ink, paper - 0.25))
    found = ink + (ground - ink) * picture
    if rng.random() < 0.6:
        found = smooth(found, int(rng.integers(2, 4)))
    contrast = np.quantile(ground - found, 0.99)  # noise beyond it nobody could read through
    grain, noise = (
        np.float32(most * contrast * rng.random()) * rng.standard_normal(picture.shape, np.float32)
        for most in (0.3, 0.2)
    )
    return np.clip(found + smooth(grain, 3) + noise, 0, 1)


def smooth(picture: np.ndarray, size: int) -> np.ndarray:
    """Mean over squares of `size` pixels."""
    before, after = size // 2, (size - 1) // 2
    tall, wide = picture.shape
    padded = np.pad(picture, (before, after), mode="edge")
    rows = sum(padded[k : k + tall] for k in range(size))
    return sum(rows[:, k : k + wide] for k in range(size)) * np.float32(1 / size**2)


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
