"""Captioned pictures as people keep them: a folder with a CSV, Flickr8k's token file, COCO's JSON, tfds. NumPy only."""

import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ..core.errors import DataError, MissingExtra
from . import images

SPLITS = {
    "train": "train", "training": "train", "restval": "train",
    "val": "validation", "valid": "validation", "validation": "validation",
    "test": "test", "dev": "test",
}  # fmt: skip
CAPTION_FILES = ("captions.csv", "captions.txt", "Flickr8k.token.txt", "results_20130124.token", "results.csv")
_FLICKR_SPLITS = {"train": "*trainImages.txt", "validation": "*devImages.txt", "test": "*testImages.txt"}


@dataclass
class Captioned:
    """A picture with its captions: where its file is (or its bytes), and its split where the data say one."""

    name: str
    path: Path | None
    captions: list[str] = field(default_factory=list)
    split: str = ""
    content: bytes | None = None


@dataclass(frozen=True)
class Found:
    """What was read, and a line for everything that was left out."""

    pictures: list[Captioned]
    skipped: list[str]


def read(source: str) -> Found:
    """The captioned pictures of a folder, a captions file or `tfds:NAME`; see the README for the layouts."""
    if source.startswith("tfds:"):
        return _tfds(source.removeprefix("tfds:"))
    path = Path(source)
    if not path.exists():
        raise DataError(f"{path}: no such file or folder; expected captioned pictures, or the built-in name `scenes`")
    folder, files = (path, _captions_files(path)) if path.is_dir() else (path.parent, [path])
    if not path.is_dir() and folder.name == "annotations":  # COCO: the pictures lie beside that folder
        folder = folder.parent
    file = files[0]
    if file.suffix == ".json":
        rows, splits = _annotations(files)
    elif file.suffix == ".token" or file.name.endswith(".token.txt"):
        rows, splits = _token(file), _flickr_splits(folder)
    else:
        rows, splits = _csv(file), {}
    splits = splits or _splits_file(folder)
    return _gather(file, rows, splits, _index(folder))


def _captions_files(folder: Path) -> list[Path]:
    """The captions file of a folder; several where COCO's annotations are split over files."""
    for name in CAPTION_FILES:
        if (folder / name).is_file():
            return [folder / name]
    found = [f for suffix in ("*.token.txt", "*.token", "*.csv", "*.json") for f in sorted(folder.glob(suffix))]
    found = [f for f in found if f.name != "splits.csv"]
    annotations = sorted((folder / "annotations").glob("captions_*.json"))
    if len(found) == 1 or annotations:
        return annotations or found
    listed = f"; found {', '.join(f.name for f in found[:5])}: name one with --data" if found else ""
    raise DataError(
        f"{folder}: no captions; expected captions.csv (image,caption), a .token file or COCO .json{listed}"
    )


def _index(folder: Path) -> dict[str, Path]:
    """Every picture below a folder by its path from there and by its bare name; an ambiguous bare name is left out."""
    by_name: dict[str, Path | None] = {}
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in images.SUFFIXES:
            found[path.relative_to(folder).as_posix()] = path
            by_name[path.name] = None if path.name in by_name else path
    return {**{name: path for name, path in by_name.items() if path is not None}, **found}


def _gather(file: Path, rows: Iterable[tuple[str, str, str]], splits: dict[str, str], files: dict[str, Path]) -> Found:
    """(where, image, caption) rows to pictures; rows without a file or a caption are named."""
    pictures: dict[str, Captioned] = {}
    skipped = []
    for where, image, caption in rows:
        if image not in files:
            skipped.append(f"{where}: {image}: no such picture beside {file.name}")
        elif not any(character.isalnum() for character in caption):
            skipped.append(f"{where}: {image}: an empty caption")
        else:
            one = pictures.setdefault(image, Captioned(image, files[image], split=splits.get(image, "")))
            one.captions.append(" ".join(caption.split()))
    if not pictures:
        raise DataError(f"{file}: no caption with a picture; {skipped[0] if skipped else 'the file is empty'}")
    return Found(list(pictures.values()), skipped)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not UTF-8 text (byte {error.start})") from None


def _csv(file: Path) -> Iterable[tuple[str, str, str]]:
    """Rows `image,caption` (or with | between, as Flickr30k); further columns are left alone."""
    lines = _text(file).splitlines()
    header = lines[0] if lines else ""
    delimiter = "|" if "|" in header else "\t" if "\t" in header else ";" if ";" in header else ","
    rows = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    names = [name.strip().lower() for name in next(rows, [])]
    image = next((names.index(n) for n in ("image", "image_name", "file_name", "filename", "file") if n in names), None)
    text = next((names.index(n) for n in ("caption", "comment", "caption_text", "text") if n in names), None)
    if image is None or text is None:
        raise DataError(f"{file}, row 1: expected the columns image,caption; received {header[:60]!r}")
    for row in rows:
        if row:
            where = f"{file.name}, row {rows.line_num}"
            cells = row + [""] * (max(image, text) + 1 - len(row))
            last = delimiter.join(row[text:]) if text == len(names) - 1 else cells[text]  # a comma in a bare caption
            yield where, cells[image].strip(), last


