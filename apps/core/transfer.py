"""Weights of another run to begin with, and how fast each layer learns: freezing, thawing, rates by layer."""

import fnmatch
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from . import distribution
from .config import did_you_mean, from_json, split_rate
from .errors import UsageError
from .files import write_csv
from .report import table
from .run import Run

TABLE = "transfer.csv"


def named(variables) -> dict[str, Any]:
    """Variables by their place in the model, such as `network/words/embeddings`.

    Keras numbers layers through a whole process (`dense_7`); here those of one kind count from the first in their
    parent, so that two models of one architecture agree. Counters, such as a step, are left out: they have no shape.

    Args:
        variables: whatever has a `path` and a `shape`, in the order of the model.
    """
    numbers: dict[tuple[str, str], dict[str, int]] = {}
    found = {}
    for variable in variables:
        place = ""
        for part in variable.path.split("/"):
            kind = re.sub(r"_\d+$", "", part)
            known = numbers.setdefault((place, kind), {})
            number = known.setdefault(part, len(known))
            place = f"{place}/{kind}" + (f"_{number}" if number else "")
        if len(variable.shape):
            found[place[1:]] = variable
    return found


def layers(model) -> dict[str, dict[str, Any]]:
    """Layer -> {weight: variable} of a model, as `named` calls them: the weights of the network itself first, then
    from the input to the output."""
    found: dict[str, dict[str, Any]] = {}
    for name, variable in named(model.weights).items():
        layer, _, weight = name.rpartition("/")
        found.setdefault(layer or weight, {})[weight] = variable
    return found


@dataclass(frozen=True)
class Start:
    """A trained model to begin with: its weights by name, its configuration and its codec."""

    weights: Mapping[str, np.ndarray]
    config: Any
    codec: Any


@dataclass(frozen=True)
class _Found:
    """A variable of a SavedModel, described as Keras describes its own."""

    path: str
    shape: tuple[int, ...]
    variable: Any


def open_start(app, path: str) -> Start:
    """The weights of a run (its Keras model) or of a bundle (its SavedModel)."""
    place = Path(path)
    if (place / "bundle.json").exists():
        return _open_bundle(app, place)
    run = Run(place)
    if not (place / "model.keras").exists():
        raise UsageError(f"--init-from {path}: neither a trained run (model.keras) nor a bundle (bundle.json)")
    weights = {name: ops.convert_to_numpy(v) for name, v in named(run.model(app).weights).items()}
    return Start(weights, run.config(app), run.codec(app))


def _open_bundle(app, path: Path) -> Start:
    import tensorflow as tf

    from .export.bundle import read_bundle

    bundle = read_bundle(path, app.name)
    archive = tf.saved_model.load(str(path / "saved_model"))
    found = [_Found(v.name.partition(":")[0], tuple(v.shape), v) for v in archive.variables]
    weights = {name: one.variable.numpy() for name, one in named(found).items() if "seed_generator" not in name}
    config = from_json(app.config, bundle.config, where=str(path / "bundle.json"))
    return Start(weights, config, app.stage("codec").Codec.from_json(bundle.codec))


def begin(app, model, config, codec, directory: Path, *, resume: bool = False) -> str:
    """Gives a new model the weights of `config.init_from`, freezes what `config.freeze` names, and says what it did.

    The codec is that of the new data: scaling and vocabulary are theirs, and a weight with a row for each symbol takes
    the rows of the symbols that both know (`rows` of the application's module `model`). Writes `transfer.csv`.

    Args:
        model: as built, not yet compiled.
        directory: the run directory.
        resume: whether the weights come from a checkpoint: the other run is not read.

    Returns:
        the table, "" where the configuration asks for nothing of this kind.
    """
    if not (config.init_from or config.freeze or config.rates or config.layer_decay != 1):
        return ""
    found = layers(model)
    _check_patterns(config, found)
    origin = {name: ("new", "") for name in found}
    unused: list[str] = []
    if config.init_from and not resume:
        origin, unused = _load(app, found, config, codec)
    if not config.unfreeze_after:
        _freeze(model, found, config)
    rows = [_row(name, found, config, origin[name]) for name in found]
    if not resume and distribution.current().chief:
        write_csv(directory / TABLE, rows)
    lines = [[str(value) for value in row.values()] for row in rows]
    text = table(["layer", "numbers", "weights", "rate", ""], lines)
    return text + (f"\nnot used: {', '.join(unused)}" if unused else "")


