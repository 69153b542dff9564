"""Pieces to what a model sees and back: frames of keys, voices with holds, events of a performance. NumPy only."""

import dataclasses
import itertools
from dataclasses import dataclass

import numpy as np

from ..core.errors import DataError
from . import score
from .score import HIGHEST, LOWEST, VELOCITY, Piece, make_notes

KEYS = HIGHEST - LOWEST + 1
HOLD, REST, FIRST = 0, 1, 2  # symbols of a voice; FIRST + i is the codec's lowest pitch + i
TICKS = 100  # shifts of 1 to 100 ticks of 10 ms
ON, OFF, SHIFT, LOUD, END = 0, 128, 256, 256 + TICKS, 256 + TICKS + 32  # the first of each kind of event
EVENTS = END + 1


@dataclass(frozen=True)
class Codec:
    """What a trained model knows about its data; everything that a device needs beside the weights.

    Attributes:
        kind: `frames` (steps, 88) of zeros and ones; `voices` (steps, voices) of symbols: hold, rest, or a pitch;
            `performance` (events,) of note on and off, time shift and velocity.
        steps_per_beat: the grid of frames and voices.
        voices: number of voices.
        low, high: the pitches that training data (and their transpositions) reach.
        bar: steps of the longest bar that the model counts; 0 where it does not count.
        conditions: names of the conditions that a step is given.
        tempo: median beats per minute of the training data. bar_beats: the commonest beats in a bar.
        seen: short names of the sequences that training and validation saw.
    """

    kind: str
    steps_per_beat: int
    voices: int = 4
    low: int = LOWEST
    high: int = HIGHEST
    bar: int = 0
    conditions: tuple[str, ...] = ()
    tempo: float = 120.0
    bar_beats: float = 4.0
    seen: tuple[str, ...] = ()

    def to_json(self) -> dict:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: dict) -> "Codec":
        return cls(**{**value, "conditions": tuple(value["conditions"]), "seen": tuple(value["seen"])})

    def remember(self, names) -> "Codec":
        """The codec with the short names of the sequences that training and validation saw."""
        return dataclasses.replace(self, seen=tuple(sorted(set(names))))

    @property
    def step(self) -> float:
        """Beats of a step."""
        return 1.0 / self.steps_per_beat

    @property
    def symbols(self) -> int:
        """How many symbols a voice or an event chooses from."""
        return EVENTS if self.kind == "performance" else FIRST + self.high - self.low + 1

    @property
    def blank(self) -> np.ndarray:
        """What stands before the first step."""
        if self.kind == "frames":
            return np.zeros(KEYS, np.uint8)
        return np.full(self.voices, REST, np.int32) if self.kind == "voices" else np.array(END, np.int32)

    def encode(self, piece: Piece) -> np.ndarray:
        """The piece as a sequence: frames (steps, 88), voices (steps, voices) or events (events,)."""
        return getattr(self, f"_encode_{self.kind}")(piece)

    def decode(self, sequence: np.ndarray, tempo: float | None = None, name: str = "") -> Piece:
        """The piece of a sequence, at a tempo in beats per minute (that of the training data when None)."""
        piece = getattr(self, f"_decode_{self.kind}")(np.asarray(sequence), tempo or self.tempo)
        return dataclasses.replace(piece, name=name, metre=((0.0, self.bar_beats),))

    def transpose(self, sequence: np.ndarray, semitones: int) -> np.ndarray:
        """The sequence higher by so many semitones; every pitch must stay within the codec's range."""
        if not semitones:
            return sequence
        if self.kind == "frames":
            return np.roll(sequence, semitones, axis=-1)
        if self.kind == "voices":
            return np.where(sequence >= FIRST, sequence + semitones, sequence)
        return np.where(sequence < SHIFT, sequence + semitones, sequence)

    def places(self, piece: Piece, steps: int) -> np.ndarray:
        """The step in its bar of every step, (steps,); all zero where the model does not count."""
        if not self.bar:
            return np.zeros(steps, np.int32)
        place = piece.place_in_bar(np.arange(steps) * self.step)
        return np.mod(np.rint(place * self.steps_per_beat).astype(np.int32), self.bar)

    def _grid(self, piece: Piece) -> tuple[np.ndarray, np.ndarray, int]:
        """First step and step after the last of every note, at least one apart, and the number of steps."""
        notes = piece.notes
        start = np.rint(notes["start"] * self.steps_per_beat).astype(int)
        stop = np.maximum(np.rint((notes["start"] + notes["duration"]) * self.steps_per_beat).astype(int), start + 1)
        steps = max(int(np.rint(piece.beats * self.steps_per_beat)), stop.max(initial=0))
        return start, stop, steps

    def _encode_frames(self, piece: Piece) -> np.ndarray:
        start, stop, steps = self._grid(piece)
        change = np.zeros((steps + 1, KEYS), np.int32)
        keys = piece.notes["pitch"] - LOWEST
        if len(keys) and (keys.min() < 0 or keys.max() >= KEYS):
            raise DataError(f"{piece.name}: a pitch outside the 88 keys ({LOWEST} to {HIGHEST})")
        np.add.at(change, (start, keys), 1)
        np.add.at(change, (stop, keys), -1)
        return (np.cumsum(change[:-1], axis=0) > 0).astype(np.uint8)

    def _decode_frames(self, roll: np.ndarray, tempo: float) -> Piece:
        return dataclasses.replace(score.from_roll(roll, self.step), tempo=((0.0, tempo),))

    def _encode_voices(self, piece: Piece) -> np.ndarray:
        start, stop, steps = self._grid(piece)
        notes = piece.notes
        lines = notes["voice"] if len(np.unique(notes["voice"])) > 1 else self._by_pitch(start, stop, notes["pitch"])
        lines = np.unique(lines, return_inverse=True)[1] if len(notes) else lines
        if lines.max(initial=0) >= self.voices:
            raise DataError(f"{piece.name}: {lines.max() + 1} voices; expected at most {self.voices}")
        out = np.full((steps, self.voices), REST, np.int32)
        sounding = np.zeros(self.voices, int)
        for n in np.lexsort((notes["pitch"], start)):
            voice, low = lines[n], start[n]
            if not self.low <= notes["pitch"][n] <= self.high:
                raise DataError(f"{piece.name}: pitch {notes['pitch'][n]} is outside {self.low} to {self.high}")
            out[low : stop[n], voice] = HOLD
            out[stop[n] : sounding[voice], voice] = REST  # a note that begins under another ends it
            out[low, voice] = FIRST + notes["pitch"][n] - self.low
            sounding[voice] = stop[n]
        return out

    def _by_pitch(self, start, stop, pitch) -> np.ndarray:
        """A voice for every note of a piece that names none: at each onset the highest note gets the first free one."""
        lines, free = np.zeros(len(start), int), np.zeros(self.voices, int)
        for n in np.lexsort((-pitch, start)):
            open_ = np.flatnonzero(free <= start[n])
            lines[n] = open_[0] if len(open_) else int(np.argmin(free))
            free[lines[n]] = stop[n]
        return lines

    def _decode_voices(self, table: np.ndarray, tempo: float) -> Piece:
        rows = []
        for voice, line in enumerate(table.T):
            edges = [*np.flatnonzero(line != HOLD), len(line)]
            for low, high in itertools.pairwise(edges):
                if line[low] >= FIRST:
                    pitch = line[low] - FIRST + self.low
                    rows.append((low * self.step, (high - low) * self.step, pitch, VELOCITY, voice))
        return Piece("", make_notes(rows), len(table) * self.step, ((0.0, tempo),))

    def _encode_performance(self, piece: Piece) -> np.ndarray:
        notes = piece.notes
        on = np.rint(piece.seconds(notes["start"]) * TICKS).astype(int)
        off = np.rint(piece.seconds(notes["start"] + notes["duration"]) * TICKS).astype(int)
        off = np.maximum(off, on + 1)
        for pitch in np.unique(notes["pitch"]):  # a key that is struck again was let go before
            same = np.flatnonzero(notes["pitch"] == pitch)
            off[same[:-1]] = np.minimum(off[same[:-1]], on[same[1:]])
        # at one moment, keys are let go before others are struck
        happenings = sorted(
            [(t, 0, int(p), 0) for t, p in zip(off, notes["pitch"], strict=True)]
            + [(t, 1, int(p), int(v)) for t, p, v in zip(on, notes["pitch"], notes["velocity"], strict=True)]
        )
        events, now, loud = [], 0, None
        for time, struck, pitch, velocity in happenings:
            while time > now:
                shift = min(time - now, TICKS)
                events.append(SHIFT + shift - 1)
                now += shift
            if struck and velocity // 4 != loud:
                loud = velocity // 4
                events.append(LOUD + loud)
            events.append((ON if struck else OFF) + pitch)
        return np.array([*events, END], np.int32)

    def _decode_performance(self, events: np.ndarray, tempo: float) -> Piece:
        rows, struck, now, loud = [], {}, 0, VELOCITY
        per_beat = 60.0 * TICKS / tempo

        def let_go(pitch):
            if pitch in struck:
                start, velocity = struck.pop(pitch)
                rows.append((start / per_beat, max(now - start, 1) / per_beat, pitch, velocity, 0))

        for event in events:
            if event < OFF:
                let_go(int(event))  # a key that is struck again was let go
                struck[int(event)] = (now, loud)
            elif event < SHIFT:
                let_go(int(event) - OFF)
            elif event < LOUD:
                now += int(event) - SHIFT + 1
            elif event < END:
                loud = max(4 * (int(event) - LOUD) + 2, 1)
        for pitch in list(struck):
            let_go(pitch)
        return Piece("", make_notes(rows), now / per_beat, ((0.0, tempo),))


