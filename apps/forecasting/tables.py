"""Tables of time series: read a CSV, Parquet or M4 file, check it once, and lay each series on a regular grid.

NumPy and the standard library alone; Parquet asks for pandas, which `elman[train]` brings.
"""

import csv
import difflib
import math
import os
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from ..core.errors import DataError
from .frequency import Frequency, format_stamps, infer, join_parts, parse_stamps

MISSING = frozenset(["", "NA", "N/A", "na", "NaN", "nan", "NAN", "null", "NULL", "None", "?"])
M4_SEASONS = {"Hourly": 24, "Daily": 1, "Weekly": 1, "Monthly": 12, "Quarterly": 4, "Yearly": 1}


@dataclass(frozen=True)
class Layout:
    """How a file of time series is to be read.

    Args:
        kind: `long` (a row per series and stamp), `wide` (a stamp and a column per series), `m4` (a row per series), or
            `auto`: long where the time and target columns are there, m4 where the header is V1, V2, …, else wide.
        id_column: the column that names the series (long); without it the file is one series.
        time_column: the column of stamps, or several joined by commas, `year,month,day,hour`. Wide: where no such column
            exists, the first one.
        target_column: the column to forecast (long). Wide: the series to take, joined by commas; `y` takes all columns.
        past: covariates known up to the present.
        future: covariates known over the horizon as well.
        static: covariates with one value for each series (long).
        frequency: `h`, `15min`, `D`, `W`, `M`, `Q`, `Y`, …; empty to infer it. For series without a calendar the step, or a
            name that gives the season.
    """

    kind: Literal["auto", "long", "wide", "m4"] = "auto"
    id_column: str = "unique_id"
    time_column: str = "ds"
    target_column: str = "y"
    past: tuple[str, ...] = ()
    future: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    frequency: str = ""

    def __post_init__(self):
        if self.kind not in ("auto", "long", "wide", "m4"):
            raise ValueError(f"kind: expected auto, long, wide or m4, received {self.kind!r}")
        if self.frequency:
            Frequency.parse(self.frequency)

    @property
    def time_columns(self):
        return [name.strip() for name in self.time_column.split(",")]


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
