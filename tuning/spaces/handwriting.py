"""What is worth searching in a reader of handwriting, and how a trial is judged."""

from ...apps.handwriting import evaluate

OBJECTIVE = "error"
"""The metric of `score` that decides: characters read wrongly, or drawings named wrongly."""
DIRECTION = "min"
COMPARABLE = ("model", "data", "stack", "spacing")
"""Validation losses of configurations that agree in these fields have the same unit."""


def sample(hp, base):
    """A configuration: `base` with the values that `hp` (see space.Hyperparameters) has for this trial."""
    hp.choice("units", 64, 96, 128)
    hp.choice("layers", 2, 3)
    hp.choice("cell", "lstm", "gru")
    hp.choice("dropout", 0.0, 0.1, 0.2, 0.3)
    hp.choice("batch_size", 16, 32, 64)
    hp.range("learning_rate", 1e-3, 6e-3)
    if base.model == "classifier":
        hp.choice("copies", 4, 8, 16)
        hp.choice("vary", 0.7, 1.0, 1.5)
    return hp.config()


def score(engine, config, data, split: str) -> dict:
    """The error rate on up to 100 lines, or on all drawings, of `split`."""
    return {"error": evaluate.error_rate(engine, data, split)}
