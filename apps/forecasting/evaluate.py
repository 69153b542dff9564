"""Rolling-origin evaluation on any engine, the baselines on the same origins, and calibration."""

import contextlib
import dataclasses
import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.errors import MissingExtra
from ..core.progress import track
from . import metrics
from .baselines import BASELINES
from .codec import Codec
from .config import PredictOptions
from .data import Data, require_windows
from .predict import Forecast, forecast

INTENDED_USE = (
    "Forecasts of series like those it was trained on, from raw values and stamps: planning, monitoring, a prior for a "
    "decision that a person takes. New series of the same kind and frequency are standardised by their own window."
)
LIMITS = (
    "The quantiles are calibrated on the validation part: their coverage holds while the series behave as they did, "
    "and drops after a change of level or regime. Covariates named as future must be known when the forecast is made."
)
CHUNK = 1024  # windows scored at once: bounds the memory of long horizons
FAST = ("naive", "seasonal-naive")
CALIBRATION_BLOCKS = 8  # steps of the horizon share their calibration in so many blocks


@dataclass(frozen=True)
class Evaluation:
    """Scores of the model and of the baselines, and some forecasts to draw."""

    model: dict
    baselines: dict
    sampled: dict
    notes: tuple[str, ...]
    drawn: dict  # arrays of the sampled windows: series, origins, truth, point, quantiles
    data: Data

    def to_json(self) -> dict:
        return {"model": self.model, "baselines": self.baselines, "sampled": self.sampled, "notes": list(self.notes)}


def evaluate(engine, config, data: Data, *, quiet: bool = True) -> Evaluation:
    """Scores every window of the test part; ETS and Theta, a fit each, on `baseline_origins` of them.

    Raises: DataError where the test part has no window.
    """
    require_windows(data, "test")
    series, origins = data.windows["test"]
    tallies = {name: _Tally(data) for name in ("model", *FAST)}
    chunks = [slice(i, i + CHUNK) for i in range(0, len(series), CHUNK)]
    for chunk in track(chunks, "backtest", quiet=quiet):
        s, o = series[chunk], origins[chunk]
        tallies["model"].add(s, o, forecast(engine, config, data.codec, data.encoded, s, o))
        for name in FAST:
            tallies[name].add(s, o, _baseline(name, data, s, o))
    some = np.unique(np.linspace(0, len(series) - 1, min(config.baseline_origins, len(series))).astype(int))
    sampled, drawn = _sample(engine, config, data, series[some], origins[some], quiet)
    scores = {name: tally.scores() for name, tally in tallies.items()}
    baselines = {name: scores[name] for name in FAST}
    baselines |= {name: sampled[name] for name in sampled if name not in ("model", *FAST)}
    notes = _notes(scores["model"], baselines, sampled)
    return Evaluation(scores["model"], baselines, sampled, notes, drawn, data)


def _sample(engine, config, data, series, origins, quiet) -> tuple[dict, dict]:
    """Model and all baselines on a few windows, and those forecasts."""
    made = {"model": forecast(engine, config, data.codec, data.encoded, series, origins)}
    for name in track(BASELINES, "baselines", quiet=quiet):
        with contextlib.suppress(MissingExtra):  # on a device without statsmodels the naive ones are what there is
            made[name] = _baseline(name, data, series, origins)
    scores = {}
    for name, result in made.items():
        tally = _Tally(data)
        tally.add(series, origins, result)
        scores[name] = tally.scores()
    truth = _truth(data, series, origins)
    drawn = {"series": series, "origins": origins, "truth": truth, "forecast": made["model"]}
    return scores, drawn


def score(engine, config, data: Data) -> tuple[str, float]:
    """The mean weighted quantile loss on up to 128 test windows: what quantisation must not lose."""
    require_windows(data, "test")
    series, origins = data.windows["test"]
    some = np.linspace(0, len(series) - 1, min(128, len(series))).astype(int)
    tally = _Tally(data)
    options = PredictOptions(paths=min(config.paths, 50))
    tally.add(
        series[some],
        origins[some],
        forecast(engine, config, data.codec, data.encoded, series[some], origins[some], options=options),
    )
    return "wql", tally.scores()["wql"]


