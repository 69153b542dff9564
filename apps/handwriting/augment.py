"""Ink as the same hand might have written it another time: a small affine map, a smooth field, a tremor. NumPy only."""

import dataclasses

import numpy as np

from . import images
from .ink import Ink
from .pictures import Picture


def vary(ink: Ink | Picture, rng: np.random.Generator, strength: float = 1.0) -> Ink | Picture:
    """Another ink or picture of the same text.

    Args:
        strength: 1 turns by about 5°, shears and stretches by about 10 %, and bends by a twentieth of the height.
    """
    if isinstance(ink, Picture):
        return dataclasses.replace(ink, pixels=_vary_pixels(ink.pixels, rng, strength))
    points = np.concatenate([stroke[:, :2] for stroke in ink.strokes])
    height = max(np.ptp(points[:, 1]), 0.2 * np.ptp(points[:, 0]), 1e-9)
    at = (points - points.mean(0)) / height
    turn, shear = 0.08 * strength * rng.normal(), 0.12 * strength * rng.normal()
    turn *= min(1.0, 3.0 / max(np.ptp(at[:, 0]), 1e-9))  # a long line turns less
    stretch = np.exp(0.1 * strength * rng.normal(size=2))
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    moved = (at * stretch) @ matrix.T
    moved[:, 0] += shear * moved[:, 1]
    waves = rng.normal(0, 4.0, (3, 2, 2)) * np.array([0.4, 1.0, 2.0])[:, None, None]
    field = np.sin(np.einsum("nd,kde->nke", at, waves) + rng.uniform(0, 2 * np.pi, (3, 2)))
    moved += strength * 0.05 * np.einsum("nke,k->ne", field, [1.0, 0.5, 0.25])
    moved += strength * 0.004 * rng.normal(size=moved.shape)
    cuts = np.cumsum([len(stroke) for stroke in ink.strokes])[:-1]
    pieces = np.split(moved * height, cuts)
    times = [stroke[:, 2:] for stroke in ink.strokes]
    strokes = tuple(np.concatenate([p, t], 1) for p, t in zip(pieces, times, strict=True))
    return dataclasses.replace(ink, strokes=strokes)


def _vary_pixels(pixels: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """A picture stretched, sheared, darker or lighter, and noisier."""
    tall, wide = pixels.shape
    stretch = np.exp(0.1 * strength * rng.normal(size=2))
    found = images.resize(pixels, max(8, round(tall * stretch[0])), max(8, round(wide * stretch[1])))
    shear = 0.15 * strength * rng.normal()
    moves = np.rint(shear * (np.arange(len(found)) - len(found) / 2)).astype(int)
    edge = int(np.abs(moves).max())
    padded = np.pad(found, ((0, 0), (edge, edge)), mode="edge")
    columns = np.arange(found.shape[1] + edge)[None] + edge // 2 + moves[:, None]
    found = np.take_along_axis(padded, np.clip(columns, 0, padded.shape[1] - 1), axis=1)
    gamma = np.exp(0.2 * strength * rng.normal())
    return np.clip(found, 0, 1) ** gamma + 0.02 * strength * rng.normal(size=found.shape)
