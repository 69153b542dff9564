"""`elman APP VERB`: the front door. Options are generated from the dataclasses by tyro."""

import errno
import importlib
import os
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from .core.app import App, Verb, missing_extra
from .core.config import did_you_mean, from_json
from .core.devices import Placement
from .core.engines import ENGINES
from .core.errors import ElmanError, UsageError
from .core.files import read_json

APPS = ("forecasting", "music", "captioning", "handwriting")
EngineName = Literal[tuple(ENGINES)]
EngineChoice = Literal[("auto", *ENGINES)]
_Help = tyro.conf.arg
_OUT_RUN = _Help(help="Run directory to write (default: runs/APP/DATE-TIME).")
_QUIET = _Help(help="No progress bars, no summary.")


@dataclass(frozen=True)
class Command:
    """A verb: a line on what it does, the function whose parameters are its options, and what is done with them."""

    summary: str
    options: Callable[[App, list[str]], Callable]
    """`options(app, argv)`; a --preset or --config among the words decides the defaults of the others."""
    act: Callable[..., None]
    """`act(app, what the function of the options returned)`."""


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
        full = error.errno == errno.ENOSPC
        return _fail(
            "the disk is full; free some of it, then a training goes on with --resume" if full else str(error), 1
        )
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
    if argv[0] == "completion":
        from .completion import script

        print(script(argv[1:]))
        return 0
    if argv[0] not in APPS:
        raise UsageError(f"unknown application '{argv[0]}'{did_you_mean(argv[0], [*APPS, 'devices', 'completion'])}")
    app = importlib.import_module(f".{argv[0]}", __package__).APP
    verb, rest = (argv[1] if len(argv) > 1 else "--help"), argv[2:]
    if verb in ("-h", "--help"):
        print(_app_overview(app))
        return 0 if len(argv) > 1 else 2
    if verb not in commands(app):
        raise UsageError(f"{app.name}: unknown verb '{verb}'{did_you_mean(verb, commands(app))}")
    command = commands(app)[verb]
    try:
        command.act(app, _parse(app, verb, command, rest))
    except ModuleNotFoundError as error:
        raise missing_extra(error, f"elman {app.name} {verb}") from None
    return 0


def commands(app: App) -> dict[str, Command]:
    """The verbs of an application: those of all, and its own."""
    return {**VERBS, **{name: _own(name, verb) for name, verb in app.verbs.items()}}


def listed(rows) -> str:
    """Names and what they are, for a terminal of 80 columns."""
    return "\n".join(
        textwrap.fill(f"{name:16} {text}", 80, initial_indent="  ", subsequent_indent=" " * 19) for name, text in rows
    )


def _overview() -> str:
    apps = listed((n, importlib.import_module(f".{n}", __package__).APP.summary) for n in APPS)
    verbs = listed((name, command.summary) for name, command in VERBS.items())
    return (
        "usage: elman APP VERB [OPTIONS]     elman devices     elman --version\n\n"
        f"Recurrent networks, from data to the device.\n\napplications:\n{apps}\n\nverbs:\n{verbs}\n\n"
        "`elman APP --help` lists the presets, `elman APP VERB --help` the options;\n"
        "`elman completion SHELL` prints what makes the Tab key complete them."
    )


def _app_overview(app: App) -> str:
    presets = listed((name, preset.summary) for name, preset in app.presets.items())
    verbs = listed((name, command.summary) for name, command in commands(app).items())
    return (
        f"usage: elman {app.name} VERB [OPTIONS]\n\n{app.summary}\n\nverbs:\n{verbs}\n\n"
        f"presets (--preset NAME; default {app.default}):\n{presets}"
    )


