"""Forecasts that a model has to beat: naive, seasonal naive and Naive2 in NumPy, ETS and Theta through statsmodels.

Each is `baseline(history, horizon, season, levels) -> Forecast`. `history` [T] may hold NaN; the NumPy ones also take
many histories at once, [N, T], for the origins of a backtest.

References: Hyndman & Athanasopoulos, Forecasting: Principles and Practice (naive, seasonal naive and their variances);
Makridakis, Spiliotis & Assimakopoulos 2020 (Naive2 as the M4 benchmark); Hyndman et al. 2008 (ETS); Assimakopoulos &
Nikolopoulos 2000, Hyndman & Billah 2003 (Theta).
"""

import warnings
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from ..core.errors import MissingExtra

RECENT = 1000  # ETS and Theta see this many values (or four seasons): more is slower and hardly better


class Forecast(NamedTuple):
    """A baseline's forecast: `point` [..., H], `quantiles` [..., H, Q], and a note where it was made another way."""

    point: np.ndarray
    quantiles: np.ndarray
    note: str = ""


def naive(history, horizon, season, levels):
    """Repeats the last value seen; Gaussian quantiles, the variance grows by that of one step with each step.

    f[h] = y[T], variance h σ², σ² the mean square of y[t] - y[t-1]. Where the last values are missing, h counts
    from the last one seen. `season` is not used.
    """
    return _gaussian(*_repeat(np.asarray(history, np.float64), horizon, 1), levels)


def seasonal_naive(history, horizon, season, levels):
    """Repeats the last season; Gaussian quantiles, the variance grows with each season.

    f[h] = y[T + h - m k] with k = ceil(h / m) seasons back, variance k σ², σ² the mean square of y[t] - y[t-m]. Where
    that value is missing the season before it counts, and k with it; a phase never seen falls back to `naive`.
    """
    history = np.asarray(history, np.float64)
    point, spread = _repeat(history, horizon, season)
    if season > 1 and not (np.isfinite(point).all() and np.isfinite(spread).all()):
        plain, plain_spread = _repeat(history, horizon, 1)
        spread = np.where(np.isnan(point) | np.isnan(spread), plain_spread, spread)
        point = np.where(np.isnan(point), plain, point)
    return _gaussian(point, spread, levels)


def _repeat(history, horizon, season):
    """The last value seen at each phase of the season and its standard deviation, [..., H]; NaN where there is none."""
    lead = (-history.shape[-1]) % season
    pad = np.full((*history.shape[:-1], lead), np.nan)
    folded = np.concatenate([pad, history], -1).reshape(*history.shape[:-1], -1, season)
    seen = ~np.isnan(folded)
    age = np.argmax(seen[..., ::-1, :], -2)
    last = np.take_along_axis(folded, folded.shape[-2] - 1 - age[..., None, :], -2)[..., 0, :]
    step = folded[..., 1:, :] - folded[..., :-1, :]
    square, known = np.where(np.isnan(step), 0, step**2), ~np.isnan(step)
    count = known.sum((-2, -1))
    sigma = np.sqrt(np.where(count, square.sum((-2, -1)) / np.maximum(count, 1), 0 if season == 1 else np.nan))
    ahead = np.arange(horizon)
    back = ahead // season + 1 + age[..., ahead % season]
    return last[..., ahead % season], sigma[..., None] * np.sqrt(back)


def _gaussian(point, spread, levels, note=""):
    z = np.array([NormalDist().inv_cdf(level) for level in levels])
    return Forecast(point, point[..., None] + spread[..., None] * z, note)


def naive2(history, horizon, season, levels):
    """Naive on seasonally adjusted values where the season is significant (90 %), as in the M4 competition.

    The adjustment is the classical decomposition, multiplicative, or additive where a value is not positive. Missing
    values are interpolated to find it.
    """
    history = np.asarray(history, np.float64)
    if history.ndim > 1:
        parts = [naive2(row, horizon, season, levels) for row in history]
        return Forecast(np.stack([p.point for p in parts]), np.stack([p.quantiles for p in parts]))
    gain, shift = _season(_filled(history), horizon, season)
    point, spread = _repeat((history - shift[:-horizon]) / gain[:-horizon], horizon, 1)
    return _gaussian(point * gain[-horizon:] + shift[-horizon:], spread * gain[-horizon:], levels)


def _season(y, horizon, season):
    """Seasonal factors and summands over history and horizon, one and zero where the season is not significant."""
    gain, shift = np.ones(len(y) + horizon), np.zeros(len(y) + horizon)
    if _seasonal(y, season):
        additive = y.min() <= 0
        figure = np.resize(_seasonal_figure(y, season, additive), len(gain))
        gain, shift = (gain, figure) if additive else (figure, shift)
    return gain, shift


def _seasonal(y, season):
    """The M4 test: is the autocorrelation at the season outside its 90 % limit? Needs three seasons."""
    if season == 1 or len(y) < 3 * season:
        return False
    centred = y - y.mean()
    power = centred @ centred
    if power == 0:
        return False
    acf = np.array([centred[k:] @ centred[:-k] for k in range(1, season + 1)]) / power
    return bool(abs(acf[-1]) > 1.645 * np.sqrt((1 + 2 * (acf[:-1] ** 2).sum()) / len(y)))


