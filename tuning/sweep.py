"""A sweep from its options to best.json and the report."""

import contextlib
import dataclasses
import time
from pathlib import Path

from ..apps.core import backend
from ..apps.core.config import to_json
from ..apps.core.errors import ElmanError, UsageError
from ..apps.core.files import read_json, write_json
from ..apps.core.run import refuse_existing
from . import space as spaces
from .report import Table, write_best, write_report, write_trials
from .search import SEARCHES, Search, Sweep
from .workers import Workers, slots

TRIALS = 20
TRIAL_EPOCHS = 10


def tune(
    app,
    base=None,
    out: Path | None = None,
    *,
    trials: int | None = None,
    minutes: float | None = None,
    workers: int | None = None,
    search: str = "random",
    space: tuple[str, ...] = (),
    seeds: int = 1,
    trial_epochs: int = TRIAL_EPOCHS,
    stop_hopeless: bool = True,
    confirm: int = 1,
    cores: int | None = None,
    devices: tuple[str, ...] = (),
    chief: str = "",
    resume: bool = False,
    quiet: bool = True,
    space_module: str = "",
) -> Path:
    """Searches for better hyperparameters than `base` has; returns the sweep's directory.

    Args:
        app: the application.
        base: the configuration to start from, and the first trial; the default preset's when None.
        out: the directory; by default tunings/APP/DATE-TIME.
        trials, minutes: the budget, one or both; 20 trials when neither is given.
        workers, cores, devices: see `workers.slots`.
        search: `random`, `grid`, `bayesian` or `hyperband`.
        space: domains that replace the space's own: `name=value,value`, `name=low..high`, or TOML files.
        seeds: trainings per trial, whose mean score counts.
        trial_epochs: at most this many epochs in a trial (`base.epochs` if fewer).
        stop_hopeless: ends trials that are worse than the median of the others so far.
        confirm: other seeds with which the best and the default configuration are trained whole and tested at the end.
        chief: HOST:PORT on which workers of other machines are answered.
        resume: goes on with the sweep in `out`.
        space_module: name of the module of the space, where it is not elman.tuning.spaces.APP.
    """
    _check(trials, minutes, workers, search, seeds, trial_epochs, confirm, chief)
    base = base if base is not None else app.preset(app.default)
    path = Path(out) if out else Path("tunings") / app.name / time.strftime("%Y%m%d-%H%M%S")
    module = spaces.find(app, space_module)
    domains = spaces.from_domains(spaces.parse(app, base, space))
    sweep = Sweep(
        app.name, module.__name__, to_json(base), domains, search, base.seed, seeds, trial_epochs, stop_hopeless
    )  # fmt: skip
    if not resume:
        refuse_existing(path)
    places = slots(workers, cores, devices)
    if trials is None and minutes is None:
        trials = TRIALS
    backend.load(f"elman {app.name} tune")
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(contextlib.closing(_server(chief))) if chief else None
        if not resume:
            app.stage("data").load(base)  # checks the data before anything is left behind
            _rehearse(app, module, sweep)
        _open(path, sweep, resume)
        found = Search(app, sweep, module, path, trials=trials, minutes=minutes, confirm=confirm)
        stack.callback(found.journal.close)
        if server:
            server.start(found)
        _run(app, found, path, places, quiet)
        if found.fault or found.best() is None:
            raise ElmanError(f"{path}: no trial succeeded: {found.fault or next(iter(found.trials.values())).message}")
        write_report(found, path, places)
    return path


def _server(chief: str):
    from .channel import Server, address

    return Server(*address(chief, "--chief"))


def summary(path: Path) -> str:
    """What a finished sweep has to say, in a few lines."""
    best = read_json(path / "best.json")
    name, default = best["objective"], best["default_score"]
    before = "failed" if default is None else f"{default:.4g}"
    return (
        f"best trial {best['trial']}: validation {name} {best['score']:.4g} (default configuration: {before})\n"
        f"test scores and plots: {path / 'report.md'}\n"
        f"train it: elman {best['application']} train --config {path / 'best.json'}"
    )


def join(app, chief: str, out: Path | None = None, *, workers=None, cores=None, devices=(), quiet=True) -> None:
    """Works for the chief at HOST:PORT until its sweep is finished; trials leave their runs in `out`."""
    from .channel import Client, address

    places = slots(workers, cores, devices)
    backend.load(f"elman {app.name} tune")
    client = Client(*address(chief, "--worker"))
    sweep = client.join()
    if sweep["application"] != app.name:
        raise UsageError(f"--worker: the chief tunes {sweep['application']}; run: elman {sweep['application']} tune …")
    path = Path(out) if out else Path("tunings") / app.name / f"worker-{time.strftime('%Y%m%d-%H%M%S')}"
    team = Workers(client, app, sweep["space"], path, places)
    if not quiet:
        print(f"{len(places)} workers for the chief at {chief}; runs in {path}", flush=True)
    _attend(team, lambda: None)


def _check(trials, minutes, workers, search, seeds, trial_epochs, confirm, chief) -> None:
    if search not in SEARCHES:
        raise UsageError(f"--search: expected one of {', '.join(SEARCHES)}; received '{search}'")
    for name, value in (("trials", trials), ("seeds", seeds), ("trial-epochs", trial_epochs)):
        if value is not None and value < 1:
            raise UsageError(f"--{name}: expected 1 or more, received {value}")
    if minutes is not None and not minutes > 0:
        raise UsageError(f"--minutes: expected more than 0, received {minutes}")
    if confirm < 0:
        raise UsageError(f"--confirm: expected 0 or more, received {confirm}")
    if workers is not None and workers < (0 if chief else 1):
        raise UsageError(f"--workers: expected 1 or more (0 with --chief), received {workers}")


def _rehearse(app, module, sweep: Sweep) -> None:
    """Refuses a space that cannot be searched, before a directory is made."""
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        Search(app, sweep, module, Path(directory)).journal.close()


def _open(path: Path, sweep: Sweep, resume: bool) -> None:
    values = dataclasses.asdict(sweep)
    if not resume:
        path.mkdir(parents=True)
        write_json(path / "sweep.json", values)
        return
    if not (path / "sweep.json").exists():
        raise UsageError(f"--resume: {path} is not the directory of a sweep (no sweep.json)")
    saved = read_json(path / "sweep.json")
    changed = [name for name, value in values.items() if saved.get(name) != value]
    if "base" in changed and isinstance(saved.get("base"), dict):
        changed.remove("base")
        changed += [name for name, value in values["base"].items() if saved["base"].get(name) != value]
    if changed:
        raise UsageError(f"--resume: {path} is of another sweep; these differ: {', '.join(changed)}")


def _run(app, search: Search, path: Path, places, quiet: bool) -> None:
    team = Workers(search, app, search.sweep.space, path, places)
    written = -1

    def look():
        nonlocal written
        table.refresh()
        ended = sum(t.ended for t in search.trials.values())
        if ended != written:  # whoever kills this finds what there is so far
            written = ended
            write_trials(search, path)
            write_best(search, path)

    with Table(search, len(places), quiet) as table:
        _attend(team, look, lambda: search.finished)
        look()


def _attend(team: Workers, look, finished=lambda: True) -> None:
    """Waits for the workers, and where there are none for those of other machines."""
    team.start()
    try:
        while team.busy or (not finished() and not team.faults):
            look()
            time.sleep(0.25)
    finally:
        team.stop()
    if team.faults:
        raise team.faults[0]
