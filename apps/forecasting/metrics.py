"""Forecast accuracy. NumPy alone; a NaN in the truth weighs nothing.

Shapes: `truth` and `point` [..., H], `quantiles` [..., H, Q] at `levels` [Q]. A score without any weight is NaN.

References: Hyndman & Koehler 2006 (MASE); Makridakis, Spiliotis & Assimakopoulos 2020 (M4: sMAPE, MASE, OWA); Salinas
et al. 2017 (weighted quantile loss).
"""

import numpy as np


def _mean(values):
    """Mean of what is not NaN."""
    seen = ~np.isnan(values)
    return float(values[seen].mean()) if seen.any() else float("nan")


def mse(truth, point):
    """Mean squared error: mean (y - f)²."""
    return _mean(np.square(np.subtract(truth, point, dtype=np.float64)))


def mae(truth, point):
    """Mean absolute error: mean |y - f|."""
    return _mean(np.abs(np.subtract(truth, point, dtype=np.float64)))


def smape(truth, point):
    """Symmetric mean absolute percentage error, 0 to 200 (M4): mean 200 |y - f| / (|y| + |f|), 0 where y = f = 0."""
    error, size = np.abs(np.subtract(truth, point, dtype=np.float64)), np.abs(truth) + np.abs(point)
    return _mean(200 * error / np.where(size == 0, 1, size))


def seasonal_scale(insample, season):
    """The scale of MASE: mean |y[t] - y[t - m]| over the history `insample` [..., T], with season length m.

    Pairs with a NaN weigh nothing; where no pair is left (a short history) m is 1. NaN where that is empty too.
    """
    insample = np.asarray(insample, np.float64)
    if season > 1 and insample.shape[-1] <= season:
        season = 1
    steps = np.abs(insample[..., season:] - insample[..., :-season])
    seen = ~np.isnan(steps)
    count = seen.sum(-1)
    scale = np.where(count, np.where(seen, steps, 0).sum(-1) / np.maximum(count, 1), np.nan)
    if season > 1 and not count.all():
        scale = np.where(count, scale, seasonal_scale(insample, 1))
    return scale


def mase(truth, point, scale):
    """Mean absolute scaled error: mean |y - f| / scale, with the `seasonal_scale` of each row ([...], without H).

    Rows whose scale is zero or NaN (a constant history) weigh nothing.
    """
    scale = np.asarray(scale, np.float64)[..., None]
    return _mean(np.abs(np.subtract(truth, point, dtype=np.float64)) / np.where(scale > 0, scale, np.nan))


def pinball(truth, quantiles, levels):
    """Pinball loss of each value and level, [..., H, Q]: (y - q) τ where y >= q, else (q - y) (1 - τ)."""
    error = np.asarray(truth, np.float64)[..., None] - quantiles
    return np.maximum(error * levels, error * (np.asarray(levels) - 1))


def weighted_quantile_loss(truth, quantiles, levels):
    """Weighted quantile loss of each level, [Q]: 2 Σ pinball / Σ |y|; their mean is the mean weighted quantile loss."""
    loss = 2 * np.nansum(pinball(truth, quantiles, levels).reshape(-1, len(levels)), axis=0)
    size = np.nansum(np.abs(truth))
    return loss / size if size else np.full(len(levels), np.nan)


def coverage(truth, lower, upper):
    """The share of the truth that lies in [lower, upper]."""
    truth = np.asarray(truth, np.float64)
    return _mean(np.where(np.isnan(truth), np.nan, (truth >= lower) & (truth <= upper)))


def central_intervals(levels):
    """The central intervals that the levels hold: per cent covered -> places of the two ends in `levels`."""
    places = {round(1000 * level): k for k, level in enumerate(levels)}
    return {(500 - low) / 5: (k, places[1000 - low]) for low, k in places.items() if low < 500 and 1000 - low in places}


def owa(scores, naive2):
    """Overall weighted average of M4: the mean of sMAPE and MASE, each as a ratio to that of Naive2."""
    return (scores["smape"] / naive2["smape"] + scores["mase"] / naive2["mase"]) / 2


def score(truth, point, quantiles, levels, scale):
    """All metrics by name: mse, mae, smape, mase, wql and its levels (wql_0.1, …), coverage_80, … of central intervals.

    Args:
        truth: [N, H], NaN where nothing was observed.
        point: [N, H].
        quantiles: [N, H, Q].
        levels: [Q], rising, between 0 and 1.
        scale: [N], the `seasonal_scale` of each row's history.
    """
    truth, quantiles = np.asarray(truth, np.float64), np.asarray(quantiles, np.float64)
    if quantiles.shape != (*truth.shape, len(levels)):
        raise ValueError(f"expected quantiles of shape {(*truth.shape, len(levels))}, received {quantiles.shape}")
    losses = weighted_quantile_loss(truth, quantiles, levels)
    scores = {"mse": mse(truth, point), "mae": mae(truth, point), "smape": smape(truth, point)}
    scores |= {"mase": mase(truth, point, scale), "wql": float(losses.mean())}
    scores |= {f"wql_{level:g}": float(loss) for level, loss in zip(levels, losses, strict=True)}
    for percent, (low, high) in central_intervals(levels).items():
        scores[f"coverage_{percent:g}"] = coverage(truth, quantiles[..., low], quantiles[..., high])
    return scores