def _seasonal_figure(y, season, additive):
    """Seasonal summands with mean zero or factors with mean one, [m]: against a centred moving average."""
    weights = np.ones(season) if season % 2 else np.r_[0.5, np.ones(season - 1), 0.5]
    half = len(weights) // 2
    inner, trend = y[half : len(y) - half], np.convolve(y, weights, "valid") / season
    part = np.full(-(-len(y) // season) * season, np.nan)
    part[half : len(y) - half] = inner - trend if additive else inner / trend
    figure = np.nanmean(part.reshape(-1, season), 0)
    return figure - figure.mean() if additive else figure / figure.mean()


def _filled(history):
    """Missing values interpolated in a line, the ends held."""
    seen = np.flatnonzero(~np.isnan(history))
    return np.interp(np.arange(len(history)), seen, history[seen]) if len(seen) else history


def ets(history, horizon, season, levels):
    """Exponential smoothing (statsmodels): none or a damped trend, additive or multiplicative terms, chosen by AIC.

    A trend is tried for seasons up to 12 and for 52: within a daily cycle it would prolong the slope of the last hour.
    A season above 24 is taken out by STL first and its last cycle repeated. Missing values are interpolated. Quantiles
    are analytic for additive models, simulated (1,000 paths, fixed seed) for multiplicative ones.
    """
    return _fit(_ets, "ETS", history, horizon, season, levels)


def theta(history, horizon, season, levels):
    """The Theta method (statsmodels) on the adjusted values of `naive2`: half a trend, half exponential smoothing.

    Missing values are interpolated. Quantiles are Gaussian with variance σ² (1 + (h - 1) α²), σ² and α those of the
    smoothing. (statsmodels takes σ² of the values before adjustment, and (α - 1)² for α².)
    """
    return _fit(_theta, "Theta", history, horizon, season, levels)


def _fit(method, name, history, horizon, season, levels):
    """Runs a library's method on the recent past; where it fails, the seasonal naive with a note."""
    history = np.asarray(history, np.float64)[-max(RECENT, 4 * season) :]
    try:
        import statsmodels.tsa.api  # noqa: F401
    except ImportError:
        raise MissingExtra(name, "train") from None
    reason = "it takes ten values that vary"
    seen = history[~np.isnan(history)]
    if len(seen) >= 10 and np.ptp(seen) > 0:
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                forecast = method(_filled(history), horizon, season if len(history) >= 2 * season else 1, levels)
            if np.isfinite(forecast.quantiles).all() and np.isfinite(forecast.point).all():
                return forecast
            reason = "the forecast is not finite"
        except (ValueError, np.linalg.LinAlgError, ZeroDivisionError, IndexError) as error:
            reason = str(error)
    fallback = seasonal_naive(history, horizon, season, levels)
    return fallback._replace(note=f"{name} failed ({reason}): seasonal naive instead")


def _ets(y, horizon, season, levels):
    import pandas as pd
    from statsmodels.tsa.exponential_smoothing.ets import ETSModel

    trends = (None, "add") if season <= 12 or season == 52 else (None,)
    cycle, inflation = np.zeros(horizon), 1.0
    if season > 24:
        from statsmodels.tsa.seasonal import STL

        part = STL(y, period=season, seasonal=21).fit().seasonal  # 21 cycles: smooth, yet follows years of 52.18 weeks
        cycles = min(len(y) / season, 21)
        inflation = (cycles + 1) / (cycles - 1)  # a mean of k noisy cycles: too near the history, off for the future
        y, cycle, season = y - part, np.resize(part[-season:], horizon), 1
    fits = []
    for kind in ["add", "mul"] if y.min() > 0 and not cycle.any() else ["add"]:
        for trend in trends:
            model = ETSModel(
                pd.Series(y),  # intervals ask for an index
                error=kind,
                trend=trend,
                damped_trend=trend is not None,
                seasonal=kind if season > 1 else None,
                seasonal_periods=season if season > 1 else None,
                initialization_method="heuristic" if len(y) >= 10 + 2 * season else "estimated",
            )
            fits.append(model.fit(disp=False))
    best = min(fits, key=lambda fit: fit.aic)
    point = best.forecast(horizon).to_numpy()
    if best.model.error == "mul":
        paths = best.simulate(horizon, anchor="end", repetitions=1000, rng=np.random.default_rng(0))
        return Forecast(point, np.quantile(np.asarray(paths), levels, axis=1).T)
    variance = best.get_prediction(len(y), len(y) + horizon - 1).forecast_variance
    return _gaussian(point + cycle, np.sqrt(variance * inflation), levels)


def _theta(y, horizon, season, levels):
    from statsmodels.tsa.forecasting.theta import ThetaModel

    gain, shift = _season(y, horizon, season)
    y = (y - shift[:-horizon]) / gain[:-horizon]
    fit = ThetaModel(y, deseasonalize=False).fit()
    alpha, level, square = fit.params["alpha"], y[0], 0.0
    for value in y[1:]:
        square += (value - level) ** 2
        level += alpha * (value - level)
    point = np.asarray(fit.forecast(horizon)) * gain[-horizon:] + shift[-horizon:]
    spread = np.sqrt(square / (len(y) - 1) * (1 + np.arange(horizon) * alpha**2))
    return _gaussian(point, spread * gain[-horizon:], levels)


BASELINES = {"naive": naive, "seasonal-naive": seasonal_naive, "ets": ets, "theta": theta}
