"""A run directory or a bundle, opened: configuration, codec and an engine. Imports no Keras for a bundle."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .app import App
from .config import from_json
from .engines import Engine, open_bundle_engine
from .errors import ElmanError, UsageError
from .export.bundle import read_bundle
from .run import BUNDLE, Run


@dataclass(frozen=True)
class Opened:
    """What predicting and evaluating need of a trained model, wherever it runs."""

    app: App
    path: Path
    config: Any
    codec: Any
    engine: Engine

    def predict(self, source: Path | str | None = None, out: Path | str | None = None, options=None):
        """Predicts from a file (the bundle's own example when None); writes `out` where given; returns the rows."""
        if out is not None and Path(out).suffix not in self.app.output_suffixes:
            raise UsageError(f"--out {out}: expected a file name that ends in {', '.join(self.app.output_suffixes)}")
        stage = self.app.stage("predict")
        source = self.example() if source is None else Path(source)
        if not source.exists():
            raise ElmanError(f"{source}: no such file")
        result = stage.predict(self.engine, self.config, self.codec, source, options or self.app.predict_options())
        if out is not None:
            stage.write(result, Path(out))
        return result

    def example(self) -> Path:
        for place in (self.path, self.path / BUNDLE):
            if (place / self.app.example_name).exists():
                return place / self.app.example_name
        raise ElmanError(f"{self.path}: no example ({self.app.example_name}); give --input, or export a bundle first")

    def evaluate(self, data: str | None = None, **options):
        """Scores data of the application's formats; the run's own test split when None."""
        import dataclasses

        config = self.config if data is None else dataclasses.replace(self.config, data=str(data))
        loaded = self.app.stage("data").load(config, codec=self.codec)
        return self.app.stage("evaluate").evaluate(self.engine, config, loaded, **options)


def open_model(app: App, path: Path | str, engine: str | None = None, threads: int = 1) -> Opened:
    """Opens a run (engine `keras` unless another is asked for) or a bundle (engine `litert`)."""
    path = Path(path)
    if threads < 1:
        raise UsageError(f"--threads: expected 1 or more, received {threads}")
    if not path.exists():
        raise ElmanError(f"{path}: no such run or bundle")
    if (path / "bundle.json").exists():
        return _open_bundle(app, path, engine or "litert", threads)
    if not (path / "config.json").exists():
        raise UsageError(f"{path}: neither a run (config.json) nor a bundle (bundle.json)")
    if engine not in (None, "keras"):
        if not (path / BUNDLE).exists():
            raise ElmanError(f"{path}: engine '{engine}' needs a bundle; make one with: elman {app.name} export {path}")
        return _open_bundle(app, path / BUNDLE, engine, threads)
    return open_run(app, Run(path))


def open_run(app: App, run: Run, model=None) -> Opened:
    """A run on the Keras engine; `model` where it is in memory already."""
    model = model or run.model(app)
    from .engines import keras as runtime

    config, codec = run.config(app), run.codec(app)
    signatures = {s.name: s for s in app.stage("model").signatures(model, config, codec)}
    return Opened(app, run.path, config, codec, Engine("keras", signatures, runtime.load(signatures)))


def _open_bundle(app: App, path: Path, engine: str, threads: int) -> Opened:
    bundle = read_bundle(path, app.name)
    config = from_json(app.config, bundle.config, where=str(path / "bundle.json"))
    try:
        codec = app.stage("codec").Codec.from_json(bundle.codec)
    except (KeyError, TypeError) as error:
        raise ElmanError(f"{path}: its codec is of another version of elman ({error}); export the run again") from None
    return Opened(app, path, config, codec, open_bundle_engine(path, bundle.signatures, engine, threads))
