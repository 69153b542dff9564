"""The built-in data: lines that the generator writes, words and writers of each split apart from the others'."""

from collections.abc import Iterator

import numpy as np

from . import texts, writer
from .codec import Codec
from .ink import Ink

NAME = "generated"
HELD_OUT = 400  # lines for validation, and as many for the test
_PER_WRITER = 3  # lines that one writer writes


def codec(config) -> Codec:
    """The codec of a configuration: letters, digits and punctuation."""
    return Codec(tuple(texts.ALPHABET), "strokes", config.spacing, config.stack, config.model == "streaming")


def write(config, codec: Codec, split: str, count: int) -> Iterator[Ink]:
    """`count` lines whose words are those of `split` alone, by writers that no other split has."""
    words = texts.load(split, config.text)
    hand = None
    for number in range(count):
        rng = np.random.default_rng((config.seed, texts.SPLITS.index(split), number))
        if number % _PER_WRITER == 0:
            hand = writer.draw_writer(rng)
        short = rng.random() < 0.3
        length = rng.integers(3, 12) if short else rng.integers(12, max(config.length, 13))
        yield writer.write(texts.line(words, int(length), rng), hand, rng, f"{split} line {number + 1}")
