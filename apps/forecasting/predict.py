"""Forecasts from raw tables, on any engine: NumPy around `engine(signature, **arrays)`."""

import csv
import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.errors import DataError, UsageError
from ..core.files import replacing, write_text
from . import tables
from .codec import Codec, Encoded
from .columns import first
from .config import PredictOptions, centred
from .frequency import format_stamps
from .tables import Layout, Series, Table

ROWS = 512  # windows in one call of the engine


@dataclass(frozen=True)
class Forecast:
    """Forecasts of many windows: point (rows, horizon), quantiles (rows, horizon, levels), scale (rows,)."""

    point: np.ndarray
    quantiles: np.ndarray
    scale: np.ndarray


@dataclass(frozen=True)
class Prediction:
    """Forecasts after the end of each series of a table, with their stamps, and the table for a picture.

    warnings: what the table lacks that a good forecast would want, a sentence each.
    """

    table: Table
    stamps: list[list[str]]
    levels: tuple[float, ...]
    forecast: Forecast
    warnings: tuple[str, ...] = ()

    def rows(self) -> list[dict]:
        """A row per series and step: unique_id, ds, point and a column per quantile."""
        made = zip(self.table.series, self.stamps, self.forecast.point, self.forecast.quantiles, strict=True)
        names = [f"q{level:g}" for level in self.levels]
        return [
            {
                "unique_id": series.id,
                "ds": stamp,
                "point": float(point),
                **dict(zip(names, map(float, values), strict=True)),
            }
            for series, stamps, points, quantiles in made
            for stamp, point, values in zip(stamps, points, quantiles, strict=True)
        ]


def forecast(
    engine, config, codec: Codec, encoded: Encoded, series, origins, *, options=None, calibrated=True, wrap=iter
):
    """Forecasts from the given origins; `wrap` may show progress over the chunks."""
    options = options or PredictOptions()
    chunks = [slice(i, i + ROWS) for i in range(0, len(series), ROWS)]
    ask = _sampled if config.model == "deepar" else _direct
    parts = [ask(engine, config, codec, encoded, series[c], origins[c], options) for c in wrap(chunks)]
    point, quantiles, scale = (np.concatenate(part) for part in zip(*parts, strict=True))
    if calibrated:
        quantiles = codec.calibrate(quantiles, scale)
    if quantiles.shape[-1] != len(codec.levels):
        quantiles = np.repeat(quantiles, len(codec.levels), axis=-1)
    return Forecast(point, quantiles, scale)


def _direct(engine, config, codec, encoded, series, origins, options):
    answer = engine("forecast", **codec.windows(encoded, series, origins))
    quantiles = answer["quantiles"]
    middle = codec.levels.index(0.5) if quantiles.shape[-1] > 1 else 0
    return quantiles[..., middle], quantiles, answer["scale"]


def _sampled(engine, config, codec, encoded, series, origins, options):
    """Warms the state up over the look-back, then samples paths a step at a time."""
    windows = codec.windows(encoded, series, origins)
    rng = np.random.default_rng((options.seed, int(origins[0]), int(series[0])))
    state = warm(engine, config, codec, windows)
    known = {k: windows[k] for k in ("series", "static") if k in windows}
    future = windows["future"][:, codec.lookback :] if "future" in windows else None
    since = windows["since"][:, -1] if codec.missing else None
    last = {"value": windows["y"][:, -1], "observed": windows["observed"][:, -1], "since": since}
    paths = sample_paths(engine, state, last, known, future, codec.horizon, options.paths or config.paths, rng)
    quantiles = np.moveaxis(np.quantile(paths, codec.levels, axis=1), 0, -1).astype(np.float32)
    return np.median(paths, axis=1), quantiles, state["window_scale"]


def warm(engine, config, codec: Codec, windows: dict) -> dict[str, np.ndarray]:
    """The state after all of a look-back but its last value."""
    state = start_state(engine, config, codec, windows)
    for t in range(max(codec.lags), codec.lookback):
        state, _ = advance(engine, state, step_inputs(codec, windows, t))
    return state


