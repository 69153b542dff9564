"""What is worth searching in a captioning model, and how a trial is judged."""

from ...apps.captioning import evaluate
from ...apps.captioning.codec import Codec

OBJECTIVE = "cider"
"""CIDEr-D of beam search, which follows what people prefer better than the loss does."""
DIRECTION = "max"
COMPARABLE = ("vocabulary", "least_count", "pieces", "longest", "label_smoothing")
"""Validation losses of configurations that agree in these fields have the same unit."""


def sample(hp, base):
    """A configuration: `base` with the values that `hp` (see space.Hyperparameters) has for this trial."""
    hp.choice("cell", "lstm", "gru", "layernorm_lstm")
    hp.choice("units", 128, 192, 256)
    hp.choice("embedding", 64, 128, 192)
    hp.choice("memory_units", 96, 192, 256)
    hp.choice("dropout", 0.1, 0.3, 0.5)
    hp.choice("word_dropout", 0.0, 0.1)
    hp.choice("word_swap", 0.0, 0.1, 0.3)
    hp.choice("batch_size", 16, 32, 64)
    hp.range("learning_rate", 5e-4, 4e-3)
    if base.attention:
        hp.choice("attention_units", 64, 96, 128)
        hp.choice("coverage", 0.0, 0.5)
    return hp.config()


def score(engine, config, data, split: str) -> dict:
    """All metrics of the captions of `split`."""
    codec: Codec = data.codec
    album = data.parts[split]
    return evaluate.scores(album, [c.text for c in evaluate.caption_all(engine, config, codec, album)])
