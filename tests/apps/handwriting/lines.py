"""Ink that the tests share."""

import numpy as np

from elman.apps.handwriting import texts, writer


def written(count=6, seed=0, length=14, split="test"):
    """Generated lines, a writer each."""
    words, found = texts.load(split), []
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        found.append(writer.write(texts.line(words, length, rng), writer.draw_writer(rng), rng, f"line {number}"))
    return found


def to_json(ink):
    return {"text": ink.text, "strokes": [stroke.tolist() for stroke in ink.strokes]}
