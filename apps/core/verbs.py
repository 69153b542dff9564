"""The verbs, written once: functions that take an App. The command line and notebooks call these."""

import dataclasses
import os
import subprocess
import sys
import time
from pathlib import Path

from . import backend, devices
from .app import App, missing_extra
from .config import to_json
from .errors import ElmanError, UsageError
from .files import read_json, replacing, write_json
from .run import BUNDLE, Run, refuse_existing
from .run import start as start_run

SHOWN = 6  # warnings of the data that are said one by one; all of them are in metrics.json
PLAIN = devices.Placement()


def train(app: App, config=None, out=None, **options) -> Run:
    """Trains a model into a run directory.

    The data are checked whole before the directory is made.

    Args:
        resume: go on after the last checkpoint of `out`.
        overwrite: replace the run in `out`.
        placement: a `devices.Placement`, where to train.
        quiet: print nothing.
    """
    return train_opened(app, config, out, **options)[0]


def train_opened(
    app: App, config=None, out=None, *, resume=False, overwrite=False, quiet=True, on_epoch=None, placement=PLAIN
):
    """Trains; returns the run and what is in memory of it: data, opened run, Keras model. `on_epoch`: see `fit`.

    Of several processes the others than the first have nothing but the run to return.
    """
    if out is not None and not (resume or overwrite) and placement.chief:
        refuse_existing(Path(out))  # before the data are read, which may take long
    placement = _prepare(app, out, placement)
    import keras

    from . import training
    from .opened import open_run
    from .report import plot_history

    config = config if config is not None else app.preset(app.default)
    data = app.stage("data").load(config)

    keras.utils.set_random_seed(config.seed)  # in every process: they begin with the same weights
    if not placement.chief:
        _fit(app, config, data, Run(Path(out)), resume=resume, quiet=True, on_epoch=on_epoch, placement=placement)
        return Run(Path(out)), data, None, None
    run = start_run(app, config, out, resume=resume, overwrite=overwrite)
    for warning in data.warnings[:SHOWN]:
        _say(f"warning: {warning}", quiet)
    if len(data.warnings) > SHOWN:
        _say(f"warning: … and {len(data.warnings) - SHOWN} more: see {run.path / 'metrics.json'}", quiet)
    began = time.perf_counter()
    model, fitted = _fit(app, config, data, run, resume=resume, quiet=quiet, on_epoch=on_epoch, placement=placement)
    with replacing(run.path / "model.keras") as path:
        model.save(path)
    write_json(run.path / "codec.json", data.codec.to_json())
    opened = open_run(app, run, model)
    codec = app.stage("evaluate").calibrate(opened.engine, config, data)
    write_json(run.path / "codec.json", codec.to_json())
    data = dataclasses.replace(data, codec=codec)
    plot_history(fitted.history, run.path / "plots")
    run.write_metrics(
        application=app.name,
        data=data.description,
        license=data.license,
        sizes=data.sizes,
        seed=config.seed,
        epochs=len(fitted.history),
        best_epoch=fitted.best_epoch,
        stopped=fitted.reason,
        padding=fitted.padding,
        parameters=model.count_params(),
        machine=training.describe_machine() + placement.described,
        warnings=list(data.warnings),
        seconds={"training": round(sum(row["seconds"] for row in fitted.history), 1)},
    )
    _say(f"trained {len(fitted.history)} epochs in {time.perf_counter() - began:.0f} s: {fitted.reason}", quiet)
    if fitted.padding:
        plain = f" ({fitted.padding['plain']:.1%} in random batches)" if "plain" in fitted.padding else ""
        _say(f"padding: {fitted.padding['share']:.1%} of the steps{plain}", quiet)
    return run, data, open_run(app, run, model), model


def _prepare(app: App, out, placement: devices.Placement) -> devices.Placement:
    """Starts the backend as the placement wants it; says what is not there before anything is read or made.

    Returns the placement, which process this is included.
    """
    if placement.coordinator:
        if out is None:
            raise UsageError("--coordinator: give the run directory, which all processes see, with --out")
        with backend.needed(f"elman {app.name} train"):
            from . import distribution
        placement = distribution.join(placement)
    elif placement.replicas > 1 and placement.device == "cpu":
        devices.split_cpu(placement.replicas)
    backend.load(f"elman {app.name} train")
    if placement.device:
        devices.require(placement.device)
    if placement.replicas > 1:
        from . import distribution

        distribution.devices_of(placement.device, placement.replicas)
    return placement


def _fit(app: App, config, data, run: Run, *, resume: bool, quiet: bool, on_epoch, placement):
    """The model of the best epoch, refined where the application has more to do, and what training left behind.

    However it was trained, the model that comes back is on one device and float32.
    """
    from . import distribution, precision

    replicas = 0 if placement.coordinator else placement.replicas
    try:
        with distribution.spread(placement.device, replicas), precision.policy(config.precision):
            model, fitted = _fit_placed(app, config, data, run, resume=resume, quiet=quiet, on_epoch=on_epoch)
            weights = distribution.weights(model)
    except ElmanError:
        if placement.chief:
            run.discard_empty()  # nothing was learnt: the same --out may be tried again
        raise
    if placement.coordinator:
        distribution.leave()
    if not placement.alone or config.precision != "float32":
        model = app.stage("model").build(config, data.codec)
        distribution.assign(model, weights)
    return model, fitted


