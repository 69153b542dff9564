"""Pictures of forecasts."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ..core.report import save_figure
from .frequency import format_stamps

BLUE, GREY = "#1f5fa8", "#444444"
BANDS = (("0.025", "0.975", 0.15), ("0.1", "0.9", 0.22), ("0.25", "0.75", 0.3))


def _bands(axes, x, quantiles, levels) -> None:
    names = [f"{level:g}" for level in levels]
    for low, high, alpha in BANDS:
        if low in names and high in names:
            label = f"{100 * (float(high) - float(low)):.0f} %"
            low, high = quantiles[:, names.index(low)], quantiles[:, names.index(high)]
            axes.fill_between(x, low, high, color=BLUE, alpha=alpha, linewidth=0, label=label)


def _x(stamps: np.ndarray) -> np.ndarray:
    return stamps.astype("datetime64[s]").astype(object) if stamps.dtype.kind == "M" else stamps


def plot_prediction(prediction, path: Path) -> None:
    """History and fan of up to four series."""
    count = min(4, len(prediction.table.series))
    figure = Figure(figsize=(8, 2.6 * count), layout="constrained")
    for i in range(count):
        series, axes = prediction.table.series[i], figure.add_subplot(count, 1, i + 1)
        horizon = len(prediction.stamps[i])
        stamps = _x(prediction.table.stamps(series, horizon))
        shown = slice(max(0, len(series.y) - 4 * horizon), len(series.y))
        axes.plot(stamps[shown], series.y[shown], color=GREY, linewidth=1)
        _bands(axes, stamps[-horizon:], prediction.forecast.quantiles[i], prediction.levels)
        axes.plot(stamps[-horizon:], prediction.forecast.point[i], color=BLUE)
        axes.set_title(series.id, fontsize=9)
    figure.axes[0].legend(frameon=False, fontsize=8, loc="upper left")
    save_figure(figure, path)


def plot_fan(evaluation, path: Path) -> None:
    """The last sampled window of up to three series: what came before, what was forecast, what came."""
    data, drawn = evaluation.data, evaluation.drawn
    rows = {int(s): i for i, s in enumerate(drawn["series"])}  # the last window of each series
    chosen = list(rows.items())[:3]
    figure = Figure(figsize=(8, 2.8 * len(chosen)), layout="constrained")
    for place, (s, i) in enumerate(chosen):
        series, origin = data.table.series[s], int(drawn["origins"][i])
        axes, horizon = figure.add_subplot(len(chosen), 1, place + 1), data.codec.horizon
        stamps = _x(data.table.stamps(series, horizon))
        first = max(0, origin - max(3 * horizon, data.codec.season))
        axes.plot(
            stamps[first : origin + horizon],
            series.y[first : origin + horizon],
            color=GREY,
            linewidth=1,
            label="observed",
        )
        ahead = stamps[origin : origin + horizon]
        _bands(axes, ahead, drawn["forecast"].quantiles[i], data.codec.levels)
        axes.plot(ahead, drawn["forecast"].point[i], color=BLUE, label="forecast")
        last = format_stamps(data.table.stamps(series)[origin - 1 : origin])[0]
        axes.set_title(f"{series.id}: forecast from {last}", fontsize=9)
    figure.axes[0].legend(frameon=False, fontsize=8, loc="upper left")
    save_figure(figure, path)


def plot_backtest(evaluation, path: Path) -> None:
    """All sampled windows of the first series over what was observed."""
    data, drawn = evaluation.data, evaluation.drawn
    s = int(drawn["series"][0])
    series, horizon = data.table.series[s], data.codec.horizon
    rows = np.flatnonzero(drawn["series"] == s)
    stamps = _x(data.table.stamps(series, horizon))
    first = max(0, int(drawn["origins"][rows[0]]) - horizon)
    last = int(drawn["origins"][rows[-1]]) + horizon
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(stamps[first:last], series.y[first:last], color=GREY, linewidth=1, label="observed")
    for number, i in enumerate(rows):
        origin = int(drawn["origins"][i])
        label = "forecasts" if number == 0 else None
        axes.plot(
            stamps[origin : origin + horizon],
            drawn["forecast"].point[i],
            color=BLUE,
            linewidth=0.8,
            alpha=0.7,
            label=label,
        )
    axes.set_title(f"{series.id}: backtest, {len(rows)} origins", fontsize=9)
    axes.legend(frameon=False, fontsize=8)
    save_figure(figure, path)


def plot_residuals(evaluation, path: Path) -> None:
    """Mean absolute error over the horizon, the residuals' histogram, and nominal against observed coverage."""
    data, drawn = evaluation.data, evaluation.drawn
    truth, made = drawn["truth"], drawn["forecast"]
    error = truth - made.point
    figure = Figure(figsize=(9, 2.8), layout="constrained")
    over, histogram, cover = (figure.add_subplot(1, 3, i + 1) for i in range(3))
    over.plot(np.arange(1, error.shape[1] + 1), np.nanmean(np.abs(error), axis=0), color=BLUE)
    over.set(xlabel="steps ahead", title="mean absolute error")
    over.set_ylim(bottom=0)
    histogram.hist(error[np.isfinite(error)], bins=40, color=BLUE)
    histogram.axvline(0, color=GREY, linewidth=0.8)
    histogram.set(title="residuals (observed − forecast)")
    below = [
        np.nanmean(np.where(np.isnan(truth), np.nan, truth <= made.quantiles[..., k]))
        for k in range(len(data.codec.levels))
    ]
    cover.plot([0, 1], [0, 1], color=GREY, linewidth=0.8)
    cover.plot(data.codec.levels, below, marker=".", color=BLUE)
    cover.set(xlabel="level", title="share below the quantile")
    save_figure(figure, path)
