"""What a forecaster is: its data, its model, its training; and the presets."""

from dataclasses import dataclass
from typing import Literal

from ..core.config import Preset, TrainingConfig, require, require_least

LEVELS = (0.025, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 0.975)


@dataclass(frozen=True, kw_only=True)
class Config(TrainingConfig):
    """Configuration of a forecaster."""

    data: str = "co2"
    """A CSV or Parquet file, an M4 folder, tfds:NAME, or the built-in `co2` (weekly CO2 at Mauna Loa, with gaps)."""
    layout: Literal["auto", "long", "wide", "m4"] = "auto"
    """long: a row per series and stamp; wide: a column per series; m4: a row per series."""
    id_column: str = "unique_id"
    """The column that names the series (long)."""
    time_column: str = "ds"
    """The column of stamps, or several joined by commas: year,month,day,hour."""
    target_column: str = "y"
    """The column to forecast (long); wide: the series to take, joined by commas (y: all)."""
    past: tuple[str, ...] = ()
    """Covariates known up to the present."""
    future: tuple[str, ...] = ()
    """Covariates known over the horizon as well."""
    static: tuple[str, ...] = ()
    """Covariates with one value per series."""
    frequency: str = ""
    """h, 15min, D, W, M, …; inferred when empty."""
    season: int = 0
    """Steps of one season; 0 takes the usual one of the frequency."""
    split: tuple[float, ...] = (0.7, 0.1, 0.2)
    """Training, validation and test: shares of each series, or numbers of steps. Empty: the last horizon (or official
    test part) is the test, the horizon before it the validation."""
    horizon: int = 52
    """Steps to forecast."""
    lookback: int = 208
    """Steps of the past that a forecast sees; shorter series are filled up."""
    calendar: bool = True
    """Give the model the time of day, week and year where the stamps have them."""

    model: Literal["segment", "deepar"] = "segment"
    """segment: SegRNN, all steps of the horizon at once; deepar: autoregressive, sampled paths."""
    cell: Literal["gru", "lstm"] = "gru"
    """The recurrent cell."""
    units: int = 64
    """Hidden units of a layer."""
    layers: int = 1
    """Recurrent layers (deepar)."""
    dropout: float = 0.1
    """Share of the units dropped before the output."""
    segment: int = 13
    """Steps in a segment (segment)."""
    beside: tuple[Literal["linear", "series", "period", "reverting", "recurrent"], ...] = ()
    """Forecasts beside the recurrent one, each trained by its own loss (segment); the forecast is the mean of all,
    since their errors differ. Linear ones: linear: of the whole look-back; series: with a map for each series too;
    period: of the same step of past seasons; reverting: the same, and of how far the series stands from its usual level
    (--scaling series), by maps of the mean of the last step, quarter of a season, one, three and seven seasons, and
    look-back. And recurrent: another network like the first, of segments twice as long."""
    anchor: Literal["last", "season", "mix", "fit"] = "mix"
    """What a forecast is measured from (segment): the last value, the same step of the last season, or a learnt average
    of both and of up to two seasons before (mix), which in `fit` count at the present level too, and the more, the
    better they would have done within the look-back."""
    anchor_season: int = 0
    """Steps of the season of `--anchor season`, where it is not the season of the metrics: a week of hours is 168;
    `--anchor mix` and `fit` look at both."""
    values: Literal["plain", "symlog"] = "plain"
    """What is learnt (segment, scaled by the window): the values as they are, or sign(y) log(1 + |y|), in which errors
    count by their ratio to the value: for counts and sales that are small by night and large by day, not for what moves
    by a few per cent (there float32 keeps too little of a logarithm)."""
    scaling: Literal["series", "window", "mean"] = "window"
    """Standardise by the training part of each series (segment), by what each window shows, or divide by the mean size
    of the window (deepar; always so for counts)."""
    loss: Literal["mse", "mae", "quantile"] = "quantile"
    """What is minimised (segment); with mse and mae the quantiles come from calibration alone."""
    distribution: Literal["student_t", "gaussian", "negative_binomial"] = "student_t"
    """The distribution of a value (deepar)."""
    lags: tuple[int, ...] = ()
    """Past values given to each step (deepar); empty: recent ones and those one, two and three seasons ago."""
    embedding: int = 16
    """Numbers that stand for a series, learnt; 0 for none."""
    levels: tuple[float, ...] = LEVELS
    """Quantiles to forecast."""
    paths: int = 200
    """Sampled paths of a forecast (deepar)."""
    calibrate: bool = True
    """Shift the quantiles so that they cover what they say on the validation part (conformal)."""
    windows_per_epoch: int = 0
    """Training windows drawn in an epoch; 0 takes all."""
    test_stride: int = 1
    """Steps between the origins of the backtest."""
    baseline_origins: int = 20
    """Origins at which ETS and Theta are fitted, spread over the backtest (each is a fit of its own)."""

    def __post_init__(self):
        super().__post_init__()
        for name in ("horizon", "lookback", "units", "layers", "segment", "paths", "test_stride", "baseline_origins"):
            require_least(self, name, 1)
        for name in ("season", "embedding", "windows_per_epoch"):
            require_least(self, name, 0)
        require(0 <= self.dropout < 1, f"--dropout: expected a share in [0, 1), received {self.dropout}")
        require(len(self.split) in (0, 3), f"--split: expected three numbers or none, received {self.split}")
        require(all(s >= 0 for s in self.split), f"--split: expected no negative number, received {self.split}")
        require(not self.split or self.split[0] > 0, f"--split: expected a training part, received {self.split}")
        increasing = all(a < b for a, b in zip(self.levels, self.levels[1:], strict=False))
        inside = all(0 < level < 1 for level in self.levels)
        require(
            bool(self.levels) and increasing and inside,
            f"--levels: expected increasing in (0, 1), received {self.levels}",
        )
        fitting = {"segment": ("series", "window"), "deepar": ("window", "mean")}[self.model]
        require(self.scaling in fitting, f"--scaling {self.scaling}: --model {self.model} takes {' or '.join(fitting)}")
        logged = self.values == "plain" or (self.model == "segment" and self.scaling == "window")
        require(logged, "--values symlog: expected --model segment --scaling window with it")
        require(not self.beside or self.model == "segment", "--beside: expected --model segment with it")
        require(len(set(self.beside)) == len(self.beside), f"--beside: expected each once, received {self.beside}")
        require(0.5 in self.levels, "--levels: 0.5 (the median) must be among them")
        usual = "reverting" not in self.beside or self.scaling == "series"
        require(usual, "--beside reverting: expected --scaling series with it")
        require(all(lag >= 1 for lag in self.lags), f"--lags: expected 1 or more, received {self.lags}")


