"""Lines as a network learns from them: frames and classes, one by one and in batches. NumPy only."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..core.source import Source
from .codec import Codec
from .ink import Ink

_ROUND = 24  # batches are padded to a multiple of so many frames (of pictures: of every stride), and of characters


@dataclass(frozen=True)
class Line:
    """A line, encoded: frames (frames, features), classes (characters,), and where each frame begins in its ink."""

    frames: np.ndarray
    classes: np.ndarray
    ink: Ink | None = None
    places: np.ndarray | None = None


class Lines:
    """Lines that are made when they are first asked for."""

    def __init__(self, make: Callable[[], list[Line]]):
        self._make = make

    @cached_property
    def rows(self) -> list[Line]:
        return self._make()

    def source(self, count: int, attention: bool = False) -> Source:
        def gather(indices):
            rows = collate([self.rows[i] for i in indices])
            return with_previous(*rows) if attention else rows

        return Source(count, gather, lambda: np.array([len(line.frames) for line in self.rows]), padded=_padded)


def encode(codec: Codec, ink: Ink, zoom: float = 1.0, labelled: bool = True) -> Line:
    """The line as the codec has it; `labelled` refuses characters that the codec does not know."""
    frames, places = codec.encode_traced(ink, zoom)
    classes = codec.classes(ink.text or "", ink.name) if labelled else np.zeros(0, np.int32)
    return Line(frames.astype(np.float16), classes, ink, places)


def _padded(size: int) -> int:
    return -(-size // _ROUND) * _ROUND


def collate(lines: list[Line]) -> tuple[np.ndarray, np.ndarray]:
    """Frames (rows, frames, features) and classes (rows, characters), filled up with zeros.

    Where no character has less than two frames, batches of one length are of one shape.
    """
    longest = _padded(max(len(line.frames) for line in lines))
    most = max(len(line.classes) for line in lines)
    letters = most if most <= 1 else max(longest // 2, _padded(most))
    frames = np.zeros((len(lines), longest, lines[0].frames.shape[1]), np.float32)
    classes = np.zeros((len(lines), letters), np.int32)
    for row, line in enumerate(lines):
        frames[row, : len(line.frames)] = line.frames
        classes[row, : len(line.classes)] = line.classes
    return frames, classes


def with_previous(frames: np.ndarray, classes: np.ndarray) -> tuple[dict, np.ndarray]:
    """What an attention decoder learns from: frames and the character before, to the characters and their end (0)."""
    none = np.zeros((len(classes), 1), np.int32)
    return {"frames": frames, "previous": np.concatenate([none, classes], 1)}, np.concatenate([classes, none], 1)