def _token(file: Path) -> Iterable[tuple[str, str, str]]:
    """Flickr8k.token.txt: `name.jpg#0<TAB>caption`."""
    for number, line in enumerate(_text(file).splitlines(), 1):
        name, tab, caption = line.partition("\t")
        if not tab and line.strip():
            raise DataError(f"{file}, row {number}: expected NAME#NUMBER, a tab and a caption; received {line[:60]!r}")
        if tab:
            yield f"{file.name}, row {number}", name.partition("#")[0].strip(), caption


def _flickr_splits(folder: Path) -> dict[str, str]:
    found = {}
    for split, pattern in _FLICKR_SPLITS.items():
        for file in folder.rglob(pattern):
            found |= dict.fromkeys(_text(file).split(), split)
    return found


def _splits_file(folder: Path) -> dict[str, str]:
    """splits.csv, rows `image,split`; `dev` is for reporting, as `test`."""
    file, found = folder / "splits.csv", {}
    if file.is_file():
        for number, row in enumerate(csv.reader(_text(file).splitlines()), 1):
            if number == 1 or not row:
                continue
            if len(row) < 2 or row[1].strip().lower() not in SPLITS:
                raise DataError(f"{file}, row {number}: expected image,split with train, val or test; received {row}")
            found[row[0].strip()] = SPLITS[row[1].strip().lower()]
    return found


def _annotations(files: list[Path]) -> tuple[list[tuple[str, str, str]], dict[str, str]]:
    """The rows of COCO files; each of several is the split that its name says, as in captions_train2017.json."""
    rows, splits = [], {}
    for file in files:
        some, named = _coco(file)
        if len(files) > 1 and not named:
            split = SPLITS.get(file.stem.removeprefix("captions_").rstrip("0123456789").lower(), "")
            named = {image: split for _, image, _ in some}
        rows, splits = [*rows, *some], {**splits, **named}
    return rows, splits


def _coco(file: Path) -> tuple[list[tuple[str, str, str]], dict[str, str]]:
    """COCO's annotations (`images`, `annotations`), or Karpathy's file with sentences and splits."""
    try:
        value = json.loads(_text(file))
        entries = value["images"]
        if "annotations" not in value:
            rows = [(f"{file.name}, {e['filename']}", _below(e), s["raw"]) for e in entries for s in e["sentences"]]
            return rows, {_below(e): SPLITS.get(e.get("split", ""), "") for e in entries}
        names = {e["id"]: e["file_name"] for e in entries}
        rows = [
            (
                f"{file.name}, annotation {a.get('id', i)}",
                names.get(a["image_id"], f"image {a['image_id']}"),
                a["caption"],
            )
            for i, a in enumerate(value["annotations"])
        ]
        return rows, {}
    except json.JSONDecodeError as error:
        raise DataError(f"{file}: not valid JSON ({error})") from None
    except (KeyError, TypeError) as error:
        raise DataError(f"{file}: not COCO's layout (images, annotations with image_id and caption): {error}") from None


def _below(entry: dict) -> str:
    return "/".join(part for part in (entry.get("filepath", ""), entry["filename"]) if part)


def _tfds(name: str) -> Found:
    """A tensorflow-datasets set whose examples have `image` and `captions` (coco_captions) or a text `caption`."""
    try:
        import tensorflow_datasets as tfds
    except ModuleNotFoundError:
        raise MissingExtra(f"tfds:{name}", "train") from None
    try:
        sets = tfds.load(name, decoders={"image": tfds.decode.SkipDecoding()})
    except Exception as error:  # an unknown name, no network, a broken download: tfds raises many kinds
        raise DataError(f"tfds:{name}: {(str(error).strip().splitlines() or ['?'])[0]}") from None
    pictures = []
    for split, rows in sets.items():
        for number, row in enumerate(tfds.as_numpy(rows)):
            texts = row["captions"]["text"] if "captions" in row else [row["caption"]] if "caption" in row else []
            captions = [text.decode() for text in texts]
            if captions and "image" in row:
                kind = SPLITS.get(split, "train")
                pictures.append(Captioned(f"{split}/{number}", None, captions, kind, bytes(row["image"])))
    if not pictures:
        raise DataError(f"tfds:{name}: no example with an image and captions")
    return Found(pictures, [])
