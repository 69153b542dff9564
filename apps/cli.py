"""`elman APP VERB`: the front door. Options are generated from the dataclasses by tyro."""

import importlib
import os
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from .core.app import App, missing_extra
from .core.config import did_you_mean, from_json
from .core.engines import ENGINES
from .core.errors import ElmanError, UsageError
from .core.files import read_json

APPS = ("forecasting", "music", "captioning", "handwriting")
EngineName = Literal[tuple(ENGINES)]
_Help = tyro.conf.arg
_OUT_RUN = _Help(help="Run directory to write (default: runs/APP/DATE-TIME).")
_QUIET = _Help(help="No progress bars, no summary.")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status: 0, 1 (failed), 2 (bad usage)."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    try:
        return _dispatch(list(sys.argv[1:] if argv is None else argv))
    except UsageError as error:
        return _fail(str(error), 2)
    except ElmanError as error:
        return _fail(str(error), 1)
    except KeyboardInterrupt:
        return _fail("interrupted; a training goes on with --resume --out DIRECTORY", 1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _fail(str(error), 1)
    except Exception as error:
        if os.environ.get("ELMAN_DEBUG"):
            raise
        kind = f"{type(error).__module__}.{type(error).__name__}".removeprefix("builtins.")
        reason = (str(error).strip().splitlines() or ["no message"])[0][:300]
        return _fail(f"internal error, {kind}: {reason} (ELMAN_DEBUG=1 shows where)", 1)


def _fail(message: str, status: int) -> int:
    print(f"elman: {message}", file=sys.stderr)
    return status


def _dispatch(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        print(_overview())
        return 0 if argv else 2
    if argv[0] == "--version":
        from importlib.metadata import version

        print(version("elman"))
        return 0
    if argv[0] == "devices":
        return _devices()
    if argv[0] not in APPS:
        raise UsageError(f"unknown application '{argv[0]}'{did_you_mean(argv[0], [*APPS, 'devices'])}")
    app = importlib.import_module(f".{argv[0]}", __package__).APP
    verb, rest = (argv[1] if len(argv) > 1 else "--help"), argv[2:]
    if verb in ("-h", "--help"):
        print(_app_overview(app))
        return 0 if len(argv) > 1 else 2
    if verb not in VERBS and verb not in app.verbs:
        raise UsageError(f"{app.name}: unknown verb '{verb}'{did_you_mean(verb, [*VERBS, *app.verbs])}")
    try:
        VERBS[verb](app, rest) if verb in VERBS else _own(app, verb, rest)
    except ModuleNotFoundError as error:
        raise missing_extra(error, f"elman {app.name} {verb}") from None
    return 0


def listed(rows) -> str:
    """Names and what they are, for a terminal of 80 columns."""
    return "\n".join(
        textwrap.fill(f"{name:16} {text}", 80, initial_indent="  ", subsequent_indent=" " * 19) for name, text in rows
    )


def _overview() -> str:
    apps = listed((n, importlib.import_module(f".{n}", __package__).APP.summary) for n in APPS)
    verbs = listed((name, (f.__doc__ or "").splitlines()[0]) for name, f in VERBS.items())
    return (
        "usage: elman APP VERB [OPTIONS]     elman devices     elman --version\n\n"
        f"Recurrent networks, from data to the device.\n\napplications:\n{apps}\n\nverbs:\n{verbs}\n\n"
        "`elman APP --help` lists the presets, `elman APP VERB --help` the options."
    )


def _app_overview(app: App) -> str:
    presets = listed((name, preset.summary) for name, preset in app.presets.items())
    verbs = [(name, (f.__doc__ or "").splitlines()[0]) for name, f in VERBS.items()]
    verbs = listed([*verbs, *((name, own.summary) for name, own in app.verbs.items())])
    return (
        f"usage: elman {app.name} VERB [OPTIONS]\n\n{app.summary}\n\nverbs:\n{verbs}\n\n"
        f"presets (--preset NAME; default {app.default}):\n{presets}"
    )


def _parse(app: App, verb: str, function: Callable, argv: list[str]):
    return tyro.cli(
        function,
        args=argv,
        prog=f"elman {app.name} {verb}",
        description=function.__doc__,
        config=(tyro.conf.OmitArgPrefixes,),
    )


def _value_of(argv: list[str], option: str) -> str | None:
    """The value of `--option VALUE` or `--option=VALUE`, which decides the defaults of all others."""
    for i, word in enumerate(argv):
        if word == option:
            return argv[i + 1] if i + 1 < len(argv) else None
        if word.startswith(option + "="):
            return word.split("=", 1)[1]
    return None


def _base_config(app: App, argv: list[str]):
    """The configuration that the options change: of --config FILE.json, of --preset NAME, or the default preset."""
    file, preset = _value_of(argv, "--config"), _value_of(argv, "--preset")
    if file and preset:
        raise UsageError("give --config or --preset, not both")
    if file:
        saved = read_json(Path(file))
        return from_json(app.config, saved.get("config", saved) if isinstance(saved, dict) else saved, where=file)
    return app.preset(preset or app.default)


def _train_like(app: App, verb: str, argv: list[str]) -> None:
    from .core import verbs

    base = _base_config(app, argv)

    def options(
        settings: app.config = base,
        out: Annotated[Path | None, _OUT_RUN] = None,
        preset: Annotated[str, _Help(help=f"One of {', '.join(app.presets)}.")] = app.default,
        config: Annotated[Path | None, _Help(help="A saved config (.json) to start from.")] = None,
        resume: Annotated[bool, _Help(help="Go on with the run in --out after its last epoch.")] = False,
        overwrite: Annotated[bool, _Help(help="Replace the run in --out.")] = False,
        quiet: Annotated[bool, _QUIET] = False,
    ):
        return settings, {"out": out, "resume": resume, "overwrite": overwrite, "quiet": quiet}

    options.__doc__ = VERBS[verb].__doc__
    settings, arguments = _parse(app, verb, options, argv)
    run = getattr(verbs, verb)(app, settings, **arguments)
    print(run.path if arguments["quiet"] else verbs.summary(run))


def _train(app: App, argv: list[str]) -> None:
    """Train a model into a run directory."""
    _train_like(app, "train", argv)


def _run(app: App, argv: list[str]) -> None:
    """Train, evaluate, export and report in one go."""
    _train_like(app, "run", argv)


def _evaluate(app: App, argv: list[str]) -> None:
    """Score a run or a bundle against the baselines."""
    from .core import verbs
    from .core.report import metrics_table

    def options(
        path: Annotated[tyro.conf.Positional[Path], _Help(metavar="RUN|BUNDLE", help="What to score.")],
        data: Annotated[str | None, _Help(help="Other data to score: a path, tfds:NAME or a built-in name.")] = None,
        engine: Annotated[EngineName | None, _Help(help="Default: keras for a run, litert for a bundle.")] = None,
        out: Annotated[Path | None, _Help(help="Write the metrics to this .json file.")] = None,
        quiet: Annotated[bool, _QUIET] = False,
    ):
        return {"path": path, "data": data, "engine": engine, "out": out, "quiet": quiet}

    arguments = _parse(app, "evaluate", options, argv)
    if arguments["out"] is not None and arguments["out"].suffix != ".json":
        raise UsageError(f"--out: expected a .json file, received {arguments['out']}")
    metrics = verbs.evaluate(app, **arguments)
    if not arguments["quiet"]:
        print(metrics_table(metrics), *metrics.get("notes", []), sep="\n")


def _predict(app: App, argv: list[str]) -> None:
    """Predict with a run or a bundle."""
    from .core import verbs

    def options(
        path: Annotated[tyro.conf.Positional[Path], _Help(metavar="RUN|BUNDLE", help="What to predict with.")],
        input: Annotated[Path | None, _Help(help="The input file.")] = None,
        example: Annotated[bool, _Help(help="Use the example input that the bundle carries.")] = False,
        out: Annotated[Path | None, _Help(help="Output file; its suffix is the format.")] = None,
        engine: Annotated[EngineName | None, _Help(help="Default: keras for a run, litert for a bundle.")] = None,
        threads: Annotated[int, _Help(help="Threads of the engine.")] = 1,
        settings: app.predict_options = app.predict_options(),  # noqa: B008
        quiet: Annotated[bool, _QUIET] = False,
    ):
        return {"path": path, "source": input, "example": example, "out": out, "engine": engine,
                "threads": threads, "options": settings}, quiet  # fmt: skip

    arguments, quiet = _parse(app, "predict", options, argv)
    result = verbs.predict(app, **arguments)
    if not quiet:
        print(app.stage("predict").summary(result) if arguments["out"] is None else arguments["out"])


def _export(app: App, argv: list[str]) -> None:
    """Write the bundle of a run, every container compared with Keras."""
    from .core import verbs

    def options(
        path: Annotated[tyro.conf.Positional[Path], _Help(metavar="RUN", help="The run directory.")],
        quiet: Annotated[bool, _QUIET] = False,
    ):
        return {"path": path, "quiet": quiet}

    print(verbs.export(app, **_parse(app, "export", options, argv)))


def _benchmark(app: App, argv: list[str]) -> None:
    """Latency of every signature on every engine that is installed."""
    from .core import benchmark
    from .core.report import latency_table

    def options(
        path: Annotated[tyro.conf.Positional[Path], _Help(metavar="RUN|BUNDLE", help="A run adds Keras to the table.")],
        engine: Annotated[tuple[EngineName, ...], _Help(help="Engines to measure (default: all).")] = (),
        threads: Annotated[tuple[int, ...], _Help(help="Numbers of threads to measure.")] = (1,),
        seconds: Annotated[float, _Help(help="Seconds spent on each row of the table.")] = 1.0,
        quiet: Annotated[bool, _QUIET] = False,
    ):
        return {"path": path, "engines": engine, "threads": threads, "seconds": seconds}

    rows = benchmark.measure(app, **_parse(app, "benchmark", options, argv))
    print(latency_table(rows), f"\npeak memory of this process: {benchmark.peak_megabytes():.0f} MB")


def _tune(app: App, argv: list[str]) -> None:
    """Search for better hyperparameters; ends in a config for train and a report."""
    base = _base_config(app, argv)

    def options(
        settings: app.config = base,
        out: Annotated[Path | None, _Help(help="Directory of the sweep (default: tunings/APP/DATE-TIME).")] = None,
        preset: Annotated[str, _Help(help=f"One of {', '.join(app.presets)}.")] = app.default,
        config: Annotated[Path | None, _Help(help="A saved config (.json) to start from.")] = None,
        trials: Annotated[int | None, _Help(help="Trials to run (default: 20, unless --minutes is given).")] = None,
        minutes: Annotated[float | None, _Help(help="Minutes in which trials may begin and train.")] = None,
        search: Annotated[str, _Help(help="random, grid, bayesian or hyperband.")] = "random",
        space: Annotated[tuple[str, ...], _Help(help="Domains: NAME=V,V NAME=LOW..HIGH or TOML files.")] = (),
        seeds: Annotated[int, _Help(help="Trainings per trial, whose mean score counts.")] = 1,
        trial_epochs: Annotated[int, _Help(help="At most this many epochs in a trial.")] = 10,
        stop_hopeless: Annotated[bool, _Help(help="End trials that are worse than the median so far.")] = True,
        confirm: Annotated[int, _Help(help="Other seeds to retrain best and default with, for the test split.")] = 1,
        workers: Annotated[int | None, _Help(help="Trials at once (default: one per GPU, or one).")] = None,
        cores: Annotated[int | None, _Help(help="Cores pinned to each worker (default: an equal share).")] = None,
        devices: Annotated[tuple[str, ...], _Help(help="gpu:0 gpu:1 … or tpu:0 … (default: all GPUs).")] = (),
        chief: Annotated[str, _Help(help="HOST:PORT to answer workers of other machines on; not encrypted.")] = "",
        worker: Annotated[str, _Help(help="Work for the chief at HOST:PORT; the options of the search are its.")] = "",
        resume: Annotated[bool, _Help(help="Go on with the sweep in --out.")] = False,
        quiet: Annotated[bool, _QUIET] = False,
    ):
        return settings, worker, {
            "out": out, "trials": trials, "minutes": minutes, "search": search, "space": space, "seeds": seeds,
            "trial_epochs": trial_epochs, "stop_hopeless": stop_hopeless, "confirm": confirm, "workers": workers,
            "cores": cores, "devices": devices, "chief": chief, "resume": resume, "quiet": quiet,
        }  # fmt: skip

    settings, worker, arguments = _parse(app, "tune", options, argv)
    from ..tuning import sweep

    if worker:
        local = {name: arguments[name] for name in ("out", "workers", "cores", "devices", "quiet")}
        sweep.join(app, worker, **local)
        return
    path = sweep.tune(app, settings, **arguments)
    print(path if arguments["quiet"] else sweep.summary(path))


def _own(app: App, verb: str, argv: list[str]) -> None:
    """A verb that the application alone has."""
    own = app.verbs[verb]

    def options(
        path: Annotated[tyro.conf.Positional[Path], _Help(metavar="RUN", help="The run directory.")],
        settings: own.options,
        out: Annotated[Path | None, _OUT_RUN] = None,
        overwrite: Annotated[bool, _Help(help="Replace the run in --out.")] = False,
        quiet: Annotated[bool, _QUIET] = False,
    ):
        return path, settings, {"out": out, "overwrite": overwrite, "quiet": quiet}

    options.__doc__ = own.summary
    path, settings, arguments = _parse(app, verb, options, argv)
    print(getattr(app.stage(verb), verb)(app, path, settings, **arguments))


def _devices() -> int:
    """What the backends can compute on."""
    from .core.devices import describe_devices

    print(describe_devices())
    return 0


VERBS: dict[str, Callable[[App, list[str]], None]] = {
    "run": _run,
    "train": _train,
    "evaluate": _evaluate,
    "predict": _predict,
    "export": _export,
    "benchmark": _benchmark,
    "tune": _tune,
}

if __name__ == "__main__":
    sys.exit(main())