def density(codec: Codec, sequence: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Notes that begin in a beat, the mean over each bar: (steps, 1)."""
    struck = sequence >= FIRST if codec.kind == "voices" else np.diff(sequence.astype(int), axis=0, prepend=0) > 0
    bars = bar_numbers(places)
    count = np.bincount(bars, struck.sum(axis=1)) / np.maximum(np.bincount(bars), 1)
    return (count * codec.steps_per_beat)[bars][:, None].astype(np.float32)


def chords(codec: Codec, sequence: np.ndarray) -> np.ndarray:
    """The pitch classes that sound in each beat: (steps, 12) of zeros and ones."""
    roll = sequence if codec.kind == "frames" else codec._encode_frames(codec.decode(sequence))[: len(sequence)]
    classes = np.zeros((len(sequence), 12), np.float32)
    step, key, _ = (*np.nonzero(roll), None)
    beat = np.arange(len(sequence)) // codec.steps_per_beat
    sounding = np.zeros((beat[-1] + 1 if len(beat) else 0, 12), np.float32)
    sounding[beat[step], (key + LOWEST) % 12] = 1.0
    classes[:] = sounding[beat]
    return classes


def bar_numbers(places: np.ndarray) -> np.ndarray:
    """The bar of every step, counted from 0: a new one where the place in the bar falls back."""
    return np.cumsum(np.concatenate([[0], np.diff(places) <= 0])) if len(places) else np.zeros(0, int)


def conditions(codec: Codec, sequence: np.ndarray, places: np.ndarray) -> np.ndarray:
    """What a conditioned model is told of each step, (steps, features)."""
    parts = [density(codec, sequence, places)] if "density" in codec.conditions else []
    parts += [chords(codec, sequence)] if "chords" in codec.conditions else []
    return np.concatenate([np.zeros((len(sequence), 0), np.float32), *parts], axis=1)


def condition_width(codec: Codec) -> int:
    return ("density" in codec.conditions) + 12 * ("chords" in codec.conditions)
