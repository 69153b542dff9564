"""Ink and line images to what a model sees, and classes back to text. NumPy only."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from ..core.errors import DataError
from . import bezier, features, scan
from .ink import Ink

BLANK = 0
FIRST = 8  # strokes that say how large the writing is, where it is read as it is written


@dataclass(frozen=True)
class Codec:
    """What a trained model knows about its data; everything that a device needs beside the weights.

    Attributes:
        alphabet: the characters in the order of classes 1, 2, … (0 is CTC's blank); for symbols, their labels in order.
        kind: `strokes`, a line of writing; `symbol`, a single drawing, whose place in its box counts; `image`.
        spacing: distance between points, in heights of an x. stack: points in a frame.
        height: rows of a picture. stride: its columns in a frame.
        causal: whether no feature looks ahead; slope and slant are left as they are, and the first strokes alone say
            how large the writing is.
        curves: whether a frame is a Bézier curve, not `stack` points.
        calibration: a, b of p(right) = 1 / (1 + exp(−a logit(confidence) − b)), fitted on validation lines.
        sure: the calibrated confidence below which a reading is not sure.
        seen: short names of the ink that training and validation saw, where it was not generated.
    """

    alphabet: tuple[str, ...]
    kind: str = "strokes"
    spacing: float = 0.2
    stack: int = 4
    height: int = 40
    stride: int = 2
    causal: bool = False
    curves: bool = False
    calibration: tuple[float, float] = (1.0, 0.0)
    sure: float = 0.9
    seen: tuple[str, ...] = ()

    def to_json(self) -> dict:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: dict) -> "Codec":
        tuples = {name: tuple(value[name]) for name in ("alphabet", "calibration", "seen")}
        return cls(**{**value, **tuples})

    def calibrated(self, confidences: np.ndarray) -> np.ndarray:
        """The network's confidences in characters as probabilities of being right."""
        a, b = self.calibration
        return 1 / (1 + np.exp(-a * logit(confidences) - b))

    def remember(self, names) -> "Codec":
        """The codec with the short names of the ink that training and validation saw."""
        return dataclasses.replace(self, seen=tuple(sorted(set(names))))

    @property
    def features(self) -> int:
        """Numbers in a frame."""
        if self.kind == "image":
            return self.height
        if self.curves:
            return bezier.FEATURES
        return features.POINT_FEATURES * self.stack

    def encode(self, ink, scale: float = 1.0) -> np.ndarray:
        """Frames (frames, features) of an `Ink` or a `Picture`; `scale` enlarges ink, for augmentation."""
        return self.encode_traced(ink, scale)[0]

    def encode_traced(self, ink, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
        """Frames, and the place of each: among the ink's points, or the picture's columns as prepared."""
        if self.kind == "image":
            frames = scan.prepare(ink.pixels, self.height, self.stride)
            return frames, np.arange(0, len(frames), self.stride)  # what the network gives an answer for
        _require_ink(ink)
        straight = self.kind == "strokes" and not self.causal
        points, owner, _ = features.normalise(ink, deskew=straight, first=FIRST if self.causal else 0)
        if self.kind == "symbol":
            points = features.symbol(points, owner)
        if self.curves:
            return bezier.encode(points * scale, owner)
        found, down, place = features.resample(points * scale, owner, self.spacing)
        if self.kind == "symbol":
            made = features.symbol_features(found, down, self.spacing)
        else:
            made = features.point_features(found, down, self.spacing, self.causal)
        return features.stack(made, self.stack), place[:: self.stack]

    def classes(self, text: str, name: str = "") -> np.ndarray:
        """The classes of a text, of a drawing its one label; what the alphabet does not have is refused."""
        letters = [text] if self.kind == "symbol" else list(text)
        index = {letter: i for i, letter in enumerate(self.alphabet, 1)}
        foreign = sorted({letter for letter in letters if letter not in index})
        if foreign:
            raise DataError(f"{name}: characters outside the model's alphabet: {' '.join(map(repr, foreign))}")
        return np.array([index[letter] for letter in letters], np.int32)


def _require_ink(ink) -> None:
    if not isinstance(ink, Ink):
        raise DataError(f"{ink.name}: a picture; this model reads pen strokes")


def logit(probabilities) -> np.ndarray:
    """log(p / (1 − p)), finite."""
    p = np.clip(np.asarray(probabilities, float), 1e-6, 1 - 1e-6)
    return np.log(p / (1 - p))
