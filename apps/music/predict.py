"""Continuing, inventing and harmonising music on any engine."""

import dataclasses
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.errors import DataError, UsageError
from ..core.files import write_text
from . import generate, reading
from .codec import Codec, condition_width, conditions
from .config import PredictOptions
from .score import Piece, highest_line, to_json

MOST_EVENTS = 20_000


@dataclass(frozen=True)
class Tune:
    """Music that was made.

    Attributes:
        piece: the notes, those of the primer first. primer_beats: how long the primer is.
        sequence: as the codec has it. milliseconds: median and 95th percentile of a step.
    """

    piece: Piece
    primer_beats: float
    sequence: np.ndarray
    milliseconds: tuple[float, float]


def predict(engine, config, codec: Codec, source: Path, options: PredictOptions) -> Tune:
    """Continues the first bars of a file, or invents (--primer-bars 0), or harmonises its highest part."""
    check(options, codec)
    piece = reading.read_file(source, codec.step)[0]
    if options.tempo:
        piece = dataclasses.replace(piece, tempo=((0.0, options.tempo),))
    rules = generate.Rules(
        options.temperature,
        options.top_k,
        options.top_p,
        generate.allowed_pitches(options.key, options.lowest, options.highest),
        options.max_notes,
    )
    if options.harmonise:
        return harmonise(engine, codec, piece, rules, options)
    bar = piece.metre[0][1]
    primer = _head(codec, piece, options.primer_bars * bar)
    beats = min(options.primer_bars * bar, piece.beats)
    if codec.kind == "performance":
        return _perform(engine, codec, piece, primer, beats, bar * options.bars, rules, options)
    total = len(primer) + max(round(bar * options.bars * codec.steps_per_beat), 1)
    places = codec.places(piece, total)
    drawer = generate.Drawer(engine, codec, rules)
    told = _conditions(codec, piece, places, bar, options)
    sequence, times = _collect(
        generate.stream(engine, codec, drawer, primer, places, told, options.seed, options.beam, options.branch)
    )
    made = codec.decode(sequence, piece.tempo[0][1], piece.name)
    return Tune(dataclasses.replace(made, metre=piece.metre), len(primer) * codec.step, sequence, times)


def check(options: PredictOptions, codec: Codec) -> None:
    """Refuses options out of their range or of another codec."""
    if not (options.bars > 0 and options.primer_bars >= 0 and options.beam >= 1 and options.branch >= 1):
        raise UsageError("expected --bars above 0, --primer-bars 0 or more, --beam and --branch 1 or more")
    if not (options.temperature >= 0 and options.top_k >= 0 and 0 < options.top_p <= 1 and options.max_notes >= 0):
        raise UsageError("expected --temperature, --top-k, --max-notes 0 or more, and --top-p in (0, 1]")
    if options.tempo < 0 or options.density < 0:
        raise UsageError("expected --tempo and --density 0 or more")
    if options.harmonise and codec.kind != "voices":
        raise UsageError(f"--harmonise: expected a model of voices, this one is of {codec.kind}")
    for name in ("density", "chords"):
        if getattr(options, name) and name not in codec.conditions:
            raise UsageError(f"--{name}: this model was not trained with --condition {name}")


def _collect(steps) -> tuple[np.ndarray, tuple[float, float]]:
    """The last of what a stream yields, with median and 95th percentile of its steps in milliseconds."""
    last, times, began = None, [], time.perf_counter()
    for last in steps:  # noqa: B007
        times.append(1e3 * (time.perf_counter() - began))
        began = time.perf_counter()
    return last, (float(np.median(times)), float(np.percentile(times, 95)))


def _head(codec: Codec, piece: Piece, beats: float) -> np.ndarray:
    """The first beats of a piece as the codec has them."""
    notes = piece.notes[piece.notes["start"] < beats - 1e-9].copy()
    notes["duration"] = np.minimum(notes["duration"], beats - notes["start"])
    head = codec.encode(dataclasses.replace(piece, notes=notes, beats=min(beats, piece.beats)))
    return head[:-1] if codec.kind == "performance" else head[: round(beats * codec.steps_per_beat)]


