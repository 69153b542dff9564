"""Pictures of lines with the text on them, from a folder. Pillow is imported when one is read."""

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.errors import DataError, ElmanError, MissingExtra
from .images import MOST_PIXELS

FORMATS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
SPLITS = {"train": "train", "valid": "validation", "validation": "validation", "val": "validation", "test": "test"}


@dataclass(frozen=True)
class Picture:
    """One line as a picture: `pixels` (height, width) of grey in [0, 1]; the rest as of `ink.Ink`."""

    pixels: np.ndarray
    text: str | None = None
    name: str = ""
    writer: str = ""
    split: str = ""


def read(path: Path) -> tuple[list[Picture], list[str]]:
    """The pictures of a file or a folder and below, and a line for each that was skipped.

    Texts: a file `NAME.txt` beside `NAME.png`, or a CSV file in the folder with columns file, text (writer, split).
    """
    if not path.exists():
        raise DataError(f"{path}: no such file or folder; expected pictures of lines ({', '.join(FORMATS)})")
    if path.is_file():
        return [read_file(path)], []
    files = sorted(f for f in path.rglob("*") if f.suffix.lower() in FORMATS and f.is_file())
    if not files:
        raise DataError(f"{path}: no picture in this folder; expected files named {', '.join(FORMATS)}")
    table = _table(path)
    found, skipped = [], []
    for file in files:
        try:
            found.append(read_file(file, table.get(file.relative_to(path).as_posix(), table.get(file.name))))
        except MissingExtra:
            raise
        except ElmanError as error:
            skipped.append(str(error))
    if not found:
        raise DataError(f"{path}: none of its {len(files)} pictures could be read; the first: {skipped[0]}")
    return found, skipped


def read_file(path: Path, row: dict | None = None) -> Picture:
    """One picture; `row` has its text where a table gives it. A `.json` may hold `picture`, rows of grey in [0, 1]."""
    if path.suffix.lower() == ".json":
        return _from_json(path)
    if path.suffix.lower() not in FORMATS:
        raise DataError(f"{path}: expected a picture of a line ({', '.join(FORMATS)})")
    beside = path.with_suffix(".txt")
    text = beside.read_text(encoding="utf-8").strip() if row is None and beside.exists() else (row or {}).get("text")
    row = row or {}
    return Picture(_pixels(path), text, str(path), row.get("writer") or "", SPLITS.get(row.get("split") or "", ""))


def _pixels(path: Path) -> np.ndarray:
    try:
        from PIL import Image, UnidentifiedImageError
    except ModuleNotFoundError:
        raise MissingExtra(str(path), "image") from None
    try:
        with Image.open(path) as image:
            if image.width * image.height > MOST_PIXELS:
                size = f"{image.width} x {image.height}"
                raise DataError(f"{path}: {size} pixels; expected at most {MOST_PIXELS:,} for a line; reduce it")
            if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
                ground = Image.new("RGBA", image.size, "white")
                image = Image.alpha_composite(ground, image.convert("RGBA"))
            return np.asarray(image.convert("L"), np.float32) / 255
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, ElmanError):
            raise
        raise DataError(f"{path}: not a readable picture ({str(error).splitlines()[0]})") from None


def _from_json(path: Path) -> Picture:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        pixels = np.asarray(value["picture"], np.float32)
    except (ValueError, TypeError, KeyError, UnicodeDecodeError):
        raise DataError(f"{path}: expected JSON with 'picture', rows of grey in [0, 1]") from None
    if pixels.ndim != 2 or not pixels.size or not np.isfinite(pixels).all() or pixels.size > MOST_PIXELS:
        raise DataError(f"{path}: 'picture': expected rows of grey in [0, 1], found shape {pixels.shape}")
    return Picture(pixels, value.get("text"), str(path))


def _table(folder: Path) -> dict[str, dict]:
    found: dict[str, dict] = {}
    for path in sorted(folder.glob("*.csv")):
        try:
            rows = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig")))
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: not UTF-8 text ({error})") from None
        if not {"file", "text"} <= set(rows.fieldnames or ()):
            raise DataError(f"{path}: expected columns file, text, found {', '.join(rows.fieldnames or ['none'])}")
        found.update({row["file"]: row for row in rows})
    return found
