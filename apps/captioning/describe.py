"""Pictures to captions on any engine: encode once, step many. NumPy only."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ..core.decoding import beam_search, engine_step
from .codec import END, PAD, START, UNKNOWN, Codec

BATCH = 25  # pictures side by side


class Caption(NamedTuple):
    """A caption: its text, calibrated confidence (NaN before calibration), log p, tokens, and where it looked.

    `looks`: (words and end, places) weights, or None for a model without attention.
    """

    text: str
    confidence: float
    log_prob: float
    tokens: np.ndarray
    looks: np.ndarray | None


class Search(NamedTuple):
    """How captions are searched; see `decoding.beam_search`."""

    beam: int = 3
    n_best: int = 1
    alpha: float = 0.7
    no_repeat: int = 3
    longest: int = 20


def encode(engine, pixels: np.ndarray) -> tuple[dict, dict]:
    """Memory and first states of pictures (batch, side, side, 3) uint8, by the names of the step's inputs."""
    seen = engine("encode", image=pixels.astype(np.float32))
    states = {k.replace("first_", "state_"): v for k, v in seen.items() if k.startswith("first_")}
    return {f"memory_{k}": v for k, v in seen.items() if not k.startswith("first_")}, states


def describe(engine, codec: Codec, pixels: np.ndarray, search: Search) -> list[list[Caption]]:
    """The best captions of each picture, best first."""
    memory, states = encode(engine, pixels)
    looks = "looks" if "looks" in engine.signatures["step"].outputs else None
    found = beam_search(
        engine_step(engine, attention=looks, constants=memory),
        states,
        np.full(len(pixels), START),
        end=END,
        max_length=search.longest,
        min_length=1,
        beam=min(search.beam, codec.size - 1),
        n_best=min(search.n_best, search.beam),
        length_penalty="wu",
        alpha=search.alpha,
        no_repeat_ngram=search.no_repeat,
        mask=lambda tokens, logits: sayable(codec.size),
    )
    return [[_caption(codec, hypothesis) for hypothesis in hypotheses] for hypotheses in found]


def sayable(size: int) -> np.ndarray:
    """(1, size) False for what is no word: padding, start, unknown."""
    allowed = np.ones((1, size), bool)
    allowed[0, [PAD, START, UNKNOWN]] = False
    return allowed


def _caption(codec: Codec, hypothesis) -> Caption:
    length = len(hypothesis.tokens) + hypothesis.ended
    confidence = codec.confident(hypothesis.log_prob, length)
    return Caption(
        codec.decode(hypothesis.tokens), confidence, hypothesis.log_prob, hypothesis.tokens, hypothesis.attention
    )


def describe_album(engine, codec: Codec, album, search: Search, wrap=iter) -> Iterator[list[Caption]]:
    """The best captions of every picture of an album, in batches."""
    for start in wrap(range(0, len(album), BATCH)):
        indices = range(start, min(start + BATCH, len(album)))
        yield from describe(engine, codec, album.pixels(indices), search)


def features(engine, album, wrap=iter) -> np.ndarray:
    """(pictures, features) what neighbours are found by: the mean of the memory, or the first states without one."""
    rows = []
    for start in wrap(range(0, len(album), BATCH)):
        memory, states = encode(engine, album.pixels(range(start, min(start + BATCH, len(album)))))
        rows.append(memory["memory_values"].mean(axis=1) if memory else states["state_0"])
    return np.concatenate(rows)