def sample_paths(engine, state, last: dict, known: dict, future, horizon: int, count: int, rng) -> np.ndarray:
    """`count` paths of each row, (rows, count, horizon).

    Args:
        last: value, observed and, where the model knows gaps, since: of the last step, which `state` has not seen.
        known: what does not change: series and, where there are any, static.
        future: (rows, horizon, columns), what is known of the steps ahead, or None.
    """
    rows = len(last["value"])
    inputs = {k: np.repeat(v, count, axis=0) for k, v in {**last, **known}.items() if v is not None}
    state = {name: np.repeat(array, count, axis=0) for name, array in state.items()}
    paths = np.empty((rows * count, horizon), np.float32)
    for h in range(horizon):
        if future is not None:
            inputs["future"] = np.repeat(future[:, h], count, axis=0)
        state, parameters = advance(engine, state, inputs)
        paths[:, h] = inputs["value"] = sample(rng, parameters)
        inputs["observed"] = np.ones_like(inputs["value"])
        if "since" in inputs:
            inputs["since"] = np.zeros_like(inputs["value"])
    return paths.reshape(rows, count, horizon)


def start_state(engine, config, codec: Codec, windows: dict) -> dict[str, np.ndarray]:
    """The state of a step model before the first step after the lags."""
    y = windows["y"]
    floors = np.array(codec.floors, np.float32)[windows["series"]]
    loc, scale = window_scaling(y, windows["observed"], centred(config), floors)
    specs = {s.name: s.shape for s in engine.signatures["step"].inputs}
    first = max(codec.lags)
    zeros = {n: np.zeros((len(y), *shape[1:]), np.float32) for n, shape in specs.items() if n.startswith("state_")}
    history = np.concatenate([y[:, :1], y[:, : first - 1]], axis=1)  # the value before comes in with the first step
    return {"window_loc": loc, "window_scale": scale, "history": history, **zeros}


def window_scaling(y, observed, centre: bool, floors) -> tuple[np.ndarray, np.ndarray]:
    """Location and scale of each window, (rows,) each: `AutoregressiveNetwork.scaling` in NumPy."""
    count = np.maximum(observed.sum(axis=1), 1)
    size = (np.abs(y) * observed).sum(axis=1) / count
    least = np.maximum(floors, 1e-5 * size + 1e-6)
    if not centre:
        return np.zeros_like(size), np.maximum(np.where(size > 1e-6, size, 1), least).astype(np.float32)
    loc = (y * observed).sum(axis=1) / count
    scale = np.sqrt((np.square(y - loc[:, None]) * observed).sum(axis=1) / count)
    return loc, np.maximum(scale, least).astype(np.float32)


def step_inputs(codec: Codec, windows: dict, t: int) -> dict[str, np.ndarray]:
    """What the step to position `t` of the windows takes: the value before it, and what is known of it."""
    inputs = {"value": windows["y"][:, t - 1], "observed": windows["observed"][:, t - 1], "series": windows["series"]}
    if codec.missing:
        inputs["since"] = windows["since"][:, t - 1]
    if "future" in windows:
        inputs["future"] = windows["future"][:, t]
    if "static" in windows:
        inputs["static"] = windows["static"]
    return inputs


def advance(engine, state: dict, inputs: dict) -> tuple[dict, dict]:
    """One step: the state after `inputs["value"]`, and the parameters of the next value's distribution."""
    answer = engine("step", **inputs, **state)
    following = {k.removeprefix("next_"): v for k, v in answer.items() if k.startswith("next_")}
    kept = {name: state[name] for name in ("window_loc", "window_scale")}
    return {**kept, **following}, {k: v for k, v in answer.items() if not k.startswith("next_")}


def sample(rng: np.random.Generator, parameters: dict[str, np.ndarray]) -> np.ndarray:
    """One draw per row of the distribution that the parameters name."""
    if "dispersion" in parameters:
        mean, r = parameters["mean"].astype(float), 1.0 / parameters["dispersion"].astype(float)
        return rng.negative_binomial(r, r / (r + mean)).astype(np.float32)
    noise = (
        rng.standard_t(parameters["df"]) if "df" in parameters else rng.standard_normal(parameters["location"].shape)
    )
    return (parameters["location"] + parameters["scale"] * noise).astype(np.float32)


