"""A picture of a line as a model sees it: paper taken out, the line straight and upright, of one size. NumPy only."""

import numpy as np

from . import features
from .images import MOST_PIXELS, resize, smooth

_UNITS = 3.8  # heights of an x from the top of a prepared picture to its bottom
_MASK = 0.35  # of the ink's darkness: from here on a pixel is ink
_RULED = 0.8  # a row that is ink in so large a share of its columns is a ruled line
_LARGEST = 8.0  # a picture is enlarged by no more
_ENOUGH = 4_000_000  # pixels: a larger picture is reduced first
_MOST_COLUMNS = 48_000  # more than a decoder takes


def prepare(picture: np.ndarray, height: int, stride: int) -> np.ndarray:
    """A picture (rows, columns) of grey as a model sees it: ink 1 and paper 0, `height` rows of which an x takes about
    a quarter, the line straight, its strokes upright; (columns, height), a multiple of `stride` columns.

    Neither the size of the paper, its shade nor the climb of the line matters. A blank picture gives `2 * stride`
    columns of 0.
    """
    if picture.size > _ENOUGH:
        share = np.sqrt(_ENOUGH / picture.size)
        picture = resize(picture, *(max(int(size * share), 1) for size in picture.shape))
    ink, mask = _inked(picture)
    if not mask.any():
        return np.zeros((2 * stride, height), np.float32)
    rows, columns = _span(mask.any(1)), _span(mask.any(0))
    ink, mask = ink[slice(*rows), slice(*columns)], mask[slice(*rows), slice(*columns)]
    at = np.argwhere(mask)[:, ::-1] * [1.0, -1.0]  # x, and y up
    course = features.baseline(at)
    y = at[:, 1] - course
    middle = y.mean()
    unit = max(2.4 * np.abs(y - middle).mean(), np.quantile(np.abs(y - middle), 0.998) * 2 / _UNITS, 1.0)
    room = min(_MOST_COLUMNS / ink.shape[1], np.sqrt(MOST_PIXELS / ink.size))
    scale = min(height / _UNITS / unit, _LARGEST, room)
    small = resize(ink, max(round(len(ink) * scale), 1), max(round(ink.shape[1] * scale), 1))
    down, across = len(small) / len(ink), small.shape[1] / ink.shape[1]
    steady = np.zeros(ink.shape[1])
    steady[at[:, 0].astype(int)] = course  # columns without ink lie between those that have some
    known = np.flatnonzero(mask.any(0))
    centre = (0.5 - middle - np.interp((np.arange(small.shape[1]) + 0.5) / across - 0.5, known, steady[known])) * down
    found = _warped(small, centre, _slant(ink, mask), height)
    end = max(_span(found.any(1))[1], stride + 1)  # columns of zeros at the end would pass for padding
    whole = -(-end // stride) * stride
    return np.pad(found, ((0, max(whole - len(found), 0)), (0, 0)))[:whole].astype(np.float32)


def _inked(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How much ink each pixel has, and where there is some. Ink is what differs most from the paper, dark or light."""
    found = np.asarray(picture, np.float32)
    found = found - _paper(found)
    some = _some(found, 6000)
    low, high = np.quantile(some, [0.002, 0.998])
    found, high = (found, high) if high > -low else (-found, -low)
    noise = 1.5 * np.median(np.abs(some))
    if high < 0.05:
        return found, np.zeros(found.shape, bool)
    mask = smooth(found, 2) > max(_MASK * high, 2.5 * noise)
    mask[mask.mean(1) > _RULED] = False
    return np.clip(found / high, 0, 1), mask


def _some(picture: np.ndarray, count: int) -> np.ndarray:
    """About so many of the pixels or all of them, evenly from the whole picture."""
    step = max(round(np.sqrt(picture.size / count)), 1)
    rows, columns = (slice(min(step // 2, size - 1), None, step) for size in picture.shape)
    return picture[rows, columns]


def _paper(picture: np.ndarray) -> np.ndarray:
    """The shade of the paper: a parabola over the picture, through what most of its pixels have."""
    some = _some(picture, 1500)
    terms = np.stack(np.broadcast_arrays(*_terms(*some.shape)), -1).reshape(-1, 6).astype(float)
    some = some.reshape(-1)
    rest = some - np.median(some)
    for _ in range(4):
        near = np.abs(rest) <= 2.0 * np.median(np.abs(rest)) + 1e-6
        kept = terms[near]
        shade = np.linalg.solve(kept.T @ kept + 1e-6 * len(kept) * np.eye(6), kept.T @ some[near])
        rest = some - terms @ shade
    shade = shade.astype(np.float32)
    one, y, yy, x, xx, xy = (weight * term for weight, term in zip(shade, _terms(*picture.shape), strict=True))
    return (one + y + yy) + (x + xx) + xy


def _terms(rows: int, columns: int) -> tuple[np.ndarray, ...]:
    """The terms of a parabola over so many rows and columns, each of the least shape."""
    y, x = np.linspace(-1, 1, rows, dtype=np.float32)[:, None], np.linspace(-1, 1, columns, dtype=np.float32)[None]
    return np.ones((1, 1), np.float32), y, y**2, x, x**2, x * y


def _slant(ink: np.ndarray, mask: np.ndarray) -> float:
    """Shear of the strokes that go up or down, by the edges of the ink (to the right, for each row up)."""
    across = ink[1:-1, 2:] - ink[1:-1, :-2]
    down = ink[2:, 1:-1] - ink[:-2, 1:-1]
    steep = (np.abs(across) > 1.2 * np.abs(down)) & mask[1:-1, 1:-1]
    weight = np.abs(across[steep]) ** 2
    if weight.sum() <= 0:
        return 0.0
    lean = down[steep] / across[steep]
    return float(np.clip((weight * lean).sum() / weight.sum(), -0.8, 0.8)) * 0.8


def _warped(picture: np.ndarray, centre: np.ndarray, slant: float, height: int) -> np.ndarray:
    """(columns, height) around the row `centre` of each column, sheared upright; beyond the picture there is no ink."""
    up = height / 2 - 0.5 - np.arange(height)
    reach = int(abs(slant) * height / 4) + 2
    columns = picture.shape[1] + 2 * reach
    x = (np.arange(columns) - reach)[:, None] + slant * up
    padded = np.pad(picture, 1)
    x = np.clip(x, -1, picture.shape[1]) + 1
    inside = np.clip(x - 1, 0, picture.shape[1] - 1)
    y = np.clip(np.interp(inside, np.arange(len(centre)), centre) - up, -1, len(picture)) + 1
    left, top = np.minimum(x.astype(int), padded.shape[1] - 2), np.minimum(y.astype(int), len(padded) - 2)
    right, low = x - left, y - top
    flat, width = padded.reshape(-1), padded.shape[1]
    at = top * width + left
    upper = (1 - right) * flat[at] + right * flat[at + 1]
    lower = (1 - right) * flat[at + width] + right * flat[at + width + 1]
    return (1 - low) * upper + low * lower


def _span(there: np.ndarray) -> tuple[int, int]:
    found = np.flatnonzero(there)
    return (int(found[0]), int(found[-1]) + 1) if len(found) else (0, 0)
