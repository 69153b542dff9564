"""App: the record in which an application says what it is. The verbs are functions elsewhere that take one."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType

from .config import Preset, did_you_mean
from .errors import ElmanError, MissingExtra, UsageError

# A module that a stage needs and the base package does not bring, and the extra that does.
_EXTRAS = {"mido": "midi", "PIL": "image", "jax": "jax"}
_TRAIN = {
    "keras",
    "tensorflow",
    "matplotlib",
    "pandas",
    "statsmodels",
    "onnxruntime",
    "tf2onnx",
    "keras_tuner",
    "rich",
    "scipy",
    "music21",
    "HersheyFonts",
    "jiwer",
}


@dataclass(frozen=True)
class Verb:
    """A verb of one application alone, `elman APP NAME RUN [OPTIONS]`.

    The application's module of that name has a function of that name: `NAME(app, path, options, *, out, overwrite,
    quiet) -> str`, which returns what to print.
    """

    summary: str
    options: type
    """A frozen dataclass of its options."""


@dataclass(frozen=True)
class App:
    """An application: names, configuration, and its stages by module name, imported when a verb needs them.

    Every application's package has the same files, and core calls these functions of them:

    - `config`: a `Config` of `TrainingConfig` with a field `data`, for which `evaluate --data` puts another source; and
      `PredictOptions`.
    - `codec`: `Codec.to_json() -> dict`, `Codec.from_json(dict)`. NumPy only.
    - `data`: `load(config, codec=None) -> Data` checks everything before it returns. `Data` is a frozen dataclass:
      `codec`, its statistics those of the training split; `train` and `validation`, `source.Source`s; `sizes`, how
      large each split is; `rows_per_epoch` (0 for all); `warnings`, `description` and `license` for metrics, report and
      model card.
      With the codec of a trained model the data may be others: what that model's training saw is then no test data,
      and only the codec can remember what it saw.
    - `model`: `build(config, codec) -> keras.Model`, `loss(model, config, codec)`, and
      `signatures(model, config, codec) -> list[Signature]`. Where it is there, `refine(model, config, data, directory,
      resume, quiet)` goes on with the trained model before it is saved (another phase, another loss). Where sources
      have chains, `carried(model, config, codec)` gives the `streams.Carrying` model that is trained in its place.
      Likewise `rows(config, codec) -> {weight: (axis, names)}` for weights that have a row for each symbol, which
      `--init-from` then matches by name.
    - `evaluate`: `calibrate(engine, config, data) -> codec` (after training, on validation data);
      `evaluate(engine, config, data, quiet) -> Evaluation` whose `to_json()` has `model` (the metrics), `baselines`
      (name to metrics) and `notes`; `score(engine, config, data) -> (name, value)`, a metric of which less is better
      on some test rows, which quantisation must not raise; `samples(engine, config, data) -> {signature: [inputs]}`,
      real inputs for parity and quantisation; `plots(evaluation, directory)`; `INTENDED_USE` and `LIMITS`, texts of
      the model card.
    - `predict`: `predict(engine, config, codec, source, options) -> result`, whose `warnings` are shown where it has
      some, `write(result, path)`, `summary(result) -> str`, `example(config, data, path)`. No Keras.

    `tests/apps/test_contract.py` says what an application lacks of this.
    """

    name: str
    summary: str
    package: str
    config: type
    presets: Mapping[str, Preset]
    default: str
    """The preset of a bare `elman APP run`."""
    example_name: str
    """File name of the example input that every bundle carries."""
    output_name: str
    """Default file name of a prediction; its suffix is the format."""
    output_suffixes: tuple[str, ...]
    """The formats that `predict.write` knows; any other is refused before anything is computed."""
    predict_options: type
    """A frozen dataclass of what `predict` takes beside input and output."""
    verbs: Mapping[str, Verb] = field(default_factory=dict)
    """Verbs that this application alone has."""

    def stage(self, name: str) -> ModuleType:
        """The application's module `name`; a missing optional package is named with the extra that brings it."""
        try:
            return importlib.import_module(f".{name}", self.package)
        except ModuleNotFoundError as error:
            raise missing_extra(error, f"elman {self.name} ({name})") from None

    def preset(self, name: str):
        """The configuration of preset `name`."""
        if name not in self.presets:
            raise UsageError(f"{self.name}: unknown preset '{name}'{did_you_mean(name, self.presets)}")
        return self.presets[name].config

    def train(self, config=None, out=None, **options):
        """Trains and returns the `Run`; see `verbs.train`."""
        from .verbs import train

        return train(self, config, out, **options)

    def run(self, config=None, out=None, **options):
        """Trains, evaluates, exports and reports; returns the `Run`; see `verbs.run`."""
        from .verbs import run

        return run(self, config, out, **options)

    def open(self, path, engine: str | None = None):
        """A run directory or a bundle, ready to predict and to be evaluated; see `opened.Opened`."""
        from .opened import open_model

        return open_model(self, path, engine)


def missing_extra(error: ModuleNotFoundError, what: str) -> ElmanError:
    """The error to show for a package that is not installed; errors of our own modules pass through."""
    package = (error.name or "").split(".")[0]
    if package in _EXTRAS:
        return MissingExtra(what, _EXTRAS[package])
    if package in _TRAIN:
        return MissingExtra(what, "train")
    raise error
