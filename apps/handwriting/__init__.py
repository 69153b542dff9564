"""Handwriting: pen strokes and pictures of lines to text, on a device."""

from ..core.app import App
from .config import DEFAULT, PRESETS, Config, PredictOptions

APP = App(
    name="handwriting",
    summary="Read pen strokes and pictures of handwritten lines.",
    package=__name__,
    config=Config,
    presets=PRESETS,
    default=DEFAULT,
    example_name="example.json",
    output_name="text.txt",
    predict_options=PredictOptions,
)

__all__ = ["APP", "Config"]