def _fit_placed(app: App, config, data, run: Run, *, resume: bool, quiet: bool, on_epoch):
    from . import checkpoint, training, transfer

    stage = app.stage("model")
    model = stage.build(config, data.codec)
    begun = resume and (run.path / checkpoint.LAST).exists()
    told = transfer.begin(app, model, config, data.codec, run.path, resume=begun)
    _say(told, quiet or not told)
    fitted = training.fit(
        stage.carried(model, config, data.codec) if data.train.chains else model,
        config,
        stage.loss(model, config, data.codec),
        data.train,
        data.validation,
        run.path,
        rows=data.rows_per_epoch,
        resume=resume,
        quiet=quiet,
        on_epoch=on_epoch,
    )
    if hasattr(stage, "refine"):
        stage.refine(model, config, data, run.path, resume=resume, quiet=quiet)
    return model, fitted


def evaluate(app: App, path, *, data=None, engine=None, out=None, quiet=True, **options) -> dict:
    """Scores a run or a bundle: its own test split, or any data of the application's formats.

    Without `data`, a run's metrics.json and plots are written. Returns the metrics; `out` names a JSON file for them.
    """
    from .opened import open_model

    began = time.perf_counter()
    opened = open_model(app, path, engine)
    result = opened.evaluate(data, quiet=quiet, **options)
    metrics = {**result.to_json(), "engine": opened.engine.name, "seconds": round(time.perf_counter() - began, 1)}
    if out is not None:
        write_json(Path(out), metrics)
    if data is None and out is None and opened.engine.name == "keras":
        _keep(app, Run(opened.path), result, began)
    return metrics


def _keep(app: App, run: Run, result, began: float) -> None:
    seconds = {**run.metrics["seconds"], "evaluation": round(time.perf_counter() - began, 1)}
    run.write_metrics(**result.to_json(), seconds=seconds)
    app.stage("evaluate").plots(result, run.path / "plots")


def export(app: App, path, *, quiet=True) -> Path:
    """Writes the bundle of a run, every container compared with Keras; returns its path."""
    backend.load(f"elman {app.name} export")
    from .opened import open_run

    run = Run(Path(path))
    config = run.config(app)
    data = app.stage("data").load(config, codec=run.codec(app))
    model = run.model(app)
    _export(app, run, open_run(app, run, model), model, data, quiet)
    return run.path / BUNDLE


def _export(app, run, opened, model, data, quiet) -> dict:
    import keras

    if keras.backend.backend() != "tensorflow":
        return _export_on_tensorflow(app, run)
    try:
        from .export.build import build
    except ModuleNotFoundError as error:
        raise missing_extra(error, f"elman {app.name} export") from None
    return build(app, opened, model, data, run.path / BUNDLE, quiet=quiet)


def _export_on_tensorflow(app: App, run: Run) -> dict:
    """Exports in a process of its own: containers are written from TensorFlow's graph, whatever trained the model."""
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
    command = [sys.executable, "-m", "elman.apps.cli", app.name, "export", str(run.path), "--quiet"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise ElmanError((done.stderr.strip().splitlines() or ["the export failed"])[-1].removeprefix("elman: "))
    return read_json(run.path / BUNDLE / "parity.json")


def run(app: App, config=None, out=None, *, quiet=True, **options) -> Run:
    """Trains, evaluates against baselines, exports with parity, measures latency, and writes the report; `train` says
    which options there are."""
    from . import benchmark
    from .report import write_report

    done, data, opened, model = train_opened(app, config, out, quiet=quiet, **options)
    if opened is None:
        return done
    began = time.perf_counter()
    result = app.stage("evaluate").evaluate(opened.engine, opened.config, data, quiet=quiet)
    _keep(app, done, result, began)
    began = time.perf_counter()
    parity = _export(app, done, opened, model, data, quiet)
    latency = benchmark.measure(app, done.path, seconds=0.2)
    seconds = {**done.metrics["seconds"], "export": round(time.perf_counter() - began, 1)}
    done.write_metrics(
        seconds=seconds,
        latency=latency,
        peak_megabytes=round(benchmark.peak_megabytes()),
        bundle=parity["quantisation"],
    )
    write_report(app, done, parity=parity, latency=latency)
    return done


def predict(app: App, path, *, source=None, example=False, out=None, engine=None, threads=1, options=None):
    """Predicts with a run or a bundle; `out` names the file, its suffix the format."""
    from .opened import open_model

    if (source is None) != example:
        raise UsageError("give either --input FILE or --example")
    return open_model(app, path, engine, threads).predict(source, out, options)


def summary(run: Run) -> str:
    """What a finished run has to say, in a few lines."""
    from .report import metrics_table

    if not (run.path / "metrics.json").exists():
        return f"{run.path}: this process is done; the first one writes the run"
    metrics = run.metrics
    lines = [f"{run.path}: {metrics['data']}", *metrics.get("notes", [])]
    if "model" in metrics:
        lines.insert(1, metrics_table(metrics))
    fast = [
        r for r in metrics.get("latency", []) if r["engine"] in ("litert", "litert-int8", "onnx", "keras model.predict")
    ]
    lines += [f"{r['signature']} on {r['engine']}: {r['median_ms']:.2f} ms, {r['bytes'] / 1e3:,.0f} kB" for r in fast]
    if "bundle" in metrics:
        lines.append(f"bundle: {run.path / BUNDLE} (recommended: {metrics['bundle']['recommended']})")
    return "\n".join(lines)


def _say(text: str, quiet: bool) -> None:
    if not quiet:
        print(text, flush=True)


def config_json(config) -> dict:
    """The configuration as `--config FILE.json` takes it."""
    return to_json(config)
