"""Where lines come from, how they are split, and the rows that training draws from them."""

import dataclasses
import hashlib
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.errors import DataError
from ..core.source import Source
from . import fresh, generated, pictures, reading
from .augment import vary
from .codec import Codec
from .ink import Ink
from .lines import Line, Lines, encode

SHOWN = 5  # skipped files that are named one by one
_LEAST = 3  # lines, or writers, that can be split three ways
PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Data:
    """Lines, encoded and split: `parts` has `Lines` for each of train (of generated lines the first few), validation
    and test."""

    config: object
    codec: Codec
    parts: dict[str, Lines]
    sizes: dict[str, int]
    train: Source
    validation: Source
    rows_per_epoch: int
    warnings: tuple[str, ...]
    description: str
    license: str


def load(config, codec: Codec | None = None) -> Data:
    """Reads and checks `config.data`, splits it, and fits a codec on it; generated lines are written when needed: see
    `fresh`.

    With a `codec`, the data may be others than those of training: the test part is then what the data call so, and
    where they do not say, every line that neither training nor validation saw.
    """
    if config.data == generated.NAME and not Path(config.data).exists():
        return _generated(config, codec)
    images = config.model == "offline"
    inks, skipped = (pictures if images else reading).read(Path(config.data))
    inks = [_composed(ink) for ink in inks]
    groups = split(inks, config)
    training = codec is None
    if training:
        skipped += [f"{ink.name}: no text; skipped" for ink in inks if not ink.text]
        groups = {name: [ink for ink in group if ink.text] for name, group in groups.items()}
        _require(config, groups, skipped)
        codec = fit_codec(config, groups)
    elif not any(ink.split for ink in inks):
        seen = set(codec.seen)
        groups = {name: [ink for ink in group if digest(ink) in seen] for name, group in groups.items()}
        groups["test"] = [ink for ink in inks if digest(ink) not in seen]
    return _encoded(config, codec, groups, skipped)


def _generated(config, codec: Codec | None) -> Data:
    codec = codec or generated.codec(config)
    held_out = min(generated.HELD_OUT, max(config.lines // 10, 10))
    counts = {"train": config.lines, "validation": held_out, "test": held_out}
    parts = {name: Lines(lambda name=name: list(fresh.written(config, codec, name, range(held_out)))) for name in PARTS}
    description = f"generated lines of up to {config.length} characters"
    license = "none: the lines are written by this program"
    return _data(config, codec, parts, fresh.source(config, codec), counts, (), description, license)


def _composed(ink: Ink) -> Ink:
    """Text in Unicode's composed form: é is one character, however it was typed."""
    if ink.text is None or ink.text.isascii():
        return ink
    return dataclasses.replace(ink, text=unicodedata.normalize("NFC", ink.text))


def split(inks: list[Ink], config) -> dict[str, list[Ink]]:
    """As the data say; what they leave open by writers, or by lines, in an order that no seed changes."""
    groups = {name: [ink for ink in inks if ink.split == name] for name in PARTS}
    rest = [ink for ink in inks if not ink.split]
    missing = [i for i, name in enumerate(PARTS) if not groups[name]]
    if not rest or not missing:
        return groups
    writers = sorted({ink.writer for ink in rest})
    by_writer = len(writers) >= _LEAST
    units = writers if by_writer else list(range(len(rest)))
    order = np.random.default_rng(0).permutation(len(units))
    shares = np.array([config.split[i] for i in missing])
    edges = np.rint(np.cumsum(shares / shares.sum()) * len(units)).astype(int)[:-1]
    if len(units) >= len(missing):  # each part gets one at least
        edges = np.clip(edges, np.arange(1, len(missing)), len(units) - np.arange(len(missing) - 1, 0, -1))
    for i, chosen in zip(missing, np.split(order, edges), strict=True):
        mine = {units[j] for j in chosen}
        groups[PARTS[i]] = [k for n, k in enumerate(rest) if (k.writer if by_writer else n) in mine]
    return groups


def fit_codec(config, groups: dict[str, list[Ink]]) -> Codec:
    """The alphabet of all lines, or for single drawings the labels in order; the geometry of the configuration."""
    if config.model == "classifier":
        labels = sorted({ink.text for group in groups.values() for ink in group})
        codec = Codec(tuple(labels), "symbol", config.spacing, config.stack)
    else:
        letters = sorted({letter for group in groups.values() for ink in group for letter in ink.text})
        codec = dataclasses.replace(generated.codec(config), alphabet=tuple(letters))
    return codec.remember(digest(ink) for name in PARTS[:2] for ink in groups[name])


def _require(config, groups: dict[str, list[Ink]], skipped: list[str]) -> None:
    for name, group in groups.items():
        if not group:
            raise DataError(
                f"{config.data}: no line with a text for {name}, out of {sum(map(len, groups.values()))} with "
                f"one; give more lines or change --split{'; skipped: ' + skipped[0] if skipped else ''}"
            )


def fitting(codec: Codec, inks: list, skipped: list[str]) -> list[Line]:
    """The lines that can be learnt from; one with more text than its ink has room for is named in `skipped`."""
    found = []
    for ink in inks:
        line = encode(codec, ink)
        needed = len(line.classes) + int((line.classes[1:] == line.classes[:-1]).sum())  # a blank parts doubles
        if codec.kind != "symbol" and needed > len(line.places):
            skipped.append(
                f"{ink.name}: {len(line.classes)} characters in so little ink; skipped (is the text that of the line?)"
            )
        else:
            found.append(line)
    return found


def _encoded(config, codec: Codec, groups: dict[str, list[Ink]], skipped: list[str]) -> Data:
    lines = {name: fitting(codec, groups[name], skipped) for name in PARTS[:2]}
    lines["test"] = [encode(codec, ink, labelled=False) for ink in groups["test"]]
    copies = max(config.copies, 1)

    def train() -> list[Line]:
        rng = np.random.default_rng((config.seed, 7))
        found = list(lines["train"])
        for _ in range(copies - 1):
            found += [encode(codec, vary(line.ink, rng, config.vary)) for line in lines["train"]]
        return found

    parts = {name: Lines(lambda name=name: lines[name]) for name in PARTS} | {"train": Lines(train)}
    sizes = {name: len(group) for name, group in lines.items()}
    inks = [line.ink for group in lines.values() for line in group]
    writers = len({ink.writer for ink in inks if ink.writer})
    described = f"{Path(config.data).name}: {len(inks):,} {'drawings' if codec.kind == 'symbol' else 'lines'}"
    if writers:
        described += f" of {writers} writers"
    warnings = (*skipped[:SHOWN], *([f"… and {len(skipped) - SHOWN} more skipped"] if len(skipped) > SHOWN else []))
    rows = parts["train"].source(sizes["train"] * copies, config.model == "attention")
    return _data(config, codec, parts, rows, sizes, warnings, described, "that of the data")


def _data(config, codec, parts, train, sizes, warnings, description, license) -> Data:
    return Data(
        config,
        codec,
        parts,
        sizes,
        train,
        parts["validation"].source(sizes["validation"], config.model == "attention"),
        config.lines_per_epoch,
        warnings,
        description,
        license,
    )


def digest(ink: Ink) -> str:
    """A short name for the strokes of an ink, or the pixels of a picture."""
    found = hashlib.sha256()
    if isinstance(ink, pictures.Picture):
        found.update(ink.pixels.tobytes())
        return found.hexdigest()[:12]
    for stroke in ink.strokes:
        found.update(np.ascontiguousarray(stroke[:, :2]).tobytes() + b"|")
    return found.hexdigest()[:12]