def _row(name: str, found, config, origin: tuple[str, str]) -> dict:
    """What the table says of a layer."""
    weights, thaw, rate = found[name].values(), thaws(found, config), f"{factors(found, config)[name]:.3g}"
    if name in thaw and thaw[name] < math.inf:
        rate = f"0 for {thaw[name]} epochs, then {rate}"
    elif not any(variable.trainable for variable in weights):
        rate = "frozen"
    numbers = sum(math.prod(v.shape) for v in weights)
    return {"layer": name, "numbers": numbers, "weights": origin[0], "rate": rate, "why": origin[1]}


def _load(app, found, config, codec) -> tuple[dict[str, tuple[str, str]], list[str]]:
    """Layer -> (loaded, partly or new; why), and the layers of the other model that have no place here."""
    start = open_start(app, config.init_from)
    labels = getattr(app.stage("model"), "rows", lambda config, codec: {})
    ours, theirs = labels(config, codec), labels(start.config, start.codec)
    origin, taken = {}, set()
    for layer, weights in found.items():
        if not any(variable.trainable for variable in weights.values()):
            origin[layer] = ("kept", "the application sees to it")
            continue
        done, why = [], []
        for weight, variable in weights.items():
            name = f"{layer}/{weight}" if layer != weight else layer
            told = _take(variable, start.weights.get(name), ours.get(name), theirs.get(name))
            done.append(told is None or told.startswith("rows"))
            why += [f"{weight}: {told}"] if told else []
            taken |= {layer} if done[-1] else set()
        state = "loaded" if all(done) else "partly" if any(done) else "new"
        if state == "new" and not any(f"{layer}/{weight}" in start.weights for weight in weights):
            why = [f"not in {Path(config.init_from).name}"]
        origin[layer] = (state, "; ".join(why))
    if not taken:
        raise UsageError(
            f"--init-from {config.init_from}: no layer of it has the name and shape of one here; it has "
            f"{', '.join(sorted({name.rpartition('/')[0] for name in start.weights}))}"
        )
    unused = {name.rpartition("/")[0] for name in start.weights} - set(found)
    return origin, sorted(unused)


def _take(variable, value, ours, theirs) -> str | None:
    """Sets a variable from the other model's value; says what was not as simple as that, "rows …" where it was set.

    Args:
        ours, theirs: (axis, names along it) of the variable and of the value, where they have a row for each symbol.
    """
    if value is None:
        return "not there"
    if ours is None or theirs is None:
        if tuple(variable.shape) != value.shape:
            return f"shape {tuple(variable.shape)}, there {value.shape}"
        variable.assign(value)
        return None
    axis, names = ours
    known = {name: i for i, name in enumerate(theirs[1])}
    pairs = [(i, known[name]) for i, name in enumerate(names) if name in known]
    rest = [shape[:axis] + shape[axis + 1 :] for shape in (tuple(variable.shape), value.shape)]
    if rest[0] != rest[1] or not pairs:
        return f"shape {tuple(variable.shape)}, there {value.shape}" if pairs else "no symbol in common"
    rows, old = np.array(pairs).T
    current = np.array(ops.convert_to_numpy(variable))
    np.moveaxis(current, axis, 0)[rows] = np.moveaxis(value, axis, 0)[old]
    variable.assign(current)
    return None if list(names) == list(theirs[1]) else f"rows of {len(pairs)} of {len(names)} symbols"


