"""The process of one trial: trains, scores, tells its parent, and ends with it."""

import dataclasses
import importlib
import os
import shutil
import signal
import statistics
import threading
from pathlib import Path

from ..apps.core import backend
from ..apps.core.config import from_json, to_json
from ..apps.core.errors import ElmanError
from ..apps.core.files import read_json, write_json

CHECKPOINT = "checkpoints/last.npz"


def main(job: dict, package: str, space: str, directory: str, slot, connection) -> None:
    """Runs a job of `Search.next` in `directory`; what it prints goes to log.txt there.

    Sends {"curve": losses} after each epoch and {"result": …} at the end; receives a reason to stop.
    """
    path = Path(directory)
    path.mkdir(parents=True, exist_ok=True)
    log = os.open(path / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it, and ends this
    slot.enter()
    link = _Link(connection)
    try:
        backend.load("a trial")
        connection.send({"curve": None})  # it has started
        app = importlib.import_module(package).APP
        result = _run(job, app, importlib.import_module(space), path, link)
    except ElmanError as error:
        result = {"state": "failed", "message": str(error)}
    except Exception as error:
        import traceback

        traceback.print_exc()
        lines = str(error).strip().splitlines() or ["no message"]
        result = {"state": "failed", "message": f"{type(error).__name__}: {lines[0][:200]}"}
    connection.send({"result": result})


class _Link:
    """The parent's end: its reason to stop, and this process's end when the parent is gone."""

    def __init__(self, connection):
        self.connection, self.reason, self.first = connection, "", True
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        try:
            while True:
                self.reason = self.connection.recv()
        except (EOFError, OSError):
            os._exit(1)

    def tell(self, history: list[dict]) -> str:
        """Called by training after each epoch."""
        if self.first and not self.reason:
            self.connection.send({"curve": [row["val_loss"] for row in history]})
        return self.reason


def _run(job: dict, app, space, path: Path, link: _Link) -> dict:
    config = from_json(app.config, job["config"])
    metrics, first, training = [], {}, 0.0
    for seed in job["seeds"]:
        out = path / f"seed-{seed}"
        scored = _seed(app, space, dataclasses.replace(config, seed=seed), out, _parent(path, job, seed), job, link)
        metrics.append(scored.pop("metrics"))
        seconds = scored.pop("training")
        training = None if None in (training, seconds) else training + seconds
        first = first or scored
        link.first = False  # the epochs of the first seed are compared with those of other trials
        if link.reason:
            break
    state = "stopped" if link.reason else "done"
    message = link.reason or first["message"]
    return {"state": state, "metrics": metrics, **first, "training": training, "message": message}


def _seed(app, space, config, out: Path, parent: Path | None, job: dict, link: _Link) -> dict:
    """Trains and scores one seed; goes on where a killed process left it."""
    from ..apps.core.verbs import train_opened

    if (out / "score.json").exists():
        return {**read_json(out / "score.json"), "training": None}
    if parent and not out.exists():
        _continue(parent, out, config)
    resume = (out / CHECKPOINT).exists()
    if not resume:
        shutil.rmtree(out, ignore_errors=True)
    run, data, opened, _ = train_opened(app, config, out, resume=resume, on_epoch=link.tell)
    metrics = space.score(opened.engine, config, data, job["split"])
    history = _history(out / CHECKPOINT)
    epoch = statistics.median(row["seconds"] for row in history)
    scored = {
        "metrics": {name: float(value) for name, value in metrics.items() if isinstance(value, int | float)},
        "curve": [row["val_loss"] for row in history],
        "epochs": len(history),
        "training": None if resume else epoch * len(history),  # not known where it was cut off
        "message": run.metrics["stopped"],
    }
    write_json(out / "score.json", scored)
    return scored


def _history(path: Path) -> list[dict]:
    from ..apps.core import checkpoint

    return checkpoint.read(path)["history"]


def _parent(path: Path, job: dict, seed: int) -> Path | None:
    """The run whose training this trial continues (Hyperband), where it lies on this machine."""
    place = path.parent / job["parent"] / f"seed-{seed}"
    return place if job["parent"] and (place / CHECKPOINT).exists() else None


def _continue(parent: Path, out: Path, config) -> None:
    """Makes `out` the parent's run with more epochs ahead; a cosine over other epochs would be another training."""
    if config.schedule == "cosine":
        return
    part = out.with_name(f".part-{out.name}")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(parent, part, ignore=shutil.ignore_patterns("score.json"))
    saved = read_json(part / "config.json")
    write_json(part / "config.json", {**saved, "config": to_json(config)})
    os.replace(part, out)
