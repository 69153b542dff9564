"""What a set of pieces is like: pitch classes, note lengths, polyphony, repetition; and what was copied. NumPy only."""

import dataclasses

import numpy as np

from .codec import Codec
from .score import HIGHEST, LOWEST, Piece, runs

LONGEST, THICKEST = 16, 8  # the last bin of note lengths (in steps) and of polyphony holds all above
PASSAGE_BARS = 4


def roll(codec: Codec, piece: Piece) -> np.ndarray:
    """The piece as frames (steps, 88) on the codec's grid, whatever the codec; other pitches are left out."""
    notes = piece.notes[(piece.notes["pitch"] >= LOWEST) & (piece.notes["pitch"] <= HIGHEST)]
    return Codec("frames", codec.steps_per_beat).encode(dataclasses.replace(piece, notes=notes))


def statistics(rolls: list[np.ndarray], bar: int) -> dict[str, np.ndarray]:
    """Histograms that add up to 1: pitch classes, note lengths in steps, keys at once, bars that came before or not.

    Args:
        bar: steps of a bar.
    """
    lengths, classes = [], np.zeros(12)
    for table in rolls:
        key, start, stop = runs(table.T != 0)
        lengths.append(np.minimum(stop - start, LONGEST))
        classes += np.bincount((key + LOWEST) % 12, minlength=12)
    thick = np.concatenate([np.minimum(table.sum(axis=1), THICKEST) for table in rolls]).astype(int)
    return {
        "pitch_classes": _shares(classes),
        "note_lengths": _shares(np.bincount(np.concatenate(lengths), minlength=LONGEST + 1)),
        "polyphony": _shares(np.bincount(thick, minlength=THICKEST + 1)),
        "repetition": np.array([repetition(rolls, bar), 1.0 - repetition(rolls, bar)]),
    }


def repetition(rolls: list[np.ndarray], bar: int) -> float:
    """Share of the bars, after a piece's first, that sound as one before them in it."""
    same, count = 0, 0
    for table in rolls:
        bars = [table[i : i + bar].tobytes() for i in range(0, len(table) - bar + 1, bar)]
        same += sum(b in bars[:i] for i, b in enumerate(bars))
        count += max(len(bars) - 1, 0)
    return same / count if count else 0.0


def distances(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> dict[str, float]:
    """Total variation ½ Σ |p − q| of each histogram, and their mean."""
    found = {name: float(0.5 * np.abs(ours[name] - theirs[name]).sum()) for name in ours}
    return {**found, "mean": float(np.mean(list(found.values())))}


def passages(rolls: list[np.ndarray], bar: int) -> list[set[bytes]]:
    """For each piece its passages of four bars from every step on, moved down so that no transposition hides a copy."""
    return [set(_windows(table, PASSAGE_BARS * bar)) for table in rolls]


def copies(made: list[np.ndarray], training: list[np.ndarray], bar: int) -> float:
    """Share of the four-bar passages that training has note for note, in any key; passages from every beat count."""
    known = set().union(*passages(training, bar))
    windows = [w for table in made for w in _windows(table, PASSAGE_BARS * bar)]
    return float(np.mean([w in known for w in windows])) if windows else 0.0


def _windows(table: np.ndarray, length: int):
    """The content of every window of so many steps, its lowest key at 0; silence is no passage."""
    for start in range(len(table) - length + 1):
        window = table[start : start + length]
        keys = window.any(axis=0)
        if keys.any():
            yield np.packbits(np.roll(window, -int(keys.argmax()), axis=1)).tobytes()


def _shares(counts: np.ndarray) -> np.ndarray:
    return counts / max(counts.sum(), 1)