def _parse(app: App, verb: str, command: Command, argv: list[str]):
    return tyro.cli(
        command.options(app, argv),
        args=argv,
        prog=f"elman {app.name} {verb}",
        description=command.summary,
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


def _train_options(app: App, argv: list[str]) -> Callable:
    def options(
        settings: app.config = _base_config(app, argv),  # noqa: B008
        out: Annotated[Path | None, _OUT_RUN] = None,
        preset: Annotated[str, _Help(help=f"One of {', '.join(app.presets)}.")] = app.default,
        config: Annotated[Path | None, _Help(help="A saved config (.json) to start from.")] = None,
        resume: Annotated[bool, _Help(help="Go on with the run in --out after its last epoch.")] = False,
        overwrite: Annotated[bool, _Help(help="Replace the run in --out.")] = False,
        quiet: Annotated[bool, _QUIET] = False,
        place: Placement = Placement(),  # noqa: B008
    ):
        return settings, {"out": out, "resume": resume, "overwrite": overwrite, "quiet": quiet, "placement": place}

    return options


def _train(app: App, parsed) -> None:
    _train_by("train", app, *parsed)


def _run(app: App, parsed) -> None:
    _train_by("run", app, *parsed)


def _train_by(verb: str, app: App, settings, arguments: dict) -> None:
    from .core import verbs

    run = getattr(verbs, verb)(app, settings, **arguments)
    print(run.path if arguments["quiet"] else verbs.summary(run))


def _engine(choice: str) -> str | None:
    return None if choice == "auto" else choice


def _evaluate_options(app: App, argv: list[str]) -> Callable:
    def options(
        path: Annotated[tyro.conf.Positional[Path], _Help(metavar="RUN|BUNDLE", help="What to score.")],
        data: Annotated[str | None, _Help(help="Other data to score: a path, tfds:NAME or a built-in name.")] = None,
        engine: Annotated[EngineChoice, _Help(help="auto: keras for a run, litert for a bundle.")] = "auto",
        out: Annotated[Path | None, _Help(help="Write the metrics to this .json file.")] = None,
        quiet: Annotated[bool, _QUIET] = False,
    ):
        return {"path": path, "data": data, "engine": _engine(engine), "out": out, "quiet": quiet}

    return options


def _evaluate(app: App, arguments: dict) -> None:
    from .core import verbs
    from .core.report import metrics_table

    if arguments["out"] is not None and arguments["out"].suffix != ".json":
        raise UsageError(f"--out: expected a .json file, received {arguments['out']}")
    metrics = verbs.evaluate(app, **arguments)
    if not arguments["quiet"]:
        print(metrics_table(metrics), *metrics.get("notes", []), sep="\n")


def _predict_options(app: App, argv: list[str]) -> Callable:
    def options(
        path: Annotated[tyro.conf.Positional[Path], _Help(metavar="RUN|BUNDLE", help="What to predict with.")],
        input: Annotated[Path | None, _Help(help="The input file.")] = None,
        example: Annotated[bool, _Help(help="Use the example input that the bundle carries.")] = False,
        out: Annotated[Path | None, _Help(help="Output file; its suffix is the format.")] = None,
        engine: Annotated[EngineChoice, _Help(help="auto: keras for a run, litert for a bundle.")] = "auto",
        threads: Annotated[int, _Help(help="Threads of the engine.")] = 1,
        settings: app.predict_options = app.predict_options(),  # noqa: B008
        quiet: Annotated[bool, _QUIET] = False,
    ):
        return {"path": path, "source": input, "example": example, "out": out, "engine": _engine(engine),
                "threads": threads, "options": settings}, quiet  # fmt: skip

    return options


def _predict(app: App, parsed) -> None:
    from .core import verbs

    arguments, quiet = parsed
    result = verbs.predict(app, **arguments)
    if not quiet:
        for text in getattr(result, "warnings", ()):
            print(f"warning: {text}", file=sys.stderr)
        print(app.stage("predict").summary(result) if arguments["out"] is None else arguments["out"])


def _export_options(app: App, argv: list[str]) -> Callable:
    def options(
        path: Annotated[tyro.conf.Positional[Path], _Help(metavar="RUN", help="The run directory.")],
        quiet: Annotated[bool, _QUIET] = False,
    ):
        return {"path": path, "quiet": quiet}

    return options


def _export(app: App, arguments: dict) -> None:
    from .core import verbs

    print(verbs.export(app, **arguments))


def _benchmark_options(app: App, argv: list[str]) -> Callable:
    every_core = tuple(dict.fromkeys((1, os.cpu_count() or 1)))

    def options(
        path: Annotated[tyro.conf.Positional[Path], _Help(metavar="RUN|BUNDLE", help="A run adds Keras to the table.")],
        engine: Annotated[tuple[EngineName, ...], _Help(help="Engines to measure (default: all).")] = (),
        threads: Annotated[tuple[int, ...], _Help(help="Numbers of threads to measure.")] = every_core,
        seconds: Annotated[float, _Help(help="Seconds spent on each row of the table.")] = 1.0,
        memory: Annotated[bool, _Help(help="Measure peak memory too: a process for each row.")] = True,
        quiet: Annotated[bool, _QUIET] = False,
    ):
        return {"path": path, "engines": engine, "threads": threads, "seconds": seconds, "memory": memory}

    return options


def _benchmark(app: App, arguments: dict) -> None:
    from .core import benchmark
    from .core.report import latency_text

    print(latency_text(benchmark.measure(app, **arguments)))
    print(
        "\nmedian, p95: of one call with one row. limit: the weights, read once, over the\nbandwidth of the memory; "
        "from the cache it can be faster. peak: memory of a\nprocess that makes this call alone, Python included."
    )


def _tune_options(app: App, argv: list[str]) -> Callable:
    def options(
        settings: app.config = _base_config(app, argv),  # noqa: B008
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

    return options


def _tune(app: App, parsed) -> None:
    from ..tuning import sweep

    settings, worker, arguments = parsed
    if worker:
        local = {name: arguments[name] for name in ("out", "workers", "cores", "devices", "quiet")}
        sweep.join(app, worker, **local)
        return
    path = sweep.tune(app, settings, **arguments)
    print(path if arguments["quiet"] else sweep.summary(path))


def _own(name: str, own: Verb) -> Command:
    """A verb that one application alone has."""

    def make_options(app: App, argv: list[str]) -> Callable:
        def options(
            path: Annotated[tyro.conf.Positional[Path], _Help(metavar="RUN", help="The run directory.")],
            settings: own.options,
            out: Annotated[Path | None, _OUT_RUN] = None,
            overwrite: Annotated[bool, _Help(help="Replace the run in --out.")] = False,
            quiet: Annotated[bool, _QUIET] = False,
        ):
            return path, settings, {"out": out, "overwrite": overwrite, "quiet": quiet}

        return options

    def act(app: App, parsed) -> None:
        path, settings, arguments = parsed
        print(getattr(app.stage(name), name)(app, path, settings, **arguments))

    return Command(own.summary, make_options, act)


def _devices() -> int:
    """What the backends can compute on."""
    from .core.devices import describe_devices

    print(describe_devices())
    return 0


VERBS = {
    "run": Command("Train, evaluate, export and report in one go.", _train_options, _run),
    "train": Command("Train a model into a run directory.", _train_options, _train),
    "evaluate": Command("Score a run or a bundle against the baselines.", _evaluate_options, _evaluate),
    "predict": Command("Predict with a run or a bundle.", _predict_options, _predict),
    "export": Command("Write the bundle of a run, every container compared with Keras.", _export_options, _export),
    "benchmark": Command(
        "Latency and memory of every signature on every engine that is installed.", _benchmark_options, _benchmark
    ),
    "tune": Command(
        "Search for better hyperparameters; ends in a config for train and a report.", _tune_options, _tune
    ),
}

if __name__ == "__main__":
    sys.exit(main())
