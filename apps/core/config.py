"""Configuration: one frozen dataclass per application, written as JSON, shown as options by the command line."""

import dataclasses
import difflib
import types
import typing
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

from .errors import UsageError


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """What training needs in every application; an application's Config extends it."""

    seed: int = 0
    """Seeds the weights, the order of the data, dropout and sampling."""
    epochs: int = 30
    """At most this many passes over the training windows."""
    batch_size: int = 64
    """Sequences per step."""
    optimizer: Literal["adam", "muon"] = "adam"
    """adam; or muon, which makes the steps of matrices inside the network orthogonal, recurrent layers' above all; the
    rest (embeddings, dense layers, convolutions, biases) is Adam's."""
    learning_rate: float = 1e-3
    """The optimizer's step size, the peak of the schedule."""
    schedule: Literal["constant", "cosine", "decay", "plateau"] = "constant"
    """How the learning rate changes: not at all, down to zero along a cosine, by a factor every epoch, or by that
    factor after each two epochs without a better validation loss."""
    warmup_steps: int = 0
    """Steps over which the learning rate rises from zero."""
    decay: float = 0.8
    """The factor of `--schedule decay` and `plateau`."""
    decay_after: int = 3
    """`--schedule decay` starts after this many epochs."""
    clip_norm: float = 1.0
    """Gradients are scaled down to this global norm; 0 switches clipping off."""
    clip_value: float = 0.0
    """Each number of a gradient is cut to this size instead (give `--clip-norm 0`); 0 switches it off."""
    weight_decay: float = 0.0
    """Decoupled weight decay (with Adam: AdamW); 0 is none."""
    average: float = 0.0
    """Momentum of an exponential average of the weights that is evaluated and kept; 0 switches it off."""
    patience: int = 5
    """Stop after this many epochs without a better validation score; 0 never stops early."""
    checkpoint_seconds: float = 60.0
    """A checkpoint is written this often inside an epoch too; 0 writes one at the end of each epoch alone."""
    watch_gradients: bool = False
    """Log the norm of the gradient of each layer and of the state at each time step, every epoch, and draw them."""
    tensorboard: bool = False
    """Write losses and learning rate for TensorBoard into the run's folder `tensorboard`."""
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    """What training computes in; the weights, and what is evaluated and exported, are float32."""
    init_from: str = ""
    """A run or bundle whose weights to begin with: those of the layers whose name and shape agree. Scaling and
    vocabulary are those of the new data; symbols that both know keep their rows."""
    freeze: tuple[str, ...] = ()
    """Layers that keep their weights: names or patterns such as `network/recurrent*`, as the table of `--init-from`
    prints them."""
    unfreeze_after: int = 0
    """Epochs after which frozen layers learn too; 0 keeps them frozen. Until then a batch normalisation among them
    still follows the statistics of its inputs."""
    unfreeze_every: int = 0
    """The last frozen layer begins after `--unfreeze-after`, the one before it so many epochs later, and so on; 0 lets
    all begin at once."""
    rates: tuple[str, ...] = ()
    """Factors of the learning rate by layer, PATTERN=FACTOR."""
    layer_decay: float = 1.0
    """Factor of the learning rate from each layer to the one before it in the table: below 1, the first layers change
    least."""

    def __post_init__(self):
        for name in ("epochs", "batch_size"):
            require_least(self, name, 1)
        for name in ("seed", "warmup_steps", "decay_after", "clip_norm", "clip_value", "weight_decay", "patience"):
            require_least(self, name, 0)
        require_least(self, "checkpoint_seconds", 0)
        for name in ("unfreeze_after", "unfreeze_every"):
            require_least(self, name, 0)
        require(bool(self.freeze) or not self.unfreeze_after, "--unfreeze-after: name the layers with --freeze")
        require(self.unfreeze_after > 0 or not self.unfreeze_every, "--unfreeze-every: give --unfreeze-after too")
        for text in self.rates:
            split_rate(text)
        one = self.optimizer == "adam" or not self.layerwise
        require(one, "--rates, --layer-decay, --unfreeze-after: with --optimizer adam")
        require(0 < self.layer_decay <= 1, f"--layer-decay: expected a factor in (0, 1], received {self.layer_decay}")
        require(not (self.clip_norm and self.clip_value), "--clip-value: give --clip-norm 0 with it; one clips")
        require(self.seed < 2**32, f"--seed: expected less than 2³², received {self.seed}")
        require(0 <= self.average < 1, f"--average: expected a momentum in [0, 1), received {self.average}")
        require(0 < self.decay <= 1, f"--decay: expected a factor in (0, 1], received {self.decay}")
        rate = self.learning_rate
        require(0 < rate < float("inf"), f"--learning-rate: expected a positive number, received {rate}")

    @property
    def layerwise(self) -> bool:
        """Whether layers learn at different rates, so that the optimizer needs a factor for each."""
        return bool(self.rates or self.layer_decay != 1 or (self.freeze and self.unfreeze_after))


@dataclass(frozen=True)
class Preset:
    """A named configuration with what it is for."""

    summary: str
    config: Any


def to_json(config) -> dict:
    """The configuration as JSON values (tuples become lists)."""
    return {f.name: _plain(getattr(config, f.name)) for f in dataclasses.fields(config)}


def _plain(value):
    return [_plain(v) for v in value] if isinstance(value, tuple) else value


def from_json(cls: type, values: dict, *, where: str = "config"):
    """The configuration from JSON values; unknown fields and wrong types are refused by name."""
    if not isinstance(values, dict):
        raise UsageError(f"{where}: expected a JSON object of fields, received {type(values).__name__}")
    hints = get_type_hints(cls)
    for name in values:
        if name not in hints:
            raise UsageError(f"{where}: unknown field '{name}'{did_you_mean(name, hints)}")
    return cls(**{name: _typed(value, hints[name], f"{where}: {name}") for name, value in values.items()})


def _typed(value, hint, where: str):
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        if value not in args:
            raise UsageError(f"{where}: expected one of {', '.join(map(str, args))}; received {value!r}")
        return value
    if origin in (typing.Union, types.UnionType):
        return None if value is None else _typed(value, next(a for a in args if a is not type(None)), where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise UsageError(f"{where}: expected a list, received {value!r}")
        return tuple(_typed(v, args[0], where) for v in value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise UsageError(f"{where}: expected {hint.__name__}, received {value!r}")
    return value


def require(condition: bool, message: str) -> None:
    """For a Config's __post_init__: a wrong value is a wrong call."""
    if not condition:
        raise UsageError(message)


def require_least(config, name: str, least: float) -> None:
    """Refuses a number below `least` (or NaN) by the name of its option."""
    value = getattr(config, name)
    require(value >= least, f"--{name.replace('_', '-')}: expected {least} or more, received {value}")


def split_rate(text: str) -> tuple[str, float]:
    """Pattern and factor of PATTERN=FACTOR, as `--rates` takes them."""
    pattern, _, factor = text.rpartition("=")
    try:
        value = float(factor)
    except ValueError:
        value = float("nan")
    require(
        bool(pattern) and 0 <= value < float("inf"),
        f"--rates: expected PATTERN=FACTOR, the factor 0 or more; received '{text}'",
    )
    return pattern, value


def did_you_mean(name: str, names) -> str:
    """The end of a message about an unknown name: the closest known one, or all of them."""
    close = difflib.get_close_matches(name, list(names), n=1)
    return f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(sorted(names))}"
