"""What is worth searching in a model of music, and how a trial is judged."""

from ...apps.music import generate

OBJECTIVE = "nll"
"""The metric of `score` that decides: nats a step over whole pieces."""
DIRECTION = "min"
COMPARABLE = ("codec", "steps_per_beat", "voices", "condition")
"""Validation losses of configurations that agree in these fields have the same unit."""


def sample(hp, base):
    """A configuration: `base` with the values that `hp` (see space.Hyperparameters) has for this trial."""
    hp.choice("cell", "lstm", "gru", "layernorm_lstm")
    hp.choice("units", 128, 192, 256)
    hp.choice("head_units", 64, 100, 150)
    hp.choice("dropout", 0.1, 0.2, 0.3, 0.4)
    hp.choice("recurrent_dropout", 0.0, 0.1, 0.2)
    hp.choice("transpose", 0, 2, 6)
    hp.choice("batch_size", 8, 16, 32)
    hp.range("learning_rate", 1e-3, 1e-2)
    if base.codec == "frames":
        hp.choice("context", 0, 16, 32)
    hp.choice("attention", 0, 64, 128)
    return hp.config()


def score(engine, config, data, split: str) -> dict:
    """The likelihood of every step of every piece of `split`."""
    nats, _ = generate.step_scores(engine, data.codec, data.parts[split])
    return {"nll": float(sum(n.sum() for n in nats) / sum(map(len, nats)))}