def _check_patterns(config, found) -> None:
    for option, patterns in (("freeze", config.freeze), ("rates", [split_rate(r)[0] for r in config.rates])):
        for pattern in patterns:
            if not fnmatch.filter(found, pattern):
                raise UsageError(f"--{option}: no layer is called '{pattern}'{did_you_mean(pattern, found)}")


def _frozen(found, config) -> list[str]:
    return [name for name in found if any(fnmatch.fnmatch(name, pattern) for pattern in config.freeze)]


def _freeze(model, found, config) -> None:
    """Takes the frozen layers out of what is learnt, for good; a frozen normalisation keeps its statistics too."""
    still = {id(v) for name in _frozen(found, config) for v in found[name].values()}
    for layer in model._flatten_layers():
        normalises = isinstance(layer, keras.layers.BatchNormalization)
        if normalises and all(id(v) in still for v in layer.weights):
            layer.trainable = False
    for name in _frozen(found, config):
        for variable in found[name].values():
            variable.trainable = False
    if not model.trainable_variables:
        raise UsageError(f"--freeze {' '.join(config.freeze)}: nothing is left to learn")


def thaws(found, config) -> dict[str, float]:
    """Frozen layer -> the epoch (from 0) from which it learns, ∞ where it never does.

    With `unfreeze_every` the last frozen layer goes first, and the one before it follows so many epochs later.
    """
    names = _frozen(found, config)
    if not config.unfreeze_after:
        return dict.fromkeys(names, math.inf)
    return {n: config.unfreeze_after + i * config.unfreeze_every for i, n in enumerate(reversed(names))}


def factors(found, config) -> dict[str, float]:
    """Layer -> the factor of its learning rate once it learns."""
    patterns = [split_rate(text) for text in config.rates]
    depths = {name: config.layer_decay**depth for depth, name in enumerate(reversed(list(found)))}
    return {
        name: depths[name] * math.prod(factor for pattern, factor in patterns if fnmatch.fnmatch(name, pattern))
        for name in found
    }


def set_rates(model, config, epoch: int) -> None:
    """Gives the optimizer of a compiled model the factors of an epoch (from 0), where layers differ."""
    if not config.layerwise:
        return
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    found = layers(model)
    speeds, thaw = factors(found, config), thaws(found, config)
    by_variable = {
        id(v): 0.0 if epoch < thaw.get(name, 0) else speeds[name] for name in found for v in found[name].values()
    }
    optimizer.factors.assign([by_variable.get(id(v), 1.0) for v in model.trainable_variables])


@keras.saving.register_keras_serializable(package="elman")
class LayerwiseAdam(keras.optimizers.Adam):
    """Adam with decoupled weight decay, whose learning rate has a factor for each variable; 0 leaves it as it is.

    The factors are one of the optimizer's variables: a checkpoint has them, and they may change without a new trace.
    While a variable rests its moments follow its gradient, so that its first step is of the usual size. Under
    MirroredStrategy what is clipped is the gradient of the whole batch.

    Args:
        learning_rate: of Adam.
        decay: of the weights; each is multiplied by 1 − rate · factor · decay.
    """

    def __init__(self, learning_rate=1e-3, decay=0.0, **kwargs):
        super().__init__(learning_rate, **kwargs)
        self.decay = decay

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self.factors = self.add_variable((len(variables),), initializer="ones", name="factors")

    def update_step(self, gradient, variable, learning_rate):
        factor = ops.convert_to_tensor(self.factors)[self._get_variable_index(variable)]
        rate = ops.cast(learning_rate * factor, variable.dtype)
        if self.decay:
            self.assign_sub(variable, ops.multiply(variable, rate * self.decay))
        super().update_step(gradient, variable, rate)

    def _clip_gradients(self, grads):
        return (
            distribution.clip(grads, super()._clip_gradients)
            if distribution.mirrored()
            else super()._clip_gradients(grads)
        )

    def get_config(self):
        return {**super().get_config(), "decay": self.decay}
