"""Forecasting: a table of measurements to a forecaster with quantiles on a device."""

from ..core.app import App
from .config import DEFAULT, PRESETS, Config, PredictOptions

APP = App(
    name="forecasting",
    summary="Forecast time series from a table: quantiles, baselines, gaps, covariates.",
    package=__name__,
    config=Config,
    presets=PRESETS,
    default=DEFAULT,
    example_name="example.csv",
    output_name="forecast.csv",
    output_suffixes=(".csv", ".json", ".png"),
    predict_options=PredictOptions,
)

__all__ = ["APP", "Config"]
