"""Files as named columns, cells as numbers or text, and the faults found on the way. NumPy and the standard library."""

import csv
import io
import itertools
import re
import textwrap
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..core.errors import DataError, MissingExtra

MISSING = frozenset(["", "NA", "N/A", "na", "NaN", "nan", "NAN", "null", "NULL", "Null", "None", "?"])


class Faults:
    """Collects the faults of one file, so that a single error reports them all."""

    def __init__(self, name):
        self.name, self.kinds = name, []

    def add(self, what, remedy, examples=()):
        """Adds one kind of fault: what was found, examples of it, and what to do."""
        self.kinds.append((what, remedy.rstrip("."), list(itertools.islice(examples, 4))))

    def check(self):
        """Raises one DataError for all faults so far, with fewer examples where it would pass a dozen lines."""
        if not self.kinds:
            return
        for shown in (3, 1):
            texts = [f"- {what}{': ' * bool(few)}{first(few, shown)}. {remedy}." for what, remedy, few in self.kinds]
            lines = [line for text in texts for line in textwrap.wrap(text, 80, subsequent_indent="  ")]
            if len(lines) < 12:
                break
        raise DataError("\n".join([f"{self.name} cannot be used:", *lines]))


class Columns(NamedTuple):
    """The columns of a file by name, each a list of text or an array, and the line number of each record."""

    name: str
    columns: dict
    rows: np.ndarray

    def cells(self, column, where):
        """Row and content of a column's cells at the positions `where`, as examples for a fault."""
        return (f"row {self.rows[i]} has {str(self.columns[column][i])[:40]!r}" for i in where)


def first(examples, shown=3):
    """The first few of many examples, in a line."""
    few = list(itertools.islice(examples, shown + 1))
    return "; ".join(few[:shown]) + ("; …" if len(few) > shown else "")


def count(things, noun):
    """How many: `1 cell`, `3 cells`."""
    return f"{len(things):,} {noun}{'s' * (len(things) != 1)}"


def wrapped(text):
    """A DataError for a terminal of 80 columns; a path stays in one piece."""
    return DataError(textwrap.fill(text, 80, break_on_hyphens=False, break_long_words=False))


def read_rows(path):
    """The records of a CSV file (comma, semicolon or tab) and their line numbers; blank lines are passed over."""
    data = path.read_bytes()
    if not data.strip():
        raise wrapped(f"{path.name} is empty: expected a header line and a row per stamp.")
    wrong = f"{path.name} is not text: {{}}. Expected CSV in UTF-8, or Parquet; save a spreadsheet as CSV UTF-8."
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        at = f"byte {error.start:,} is 0x{data[error.start]:02x}, in line {line:,}"
        raise wrapped(wrong.format(at)) from None
    control = re.search(r"[\x00-\x08\x0e-\x1f]", text)
    if control:
        raise wrapped(wrong.format(f"it holds a control character ({control[0]!r})"))
    header = text.lstrip().partition("\n")[0]
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=max(",;\t", key=header.count), skipinitialspace=True, strict=True
    )
    try:
        rows = list(reader)
    except csv.Error as error:
        raise wrapped(f"{path.name}: line {reader.line_num:,} is not CSV ({error}). Check its quotes.") from None
    lines = [i for i, row in enumerate(rows, 1) if row and (row[0] or any(row))]
    return [rows[i - 1] for i in lines], np.array(lines)


def from_rows(name, rows, lines, faults):
    """Turns records into columns; records of another width than the header are a fault and left out."""
    header = [cell.strip() for cell in rows[0]]
    twice = sorted({h for h in header if header.count(h) > 1})
    if twice:
        faults.add("the header repeats a column", "Give each column its own name", map(repr, twice))
        faults.check()
    if len(rows) == 1:
        raise wrapped(f"{name} has a header but no rows: expected a row per stamp.")
    width = len(header)
    wrong = [i for i in range(1, len(rows)) if len(rows[i]) != width]
    if wrong:
        faults.add(
            f"{count(wrong, 'row')} without the {width} cells of the header",
            "Check separators and quotes",
            (f"row {lines[i]} has {len(rows[i])}" for i in wrong),
        )
        keep = [0, *(i for i in range(1, len(rows)) if len(rows[i]) == width)]
        rows, lines = [rows[i] for i in keep], lines[keep]
        if len(rows) == 1:
            faults.check()
    body = zip(*rows[1:], strict=True)
    return Columns(name, dict(zip(header, map(list, body), strict=True)), lines[1:])


def read_parquet(path):
    """The columns of a Parquet file: numbers and stamps as arrays, anything else as text."""
    try:
        import pandas as pd
        import pyarrow
    except ImportError:
        raise MissingExtra("Reading Parquet", "train") from None
    try:
        frame = pd.read_parquet(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise wrapped(f"{path.name} is not a Parquet file: {str(error).splitlines()[0][:100]}") from None
    if any(name is not None for name in frame.index.names):
        frame = frame.reset_index()
    if not len(frame):
        raise wrapped(f"{path.name} has no rows: expected a row per stamp.")
    columns = {str(name): _plain(frame[name], pd) for name in frame}
    return Columns(path.name, columns, np.arange(1, len(frame) + 1))


def _plain(column, pd):
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    if pd.api.types.is_datetime64_dtype(column):
        return column.to_numpy()
    if pd.api.types.is_numeric_dtype(column):
        integer = pd.api.types.is_integer_dtype(column) and not column.isna().any()
        return column.to_numpy(np.int64 if integer else np.float64)
    return ["" if missing else str(v) for v, missing in zip(column, column.isna(), strict=True)]


def numbers(values):
    """A column as `float64`, NaN where missing, and the positions of what is neither a finite number nor missing."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "biuf":
        out = values.astype(np.float64)
        return out, np.flatnonzero(np.isinf(out))
    values = [str(v) for v in values] if isinstance(values, np.ndarray) else values
    try:
        try:
            out = np.fromiter(map(float, values), np.float64, len(values))
        except ValueError:
            out = np.fromiter((np.nan if v in MISSING else float(v) for v in values), np.float64, len(values))
        bad = np.isinf(out)
        if "_" in "".join(values):  # float() reads 1_000
            bad |= np.array(["_" in v for v in values])
    except ValueError:
        known = {v: _number(v.strip()) for v in set(values)}
        parsed = [known[v] for v in values]
        bad = np.array([v is None for v in parsed])
        out = np.array([np.nan if v is None else v for v in parsed], np.float64)
    return np.where(bad, np.nan, out), np.flatnonzero(bad)


def _number(text):
    if text in MISSING:
        return np.nan
    try:
        value = float(text)
    except ValueError:
        return None
    return None if "_" in text or np.isinf(value) else value


def labels(values):
    """A column as an object array of text, with `""` where missing."""
    return np.array(["" if v in MISSING else v for v in (str(v).strip() for v in values)], object)


def load(path, faults):
    """The columns of a CSV or Parquet file."""
    if is_parquet(path):
        return read_parquet(path)
    return from_rows(path.name, *read_rows(path), faults)


def is_parquet(path):
    """Whether a file is Parquet, by its suffix or its first bytes."""
    with Path(path).open("rb") as file:
        return Path(path).suffix in (".parquet", ".pq") or file.read(4) == b"PAR1"