def centred(config: Config) -> bool:
    """Whether a deepar model subtracts the mean of each window."""
    return config.scaling != "mean" and config.distribution != "negative_binomial"


@dataclass(frozen=True)
class PredictOptions:
    """What `predict` takes beside input and output."""

    paths: int = 0
    """Sampled paths of a deepar forecast; 0 takes the trained configuration's."""
    seed: int = 0
    """Seeds the sampled paths."""


_CO2 = Config()
_CO2_DEEPAR = Config(
    model="deepar", cell="lstm", layers=2, units=40, segment=1, lookback=156, lags=(1, 2, 3, 4, 51, 52, 53, 104),
    epochs=15, windows_per_epoch=1280, test_stride=20, paths=100,
)  # fmt: skip
_SEGMENT_PAPER = Config(
    data="ETTh1.csv", layout="wide", split=(8640, 2880, 2880), horizon=96, lookback=720, calendar=False,
    units=256, embedding=128, segment=48, anchor="last", scaling="series", loss="mae", dropout=0.2, batch_size=448,
    learning_rate=7e-4, schedule="cosine", average=0.995, epochs=5, clip_norm=0.0,
    beside=("series", "reverting", "recurrent"),
)  # fmt: skip
_EXCHANGE_RATE = Config(
    data="exchange_rate.csv", layout="wide", split=(0.7, 0.1, 0.2), horizon=96, lookback=96, calendar=False,
    units=64, segment=24, anchor="last", scaling="window", epochs=10, windows_per_epoch=16384,
)  # fmt: skip
_POLLUTION = Config(
    data="pollution.csv", layout="long", time_column="year,month,day,hour", target_column="pm2.5",
    past=("DEWP", "TEMP", "PRES", "cbwd", "Iws", "Is", "Ir"), horizon=24, lookback=168, units=64, segment=12,
    anchor="last", batch_size=128, epochs=10, windows_per_epoch=16384, test_stride=6,
)  # fmt: skip
_M4_SEGMENT = Config(
    data="m4", layout="m4", frequency="h", split=(), horizon=48, lookback=360, units=128, segment=24,
    anchor="fit", anchor_season=168, values="symlog", batch_size=256, learning_rate=2e-3, epochs=12,
    windows_per_epoch=12800, schedule="cosine", warmup_steps=20, average=0.99,
)  # fmt: skip
_M4_HOURLY = Config(
    data="m4", layout="m4", frequency="h", split=(), model="deepar", cell="lstm", layers=2, units=64, horizon=48,
    lookback=96, embedding=20, dropout=0.1, batch_size=128, epochs=40, patience=10, windows_per_epoch=12800,
    learning_rate=2e-3, schedule="cosine", average=0.99,
)  # fmt: skip

PRESETS = {
    "co2": Preset("Weekly CO2 at Mauna Loa (built in), a year ahead: SegRNN.", _CO2),
    "co2-deepar": Preset("The same by an autoregressive model that also streams.", _CO2_DEEPAR),
    "segment-paper": Preset("SegRNN and linear maps on ETTh1 (--data ETTh1.csv), horizons 96 to 720.", _SEGMENT_PAPER),
    "m4-hourly": Preset("SegRNN on the 414 series of M4 Hourly (--data FOLDER), 48 hours.", _M4_SEGMENT),
    "deepar-m4-hourly": Preset("DeepAR on the 414 series of M4 Hourly (--data FOLDER).", _M4_HOURLY),
    "exchange-rate": Preset("Eight daily currencies (--data exchange_rate.csv), 96 days.", _EXCHANGE_RATE),
    "pollution": Preset("Beijing PM2.5 with weather and gaps (--data pollution.csv), 24 h.", _POLLUTION),
}
DEFAULT = "co2"
