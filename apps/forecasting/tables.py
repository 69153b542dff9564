"""Tables of time series: read a CSV, Parquet or M4 file, check it once, and lay each series on a regular grid.

NumPy and the standard library alone; Parquet asks for pandas, which `elman[train]` brings.
"""

import csv
import difflib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from ..core.errors import UsageError
from .columns import MISSING, Columns, Faults, count, first, is_parquet, labels, load, numbers, read_rows, wrapped
from .frequency import Frequency, format_stamps, infer, join_parts, parse_stamps

M4_SEASONS = {"Hourly": 24, "Daily": 1, "Weekly": 1, "Monthly": 12, "Quarterly": 4, "Yearly": 1}


@dataclass(frozen=True)
class Layout:
    """How a file of time series is to be read.

    Args:
        kind: `long` (a row per series and stamp), `wide` (a stamp and a column per series), `m4` (a row per series), or
            `auto`: long where the time and target columns are there, m4 where the header is V1, V2, …, else wide.
        id_column: the column that names the series (long); without it the file is one series.
        time_column: the column of stamps, or several joined by commas, `year,month,day,hour`. Wide: where there is no
            column `ds`, the first one. Empty: the rows are in order, one step apart.
        target_column: the column to forecast (long). Wide: the series to take, joined by commas; `y` takes all columns.
        past: covariates known up to the present.
        future: covariates known over the horizon as well.
        static: covariates with one value for each series (long).
        frequency: `h`, `15min`, `D`, `W`, `M`, `Q`, `Y`, …; empty to infer it. For series without a calendar the step,
            or a name that gives the season.
        fallback: the frequency where no series has two stamps to infer it from.
    """

    kind: Literal["auto", "long", "wide", "m4"] = "auto"
    id_column: str = "unique_id"
    time_column: str = "ds"
    target_column: str = "y"
    past: tuple[str, ...] = ()
    future: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    frequency: str = ""
    fallback: str = ""

    def __post_init__(self):
        if self.kind not in ("auto", "long", "wide", "m4"):
            raise UsageError(f"kind: expected auto, long, wide or m4, received {self.kind!r}")
        if self.frequency:
            Frequency.parse(self.frequency)
        named = [*self.times, *self.targets, *self.covariates, *self.static]
        twice = sorted({name for name in named if named.count(name) > 1})
        if twice:
            raise UsageError(f"each column takes one part, received more for {', '.join(twice)}")

    @property
    def times(self):
        return _split(self.time_column)

    @property
    def targets(self):
        return _split(self.target_column)

    @property
    def covariates(self):
        return (*self.past, *self.future)


def _split(names):
    return [name.strip() for name in names.split(",") if name.strip()]


