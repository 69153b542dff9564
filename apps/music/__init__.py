"""Music: pieces to a network that continues them, on a device."""

from ..core.app import App
from .config import DEFAULT, PRESETS, Config, PredictOptions

APP = App(
    name="music",
    summary="Learn from pieces, continue and harmonise them, note by note.",
    package=__name__,
    config=Config,
    presets=PRESETS,
    default=DEFAULT,
    example_name="example.json",
    output_name="tune.mid",
    output_suffixes=(".mid", ".midi", ".wav", ".png", ".json"),
    predict_options=PredictOptions,
)

__all__ = ["APP", "Config"]
