"""Stamps of a regular time series: the frequency, and text read as stamps. NumPy alone."""

import datetime
import re
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..core.errors import UsageError
from .columns import numbers

_SECONDS = {"s": 1, "min": 60, "h": 3600, "D": 86400, "W": 604800}
_MONTHS = {"M": 1, "Q": 3, "Y": 12}
_ALIASES = {
    **dict.fromkeys(["s", "S", "sec", "second"], "s"),
    **dict.fromkeys(["min", "T", "minute", "minutely"], "min"),
    **dict.fromkeys(["h", "H", "hour", "hourly"], "h"),
    **dict.fromkeys(["D", "d", "day", "daily"], "D"),
    **dict.fromkeys(["W", "w", "week", "weekly"], "W"),
    **dict.fromkeys(["M", "MS", "ME", "month", "monthly"], "M"),
    **dict.fromkeys(["Q", "QS", "QE", "quarter", "quarterly"], "Q"),
    **dict.fromkeys(["Y", "YS", "YE", "A", "AS", "year", "yearly"], "Y"),
}
FREQUENCIES = "s, 15min, h, D, W, M, Q, Y, or a whole number for an index"


@dataclass(frozen=True)
class Frequency:
    """A regular grid of stamps.

    Args:
        unit: `"s"` for a fixed number of seconds, `"M"` for months, `"i"` for a plain index without a calendar.
        step: how many units lie between two stamps.
        season: the season length in steps; 0 for the usual one of the unit and step.
    """

    unit: str
    step: int
    season: int = 0

    def __post_init__(self):
        if self.unit not in ("s", "M", "i") or self.step < 1 or self.season < 0:
            raise ValueError(f"expected a unit of s, M or i, step >= 1 and season >= 0, received {self}")

    @classmethod
    def parse(cls, text):
        """Reads names such as `h`, `15min`, `W-SUN`, `MS`, `QE` or `10` (an index with a step of ten)."""
        match = re.fullmatch(r"(\d*) ?([A-Za-z]*)(-[A-Z]{3})?", str(text).strip())
        count, name = (int(match[1] or 1), match[2]) if match else (0, "")
        if not count or name not in (_ALIASES if match[1] == "" else {"", *_ALIASES}):
            raise UsageError(f"expected a frequency ({FREQUENCIES}), received {text!r}")
        if not name:
            return cls("i", count)
        unit = _ALIASES[name]
        return cls("s", count * _SECONDS[unit]) if unit in _SECONDS else cls("M", count * _MONTHS[unit])

    @property
    def name(self):
        """The short name, which `parse` reads back."""
        if self.unit == "i":
            return str(self.step)
        sizes = _SECONDS if self.unit == "s" else _MONTHS
        unit = max((u for u in sizes if self.step % sizes[u] == 0), key=sizes.get)
        count = self.step // sizes[unit]
        return unit if count == 1 else f"{count}{unit}"

    def seasonality(self):
        """The season length in steps: a day for minutes and hours, a week for days, a year for weeks and months."""
        if self.season:
            return self.season
        if self.unit == "i":
            return 1
        if self.unit == "M":
            return 12 // self.step if 12 % self.step == 0 else 1
        for cycle, shortest in ((86400, 60), (604800, 86400), (52 * 604800, 604800)):
            if shortest <= self.step < cycle:
                return cycle // self.step if cycle % self.step == 0 else 1
        return 1

    def at(self, start, index):
        """The stamps at the positions `index` (an array, also negative) counted from `start`."""
        index = np.asarray(index, np.int64)
        if self.unit == "i":
            return np.asarray(start, np.int64) + index * self.step
        start = np.asarray(start, "datetime64[s]")
        if self.unit == "s":
            return start + index * self.step
        month = start.astype("datetime64[M]")
        days = start.astype("datetime64[D]")
        target = month + index * self.step
        length = _month_length(target)
        day = (days - month).astype(np.int64)
        # A start on the last day of its month stands for month ends.
        day = np.where(day == _month_length(month) - 1, length - 1, np.minimum(day, length - 1))
        return target.astype("datetime64[D]") + day + (start - days)

    def stamps(self, start, n):
        """The `n` stamps from `start` on: `datetime64[s]`, or `int64` for an index."""
        return self.at(start, np.arange(n))

    def index(self, start, stamps):
        """The positions of `stamps` counted from `start`, rounded down where a stamp lies off the grid."""
        if self.unit == "i":
            return (np.asarray(stamps, np.int64) - np.asarray(start, np.int64)) // self.step
        kind = "datetime64[s]" if self.unit == "s" else "datetime64[M]"
        span = np.asarray(stamps, "datetime64[s]").astype(kind) - np.asarray(start, "datetime64[s]").astype(kind)
        return span.astype(np.int64) // self.step


