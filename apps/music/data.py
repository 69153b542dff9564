"""Where pieces come from, how they are split, and the windows that training draws from them."""

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.errors import DataError, ElmanError, MissingExtra
from ..core.source import Source
from . import reading
from .codec import FIRST, SHIFT, Codec, conditions
from .score import HIGHEST, LOWEST, Piece

PARTS = {"train": "train", "valid": "validation", "test": "test"}  # as a piece says it, as we do


@dataclass(frozen=True)
class Encoded:
    """A piece as a sequence, with the place in its bar and the conditions of every step."""

    piece: Piece
    sequence: np.ndarray
    place: np.ndarray
    condition: np.ndarray

    def transposed(self, codec: Codec, semitones: int) -> "Encoded":
        """Higher by as many semitones, or by as many in that direction as the codec's range leaves."""
        low, high = _pitches(codec, self.sequence)
        shift = int(np.clip(semitones, min(codec.low - low, 0), max(codec.high - high, 0)))
        condition = self.condition
        if "chords" in codec.conditions:
            condition = np.concatenate([condition[:, :-12], np.roll(condition[:, -12:], shift, axis=1)], axis=1)
        return Encoded(self.piece, codec.transpose(self.sequence, shift), self.place, condition)


@dataclass(frozen=True)
class Data:
    """Pieces, encoded and split: `parts` has a list of `Encoded` for each of train, validation and test."""

    config: object
    codec: Codec
    parts: dict[str, list[Encoded]]
    train: Source
    validation: Source
    rows_per_epoch: int
    warnings: tuple[str, ...]
    description: str
    license: str

    @property
    def sizes(self) -> dict[str, int]:
        """Pieces, and steps, in each split."""
        steps = {f"{name} steps": sum(len(e.sequence) for e in part) for name, part in self.parts.items()}
        return {**{name: len(part) for name, part in self.parts.items()}, **steps}


def load(config, codec: Codec | None = None) -> Data:
    """Reads and checks `config.data`, splits it, and fits a codec on it.

    With a `codec`, the data may be others than those of training: the test part is then what the data call so, and
    where they do not say, every piece that neither training nor validation saw.
    """
    pieces, skipped = read(config)
    parts = split(pieces, config)
    training = codec is None
    codec = fit_codec(parts, config) if training else codec
    encoded = {name: _encode(codec, group, skipped) for name, group in parts.items()}
    if training:
        _require(config, encoded, skipped)
        codec = codec.remember(digest(e.sequence) for name in ("train", "validation") for e in encoded[name])
    elif not any(p.split for p in pieces):
        everything = [e for part in encoded.values() for e in part]
        known = set(codec.seen)
        if not known & {digest(e.sequence) for e in everything}:
            encoded = {"train": [], "validation": [], "test": everything}
    shifts = range(-config.transpose, config.transpose + 1)
    train = _source(codec, encoded["train"], config, shifts)
    return Data(
        config,
        codec,
        encoded,
        train,
        _source(codec, encoded["validation"], config, range(1)),
        train.count // len(shifts),
        tuple(skipped),
        _describe(config, encoded, skipped),
        "Bach: public domain; the encodings: see music21's corpus" if config.data == "chorales" else "that of the data",
    )


def _require(config, encoded, skipped) -> None:
    for name, part in encoded.items():
        if not part:
            raise DataError(
                f"{config.data}: no piece for {name}, out of {sum(map(len, encoded.values()))} that could be used; "
                f"give more pieces or change --split{'; skipped: ' + skipped[0] if skipped else ''}"
            )


def read(config) -> tuple[list[Piece], list[str]]:
    """The pieces of a path, of `tfds:NAME`, or of a built-in name; and a line for each that was skipped."""
    name, step = config.data, 1.0 / config.steps_per_beat
    if name == "chorales" and not Path(name).exists():
        pieces, skipped = reading.read(_corpus() / "bach", step, repeats=False)  # no section is learnt twice
        return [p for p in pieces if len(np.unique(p.notes["voice"])) == 4], skipped
    if name.startswith("tfds:"):
        return _tfds(name.removeprefix("tfds:"))
    return reading.read(Path(name), step)


