"""A piece of music in memory: notes in beats, the tempo and the metre. NumPy only."""

import dataclasses
import itertools
from dataclasses import dataclass

import numpy as np

NOTE = np.dtype([("start", "f8"), ("duration", "f8"), ("pitch", "i4"), ("velocity", "i4"), ("voice", "i4")])
LOWEST, HIGHEST = 21, 108  # the 88 keys of a piano, as MIDI numbers
VELOCITY = 80


@dataclass(frozen=True)
class Piece:
    """Notes and what is needed to play them.

    Attributes:
        name: file name, or number in a file.
        notes: an array of `NOTE`, ordered by start, then pitch; start and duration in beats (quarter notes).
        beats: the length, which may be longer than the last note.
        tempo: ((beat, beats per minute), …), the first at beat 0.
        metre: ((beat, beats in a bar), …), the first at or before beat 0: an upbeat starts its bar before 0.
        split: `train`, `valid` or `test` where the data say so.
    """

    name: str
    notes: np.ndarray
    beats: float
    tempo: tuple[tuple[float, float], ...] = ((0.0, 120.0),)
    metre: tuple[tuple[float, float], ...] = ((0.0, 4.0),)
    split: str = ""

    def transposed(self, semitones: int) -> "Piece":
        """The piece higher by so many semitones."""
        notes = self.notes.copy()
        notes["pitch"] += semitones
        return dataclasses.replace(self, notes=notes)

    def seconds(self, beats: np.ndarray) -> np.ndarray:
        """When the given beats sound."""
        where, speed = np.array(self.tempo).T
        reached = np.concatenate([[0.0], np.cumsum(np.diff(where) * 60.0 / speed[:-1])])
        section = np.maximum(np.searchsorted(where, beats, side="right") - 1, 0)
        return reached[section] + (np.asarray(beats) - where[section]) * 60.0 / speed[section]

    def place_in_bar(self, beats: np.ndarray) -> np.ndarray:
        """How many beats after its bar line each of the given beats lies."""
        where, length = np.array(self.metre).T
        section = np.maximum(np.searchsorted(where, np.asarray(beats) + 1e-9, side="right") - 1, 0)
        return np.mod(np.asarray(beats) - where[section] + 1e-9, length[section]) - 1e-9


def make_notes(rows) -> np.ndarray:
    """An array of `NOTE` from rows (start, duration, pitch, velocity, voice), in order."""
    notes = np.array([tuple(row) for row in rows], NOTE)
    return notes[np.lexsort((notes["pitch"], notes["start"]))]


def to_json(piece: Piece) -> dict:
    """Tempo and metre at the start, length in beats, and the notes."""
    names = piece.notes.dtype.names
    notes = [dict(zip(names, (n.item() for n in note), strict=True)) for note in piece.notes]
    return {"tempo": piece.tempo[0][1], "metre": piece.metre[0][1], "beats": piece.beats, "notes": notes}


def from_json(value: dict, name: str) -> Piece:
    """The piece that `to_json` wrote; ValueError says what is wrong with it."""
    try:
        notes = make_notes([[note[field] for field in NOTE.names] for note in value["notes"]])
        tempo, metre = float(value.get("tempo", 120)), float(value.get("metre", 4))
        beats = float(value.get("beats", np.max(notes["start"] + notes["duration"], initial=0)))
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"expected notes with {', '.join(NOTE.names)}") from None
    sound = np.isfinite([tempo, metre, beats]).all() and min(tempo, metre, beats) > 0 and (notes["start"] >= 0).all()
    if not (sound and (notes["duration"] > 0).all() and ((notes["pitch"] >= 0) & (notes["pitch"] < 128)).all()):
        raise ValueError("expected positive tempo, metre, beats and durations, starts from 0 and pitches of 0 to 127")
    return Piece(name, notes, beats, ((0.0, tempo),), ((0.0, metre),))


def highest_line(notes: np.ndarray) -> np.ndarray:
    """The notes above which none sounds when they begin, each ended by the next: a melody of one note at once."""
    kept = []
    for note in notes[np.lexsort((-notes["pitch"], notes["start"]))]:
        if kept and note["start"] < kept[-1]["start"] + kept[-1]["duration"] - 1e-9:
            if note["pitch"] <= kept[-1]["pitch"]:
                continue
            kept[-1]["duration"] = note["start"] - kept[-1]["start"]
        kept.append(note.copy())
    return np.array(kept, NOTE)


def from_roll(roll: np.ndarray, step: float, name: str = "", split: str = "") -> Piece:
    """The piece of a piano roll (steps, 88) whose steps last `step` beats; a key held over steps is one note."""
    key, start, stop = runs(roll.T != 0)
    columns = (start * step, (stop - start) * step, key + LOWEST, np.full(len(key), VELOCITY), np.zeros(len(key)))
    return Piece(name, make_notes(zip(*columns, strict=True)), len(roll) * step, split=split)


def from_voices(voices: np.ndarray, step: float, name: str = "", split: str = "") -> Piece:
    """The piece of voices (steps, voices) of MIDI numbers, −1 for a rest; a pitch held over steps is one note."""
    rows = []
    for voice, line in enumerate(np.asarray(voices).T):
        edges = np.concatenate([[0], np.flatnonzero(np.diff(line)) + 1, [len(line)]])
        for low, high in itertools.pairwise(edges):
            if line[low] >= 0:
                rows.append((low * step, (high - low) * step, line[low], VELOCITY, voice))
    return Piece(name, make_notes(rows), len(voices) * step, split=split)


def runs(table: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row, first column and column after the last of every run of ones in a boolean table (rows, columns)."""
    edges = np.diff(np.pad(table.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    row, start = np.nonzero(edges == 1)
    return row, start, np.nonzero(edges == -1)[1]
