"""The built-in data: lines that the generator writes, words and writers of each split apart from the others'."""

import itertools
from collections.abc import Iterable, Iterator

import numpy as np

from . import features, images, texts, writer
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
        config.stride,
        causal=config.model == "streaming",
        curves=config.curves,
    )


def write(config, codec: Codec, split: str, numbers: Iterable[int]) -> Iterator[Ink | Picture]:
    """The lines of those numbers (pictures for a model of those): words of `split` alone, writers that no other split
    has. A line depends on nothing but the configuration, the split and its number."""
    words, part = texts.load(split, config.text), texts.SPLITS.index(split)
    for hand, wanted in itertools.groupby(numbers, lambda number: number // _PER_WRITER):
        theirs = range(hand * _PER_WRITER, (hand + 1) * _PER_WRITER)
        randoms = [np.random.default_rng((config.seed, part, number)) for number in theirs]
        lines = [_text(words, config.length, rng) for rng in randoms]
        drawn = writer.draw_writer(randoms[0], "".join(lines))
        for number in wanted:
            text, rng = lines[number % _PER_WRITER], randoms[number % _PER_WRITER]
            ink = writer.write(text, drawn, rng, f"{split} line {number + 1}")
            yield picture(ink, rng) if codec.kind == "image" else ink


def _text(words: texts.Words, longest: int, rng: np.random.Generator) -> str:
    length = rng.integers(3, 12) if rng.random() < 0.3 else rng.integers(12, max(longest, 13))
    return texts.line(words, int(length), rng)


def picture(ink: Ink, rng: np.random.Generator) -> Picture:
    """A photograph or scan of the ink, as it were: some pen on some paper."""
    height = rng.uniform(28, 64)  # of a level line, which is mostly 3.2 heights of an x
    pen = height * rng.uniform(0.03, 0.09)
    tall = height * np.ptp(np.concatenate(ink.strokes)[:, 1]) / (3.2 * features.normalise(ink)[2])
    return Picture(images.weather(images.render(ink, tall, pen, rng), rng), ink.text, ink.name)
