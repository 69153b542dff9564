"""An application whose training is a formula: trials take milliseconds, their processes are real."""

import json
import multiprocessing
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from elman.apps.core.app import App
from elman.apps.core.config import Preset, TrainingConfig

OBJECTIVE, DIRECTION, COMPARABLE = "error", "min", ("kind",)


@dataclass(frozen=True, kw_only=True)
class Config(TrainingConfig):
    kind: str = "a"
    units: int = 4
    rate: float = 0.1
    depth: int = 1
    pause: float = 0.0


def sample(hp, base):
    hp.choice("kind", "a", "b")
    hp.choice("units", 2, 4, 8)
    hp.range("rate", 0.01, 1.0)
    with hp.when("kind", "b"):
        hp.choice("depth", 1, 2, 3)
    return hp.config()


def error(config: dict) -> float:
    """Lowest, 0.1, at units 8, rate 0.3, kind b, depth 3."""
    return 0.1 + abs(config["units"] - 8) + abs(config["rate"] - 0.3) + (config["kind"] != "b") + 3 - config["depth"]


def main(job, package, space, directory, slot, connection):
    """Stands in for trial.main: an epoch is a pause and a line in a file, from which a killed trial goes on."""
    place = Path(directory)
    place.mkdir(parents=True, exist_ok=True)
    (place / "pid").write_text(str(os.getpid()))
    if hasattr(os, "sched_getaffinity"):
        slot.enter()
        (place / "cores").write_text(json.dumps(sorted(os.sched_getaffinity(0))))
    config = job["config"]
    if config["units"] == 2 and config["kind"] == "b":
        sys.exit(3)  # as a crash of native code ends a process
    epochs = place / "epochs"
    while (done := len(epochs.read_text()) if epochs.exists() else 0) < config["epochs"]:
        time.sleep(config["pause"])
        with epochs.open("a") as file:
            file.write(".")
        connection.send({"curve": [error(config) + 1 / (k + 1) for k in range(done + 1)]})
        if connection.poll(0):
            break
    scores = [{OBJECTIVE: error(config)} for _ in job["seeds"]]
    curve = [error(config) + 1 / (k + 1) for k in range(done + 1)]
    result = {"state": "done", "metrics": scores, "curve": curve, "epochs": len(curve), "training": 0.0, "message": ""}
    connection.send({"result": result})


def hangs_when_forked(*arguments):
    if os.getppid() != multiprocessing.parent_process().pid:
        time.sleep(60)
    main(*arguments)


APP = App(
    name="fake",
    summary="A formula.",
    package=__name__,
    config=Config,
    presets={"default": Preset("The formula.", Config())},
    default="default",
    example_name="",
    output_name="",
    output_suffixes=(),
    predict_options=Config,
)
