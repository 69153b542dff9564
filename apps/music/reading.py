"""Files to pieces: MIDI, MusicXML, ABC, JSON chorales, .mat piano rolls; what cannot be read is named, and why."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from ..core.errors import DataError, ElmanError, MissingExtra
from .score import HIGHEST, LOWEST, Piece, from_json, from_roll, from_voices

LONGEST = 100_000  # beats, half a day: a longer piece is a broken file
SPLITS = {"train": "train", "valid": "valid", "validation": "valid", "test": "test"}


def read(path: Path, step: float, wrap: Callable = iter, repeats: bool = True) -> tuple[list[Piece], list[str]]:
    """The pieces of a file, or of a folder and all below it; and a line for each file or tune that was skipped.

    Args:
        step: beats that a row of a piano roll or of a JSON chorale lasts.
        wrap: may show progress over the files.
        repeats: whether repeated sections of MusicXML sound as often as is written, or once.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file or folder; expected music ({', '.join(READERS)})")
    skipped: list[str] = []
    if path.is_file():
        return read_file(path, step, repeats, skipped), skipped
    files = sorted(f for f in path.rglob("*") if f.suffix.lower() in READERS and f.is_file())
    if not files:
        raise DataError(f"{path}: no music in this folder; expected files named {', '.join(READERS)}")
    pieces = []
    for file in wrap(files):
        try:
            pieces += read_file(file, step, repeats, skipped)
        except MissingExtra:
            raise
        except ElmanError as error:
            skipped.append(str(error))
    if not pieces:
        raise DataError(f"{path}: none of its {len(files)} files could be read; the first: {skipped[0]}")
    return pieces, skipped


def read_file(path: Path, step: float, repeats: bool = True, skipped: list[str] | None = None) -> list[Piece]:
    """The pieces of one file; DataError says why there are none.

    Args:
        skipped: takes a line for each piece of the file that cannot be used; without it the first of them is an error.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path}: expected a file named {', '.join(READERS)}")
    pieces, wrong = [], []
    for found in reader(path, step, repeats):
        if isinstance(found, DataError):
            wrong.append(found)
        elif found.beats > LONGEST:
            wrong.append(DataError(f"{found.name}: expected at most {LONGEST:,} beats, found {found.beats:,.0f}"))
        elif not len(found.notes):
            wrong.append(DataError(f"{found.name}: no notes in it"))
        else:
            pieces.append(found)
    if wrong and (skipped is None or not pieces):
        raise wrong[0]
    if not pieces:
        raise DataError(f"{path}: no piece in it")
    if skipped is not None:
        skipped += map(str, wrong)
    return pieces


def _midi(path: Path, step: float, repeats: bool) -> list[Piece]:
    from . import midi

    return [midi.read(path)]


def _musicxml(path: Path, step: float, repeats: bool) -> list[Piece]:
    from . import musicxml

    return [musicxml.read(path, repeats)]


def _abc(path: Path, step: float, repeats: bool) -> list[Piece]:
    from . import abc_notation

    return abc_notation.read(path)


def _json(path: Path, step: float, repeats: bool) -> list[Piece]:
    """{"train": [[[60, 55, …], …], …], …}: pieces of steps of MIDI numbers, −1 for a rest; short steps end in rests.

    Or a piece as `predict --out FILE.json` writes it.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not valid JSON ({error})") from None
    if isinstance(value, dict) and "notes" in value:
        try:
            return [from_json(value, path.name)]
        except ValueError as error:
            raise DataError(f"{path}: {error}") from None
    groups = value if isinstance(value, dict) else {"": value}
    pieces = []
    for name, group in groups.items():
        if not isinstance(group, list):
            raise DataError(f"{path}: expected lists of pieces, found {type(group).__name__} under '{name}'")
        for number, rows in enumerate(group):
            where = f"{path.name} {name} {number + 1}".strip()
            pieces.append(from_voices(_voices(rows, f"{path}: {where}"), step, where, SPLITS.get(name, "")))
    return pieces


def _voices(rows, where: str) -> np.ndarray:
    try:
        widest = max(map(len, rows))
        table = np.array([[*row, *[-1] * (widest - len(row))] for row in rows], float).reshape(-1, widest)
    except (TypeError, ValueError):
        raise DataError(f"{where}: expected steps of MIDI numbers (−1 for a rest)") from None
    table = np.where(np.isfinite(table), table, -1).astype(int)
    wrong = table[(table >= 0) & ((table < LOWEST) | (table > HIGHEST))]
    if len(wrong) or (table < -1).any():
        raise DataError(
            f"{where}: expected MIDI numbers from {LOWEST} to {HIGHEST}, or −1 for a rest; found {wrong[:1]}"
        )
    return table


def _mat(path: Path, step: float, repeats: bool) -> list[Piece]:
    """MATLAB piano rolls (steps, 88) in cells named traindata, validdata, testdata."""
    try:
        from scipy.io import loadmat
    except ModuleNotFoundError:
        raise MissingExtra(str(path), "train") from None
    try:
        content = loadmat(path)
    except Exception as error:  # scipy raises many kinds on a broken file
        raise DataError(f"{path}: not a MATLAB file ({str(error).splitlines()[0]})") from None
    return list(_rolls(path, {k: v for k, v in content.items() if not k.startswith("__")}, step))


def _rolls(path: Path, content: dict, step: float) -> Iterator[Piece]:
    for name, cells in content.items():
        for number, roll in enumerate(cells.ravel() if cells.dtype == object else [cells]):
            if roll.ndim != 2 or roll.shape[1] != HIGHEST - LOWEST + 1:
                raise DataError(f"{path}: {name}: expected piano rolls (steps, 88), found {roll.shape}")
            split = SPLITS.get(name.removesuffix("data"), "")
            yield from_roll(roll, step, f"{path.name} {name} {number + 1}", split)


READERS = {
    ".mid": _midi, ".midi": _midi, ".mxl": _musicxml, ".musicxml": _musicxml, ".xml": _musicxml, ".abc": _abc,
    ".json": _json, ".mat": _mat,
}  # fmt: skip
