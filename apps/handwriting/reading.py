"""Files to ink: InkML, IAM-OnDB, JSON, CSV, pendigits, Omniglot; what cannot be read is named, and why."""

import csv
import io
import json
import re
import zipfile
from pathlib import Path

import numpy as np

from ..core.errors import DataError, ElmanError
from . import iam
from .ink import Ink, make_ink
from .markup import read_xml

FORMATS = ".inkml .xml .json .jsonl .csv .tra .tes .zip"
SPLITS = {"train": "train", "valid": "validation", "validation": "validation", "val": "validation", "test": "test"}
_MOST_BYTES = 256 << 20


def read(path: Path) -> tuple[list[Ink], list[str]]:
    """The ink of a file, or of all files in a folder and below; and a line for each file that was skipped."""
    if not path.exists():
        raise DataError(f"{path}: no such file or folder; expected ink ({FORMATS})")
    if path.is_file():
        return read_file(path), []
    files = sorted(f for f in path.rglob("*") if f.suffix.lower() in READERS and f.is_file())
    if not files:
        raise DataError(f"{path}: no ink in this folder; expected files named {FORMATS}")
    texts = iam.Transcripts(path)
    found, skipped = [], []
    for file in files:
        try:
            found += iam.read(file, texts) if file.suffix.lower() == ".xml" else read_file(file)
        except ElmanError as error:
            skipped.append(str(error))
    if not found:
        raise DataError(f"{path}: none of its {len(files)} files could be read; the first: {skipped[0]}")
    return found, skipped


def read_file(path: Path) -> list[Ink]:
    """The ink of one file; DataError says why there is none."""
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path}: expected a file named {FORMATS}")
    if path.stat().st_size > _MOST_BYTES:
        raise DataError(f"{path}: {path.stat().st_size >> 20} MiB; expected at most {_MOST_BYTES >> 20} MiB")
    found = reader(path)
    if not found:
        raise DataError(f"{path}: no ink in it")
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error})") from None


def _xml(path: Path) -> list[Ink]:
    return iam.read(path, iam.Transcripts(path.parent))


def _inkml(path: Path) -> list[Ink]:
    """W3C InkML: the traces in document order, X, Y and T by the trace format; text from an annotation of truth."""
    root = read_xml(path)
    names = [c.get("name", "").upper() for f in list(root.iter("traceFormat"))[:1] for c in f.iter("channel")]
    names = names or ["X", "Y"]
    if "X" not in names or "Y" not in names:
        raise DataError(f"{path}: expected channels X and Y, found {', '.join(names)}")
    strokes = [_trace(t.text or "", names, f"{path}: trace {n}") for n, t in enumerate(root.iter("trace"), 1)]
    truth = [a for a in root.iter("annotation") if a.get("type", "").lower() in ("truth", "label", "transcription")]
    wrote = [a for a in root.iter("annotation") if a.get("type", "").lower() == "writer"]
    text = (truth[0].text or "").strip().strip("$") if truth else None
    return [make_ink(strokes, text, str(path), (wrote[0].text or "").strip() if wrote else "")]


def _trace(text: str, names: list[str], where: str) -> list[list[float]]:
    """Points of a trace; a value after ' is a difference to the one before, after \" a difference of differences."""
    chosen = [names.index(n) for n in ("X", "Y", "T") if n in names]
    modes, values, speeds = ["!"] * len(names), [0.0] * len(names), [0.0] * len(names)
    points = []
    for number, point in enumerate((p for p in text.split(",") if p.strip()), 1):
        words = point.replace("'", " '").replace('"', ' "').replace("!", " !").replace("' ", "'").split()
        if len(words) < len(names):
            raise DataError(f"{where}, point {number}: {len(words)} values for {len(names)} channels")
        for i, word in enumerate(words[: len(names)]):
            if word[0] in "!'\"":
                modes[i], word = word[0], word[1:]
            try:
                value = float(word)
            except ValueError:
                raise DataError(f"{where}, point {number}: expected a number, found '{word}'") from None
            if modes[i] == '"':
                speeds[i] += value
                values[i] += speeds[i]
            elif modes[i] == "'":
                speeds[i] = value
                values[i] += value
            else:
                values[i] = value
        points.append([values[i] for i in chosen])
    return points


def _json(path: Path) -> list[Ink]:
    """{"strokes": [[[x, y, t], …], …], "text": …}, or a list of such; strokes may be {"x": [], "y": [], "t": []}."""
    content = _text(path)
    try:
        if path.suffix.lower() == ".jsonl":
            value = [json.loads(line) for line in content.splitlines() if line.strip()]
        else:
            value = json.loads(content)
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON ({error})") from None
    if isinstance(value, dict):
        value = value.get("lines", [value])
    if not isinstance(value, list):
        raise DataError(f"{path}: expected an object with 'strokes', or a list of them, found {type(value).__name__}")
    if value and all(isinstance(v, list) for v in value):
        value = [{"strokes": value}]  # bare strokes
    single = len(value) == 1
    return [_object(v, str(path) if single else f"{path}: line {n}") for n, v in enumerate(value, 1)]