def _corpus() -> Path:
    found = importlib.util.find_spec("music21")  # its files are read; music21 itself takes seconds to import
    if found is None:
        raise MissingExtra("the built-in chorales", "train")
    return Path(found.origin).parent / "corpus"


def _tfds(name: str) -> tuple[list[Piece], list[str]]:
    """The pieces of a tensorflow-datasets set whose examples have a feature `midi` with the bytes of a file."""
    from . import midi

    try:
        import tensorflow_datasets as tfds
    except ModuleNotFoundError:
        raise MissingExtra(f"tfds:{name}", "train") from None
    try:
        sets = tfds.load(name)
    except Exception as error:  # an unknown name, no network, a broken download: tfds raises many kinds
        raise DataError(f"tfds:{name}: {str(error).strip().splitlines()[0]}") from None
    pieces, skipped = [], []
    for part, examples in sets.items():
        for number, example in enumerate(tfds.as_numpy(examples)):
            if not isinstance(example.get("midi"), bytes):
                raise DataError(f"tfds:{name}: expected a feature 'midi' with a MIDI file, found {sorted(example)}")
            where = f"{name} {part} {number + 1}"
            try:
                pieces.append(midi.parse(example["midi"], where, reading.SPLITS.get(part, "")))
            except ElmanError as error:
                skipped.append(str(error))
    return pieces, skipped


def split(pieces: list[Piece], config) -> dict[str, list[Piece]]:
    """As the pieces say; where they do not, by shares of the distinct ones in an order that no seed changes."""
    if any(p.split for p in pieces):
        return {name: [p for p in pieces if p.split == said] for said, name in PARTS.items()}
    distinct = list({digest(p.notes): p for p in pieces}.values())
    order = np.random.default_rng(0).permutation(len(distinct))
    edges = np.rint(np.cumsum(config.split) * len(distinct)).astype(int)
    groups = np.split(order, edges)
    return {name: [distinct[i] for i in group] for name, group in zip(PARTS.values(), groups, strict=False)}


