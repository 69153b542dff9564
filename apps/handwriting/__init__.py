"""Handwriting: pen strokes and pictures of lines to text, on a device."""

from ..core.app import App, Verb
from .config import DEFAULT, PRESETS, AdaptOptions, Config, PredictOptions

APP = App(
    name="handwriting",
    summary="Read pen strokes and pictures of handwritten lines.",
    package=__name__,
    config=Config,
    presets=PRESETS,
    default=DEFAULT,
    example_name="example.json",
    output_name="text.txt",
    output_suffixes=(".json", ".txt", ".png"),
    predict_options=PredictOptions,
    verbs={"adapt": Verb("Fit a run to one hand with a few lines of it.", AdaptOptions)},
)

__all__ = ["APP", "Config"]