def _object(value, where: str) -> Ink:
    if not isinstance(value, dict) or not isinstance(value.get("strokes"), list):
        raise DataError(f"{where}: expected an object with a list 'strokes' of lists of points")
    strokes = []
    for number, stroke in enumerate(value["strokes"], 1):
        if isinstance(stroke, dict):
            columns = [stroke.get(k) for k in ("x", "y", "t") if stroke.get(k) is not None]
            if len({len(c) if isinstance(c, list) else -1 for c in columns}) != 1 or len(columns) < 2:
                raise DataError(f"{where}: stroke {number}: expected lists x and y (and t) of one length")
            stroke = list(zip(*columns, strict=True))
        strokes.append(stroke)
    text = value.get("text", value.get("label"))
    if text is not None and not isinstance(text, str):
        raise DataError(f"{where}: 'text': expected a string, found {type(text).__name__}")
    split = SPLITS.get(str(value.get("split", "")), "")
    return make_ink(strokes, text, where, str(value.get("writer", "")), split)


def _csv(path: Path) -> list[Ink]:
    """Columns stroke, x, y, and where there are any t, line, text, writer: a row a point, in the order of writing."""
    rows = csv.DictReader(io.StringIO(_text(path)))
    missing = {"stroke", "x", "y"} - set(rows.fieldnames or ())
    if missing:
        raise DataError(
            f"{path}: no column {', '.join(sorted(missing))}; expected stroke, x, y (t, line, text, writer)"
        )
    timed = "t" in rows.fieldnames
    lines: dict[str, dict] = {}
    for number, row in enumerate(rows, 2):
        line = lines.setdefault(row.get("line") or "", {"strokes": {}, "text": None, "writer": ""})
        try:
            point = [float(row["x"]), float(row["y"]), *([float(row["t"])] if timed else [])]
        except (TypeError, ValueError):
            raise DataError(f"{path}, row {number}: expected numbers in x, y{' and t' * timed}") from None
        line["strokes"].setdefault(row["stroke"], []).append(point)
        line["text"] = row.get("text") or line["text"]
        line["writer"] = row.get("writer") or line["writer"]
    return [
        make_ink(list(v["strokes"].values()), v["text"], f"{path}: line {k}" if k else str(path), v["writer"])
        for k, v in lines.items()
    ]


def _pendigits(path: Path) -> list[Ink]:
    """UCI pendigits: 8 points x, y and the digit in a row; the .tes file has other writers than the .tra file.

    Some copies have the digit as ten 0s and 1s, the 1 in its place.
    """
    text = re.sub(r"\b(0*)10*[ \t]*$", _digit, _text(path), flags=re.MULTILINE)
    try:
        table = np.loadtxt(io.StringIO(text), delimiter=",", ndmin=2)
    except ValueError as error:
        raise DataError(f"{path}: expected rows of 17 numbers ({error})") from None
    if table.shape[1] != 17 or not len(table):
        raise DataError(f"{path}: expected rows of 17 numbers (8 points and a digit), found shape {table.shape}")
    split = "test" if path.suffix.lower() == ".tes" else ""
    found = []
    for number, row in enumerate(table, 1):
        points = row[:16].reshape(8, 2) * [1.0, -1.0]
        found.append(make_ink([points], str(int(row[16])), f"{path}, row {number}", "", split))
    return found


def _digit(found: re.Match) -> str:
    return str(len(found[1])) if len(found[0].rstrip()) == 10 else found[0]


def _omniglot(path: Path) -> list[Ink]:
    """Omniglot's zip of strokes: text is alphabet/character; drawers 17 to 20 are the test, 16 is validation."""
    found = []
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                parts = info.filename.split("/")
                if not info.filename.endswith(".txt") or parts[0].startswith("__") or len(parts) < 3:
                    continue
                if info.file_size > 1 << 20:
                    raise DataError(f"{path}: {info.filename} is {info.file_size >> 20} MiB; expected a drawing")
                strokes = _drawing(archive.read(info).decode("utf-8"), f"{path}: {info.filename}")
                drawer = parts[-1].removesuffix(".txt").rpartition("_")[2]
                split = "test" if drawer > "16" else "validation" if drawer == "16" else "train"
                found.append(make_ink(strokes, "/".join(parts[-3:-1]), f"{path}: {info.filename}", drawer, split))
    except (zipfile.BadZipFile, UnicodeDecodeError, NotImplementedError) as error:
        raise DataError(f"{path}: not a readable zip of strokes ({error})") from None
    return found


def _drawing(text: str, where: str) -> list[list[list[float]]]:
    strokes: list[list[list[float]]] = [[]]
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("BREAK"):
            strokes.append([])
        elif "," in line:
            try:
                x, y, t = map(float, line.split(","))
            except ValueError:
                raise DataError(f"{where}, row {number}: expected x, y, t, found '{line[:40]}'") from None
            strokes[-1].append([x, -y, t / 1000])
    return iam.in_order(strokes)


READERS = {
    ".inkml": _inkml, ".xml": _xml, ".json": _json, ".jsonl": _json, ".csv": _csv, ".tra": _pendigits,
    ".tes": _pendigits, ".zip": _omniglot,
}  # fmt: skip
