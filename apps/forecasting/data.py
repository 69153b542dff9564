"""Where series come from, how they are split, and the windows that training and evaluation draw from them."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.errors import DataError, MissingExtra
from ..core.source import Source
from . import tables
from .codec import Codec, Column, Encoded, calendar_names, least_scale
from .config import centred
from .tables import Layout, Table

BUILT_IN = {"co2": "weekly CO2 at Mauna Loa, 1958-2001 (statsmodels; Keeling and Whorf, public domain)"}
# Windows scored for the validation loss and for calibration: more would cost time and change little.
MOST_VALIDATION = 4096


@dataclass(frozen=True)
class Data:
    """A table, encoded and split.

    Attributes:
        borders: (series, 3): where the training, validation and test parts of each series end.
        windows: series and origin of every window of each split.
    """

    config: object
    table: Table
    codec: Codec
    encoded: Encoded
    borders: np.ndarray
    windows: dict[str, tuple[np.ndarray, np.ndarray]]
    train: Source
    validation: Source
    warnings: tuple[str, ...]
    description: str
    license: str

    @property
    def sizes(self) -> dict[str, int]:
        """Windows in each split."""
        return {name: len(series) for name, (series, _) in self.windows.items()}

    @property
    def rows_per_epoch(self) -> int:
        return self.config.windows_per_epoch


def load(config, codec: Codec | None = None) -> Data:
    """Reads and checks `config.data`, splits it, and fits a codec on the training part.

    With a `codec`, the data may be others than those of training: windows whose horizon training or validation saw are
    never in the test part.
    """
    table = read(config.data, layout(config), training=codec is None)
    table = table if codec is None else codec.named(table, config.data)
    borders = split(table, config)
    training = codec is None
    if training:
        codec = fit_codec(table, borders, config)
    else:
        borders = unseen(table, borders, codec)
    encoded = codec.encode(table)
    parts = {
        "train": origins(encoded, np.zeros(len(borders), int), borders[:, 0], codec, enough_past=True),
        "validation": origins(encoded, borders[:, 0], borders[:, 1], codec),
        "test": origins(encoded, borders[:, 1], borders[:, 2], codec, stride=config.test_stride),
    }
    data = Data(
        config,
        table,
        codec,
        encoded,
        borders,
        parts,
        *(_source(codec, encoded, parts[name], config) for name in ("train", "validation")),
        table.warnings,
        _describe(config, table),
        "public domain" if config.data == "co2" else "that of the data given",
    )
    if training:
        wanted = ("train", "validation") if config.split and not config.split[2] else ("train", "validation", "test")
        require_windows(data, *wanted)
    return data


def require_windows(data: Data, *names: str) -> None:
    """Refuses data in which a split has no window, and says how long the series would have to be."""
    for name in names:
        if not data.sizes[name]:
            longest = max(len(s.y) for s in data.table.series)
            raise DataError(
                f"{data.config.data}: no {name} window of {data.codec.horizon} steps; the longest series has "
                f"{longest}, training and validation included. Shorten --horizon, change --split, or give longer series"
            )


def layout(config) -> Layout:
    return Layout(
        config.layout, config.id_column, config.time_column, config.target_column,
        config.past, config.future, config.static, config.frequency,
    )  # fmt: skip


def read(source: str, layout: Layout, training: bool = True) -> Table:
    """The table of a path, of `tfds:NAME`, or of a built-in name."""
    if source in BUILT_IN and not Path(source).exists():
        return _co2(layout)
    if source.startswith("tfds:"):
        return tables.from_columns(_tfds(source.removeprefix("tfds:")), layout, source, training)
    return tables.read(source, layout, training)


def _co2(layout: Layout) -> Table:
    try:
        from statsmodels.datasets import co2
    except ModuleNotFoundError:
        raise MissingExtra("the built-in series co2", "train") from None
    frame = co2.load_pandas().data
    columns = {"unique_id": ["co2"] * len(frame), "ds": frame.index.to_numpy(), "y": frame["co2"].to_numpy(float)}
    return tables.from_columns(columns, dataclasses.replace(layout, kind="long"), "co2")


def _tfds(name: str) -> dict[str, Sequence]:
    """The columns of a tensorflow-datasets set whose examples are rows of scalars."""
    try:
        import tensorflow_datasets as tfds
    except ModuleNotFoundError:
        raise MissingExtra(f"tfds:{name}", "train") from None
    try:
        rows = list(tfds.as_numpy(tfds.load(name, split="all")))
    except Exception as error:  # an unknown name, no network, a broken download: tfds raises many kinds
        raise DataError(f"tfds:{name}: {str(error).strip().splitlines()[0]}") from None
    plain = [{k: v.decode() if isinstance(v, bytes) else v for k, v in row.items() if np.ndim(v) == 0} for row in rows]
    if not plain or not plain[0]:
        raise DataError(f"tfds:{name}: expected examples that are rows of single values, a column for each feature")
    return {key: [row[key] for row in plain] for key in plain[0]}


def split(table: Table, config) -> np.ndarray:
    """Where the training, validation and test parts of each series end, (series, 3)."""
    lengths = np.array([len(s.y) for s in table.series])
    if not config.split:
        test = lengths - (table.test or config.horizon)
        return np.stack([np.maximum(test - config.horizon, 0), np.maximum(test, 0), lengths], axis=1)
    if max(config.split) > 1:
        ends = np.cumsum(np.array(config.split, int))
        return np.minimum(ends[None], lengths[:, None])
    train, _, test = np.array(config.split) / max(sum(config.split), 1e-9)
    ends = [(lengths * train).astype(int), lengths - (lengths * test).astype(int), lengths]
    return np.stack(ends, axis=1)


def unseen(table: Table, borders: np.ndarray, codec: Codec) -> np.ndarray:
    """Borders under which nothing that training or validation saw is scored."""
    until = dict(zip(codec.ids, codec.until, strict=True))
    moved = borders.copy()
    for i, series in enumerate(table.series):
        length, seen = len(series.y), until.get(series.id)
        if seen is None:
            moved[i] = 0, 0, length
            continue
        start = int(table.frequency.index(series.start, np.array([_stamp(seen)]))[0]) + 1
        if start != borders[i, 1]:
            moved[i] = 0, min(max(start, 0), length), length
    return moved


def _stamp(text: str):
    return int(text) if text.lstrip("-").isdigit() else np.datetime64(text, "s")


def fit_codec(table: Table, borders: np.ndarray, config) -> Codec:
    """What the model has to know of the data, from the training part alone."""
    if config.model == "deepar" and config.distribution == "negative_binomial":
        _require_counts(table)
    ends = borders[:, 0]
    season = config.season or table.frequency.seasonality()
    lags = tuple(sorted(config.lags or default_lags(season))) if config.model == "deepar" else ()
    parts = [s.y[:end] for s, end in zip(table.series, ends, strict=True)]
    if config.model == "deepar" and config.past:
        raise DataError(
            "--past: a deepar model has no use for covariates that end with the past; --model segment takes them"
        )
    learnt = [np.sign(y) * np.log1p(np.abs(y)) if config.values == "symlog" else y for y in parts]
    loc = [float(np.nanmean(y)) if np.isfinite(y).any() else 0.0 for y in parts]
    scale = [float(np.nanstd(y)) if np.isfinite(y).any() else 1.0 for y in parts]
    lookback, centre = config.lookback + max(lags, default=0), config.model == "segment" or centred(config)
    stamps = [table.frequency.at(s.start, [b - 1])[0] for s, b in zip(table.series, borders[:, 1], strict=True)]

    def columns(names):
        found = {n: [s.columns[n][:end] for s, end in zip(table.series, ends, strict=True)] for n in names}
        return tuple(Column.fit(name, np.concatenate(values)) for name, values in found.items())

    gaps = any(not np.isfinite(y).all() for y in parts)
    short = config.lookback > min(ends) - config.horizon
    return Codec(
        frequency=table.frequency.name,
        season=season,
        lookback=lookback,
        horizon=config.horizon,
        levels=config.levels,
        ids=tuple(s.id for s in table.series),
        loc=tuple(loc),
        scale=tuple(s or 1.0 for s in scale),
        floors=(0.0, *(least_scale(y, lookback, centre) for y in learnt)),
        until=tuple(str(s) for s in stamps),
        past=columns(config.past),
        future=columns(config.future),
        static=tuple(Column.fit(n, _statics(table, n)) for n in config.static),
        calendar=calendar_names(table.frequency) if config.calendar else (),
        missing=bool(gaps or short),
        lags=lags,
    )


def _require_counts(table: Table) -> None:
    for s in table.series:
        seen = s.y[np.isfinite(s.y)]
        wrong = seen[(seen < 0) | (seen != np.floor(seen))]
        if len(wrong):
            raise DataError(
                f"--distribution negative_binomial: expected counts (0, 1, 2, …), found {wrong[0]:g} in series "
                f"'{s.id}'; student_t and gaussian take any number"
            )


def _statics(table: Table, name: str) -> np.ndarray:
    values = [s.static[name] for s in table.series]
    return np.array(values, object if isinstance(values[0], str) else float)


def default_lags(season: int) -> tuple[int, ...]:
    """The last week of steps, and the neighbourhood of one, two and three seasons (and of a week of hours) ago."""
    seasons = [k * season for k in (1, 2, 3)] + ([168] if season == 24 else [])
    around = {s + d for s in seasons if s > 1 for d in (-1, 0, 1)}
    return tuple(sorted({1, 2, 3, 4, 5, 6, 7} | {lag for lag in around if lag >= 1}))


def origins(
    encoded: Encoded, start, end, codec: Codec, *, stride=1, enough_past=False
) -> tuple[np.ndarray, np.ndarray]:
    """Series and origin of every window whose horizon lies in [start, end) of its series and holds an observed value.

    With `enough_past`, a series that is long enough starts where the look-back is full; a shorter one half-way.
    """
    series, places = [], []
    for i, (low, high) in enumerate(zip(start, end - codec.horizon, strict=True)):
        if enough_past:
            low = codec.lookback if high >= codec.lookback else max(1, (high + 1) // 2)
        found = np.arange(max(low, 1), high + 1, stride)
        if len(found):
            observed = np.cumsum(np.concatenate([[0.0], encoded.observed[encoded.offset[i] :][: encoded.length[i]]]))
            found = found[(observed[found + codec.horizon] > observed[found]) & (observed[found] > 0)]
        series.append(np.full(len(found), i))
        places.append(found)
    return np.concatenate(series), np.concatenate(places)


def _source(codec: Codec, encoded: Encoded, part: tuple[np.ndarray, np.ndarray], config) -> Source:
    series, places = part

    def gather(indices: np.ndarray) -> tuple:
        s, o = series[indices], places[indices]
        if config.model == "deepar":
            inputs = codec.windows(encoded, s, o, ahead=codec.horizon)
            first = max(codec.lags)
            return inputs, inputs["y"][:, first:], inputs["observed"][:, first:]
        return codec.windows(encoded, s, o), *codec.targets(encoded, s, o)

    if not len(places) or places.min() >= codec.lookback:
        return Source(len(series), gather)
    whole = codec.lookback + codec.horizon  # windows of short series are filled up
    sizes = np.minimum(places, codec.lookback) + codec.horizon
    return Source(len(series), gather, lambda: sizes, alike=False, padded=lambda longest: whole)


def _describe(config, table: Table) -> str:
    lengths = [len(s.y) for s in table.series]
    count = "1 series" if len(lengths) == 1 else f"{len(lengths)} series"
    span = f"{min(lengths):,}" if min(lengths) == max(lengths) else f"{min(lengths):,} to {max(lengths):,}"
    missing = sum(int(np.isnan(s.y).sum()) for s in table.series)
    name = BUILT_IN.get(config.data, Path(config.data).name)
    return f"{name}: {count} of {span} steps ({table.frequency.name}), {missing:,} missing"