def read(config, codec: Codec, source: Path | str) -> Table:
    """The table of a file to forecast from, in the layout of training."""
    layout = dataclasses.replace(_layout(config, Path(source)), fallback=codec.frequency)
    return codec.named(tables.read(source, layout, training=False), source)


def predict(engine, config, codec: Codec, source: Path, options: PredictOptions) -> Prediction:
    """Forecasts what comes after the end of every series in a file."""
    table = read(config, codec, source)
    encoded = codec.encode(table)
    where = np.arange(len(table.series))
    result = forecast(engine, config, codec, encoded, where, encoded.length, options=options)
    stamps = [
        list(format_stamps(table.frequency.stamps(s.start, len(s.y) + codec.horizon)[-codec.horizon :]))
        for s in table.series
    ]
    return Prediction(table, stamps, codec.levels, result, _unknown(codec, table))


def _unknown(codec: Codec, table: Table) -> tuple[str, ...]:
    """The known-future covariates that a table does not hold over the whole horizon."""
    texts = []
    for column in codec.future:
        known = [s.columns[column.name][len(s.y) : len(s.y) + codec.horizon] for s in table.series]
        there = [np.count_nonzero(v != "" if v.dtype.kind in "OU" else np.isfinite(v)) for v in known]
        lacking = [s.id for s, count in zip(table.series, there, strict=True) if count < codec.horizon]
        if lacking:
            texts.append(
                f"future covariate '{column.name}' is not known for all {codec.horizon} steps ahead of "
                f"{len(lacking):,} series ({first(lacking)}): give rows with it and an empty target"
            )
    return tuple(texts)


def _layout(config, source: Path) -> Layout:
    """The layout of training, or long where the file's header says so (as the bundle's example does)."""
    covariates = {"past": config.past, "future": config.future, "static": config.static}
    if source.is_file() and source.suffix == ".csv":
        with source.open(encoding="utf-8-sig", errors="replace") as file:
            if file.readline().startswith("unique_id,ds,y"):
                return Layout("long", frequency=config.frequency, **covariates)
    columns = (config.id_column, config.time_column, config.target_column)
    return Layout(config.layout, *columns, frequency=config.frequency, **covariates)


def write(result: Prediction, path: Path) -> None:
    """Writes `.csv`, `.json` or a picture `.png`."""
    if path.suffix == ".csv":
        rows = result.rows()
        with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows({k: f"{v:.7g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)
    elif path.suffix == ".json":
        write_text(path, json.dumps(result.rows(), indent=1) + "\n")
    elif path.suffix == ".png":
        from .plots import plot_prediction

        plot_prediction(result, path)
    else:
        raise UsageError(f"--out {path}: expected .csv, .json or .png")


def summary(result: Prediction) -> str:
    """The first rows, for a terminal."""
    rows = result.rows()
    lines = [f"{'series':16} {'stamp':20} {'point':>12} {'10 %':>12} {'90 %':>12}"]
    for row in rows[:12]:
        low, high = (row.get(name, float("nan")) for name in ("q0.1", "q0.9"))
        lines.append(f"{row['unique_id'][:16]:16} {row['ds']:20} {row['point']:12.5g} {low:12.5g} {high:12.5g}")
    lines += [f"… {len(rows) - 12} more rows; --out FILE.csv keeps them all"] if len(rows) > 12 else []
    return "\n".join(lines)


def example(config, data, path: Path) -> None:
    """Writes the last look-back of up to three series as a long table."""
    if not data.table.series:
        raise DataError("no series to make an example of")
    keep = data.codec.lookback + 1
    shown = []
    for s, end in zip(data.table.series[:3], data.borders[:, 2], strict=False):
        first = max(0, int(end) - keep)
        stop = {name: len(v) if name in config.future else int(end) for name, v in s.columns.items()}
        columns = {name: v[first : min(stop[name], int(end) + data.codec.horizon)] for name, v in s.columns.items()}
        start = data.table.frequency.at(s.start, [first])[0]
        shown.append(Series(s.id, start, s.y[first : int(end)], columns, s.static))
    tables.write_long(path, Table(data.table.frequency, tuple(shown)))