def harmonise(engine, codec: Codec, piece: Piece, rules, options) -> Tune:
    """Keeps the highest part of a piece and draws the others, each step given the parts so far."""
    lines = [piece.notes[piece.notes["voice"] == v] for v in np.unique(piece.notes["voice"])]
    melody = highest_line(max(lines, key=lambda notes: float(np.mean(notes["pitch"]))))
    melody["voice"] = 0
    low, high = int(melody["pitch"].min()), int(melody["pitch"].max())
    if low < codec.low or high > codec.high:
        raise DataError(f"{piece.name}: its melody spans {low} to {high}; the model knows {codec.low} to {codec.high}")
    one = dataclasses.replace(codec, voices=1)
    line = one.encode(dataclasses.replace(piece, notes=melody))
    given = np.full((len(line), codec.voices), -1)
    given[:, 0] = line[:, 0]
    places = codec.places(piece, len(line))
    drawer = generate.Drawer(engine, codec, rules, given)
    told = _conditions(codec, piece, places, piece.metre[0][1], options)
    empty = np.zeros((0, codec.voices), np.int32)
    made = generate.stream(engine, codec, drawer, empty, places, told, options.seed, options.beam, options.branch)
    sequence, times = _collect(made)
    decoded = codec.decode(sequence, piece.tempo[0][1], piece.name)
    return Tune(dataclasses.replace(decoded, metre=piece.metre), 0.0, sequence, times)


def _perform(engine, codec, piece, primer, primer_beats, beats, rules, options) -> Tune:
    """Events until as many beats have passed."""
    tempo = piece.tempo[0][1]
    until = (primer_beats + beats) * 60.0 * 100.0 / tempo
    places = np.zeros(len(primer) + MOST_EVENTS, np.int32)
    none = np.zeros((len(places), 0), np.float32)
    drawer = generate.Drawer(engine, codec, rules)

    def until_then():
        now = generate.ticks(primer).sum()
        made = generate.stream(engine, codec, drawer, primer, places, none, options.seed, options.beam, options.branch)
        for past in made:
            yield past
            now = generate.ticks(past).sum() if options.beam > 1 else now + generate.ticks(past[-1:]).sum()
            if now >= until:
                return

    sequence, times = _collect(until_then())
    made = codec.decode(sequence, tempo, piece.name)
    return Tune(dataclasses.replace(made, metre=piece.metre), primer_beats, sequence, times)


def _conditions(codec: Codec, piece: Piece, places: np.ndarray, bar: float, options: PredictOptions) -> np.ndarray:
    """The conditions of every step: as asked for, else as in the input, whose last bars go round."""
    steps = len(places)
    if not codec.conditions:
        return np.zeros((steps, 0), np.float32)
    heard = conditions(codec, codec.encode(piece), codec.places(piece, len(codec.encode(piece))))
    table = np.zeros((steps, condition_width(codec)), np.float32)
    table[:] = heard[np.arange(steps) % len(heard)]
    if options.density:
        table[:, 0] = options.density
    if options.chords:
        names = options.chords.split()
        classes = [chord_classes(name) for name in names]
        beats = piece.place_in_bar(np.arange(steps) * codec.step)
        bars = np.cumsum(np.concatenate([[0], np.diff(beats) < 0]))
        for step in range(steps):
            table[step, -12:] = classes[bars[step] % len(names)]
    return table


def chord_classes(symbol: str) -> np.ndarray:
    """(12,) the pitch classes of a chord symbol such as `Am7`."""
    from .abc_notation import chord_pitches

    pitches = chord_pitches(symbol)
    if not pitches:
        raise UsageError(f"--chords: {symbol!r} is no chord that is known here; write C, Am, F#m7, G7, Bdim, D/F#, …")
    return np.isin(np.arange(12), np.array(pitches) % 12).astype(np.float32)


def write(result: Tune, path: Path) -> None:
    """Writes `.mid`, a sound `.wav`, a piano roll `.png`, or the notes as `.json`."""
    if path.suffix in (".mid", ".midi"):
        from . import midi

        midi.write(result.piece, path)
    elif path.suffix == ".wav":
        from . import synthesis

        synthesis.write(result.piece, path)
    elif path.suffix == ".png":
        from .plots import plot_roll

        plot_roll(result.piece, path, result.primer_beats)
    elif path.suffix == ".json":
        write_text(path, json.dumps(to_json(result.piece), indent=1) + "\n")
    else:
        raise UsageError(f"--out {path}: expected .mid, .wav, .png or .json")


def summary(result: Tune) -> str:
    """Length, number of notes and the cost of a step, for a terminal."""
    piece, (median, p95) = result.piece, result.milliseconds
    seconds = float(piece.seconds(np.array([piece.beats]))[0])
    made = int((piece.notes["start"] >= result.primer_beats - 1e-9).sum())
    return (
        f"{piece.beats:.0f} beats ({seconds:.0f} s), {made} notes made after a primer of {result.primer_beats:.0f} "
        f"beats; {median:.2f} ms a step (95 % under {p95:.2f} ms); --out FILE.mid keeps it"
    )


def example(config, data, path: Path) -> None:
    """Writes the first test piece, as JSON: a device reads it with NumPy alone."""
    part = data.parts["test"] or data.parts["train"]
    if not part:
        raise DataError("no piece to make an example of")
    write_text(path, json.dumps(to_json(part[0].piece), indent=1) + "\n")
