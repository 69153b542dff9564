"""The IAM on-line handwriting database: lineStrokes XML, with ascii transcriptions or an HTK label file."""

import itertools
import re
from functools import cached_property
from pathlib import Path

from ..core.errors import DataError
from .ink import Ink, make_ink
from .markup import read_xml

# Names that the database's label files (.mlf) give to what is not a letter.
_LABELS = {
    "sp": " ", "ex": "!", "qu": '"', "ga": "#", "do": "$", "am": "&", "ti": "'", "sl": "/", "lb": "(", "rb": ")",
    "ls": "[", "rs": "]", "sr": "*", "cm": ",", "mi": "-", "pl": "+", "pt": ".", "cl": ":", "sc": ";", "qm": "?",
    "pr": "%", "<space>": " ", "_": " ", "|": " ", **{f"n{digit}": str(digit) for digit in range(10)},
}  # fmt: skip


class Transcripts:
    """What lines say: by name (`a01-000u-01`), from the ascii files and label files in a folder, below it or beside it.

    Args:
        folder: where the lines lie; the folders above are looked through for `ascii` too.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def find(self, name: str) -> str | None:
        """The text of a line, None where no file has it."""
        if name in self._labels:
            return self._labels[name]
        form, _, number = name.rpartition("-")
        path = self._forms.get(form)
        if path is None or not number.isdigit():
            return None
        lines = _corrected(path)
        return lines[int(number) - 1] if 0 < int(number) <= len(lines) else None

    @cached_property
    def _places(self) -> list[Path]:
        folder = self.folder.resolve()
        found = [folder]
        for above in list(folder.parents)[:4]:
            if above != Path(above.anchor):
                found += sorted(p for p in above.glob("ascii*") if p.is_dir()) + sorted(above.glob("*.mlf"))
        return found

    def _files(self, suffix: str) -> list[Path]:
        files = []
        for place in self._places:
            files += sorted(place.rglob(f"*{suffix}")) if place.is_dir() else [place] * (place.suffix == suffix)
        return files

    @cached_property
    def _forms(self) -> dict[str, Path]:
        return {path.stem: path for path in reversed(self._files(".txt"))}

    @cached_property
    def _labels(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for path in self._files(".mlf"):
            found.update(read_labels(path))
        return found


def _corrected(path: Path) -> list[str]:
    """The lines under CSR: of an ascii file, the corrected transcription (all lines where there is no such heading)."""
    text = path.read_text(encoding="utf-8", errors="replace")
    part = re.split(r"^CSR:\s*$", text, maxsplit=1, flags=re.MULTILINE)[-1]
    return [line.strip() for line in part.splitlines() if line.strip()]


def read_labels(path: Path) -> dict[str, str]:
    """An HTK master label file: line name -> text. Labels are characters, names of characters, or whole words."""
    found: dict[str, str] = {}
    name, labels = "", []
    for number, raw in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        line = raw.strip()
        if number == 1 and not line.startswith("#!MLF!#"):
            raise DataError(f"{path}: expected an HTK label file that begins with #!MLF!#")
        if len(line) > 2 and line[0] == line[-1] == '"' and "." in line:
            name, labels = Path(line.strip('"')).stem, []
        elif line == "." and name:
            found[name] = _spelled(labels)
            name = ""
        elif line and name:
            fields = line.split()  # times may stand before the label
            labels.append(fields[2] if len(fields) > 2 and fields[0].isdigit() else fields[0])
    if name and labels:
        found[name] = _spelled(labels)
    return found


def _spelled(labels: list[str]) -> str:
    single = [_LABELS.get(label, label.strip("\\\"'") if len(label) > 1 else label) for label in labels]
    words = sum(len(text) > 1 for text in single)
    return (" " if words > len(single) / 2 else "").join(single).strip()


def read(path: Path, transcripts: Transcripts) -> list[Ink]:
    """One line of the database; its writer is the form that it stands on."""
    root = read_xml(path)
    strokes = []
    for number, stroke in enumerate(root.iter("Stroke"), 1):
        points = []
        for point in stroke.iter("Point"):
            try:
                points.append([float(point.attrib[key]) for key in ("x", "y", "time") if key in point.attrib])
            except ValueError as error:
                raise DataError(f"{path}: stroke {number}: {error}") from None
        strokes.append(points)
    if not strokes:
        raise DataError(f"{path}: no <Stroke> in it; expected IAM-OnDB's lineStrokes")
    text = transcripts.find(path.stem)
    if text is None:
        text = next((e.get("text") for e in root.iter("TextLine") if e.get("text")), None)
    return [make_ink(in_order(strokes), text, str(path), path.stem.rpartition("-")[0])]


def in_order(strokes: list[list[list[float]]]) -> list[list[list[float]]]:
    """Without times where the tablet's clock ran backwards, as it does in some public data sets."""
    times = [point[2] for stroke in strokes for point in stroke if len(point) > 2]
    if all(a <= b for a, b in itertools.pairwise(times)):
        return strokes
    return [[point[:2] for point in stroke] for stroke in strokes]
