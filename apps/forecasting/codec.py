"""Tables to arrays and back: gaps, calendar, covariates, windows, calibration. NumPy only."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.errors import DataError
from .frequency import Frequency
from .tables import Series, Table

LARGEST = 1e16


@dataclass(frozen=True)
class Column:
    """How one covariate becomes numbers: standardised, or one number per known value (all zero for an unknown one)."""

    name: str
    mean: float = 0.0
    scale: float = 1.0
    values: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        return len(self.values) or 2  # a number comes with whether it was there

    @classmethod
    def fit(cls, name: str, found: np.ndarray) -> "Column":
        if found.dtype.kind in "OU":
            return cls(name, values=tuple(sorted({str(v) for v in found} - {""})) or ("",))
        mean = float(np.nanmean(found)) if np.isfinite(found).any() else 0.0
        scale = float(np.nanstd(found)) if np.isfinite(found).any() else 1.0
        return cls(name, mean, scale or 1.0)

    def encode(self, found: np.ndarray) -> np.ndarray:
        if self.values:
            text = found if found.dtype.kind in "OU" else np.array(["" if np.isnan(v) else f"{v:g}" for v in found])
            return (text.astype(str)[..., None] == np.array(self.values)).astype(np.float32)
        if found.dtype.kind in "OU":
            raise DataError(
                f"covariate '{self.name}': expected numbers as in training, found text such as {found.flat[0]!r}"
            )
        there = np.isfinite(found)
        scaled = np.where(there, (found - self.mean) / self.scale, 0.0)
        return np.stack([scaled, there], axis=-1).astype(np.float32)


@dataclass(frozen=True)
class Encoded:
    """All series of a table in one row of arrays, each after `pad` empty steps, so that a window is a slice.

    Attributes:
        ids, index: the series' names, and their numbers (0: not seen in training).
        offset, length: where a series begins, and its number of steps.
        values: (steps,) raw, gaps filled with the last value seen.
        observed: (steps,) 1 where a value was there. since: steps since the last one, as log(1 + n).
        past, future: (steps, columns) covariates; future begins with the calendar and goes on over `horizon` steps.
        static: (series, columns).
    """

    ids: tuple[str, ...]
    index: np.ndarray
    offset: np.ndarray
    length: np.ndarray
    values: np.ndarray
    observed: np.ndarray
    since: np.ndarray
    past: np.ndarray
    future: np.ndarray
    static: np.ndarray


@dataclass(frozen=True)
class Codec:
    """What a trained forecaster knows about its data; everything that a device needs beside the weights.

    Attributes:
        frequency: name of the grid; season: steps of one season.
        lookback: steps of the past in a window, lags of a step included.
        ids: series seen in training; loc, scale: mean and standard deviation of their training parts.
        floors: the least scale of a window by series, first 0 for those that training has not seen (`least_scale`).
        until: the last stamp of each that training or validation saw, as text.
        past, future, static: the covariates. calendar: names of the calendar features.
        missing: whether training saw gaps; without any, gaps are only filled.
        lags: past values that each step of an autoregressive model sees.
        offsets: (horizon, levels), added to the quantiles in units of the window's scale (conformal calibration).
    """

    frequency: str
    season: int
    lookback: int
    horizon: int
    levels: tuple[float, ...]
    ids: tuple[str, ...]
    loc: tuple[float, ...]
    scale: tuple[float, ...]
    floors: tuple[float, ...]
    until: tuple[str, ...]
    past: tuple[Column, ...]
    future: tuple[Column, ...]
    static: tuple[Column, ...]
    calendar: tuple[str, ...]
    missing: bool
    lags: tuple[int, ...] = ()
    offsets: tuple[tuple[float, ...], ...] = ()

    def to_json(self) -> dict:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: dict) -> "Codec":
        columns = {k: tuple(Column(**{**c, "values": tuple(c["values"])}) for c in value[k]) for k in _FAMILIES}
        lists = {f.name: tuple(value[f.name]) for f in dataclasses.fields(cls) if isinstance(value[f.name], list)}
        offsets = tuple(tuple(row) for row in value["offsets"])
        return cls(**{**value, **lists, **columns, "offsets": offsets})

    @property
    def widths(self) -> dict[str, int]:
        """Numbers per step (or per series) of each family of covariates, the calendar among the future ones."""
        widths = {family: sum(c.width for c in getattr(self, family)) for family in _FAMILIES}
        return {**widths, "future": widths["future"] + 2 * len(self.calendar)}

    def grid(self) -> Frequency:
        return dataclasses.replace(Frequency.parse(self.frequency), season=self.season)

    def named(self, table: Table, source: str | Path) -> Table:
        """The table, whose only series has the name of training's only one where it is called after its file."""
        if len(table.series) == len(self.ids) == 1 and table.series[0].id == Path(source).stem:
            return dataclasses.replace(table, series=(dataclasses.replace(table.series[0], id=self.ids[0]),))
        return table

    def encode(self, table: Table) -> Encoded:
        """Lays the table out for windows; the table must have the grid and the covariates of training."""
        for series in table.series:
            largest = np.max(np.abs(series.y), initial=0, where=np.isfinite(series.y))
            if largest > LARGEST:
                raise DataError(
                    f"series '{series.id}': expected values up to {LARGEST:.0e} in size (float32 squares them), "
                    f"found {largest:.3g}; give them in a larger unit"
                )
        if table.frequency.name != self.frequency:
            raise DataError(
                f"expected a table with frequency {self.frequency}, as in training; found {table.frequency.name}"
            )
        parts = [self._encode_series(table, series) for series in table.series]
        known = {name: i + 1 for i, name in enumerate(self.ids)}
        lengths = np.array([len(s.y) for s in table.series])
        spans = lengths + self.lookback + self.horizon
        joined = {k: np.concatenate([p[k] for p in parts]) for k in ("values", "observed", "since", "past", "future")}
        return Encoded(
            ids=tuple(s.id for s in table.series),
            index=np.array([known.get(s.id, 0) for s in table.series], np.int32),
            offset=np.cumsum(spans) - spans + self.lookback,
            length=lengths,
            static=np.stack([p["static"] for p in parts]),
            **joined,
        )

    def _encode_series(self, table: Table, series: Series) -> dict[str, np.ndarray]:
        steps, before, after = len(series.y), self.lookback, self.horizon
        observed = np.isfinite(series.y)
        last = np.maximum.accumulate(np.where(observed, np.arange(steps), -1))
        first = int(np.argmax(observed))
        values = series.y[np.where(last < 0, first, last)]
        since = np.where(last < 0, np.arange(steps) + 1, np.arange(steps) - last)
        stamps = table.frequency.stamps(series.start, steps + after)
        past = [self._column(series, c, steps) for c in self.past]
        future = [
            calendar_features(stamps, self.calendar),
            *(self._column(series, c, steps + after) for c in self.future),
        ]
        static = [c.encode(np.array([_static(series, c.name)]))[0] for c in self.static]
        pad = (before, after)
        return {
            "values": np.concatenate([np.full(before, values[0]), values, np.full(after, values[-1])]).astype(
                np.float32
            ),
            "observed": np.pad(observed.astype(np.float32), pad),
            "since": np.log1p(np.pad(since.astype(np.float32), pad, mode="edge")),
            "past": np.pad(_join(past, steps), (pad, (0, 0))),
            "future": np.pad(_join(future, steps + after), ((before, 0), (0, 0))),
            "static": _join(static, None),
        }

    def _column(self, series: Series, column: Column, steps: int) -> np.ndarray:
        if column.name not in series.columns:
            raise DataError(f"series '{series.id}': expected the covariate column '{column.name}', as in training")
        found = series.columns[column.name][:steps]
        empty = np.full(steps - len(found), "" if found.dtype.kind in "OU" else np.nan, found.dtype)
        return column.encode(np.concatenate([found, empty]))

    def windows(self, encoded: Encoded, series, origins, ahead: int = 0) -> dict[str, np.ndarray]:
        """The model's inputs for forecasts from `origins` (steps of each series that are known by then).

        With `ahead`, y, observed and since go on for as many steps, as teacher forcing wants them.
        Returns y, observed, since (rows, lookback); series (rows,); and where there are such covariates past (rows,
        lookback, columns), future (rows, lookback + horizon, columns), static (rows, columns).
        """
        end = encoded.offset[series] + origins
        back = end[:, None] + np.arange(-self.lookback, ahead)
        inputs = {"y": encoded.values[back], "observed": encoded.observed[back], "series": encoded.index[series]}
        if self.missing:
            inputs["since"] = encoded.since[back]
        if self.widths["past"]:
            inputs["past"] = encoded.past[back]
        if self.widths["future"]:
            inputs["future"] = encoded.future[end[:, None] + np.arange(-self.lookback, self.horizon)]
        if self.widths["static"]:
            inputs["static"] = encoded.static[series]
        return inputs

    def targets(self, encoded: Encoded, series: np.ndarray, origins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What came after the origins: values and whether they were observed, each (rows, horizon)."""
        ahead = (encoded.offset[series] + origins)[:, None] + np.arange(self.horizon)
        return encoded.values[ahead], encoded.observed[ahead]

    def calibrate(self, quantiles: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """Quantiles (rows, horizon, levels) shifted by the calibration, in units of each window's scale (rows,)."""
        if not self.offsets:
            return quantiles
        shifted = quantiles + np.asarray(self.offsets, np.float32) * scale[:, None, None]
        return np.sort(shifted, axis=-1)


def least_scale(y: np.ndarray, lookback: int, centre: bool) -> float:
    """The least scale of a window of a series whose training part is `y` (NaN: missing).

    A window in which nothing moves has no scale of its own; divided by next to nothing, what follows it would outweigh
    all else in training. A tenth of what the windows that do move have (the median of their deviations, or of their
    mean size where they are not centred) bounds it, and is below what other windows have.
    """
    starts = range(0, max(len(y) - lookback, 0) + 1, max(lookback // 8, 1))
    windows = [w[np.isfinite(w)] for w in (y[start : start + lookback] for start in starts)]
    found = [float(np.std(w) if centre else np.mean(np.abs(w))) for w in windows if len(w)]
    moving = [size for size in found if size > 0]
    return 0.1 * float(np.median(moving)) if moving else 0.0


_FAMILIES = ("past", "future", "static")
_TURNS = {  # calendar feature -> the phase of its turn, in [0, 1)
    "hour": lambda t: (t - t.astype("datetime64[D]")).astype("timedelta64[s]").astype(float) / 86400,
    "weekday": lambda t: ((t.astype("datetime64[D]").astype(int) - 4) % 7) / 7,
    "yearday": lambda t: (
        (t.astype("datetime64[D]") - t.astype("datetime64[Y]").astype("datetime64[D]")).astype(float) / 365.25
    ),
}


def calendar_names(frequency: Frequency) -> tuple[str, ...]:
    """The turns of the calendar that a frequency can see; none without a calendar."""
    if frequency.unit == "i":
        return ()
    if frequency.unit == "M":
        return ("yearday",) if frequency.step < 12 else ()
    seconds = frequency.step
    names = ["hour"] if seconds < 86400 else []
    return (*names, *(["weekday"] if seconds < 7 * 86400 else []), "yearday")


def calendar_features(stamps: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """Sine and cosine of each turn at each stamp: (steps, 2 · names)."""
    angles = [2 * np.pi * _TURNS[name](stamps) for name in names]
    return _join([np.stack([np.sin(a), np.cos(a)], axis=-1) for a in angles], len(stamps))


def _static(series: Series, name: str):
    if name not in series.static:
        raise DataError(f"series '{series.id}': expected the static column '{name}', as in training")
    return series.static[name]


def _join(parts: list[np.ndarray], steps: int | None) -> np.ndarray:
    shape = (0,) if steps is None else (steps, 0)
    return np.concatenate(parts, axis=-1).astype(np.float32) if parts else np.zeros(shape, np.float32)
