"""A deepar forecaster fed observation by observation: constant work per value, a forecast at any time. NumPy only."""

from dataclasses import dataclass, replace

import numpy as np

from ..core.errors import DataError, UsageError
from .codec import calendar_features
from .config import PredictOptions
from .predict import Forecast, advance, sample_paths, warm
from .tables import Table


@dataclass(frozen=True)
class Stream:
    """Where the streams of one or more series stand; `observe` gives the next one.

    Attributes:
        ids: names of the series, in the order of every array.
        starts, steps: first stamp of each, and how many steps have been seen since, this one included.
        state: of the step model, before the last value.
        value, observed, silent: the last value, whether it was there, and steps since one was.
        fixed: the inputs that never change.
    """

    ids: tuple[str, ...]
    starts: tuple
    steps: np.ndarray
    state: dict[str, np.ndarray]
    value: np.ndarray
    observed: np.ndarray
    silent: np.ndarray
    fixed: dict[str, np.ndarray]


def begin(opened, table: Table) -> Stream:
    """The streams after all that a table holds; its end gives location and scale, which stay.

    Args:
        opened: an `Opened` deepar model (`forecasting.APP.open(path)`), on any engine.
        table: as `predict.read` gives it.
    """
    if opened.config.model != "deepar":
        raise UsageError(f"expected a deepar model, which has a step; received --model {opened.config.model}")
    codec, rows = opened.codec, np.arange(len(table.series))
    encoded = codec.encode(table)
    windows = codec.windows(encoded, rows, encoded.length)
    silent = np.rint(np.expm1(encoded.since[encoded.offset + encoded.length - 1]))
    return Stream(
        encoded.ids,
        tuple(series.start for series in table.series),
        encoded.length,
        warm(opened.engine, opened.config, codec, windows),
        windows["y"][:, -1],
        windows["observed"][:, -1],
        silent.astype(np.float32),
        {name: windows[name] for name in ("series", "static") if name in windows},
    )


def observe(opened, stream: Stream, values, known=None) -> tuple[Stream, dict[str, np.ndarray]]:
    """The streams after one more value each, and the distribution that was expected of it (its parameters by name).

    Args:
        values: (series,), NaN where a value is missing.
        known: future covariates of this step by name, (series,) each.
    """
    values = np.asarray(values, np.float32)
    if values.shape != stream.value.shape:
        raise DataError(f"expected a value for each of {len(stream.ids)} series, received shape {values.shape}")
    future = _future(opened.codec, stream, 1, {k: np.asarray(v)[:, None] for k, v in (known or {}).items()})
    inputs = {k: v for k, v in _last(opened.codec, stream).items() if v is not None}
    inputs |= stream.fixed if future is None else {**stream.fixed, "future": future[:, 0]}
    state, parameters = advance(opened.engine, stream.state, inputs)
    there = np.isfinite(values)
    following = replace(
        stream,
        steps=stream.steps + 1,
        state=state,
        value=np.where(there, values, stream.value),
        observed=there.astype(np.float32),
        silent=np.where(there, 0, stream.silent + 1).astype(np.float32),
    )
    return following, parameters


def forecast(opened, stream: Stream, known=None, options: PredictOptions | None = None) -> Forecast:
    """The forecast from where the streams stand, which it leaves as they are.

    Args:
        known: future covariates of the horizon by name, (series, horizon) each.
    """
    codec, options = opened.codec, options or PredictOptions()
    future = _future(codec, stream, codec.horizon, known or {})
    count, rng = options.paths or opened.config.paths, np.random.default_rng(options.seed)
    paths = sample_paths(
        opened.engine, stream.state, _last(codec, stream), stream.fixed, future, codec.horizon, count, rng
    )
    quantiles = np.moveaxis(np.quantile(paths, codec.levels, axis=1), 0, -1).astype(np.float32)
    scale = stream.state["window_scale"]
    return Forecast(np.median(paths, axis=1), codec.calibrate(quantiles, scale), scale)


def _last(codec, stream: Stream) -> dict:
    since = np.log1p(stream.silent) if codec.missing else None
    return {"value": stream.value, "observed": stream.observed, "since": since}


def _future(codec, stream: Stream, ahead: int, known: dict) -> np.ndarray | None:
    """Calendar and known covariates of the next steps, (series, ahead, columns); None for a model without."""
    wanted = [column.name for column in codec.future]
    if set(known) != set(wanted):
        raise DataError(f"expected the future covariates {wanted}, received {sorted(known)}")
    if not codec.widths["future"]:
        return None
    grid, rows = codec.grid(), []
    for i, (start, steps) in enumerate(zip(stream.starts, stream.steps, strict=True)):
        stamps = grid.at(start, np.arange(steps, steps + ahead))
        columns = [column.encode(np.asarray(known[column.name][i])) for column in codec.future]
        rows.append(np.concatenate([calendar_features(stamps, codec.calendar), *columns], axis=-1))
    return np.stack(rows).astype(np.float32)