def _month_length(months):
    return ((months + 1).astype("datetime64[D]") - months.astype("datetime64[D]")).astype(np.int64)


def infer(stamps, group):
    """The frequency of stamps sorted within each group: the commonest distance, or None where no two follow each other.

    Stamps at the same place in their month (its first or last day, say), a month or more apart, are monthly, quarterly
    or yearly.
    """
    dated = stamps.dtype.kind == "M"
    steps = np.diff(stamps.astype(np.int64))
    follow = (group[1:] == group[:-1]) & (steps > 0)
    if not follow.any():
        return None
    if dated and np.median(steps[follow]) >= 27 * 86400:
        month = stamps.astype("datetime64[M]")
        places = stamps - month.astype("datetime64[s]"), (month + 1).astype("datetime64[s]") - stamps
        if max(np.unique(place, return_counts=True)[1].max() for place in places) > len(stamps) / 2:
            months = np.diff(month.astype(np.int64))[follow]
            return Frequency("M", _commonest(months[months > 0]))
    return Frequency("s" if dated else "i", _commonest(steps[follow]))


def _commonest(values):
    distinct, counts = np.unique(values, return_counts=True)
    return int(distinct[np.argmax(counts)])


class Parsed(NamedTuple):
    """Stamps read from text: `int64` indices or `datetime64[s]`, which of them are valid, what was assumed or wrong."""

    stamps: np.ndarray
    valid: np.ndarray
    note: str = ""
    remedy: str = "write 2020-01-31 or 2020-01-31 13:00:00"


_ISO = re.compile(r"(?:[0-9]{4}-[0-9]{2}(?:-[0-9]{2}(?:[ T][0-9]{2}:[0-9]{2}(?::[0-9]{2})?)?)?\n)+")
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_CLOCK = r"(?:[T ]+(\d{1,2}):(\d{2})(?::(\d{2})(?:\.0+)?)?)?"
_ZONE = r" ?(Z|[+-]\d{2}:?\d{2})?"
_YEAR_FIRST = re.compile(rf"(\d{{4}})[-/.](\d{{1,2}})(?:[-/.](\d{{1,2}}))?{_CLOCK}{_ZONE}", re.ASCII)
_YEAR_LAST = re.compile(rf"(\d{{1,2}})[-/.](\d{{1,2}})[-/.](\d{{4}}){_CLOCK}()", re.ASCII)
_QUARTER = re.compile(r"(\d{4})[- ]?Q([1-4])", re.ASCII)


def parse_stamps(values):
    """Reads a column of stamps: a list of text, or an array of whole numbers or `datetime64`.

    ISO 8601 dates and times, `1990/1/1 0:00`, `1949-01`, `2020Q1`, `202001`, `20200131` and whole numbers are read;
    a time zone is turned into UTC. `31/1/2020` is read where the column shows which part is the day.
    """
    if isinstance(values, np.ndarray) and values.dtype.kind == "M":
        stamps = values.astype("datetime64[s]")
        valid = ~np.isnat(values) & (stamps == values)
        return Parsed(stamps, valid, remedy="use whole seconds, or number the rows")
    if isinstance(values, np.ndarray) and values.dtype.kind in "iuf":
        valid = np.isfinite(values)
        valid &= np.equal(np.floor(values), values, where=valid, out=np.zeros(len(values), bool))
        values = np.where(valid, values, 0).astype(np.int64)
        if not valid.all():
            return Parsed(values, valid)
        values = values.astype(str)
    texts = [str(v).strip() for v in values]
    whole = np.array([_WHOLE.fullmatch(v) is not None for v in texts])
    if 2 * np.count_nonzero(whole) > len(texts):
        index = [int(v) if known else 0 for v, known in zip(texts, whole, strict=True)]
        dates = _compact(texts) if whole.all() else None
        return dates or Parsed(np.array(index, np.int64), whole, remedy="write whole numbers")
    if _ISO.fullmatch("\n".join(texts) + "\n"):
        try:
            return Parsed(np.array(texts, "datetime64[s]"), np.ones(len(texts), bool))
        except ValueError:
            pass  # a month 13 or a 31st of June: the slow route says where
    return _parse_each(texts)


