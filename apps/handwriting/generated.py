"""The built-in data: lines that the generator writes, words and writers of each split apart from the others'."""

from collections.abc import Iterator

import numpy as np

from . import images, texts, writer
from .codec import Codec
from .ink import Ink
from .pictures import Picture

NAME = "generated"
HELD_OUT = 400  # lines for validation at most, and as many for the test
_PER_WRITER = 3  # lines that one writer writes


def codec(config) -> Codec:
    """The codec of a configuration: letters, digits and punctuation."""
    kind = "image" if config.model == "offline" else "strokes"
    return Codec(
        tuple(texts.ALPHABET),
        kind,
        config.spacing,
        config.stack,
        config.height,
        causal=config.model == "streaming",
        curves=config.curves,
    )


def write(config, codec: Codec, split: str, count: int) -> Iterator[Ink | Picture]:
    """`count` lines (pictures for a model of those): words of `split` alone, writers that no other split has."""
    words, part = texts.load(split, config.text), texts.SPLITS.index(split)
    for first in range(0, count, _PER_WRITER):
        numbers = range(first, min(first + _PER_WRITER, count))
        randoms = [np.random.default_rng((config.seed, part, number)) for number in numbers]
        lines = [_text(words, config.length, rng) for rng in randoms]
        hand = writer.draw_writer(randoms[0], "".join(lines))
        for number, rng, text in zip(numbers, randoms, lines, strict=True):
            ink = writer.write(text, hand, rng, f"{split} line {number + 1}")
            yield picture(ink, rng) if codec.kind == "image" else ink


def _text(words: texts.Words, longest: int, rng: np.random.Generator) -> str:
    length = rng.integers(3, 12) if rng.random() < 0.3 else rng.integers(12, max(longest, 13))
    return texts.line(words, int(length), rng)


def picture(ink: Ink, rng: np.random.Generator) -> Picture:
    """A photograph or scan of the ink, as it were: some pen on some paper."""
    height = rng.uniform(28, 64)
    pen = height * rng.uniform(0.03, 0.09)
    pixels = images.weather(images.render(ink, height, pen, rng), rng)
    return Picture(pixels.astype(np.float32), ink.text, ink.name)