def digest(array: np.ndarray) -> str:
    """A short name for the content of an array."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:12]


def fit_codec(parts: dict[str, list[Piece]], config) -> Codec:
    """Range, metre and tempo of the pieces."""
    pieces = [p for part in parts.values() for p in part if len(p.notes)]
    train = parts["train"] or pieces
    if not pieces:
        raise DataError(f"{config.data}: no piece that could be used")
    pitches = np.concatenate([p.notes["pitch"] for p in pieces])
    bars = np.concatenate([[length for _, length in p.metre] for p in pieces])
    counted = config.count_bars and config.codec != "performance"
    frames = config.codec == "frames"
    common, counts = np.unique([p.metre[0][1] for p in train], return_counts=True)
    return Codec(
        config.codec,
        config.steps_per_beat,
        config.voices,
        LOWEST if frames else max(int(pitches.min()) - config.transpose, 0),
        HIGHEST if frames else min(int(pitches.max()) + config.transpose, 127),
        int(np.rint(bars.max() * config.steps_per_beat)) if counted else 0,
        config.condition,
        float(np.median([p.tempo[0][1] for p in train])),
        float(common[counts.argmax()]),
    )


def encode(codec: Codec, piece: Piece) -> Encoded:
    """The piece as the codec has it."""
    sequence = codec.encode(piece)
    place = codec.places(piece, len(sequence))
    return Encoded(piece, sequence, place, conditions(codec, sequence, place))


def _encode(codec: Codec, pieces: list[Piece], skipped: list[str]) -> list[Encoded]:
    out = []
    for piece in pieces:
        try:
            out.append(encode(codec, piece))
        except DataError as error:
            skipped.append(str(error))
    return out


def _pitches(codec: Codec, sequence: np.ndarray) -> tuple[int, int]:
    """Lowest and highest MIDI number of a sequence."""
    if codec.kind == "frames":
        keys = np.flatnonzero(sequence.any(axis=0)) + LOWEST
    elif codec.kind == "voices":
        keys = sequence[sequence >= FIRST] - FIRST + codec.low
    else:
        keys = sequence[sequence < SHIFT] % 128
    return (int(keys.min()), int(keys.max())) if len(keys) else (codec.low, codec.high)


def _source(codec: Codec, pieces: list[Encoded], config, shifts: range) -> Source:
    """Windows of every piece, each in every transposition: a row for each pair. Those of a piece in one transposition
    follow on each other where the state is carried; otherwise the last of them overlaps the one before."""
    window, lengths = config.window, [len(e.sequence) for e in pieces]

    def starts(length: int) -> list[int]:
        found = range(0, length, window)
        return list(found) if config.carry else sorted({min(s, max(length - window, 0)) for s in found})

    places = [(number, start) for number, length in enumerate(lengths) for start in starts(length)]
    # the same few pieces come again and again: all their transpositions are small enough to keep
    kept: dict[tuple[int, int], Encoded] = {}

    def piece(number: int, shift: int) -> Encoded:
        if (number, shift) not in kept:
            kept[number, shift] = pieces[number].transposed(codec, shift)
        return kept[number, shift]

    def gather(indices: np.ndarray) -> tuple:
        chosen = [(places[i // len(shifts)], shifts[i % len(shifts)]) for i in indices]
        rows = [cut(codec, piece(number, shift), start, window) for (number, start), shift in chosen]
        inputs = {k: np.stack([row[k] for row in rows]) for k in rows[0]}
        weight = inputs.pop("weight")
        return inputs, inputs["sequence"][:, 1:], weight

    def sizes() -> np.ndarray:
        return np.repeat([min(window, lengths[number] - start) for number, start in places], len(shifts))

    def chains() -> list[np.ndarray]:
        of = np.array([number for number, _ in places])
        rows = [np.flatnonzero(of == number) * len(shifts) for number in np.unique(of)]
        return [row + shift for row in rows for shift in range(len(shifts))]

    alike = {"alike": False, "padded": lambda longest: window}
    return Source(len(places) * len(shifts), gather, sizes, **alike, chains=chains if config.carry else None)


def cut(codec: Codec, encoded: Encoded, start: int, window: int) -> dict[str, np.ndarray]:
    """A window of a piece, filled up with blanks: what came before it, its steps, their places and conditions."""
    steps = min(window, len(encoded.sequence) - start)
    blank = codec.blank
    sequence = np.empty((window + 1, *blank.shape), np.int32)
    sequence[:] = blank
    if start:
        sequence[0] = encoded.sequence[start - 1]
    sequence[1 : steps + 1] = encoded.sequence[start : start + steps]
    row = {"sequence": sequence, "weight": (np.arange(window) < steps).astype(np.float32)}
    if codec.bar:
        row["place"] = np.zeros(window, np.int32)
        row["place"][:steps] = encoded.place[start : start + steps]
    if codec.conditions:
        row["condition"] = np.zeros((window, encoded.condition.shape[1]), np.float32)
        row["condition"][:steps] = encoded.condition[start : start + steps]
    return row


def _describe(config, encoded: dict[str, list[Encoded]], skipped: list[str]) -> str:
    name = {"chorales": "Bach chorales (music21)"}.get(config.data, Path(config.data).name)
    count = sum(map(len, encoded.values()))
    unit = "events" if config.codec == "performance" else f"steps of 1/{config.steps_per_beat} beat"
    steps = sum(len(e.sequence) for part in encoded.values() for e in part)
    return f"{name}: {count} pieces, {steps:,} {unit}, {len(skipped)} files or pieces skipped"