def _compact(texts):
    """Reads 202001 and 20200131; None where the numbers are not all such dates."""
    width = len(texts[0])
    if width not in (6, 8) or not all(len(t) == width and "1600" < t[:4] < "2200" for t in texts):
        return None
    parsed = _parse_each(["-".join(filter(None, (t[:4], t[4:6], t[6:]))) for t in texts])
    return parsed._replace(note="whole numbers were read as dates") if parsed.valid.all() else None


def _parse_each(texts):
    day_first = [m for m in map(_YEAR_LAST.fullmatch, set(texts)) if m]
    first, second = (max((int(m[i]) for m in day_first), default=0) for i in (1, 2))
    order = {(True, False): (3, 2, 1), (False, True): (3, 1, 2)}.get((first > 12, second > 12))
    known = {text: _one(text, order) for text in set(texts)}
    seconds = [known[text] for text in texts]
    valid = np.array([s is not None for s in seconds], bool)
    stamps = np.array([s or 0 for s in seconds], np.int64).astype("datetime64[s]")
    if day_first and order is None:
        return Parsed(stamps, valid, remedy="day and month cannot be told apart: write the year first, 2020-01-31")
    zoned = any(m and m[7] and m[7] != "Z" for m in map(_YEAR_FIRST.fullmatch, known))
    notes = ["dates were read as " + ("day/month/year" if order == (3, 2, 1) else "month/day/year")] if order else []
    return Parsed(stamps, valid, "; ".join(notes + ["times were turned into UTC"] * zoned))


def _one(text, order):
    """Seconds since 1970 of one stamp, or None."""
    quarter = _QUARTER.fullmatch(text)
    match = _YEAR_FIRST.fullmatch(text)
    if quarter:
        date, clock, zone = (int(quarter[1]), int(quarter[2]) * 3 - 2, 1), (), None
    else:
        ymd = (1, 2, 3)
        if match is None and order:
            match, ymd = _YEAR_LAST.fullmatch(text), order
        if match is None:
            return None
        date = tuple(int(match[i] or 1) for i in ymd)
        clock, zone = tuple(int(match[i] or 0) for i in (4, 5, 6)), match[7]
    try:
        stamp = datetime.datetime(*date, *clock, tzinfo=datetime.UTC)
    except ValueError:
        return None
    seconds = (stamp - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)) // datetime.timedelta(seconds=1)
    if zone and zone != "Z":
        sign, digits = zone[0], zone[1:].replace(":", "")
        seconds -= int(sign + "1") * (int(digits[:2]) * 3600 + int(digits[2:]) * 60)
    return seconds


def join_parts(columns):
    """Stamps from year, month, day, hour, minute and second columns (as many as given), or from a date and a time."""
    parts = np.array([numbers(column)[0] for column in columns])
    whole = ((parts == np.floor(parts)) & (np.abs(parts) < 1e6)).all(0)
    if 2 * np.count_nonzero(whole) <= len(whole):
        return parse_stamps([" ".join(map(str, cells)) for cells in zip(*columns, strict=True)])
    low, high = np.array([[1601, 1, 1, 0, 0, 0], [2199, 12, 31, 23, 59, 59]])[..., None]
    fields = np.tile(low, len(whole))
    fields[: len(parts), whole] = parts[:, whole]
    valid = whole & ((low <= fields) & (fields <= high)).all(0)
    year, month, day, *clock = np.where(valid, fields, low)
    months = (year - 1970).astype("datetime64[Y]").astype("datetime64[M]") + (month - 1)
    stamps = months.astype("datetime64[s]") + ((day - 1) * 86400 + clock[0] * 3600 + clock[1] * 60 + clock[2])
    return Parsed(stamps, valid & (day <= _month_length(months)), remedy="write year, month, day, … as whole numbers")


def format_stamps(stamps):
    """Text of stamps: whole numbers, dates where every time is midnight, else dates and times."""
    stamps = np.asarray(stamps)
    if stamps.dtype.kind != "M":
        return [str(v) for v in stamps.tolist()]
    if (stamps == stamps.astype("datetime64[D]")).all():
        return stamps.astype("datetime64[D]").astype(str).tolist()
    return [v.replace("T", " ") for v in stamps.astype("datetime64[s]").astype(str).tolist()]
