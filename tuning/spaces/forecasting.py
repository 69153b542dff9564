"""What is worth searching in a forecaster, and how a trial is judged."""

import dataclasses

from ...apps.forecasting import evaluate

OBJECTIVE = "wql"
"""The metric of `score` that decides: the mean weighted quantile loss."""
DIRECTION = "min"
COMPARABLE = ("model", "loss", "scaling", "values", "distribution")
"""Validation losses of configurations that agree in these fields have the same unit."""


def sample(hp, base):
    """A configuration: `base` with the values that `hp` (see space.Hyperparameters) has for this trial."""
    hp.choice("model")
    hp.choice("cell", "gru", "lstm")
    hp.choice("units", 32, 64, 128)
    hp.choice("dropout", 0.0, 0.1, 0.2, 0.4)
    hp.choice("lookback", base.lookback // 2 or 1, base.lookback, 3 * base.lookback // 2)
    hp.choice("batch_size", 32, 64, 128)
    hp.choice("clip_norm", 0.0, 1.0, 5.0)
    hp.choice("schedule", "constant", "cosine")
    hp.range("learning_rate", 3e-4, 1e-2)
    with hp.when("model", "segment"):
        hp.choice("segment", max(base.segment // 2, 1), base.segment, min(2 * base.segment, base.horizon))
        hp.choice("anchor", "last", "season", "mix", "fit")
        hp.choice("scaling", "series", "window")
        with hp.when("scaling", "window"):
            hp.choice("values")  # symlog on request: on data that hardly move it may fail the export's parity
        hp.choice("loss", "quantile", "mae", "mse")
    with hp.when("model", "deepar"):
        hp.choice("layers", 1, 2)
        hp.choice("distribution", "student_t", "gaussian")
    return hp.config()


def score(engine, config, data, split: str) -> dict:
    """Metrics on every window of `split`.

    The validation part is halved: each half is scored with the calibration of the other, since quantiles that come from
    calibration alone (losses mse and mae) would otherwise be judged on what they were fitted to.
    """
    if split == "test" or not config.calibrate or data.sizes["validation"] < 2:
        return _metrics(engine, config, data, data.windows[split])
    series, origins = data.windows["validation"]
    middle = len(series) // 2
    halves = [(series[:middle], origins[:middle]), (series[middle:], origins[middle:])]
    scores = []
    for fitted, scored in (halves, halves[::-1]):
        part = dataclasses.replace(data, windows={**data.windows, "validation": fitted})
        codec = evaluate.calibrate(engine, config, part)
        scores.append(_metrics(engine, config, dataclasses.replace(data, codec=codec), scored))
    return {name: (scores[0][name] + scores[1][name]) / 2 for name in scores[0]}


def _metrics(engine, config, data, windows) -> dict:
    """Scores of the model; the fitted baselines, which cost the time, run at one origin only."""
    data = dataclasses.replace(data, windows={**data.windows, "test": windows})
    return evaluate.evaluate(engine, dataclasses.replace(config, baseline_origins=1), data).model