@dataclass(frozen=True)
class Series:
    """One series on a regular grid.

    Args:
        id: its name.
        start: the first stamp, a `datetime64[s]` or a whole number.
        y: `float64[T]`, NaN where a value is missing.
        columns: past and future covariates by name, each at least T long (future ones may go on): floats with NaN, or
            text with `""` where missing.
        static: covariates of the series by name, a float or a text.
    """

    id: str
    start: np.datetime64 | int
    y: np.ndarray
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    static: dict[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """Series that share a frequency; `test` says how many last values of each are an official test part (M4)."""

    frequency: Frequency
    series: tuple[Series, ...]
    warnings: tuple[str, ...] = ()
    test: int = 0

    def stamps(self, series, horizon=0):
        """The stamps of one series, and of `horizon` steps after it."""
        return self.frequency.stamps(series.start, len(series.y) + horizon)


def read(path, layout=None, training=True):
    """Reads a file (or a folder with M4 files) and checks all of it; one DataError names every fault.

    A folder's `*-train.csv` is joined with the `*-test.csv` beside it, and `Table.test` is the length of that part;
    either file alone is read as it is. Where `training` is false, series may all be constant.
    """
    path, layout = Path(path), layout or Layout()
    if not path.exists():
        beside = sorted(p.name for p in path.parent.iterdir()) if path.parent.is_dir() else []
        raise wrapped(f"{path} does not exist{_did_you_mean(path.name, beside)}")
    if path.is_dir():
        train = sorted(path.glob("*-train.csv"))
        if len(train) != 1:
            found = ", ".join(p.name for p in train) or "none"
            raise wrapped(f"{path}: expected a folder with one M4 file *-train.csv, found {found}. Name one file.")
        return _read_m4(train[0], layout, training, train[0].with_name(train[0].name.replace("-train", "-test")))
    if not is_parquet(path) and layout.kind in ("auto", "m4"):
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            header = file.readline(200)
        if layout.kind == "m4" or re.match(r'"?V1"?,"?V2"?,', header):
            return _read_m4(path, layout, training)
    faults = Faults(path.name)
    return _build(load(path, faults), layout, training, faults)


def from_columns(columns, layout=None, name="data", training=True):
    """A table of columns that are in memory already: a dict of arrays or lists of text; checked as `read` does."""
    rows = np.arange(1, len(next(iter(columns.values()))) + 1)
    return _build(Columns(name, dict(columns), rows), layout or Layout(), training, Faults(name))


def write_long(path, table):
    """Writes a table as CSV with the columns unique_id, ds, y and its covariates; every stamp of the grid has a row."""
    names = list(dict.fromkeys(name for s in table.series for name in (*s.columns, *s.static)))
    partial = Path(f"{path}.partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["unique_id", "ds", "y", *names])
        for s in table.series:
            length = max([len(s.y), *map(len, s.columns.values())])
            values = [s.y, *(s.columns.get(n, np.full(length, s.static.get(n, ""), object)) for n in names)]
            cells = [[_cell(v) for v in column] + [""] * (length - len(column)) for column in values]
            stamps = format_stamps(table.frequency.stamps(s.start, length))
            writer.writerows(zip([s.id] * length, stamps, *cells, strict=True))
    partial.replace(path)


def _cell(value):
    return value if isinstance(value, str) else "" if np.isnan(value) else repr(float(value))


def _did_you_mean(name, names):
    lower = {n.lower(): n for n in names}
    close = difflib.get_close_matches(name.lower(), lower, 1, 0.75)
    return f" (did you mean {lower[close[0]]!r}?)" if close else ""


def _build(source, layout, training, faults):
    """Checks columns and lays every series on its grid: long and wide differ in what names a series."""
    long, times, targets = _parts(source, layout, faults)
    ids, codes = _groups(source, layout, long, faults)
    stamps, valid, notes = _stamps(source, times, long, codes, faults)
    values = {name: _floats(source, name, faults) for name in targets}
    values |= {name: _covariate(source, name, faults) for name in (*layout.covariates, *layout.static)}
    rows = np.flatnonzero(valid & (codes >= 0))
    rows = rows[np.lexsort((stamps[rows], codes[rows]))]
    _repeated(source, stamps[rows], codes[rows], rows, ids, faults)
    frequency = _frequency(stamps[rows], codes[rows], layout, faults)
    if frequency is None:
        faults.check()
    position = _positions(source, frequency, stamps[rows], codes[rows], rows, ids, faults)
    static = {name: _static(source, name, values[name], codes, faults) for name in layout.static}
    faults.check()
    past, future = (_present(values, names, len(codes)) for names in (layout.past, layout.future))
    bounds = np.searchsorted(codes[rows], np.arange(len(ids) + 1))
    series = []
    for code, ident in enumerate(ids):
        own, at = (part[bounds[code] : bounds[code + 1]] for part in (rows, position))
        covariates = {name: values[name][own] for name in layout.covariates}
        fixed = {name: static[name][code] for name in static}
        for name in targets:
            y = values[name][own]
            grid, begin = _lay(y, covariates, at, future[own] & ~past[own], layout.past)
            start = frequency.at(stamps[own[0]], begin)[()] if len(own) else 0
            start = start if frequency.unit != "i" else int(start)
            series.append(Series(ident if long else name, start, grid.pop(None), grid, fixed))
    return _table(frequency, series, notes, training, faults)


def _parts(source, layout, faults):
    """Whether the table is long, its time columns and its target columns."""
    header = list(source.columns)
    times, targets = layout.times, layout.targets
    named = layout.id_column in header or {*times, *targets} <= {*header}
    long = layout.kind == "long" or (layout.kind == "auto" and named)
    needed = [*times, *targets, *layout.covariates, *layout.static]
    if long:
        needed += [layout.id_column] if layout.id_column != "unique_id" else []
    else:
        if times == ["ds"] and "ds" not in header:
            times = header[:1]
        if layout.target_column == "y":
            targets = [name for name in header if name not in (*times, *layout.covariates)]
        needed = [*times, *targets, *layout.covariates]
        if layout.static:
            faults.add("a wide table has no static covariates", "Use the long layout, or leave static empty")
    found = f"Found {', '.join(header[:12])}{', …' if len(header) > 12 else ''}"
    lost = [f"{name!r}{_did_you_mean(name, header)}" for name in needed if name not in header]
    if lost:
        faults.add("there is no column", found, lost)
    if not targets:
        faults.add("there is no column to forecast", found)
    if lost or not targets:
        faults.check()
    return long, times, targets


def _groups(source, layout, long, faults):
    """The names of the series and each row's number among them, -1 where it has no name."""
    if not long or layout.id_column not in source.columns:
        return [Path(source.name).stem], np.zeros(len(source.rows), np.int64)
    known = {}
    names = [str(v).strip() for v in source.columns[layout.id_column]]
    codes = np.array([known.setdefault(v, len(known)) if v else -1 for v in names], np.int64)
    if (codes < 0).any():
        lost = np.flatnonzero(codes < 0)
        what = f"column {layout.id_column}: {count(lost, 'row')} without a name"
        faults.add(what, "Fill the column", (f"row {source.rows[i]}" for i in lost))
    return list(known), codes


def _stamps(source, times, long, codes, faults):
    """Each row's stamp, whether it is valid, and what was assumed; without a time column the rows are counted."""
    if not times:
        order = np.argsort(codes, kind="stable")
        stamps = np.empty(len(codes), np.int64)
        stamps[order] = np.arange(len(codes)) - np.searchsorted(codes[order], codes[order])
        return stamps, np.ones(len(codes), bool), []
    columns = [source.columns[name] for name in times]
    parsed = parse_stamps(columns[0]) if len(times) == 1 else join_parts(columns)
    bad = np.flatnonzero(~parsed.valid)
    examples = (f"row {source.rows[i]} has {' '.join(str(c[i]) for c in columns)[:40]!r}" for i in bad)
    name = ",".join(times)
    remedy = parsed.remedy
    if len(bad) == len(codes) and not long:
        header = ", ".join(list(source.columns)[:12])
        remedy += f"; or name the columns: expected unique_id, ds, y or stamps first, found {header}"
    if len(bad):
        faults.add(f"column {name}: {count(bad, 'cell')} without a stamp", remedy[0].upper() + remedy[1:], examples)
    if len(bad) == len(codes):
        faults.check()
    return parsed.stamps, parsed.valid, [parsed.note] if parsed.note else []


def _floats(source, name, faults, read=None):
    values, bad = read or numbers(source.columns[name])
    if len(bad):
        what = f"column {name}: {count(bad, 'cell')} without a finite number"
        words = "name a covariate in past or future" if len(bad) > len(values) / 2 else "leave a missing one empty"
        faults.add(what, f"Write numbers as 1234.5; {words}", source.cells(name, bad))
    return values


def _covariate(source, name, faults):
    """Numbers, or text where most of a column is no number."""
    values, bad = numbers(source.columns[name])
    if len(bad) <= np.count_nonzero(~np.isnan(values)):
        return _floats(source, name, faults, (values, bad))
    return labels(source.columns[name])


def _missing(values):
    return values == "" if values.dtype == object else np.isnan(values)


def _present(values, names, count):
    return np.any([np.zeros(count, bool), *(~_missing(values[name]) for name in names)], axis=0)


def _frequency(stamps, codes, layout, faults):
    """The given or inferred frequency; None where it cannot be told."""
    given = Frequency.parse(layout.frequency) if layout.frequency else None
    dated = stamps.dtype.kind == "M"
    if dated and given and given.unit == "i":
        faults.add(f"frequency {given.name} counts an index, the stamps are dates", "Give it as h, D, W, M, …")
        return None
    if given and (dated or given.unit == "i"):
        return given
    found = infer(stamps, codes) or (Frequency.parse(layout.fallback) if layout.fallback else None)
    if dated and found is None and len(stamps):
        faults.add("the frequency cannot be inferred: no series has two stamps", "Give --frequency: h, D, W, M, …")
    if dated:
        return found
    return Frequency("i", found.step if found else 1, given.seasonality() if given else 0)


def _repeated(source, stamps, codes, rows, ids, faults):
    """A stamp that comes twice in a series is a fault; rows are sorted by series and stamp."""
    repeated = np.flatnonzero((codes[1:] == codes[:-1]) & (stamps[1:] == stamps[:-1])) + 1
    if len(repeated):
        examples = (
            f"row {source.rows[rows[i]]}, {format_stamps(stamps[i : i + 1])[0]} of {ids[codes[i]]}, "
            f"also in row {source.rows[rows[i - 1]]}"
            for i in repeated
        )
        remedy = "Keep one row per stamp (name the id column; write local clock times in UTC)"
        faults.add(count(repeated, "repeated stamp"), remedy, examples)


def _positions(source, frequency, stamps, codes, rows, ids, faults):
    """The place of each row, sorted by series and stamp, on its grid; stray stamps are faults."""
    head = np.searchsorted(codes, codes)
    position = frequency.index(stamps[head], stamps)

    def place(i):
        return f"row {source.rows[rows[i]]}, {format_stamps(stamps[i : i + 1])[0]} of {ids[codes[i]]}"

    stray = np.flatnonzero(frequency.at(stamps[head], position) != stamps)
    if len(stray):
        stray = np.concatenate([_stray(frequency, stamps, np.flatnonzero(codes == c)) for c in np.unique(codes[stray])])
        remedy = "Move them to the grid, or give --frequency"
        faults.add(f"{count(stray, 'stamp')} off the grid of {frequency.name}", remedy, map(place, stray))
    jump = np.diff(position, prepend=0) * (codes == np.roll(codes, 1))
    size = np.bincount(codes)[codes]
    far = np.flatnonzero(jump > 1000 + 10 * size)
    if len(far):
        what = f"{count(far, 'gap')} over ten times as long as the rows of the series"
        faults.add(what, f"Correct the stamp, or give --frequency (now {frequency.name})", map(place, far))
    return position


def _stray(frequency, stamps, rows):
    """The rows of one series that lie off its grid, as anchored by whichever of its first stamps leaves the fewest."""
    own = stamps[rows]
    off = [frequency.at(a, frequency.index(a, own)) != own for a in own[:3]]
    return rows[min(off, key=np.count_nonzero)]


def _static(source, name, values, codes, faults):
    """One value per series: its first that is not missing."""
    here = np.flatnonzero(~_missing(values) & (codes >= 0))
    owners, at = np.unique(codes[here], return_index=True)
    out = np.full(codes.max() + 1, "" if values.dtype == object else np.nan, values.dtype)
    out[owners] = values[here[at]]
    other = here[values[here] != out[codes[here]]]
    if len(other):
        what = f"static column {name}: {count(other, 'row')} unlike the first of the series"
        faults.add(what, "Name it in past or future", source.cells(name, other))
    return [v if isinstance(v, str) else float(v) for v in out]


def _lay(y, covariates, at, known, past):
    """The columns on the grid from the first value on (`y` under None), and where the grid begins.

    Rows after the last value are the known future where `known` holds, else missing values.
    """
    seen = at[~np.isnan(y)]
    if not len(seen):
        return {None: np.empty(0), **covariates}, 0
    begin, held = seen[0], at[~known | (at <= seen[-1])]
    length, whole = held[-1] + 1 - begin, at[-1] + 1 - begin
    kept = at >= begin
    grid = {}
    for name, values in {None: y, **covariates}.items():
        grid[name] = np.full(whole, "" if values.dtype == object else np.nan, values.dtype)
        grid[name][at[kept] - begin] = values[kept]
        if name is None or name in past:
            grid[name] = grid[name][:length]
    return grid, begin


def _table(frequency, series, notes, training, faults, test=0):
    """Leaves out series without a value and says what is unusual; nothing to learn is a fault."""
    empty = [s.id for s in series if np.isnan(s.y).all()]
    series = [s for s in series if not np.isnan(s.y).all()]
    constant = [s.id for s in series if np.nanmin(s.y) == np.nanmax(s.y)]
    if not series:
        faults.add("there is nothing to learn from: no series has a value", "Fill the target column")
    elif training and len(constant) == len(series):
        faults.add("there is nothing to learn from: every series is constant", "Give a series that varies", constant)
    faults.check()
    warnings = list(notes)
    if empty:
        warnings.append(f"left out, without a value: {len(empty):,} series ({first(empty)})")
    if constant:
        warnings.append(f"constant: {len(constant):,} series ({first(constant)})")
    gaps, total = sum(int(np.isnan(s.y).sum()) for s in series), sum(len(s.y) for s in series)
    if gaps:
        warnings.append(f"{gaps:,} of {total:,} values are missing ({gaps / total:.1%})")
    return Table(frequency, tuple(series), tuple(warnings), test)


def _read_m4(path, layout, training, test_path=None):
    """The M4 competition's format: a header V1, V2, …, and rows of a name and its values, of any length."""
    faults = Faults(path.name)
    if layout.covariates or layout.static:
        faults.add("an M4 file has no covariates", "Leave past, future and static empty")
    parts = [_m4_rows(path, faults)]
    test = 0
    if test_path and test_path.exists():
        parts.append(_m4_rows(test_path, faults))
        lengths = {len(parts[1].get(name, ())) for name in parts[0]}
        test = lengths.pop()
        if lengths or not test:
            what = f"{test_path.name} does not hold a test part of equal length for each series"
            faults.add(what, f"Compare its names and lengths with {path.name}")
    faults.check()
    given = Frequency.parse(layout.frequency) if layout.frequency else None
    step, season = (given.step, 0) if given and given.unit == "i" else (1, given.seasonality() if given else 0)
    frequency = Frequency("i", step, season or M4_SEASONS.get(path.name.split("-")[0], 0))
    series = [Series(name, 0, np.concatenate([part[name] for part in parts])) for name in parts[0]]
    return _table(frequency, series, [], training, faults, test)


def _m4_rows(path, faults):
    rows, lines = read_rows(path)
    names, values = [row[0].strip() for row in rows[1:]], []
    for row in rows[1:]:
        while row and row[-1] in MISSING:
            row.pop()
        values += row[1:]
    ends = np.cumsum([len(row[1:]) for row in rows[1:]])
    flat, bad = numbers(values)

    def place(i):
        k = np.searchsorted(ends, i, "right")
        return f"row {lines[k + 1]}, column V{i - (ends[k] - len(rows[k + 1])) + 1} has {values[i][:40]!r}"

    if len(bad):
        remedy = "Write numbers as 1234.5; a missing one is empty or NA"
        faults.add(f"{path.name}: {count(bad, 'cell')} without a finite number", remedy, map(place, bad))
    twice = [name for name in set(names) if names.count(name) > 1] if len(set(names)) < len(names) else []
    if twice:
        faults.add(f"{path.name}: the same series twice", "Give each its own name", sorted(twice))
    if not names:
        faults.add(f"{path.name} has no rows", "Expected a row per series")
    return dict(zip(names, np.split(flat, ends[:-1]), strict=True)) if names else {}