def samples(engine, config, data: Data) -> dict[str, list[dict]]:
    """Training inputs of every signature, in several batch sizes; states come from running along real windows."""
    series, origins = data.windows["train"]
    recorded: dict[str, list[dict]] = {name: [] for name in engine.signatures}

    def recording(signature, **arrays):
        recorded[signature].append({k: v.copy() for k, v in arrays.items()})
        return engine(signature, **arrays)

    recording.signatures = engine.signatures
    some = np.linspace(0, len(series) - 1, min(40, len(series))).astype(int)
    for batch in (some[:1], some[1:4], *np.array_split(some, 8)):
        if len(batch):
            options = PredictOptions(paths=2)
            forecast(recording, config, data.codec, data.encoded, series[batch], origins[batch], options=options)
    return {name: calls[:: max(1, len(calls) // 120)] for name, calls in recorded.items()}


def calibrate(engine, config, data: Data) -> Codec:
    """Conformal calibration on rolling origins of the validation part (split conformal, Romano et al. 2019).

    For a pair of levels the conformity score of a value is how far it lies outside their interval, in units of the
    window's scale; the interval is widened by the quantile of the scores that makes it cover. Steps of the horizon
    share scores in blocks. The median stays, and no interval is narrowed: windows of one series overlap, and a calm
    validation part is no promise.
    """
    if not config.calibrate or not data.sizes["validation"]:
        return data.codec
    series, origins = data.windows["validation"]
    some = np.unique(np.linspace(0, len(series) - 1, min(1000, len(series))).astype(int))
    series, origins = series[some], origins[some]
    found = forecast(engine, config, data.codec, data.encoded, series, origins, calibrated=False)
    truth = _truth(data, series, origins)
    levels, horizon = data.codec.levels, data.codec.horizon
    offsets = np.zeros((horizon, len(levels)))
    for block in np.array_split(np.arange(horizon), min(CALIBRATION_BLOCKS, horizon)):
        y = truth[:, block] / found.scale[:, None]
        q = found.quantiles[:, block] / found.scale[:, None, None]
        offsets[block] = [_offset(y, q, levels, k) for k in range(len(levels))]
    rounded = tuple(tuple(round(float(v), 6) for v in row) for row in offsets)
    return dataclasses.replace(data.codec, offsets=rounded)


def _offset(y: np.ndarray, q: np.ndarray, levels, k: int) -> float:
    """How far level k moves: by the scores of its central interval, or by its own where its mirror is not a level."""
    level = levels[k]
    mirror = next((m for m, other in enumerate(levels) if abs(other + level - 1) < 1e-9), None)
    if abs(level - 0.5) < 1e-9:
        return 0.0
    if mirror is None:
        return _conformal(y - q[..., k], level)
    low, high = min(k, mirror), max(k, mirror)
    outside = np.maximum(q[..., low] - y, y - q[..., high])
    width = max(_conformal(outside, levels[high] - levels[low]), 0.0)
    return -width if k == low else width


def _conformal(scores: np.ndarray, share: float) -> float:
    """The quantile of scores that covers `share` of new ones as well: the ⌈(n + 1) share⌉-th smallest."""
    scores = np.sort(scores[np.isfinite(scores)])
    if not len(scores):
        return 0.0
    return float(scores[min(int(np.ceil((len(scores) + 1) * share)), len(scores)) - 1])


class _Tally:
    """Scores of many windows, added up chunk by chunk."""

    def __init__(self, data: Data):
        self.data, self.sums, self.weights, self.windows = data, {}, {}, 0

    def add(self, series, origins, made) -> None:
        data, levels = self.data, self.data.codec.levels
        truth, scales = _truth(data, series, origins), _seasonal_scales(data)[series]
        found = metrics.score(truth, made.point, made.quantiles, levels, scales)
        deciles = [k for k, level in enumerate(levels) if round(10 * level, 6) in range(1, 10)]
        if deciles:
            losses = metrics.weighted_quantile_loss(truth, made.quantiles[..., deciles], [levels[k] for k in deciles])
            found["wql"] = float(np.mean(losses))
        found |= _standardised(data, series, truth, made.point)
        count, size = int(np.isfinite(truth).sum()), float(np.nansum(np.abs(truth)))
        for name, value in found.items():
            if np.isfinite(value):
                weight = size if name.startswith("wql") else count
                self.sums[name] = self.sums.get(name, 0.0) + value * weight
                self.weights[name] = self.weights.get(name, 0.0) + weight
        self.windows += len(series)

    def scores(self) -> dict:
        """All metrics but the loss of each single level, and coverage of the usual intervals only."""
        hidden = [n for n in self.sums if n.startswith("wql_") or (n.startswith("coverage_") and n not in _SHOWN)]
        names = [n for n in self.sums if n not in hidden and self.weights[n]]
        return {**{name: self.sums[name] / self.weights[name] for name in names}, "windows": self.windows}


def _standardised(data: Data, series, truth, point) -> dict:
    """MSE and MAE in units of each series' training part, as the long-horizon literature gives them."""
    index = data.encoded.index[series]
    if (index == 0).any():
        return {}
    scale = np.asarray(data.codec.scale)[index - 1][:, None]
    return {
        "mse_scaled": metrics.mse(truth / scale, point / scale),
        "mae_scaled": metrics.mae(truth / scale, point / scale),
    }


def _truth(data: Data, series, origins) -> np.ndarray:
    values, observed = data.codec.targets(data.encoded, series, origins)
    return np.where(observed > 0, values.astype(float), np.nan)


@functools.lru_cache(maxsize=1)
def _scales(table, ends: tuple[int, ...], season: int) -> np.ndarray:
    return np.array([metrics.seasonal_scale(s.y[:end], season) for s, end in zip(table.series, ends, strict=True)])


def _seasonal_scales(data: Data) -> np.ndarray:
    """The scale of MASE of each series, from all before its test part."""
    ends = tuple(int(b[1]) or int(b[2]) for b in data.borders)
    return _scales(_Identity(data.table), ends, data.codec.season)


class _Identity:
    """A table as a cache key: by identity."""

    def __init__(self, table):
        self.series = table.series

    def __hash__(self):
        return id(self.series)

    def __eq__(self, other):
        return self.series is other.series


def _baseline(name: str, data: Data, series, origins) -> Forecast:
    """One baseline from the given origins; naive methods see the look-back, fitted ones all that came before."""
    season, horizon, levels = data.codec.season, data.codec.horizon, data.codec.levels
    if name in FAST:
        length = max(data.codec.lookback, 2 * season + 1)
        histories = np.stack([_history(data, s, o, length) for s, o in zip(series, origins, strict=True)])
        made = BASELINES[name](histories, horizon, season, levels)
        return Forecast(made.point, made.quantiles, np.ones(len(series)))
    made = [
        BASELINES[name](data.table.series[s].y[:o], horizon, season, levels)
        for s, o in zip(series, origins, strict=True)
    ]
    return Forecast(np.stack([m.point for m in made]), np.stack([m.quantiles for m in made]), np.ones(len(series)))


def _history(data: Data, series: int, origin: int, length: int) -> np.ndarray:
    found = data.table.series[series].y[max(0, origin - length) : origin]
    return np.concatenate([np.full(length - len(found), np.nan), found])


def _notes(model: dict, baselines: dict, sampled: dict) -> tuple[str, ...]:
    """What the scores say, plainly, also when a baseline wins."""
    notes = []
    for metric, text in (("mase", "MASE"), ("wql", "weighted quantile loss")):
        for scores, names, where in (
            (model, FAST, f"all {model['windows']:,} windows"),
            (
                sampled["model"],
                [n for n in BASELINES if n not in FAST],
                f"{sampled['model']['windows']} sampled windows",
            ),
        ):
            if not names:
                continue
            best = min(names, key=lambda n: baselines[n].get(metric, np.inf))
            ours, theirs = scores.get(metric, np.nan), baselines[best].get(metric, np.nan)
            verdict = "better than" if ours < theirs else "NOT better than"
            notes.append(
                f"{text} {ours:.4g} on {where}: {verdict} the best of {', '.join(names)} ({best}, {theirs:.4g})"
            )
    covered = [f"{k.removeprefix('coverage_')} %: {100 * v:.1f} %" for k, v in model.items() if k in _SHOWN]
    return (*notes, f"coverage of the central intervals: {', '.join(covered)}") if covered else tuple(notes)


_SHOWN = ("coverage_50", "coverage_80", "coverage_95")


def plots(evaluation: Evaluation, directory: Path) -> None:
    """Fan chart, backtest and residuals."""
    from .plots import plot_backtest, plot_fan, plot_residuals

    plot_fan(evaluation, directory / "fan.png")
    plot_backtest(evaluation, directory / "backtest.png")
    plot_residuals(evaluation, directory / "residuals.png")
