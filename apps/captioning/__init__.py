"""Captioning: pictures to sentences, with attention that can be seen, on a device."""

from ..core.app import App
from .config import DEFAULT, PRESETS, Config, PredictOptions

APP = App(
    name="captioning",
    summary="Describe pictures: a CNN, attention, beam search; your own photographs.",
    package=__name__,
    config=Config,
    presets=PRESETS,
    default=DEFAULT,
    example_name="example.ppm",
    output_name="captions.json",
    output_suffixes=(".json", ".csv", ".txt", ".png"),
    predict_options=PredictOptions,
)

__all__ = ["APP", "Config"]
