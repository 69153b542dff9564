"""Workers: each takes a job at a time and runs it in a process of its own, pinned to its cores or its device."""

import contextlib
import math
import multiprocessing
import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from ..apps.core.errors import UsageError
from . import trial
from .search import GONE

BEAT = 2.0  # seconds between signs of life
HANGS = 180.0  # seconds without a first word after which a forked process is taken to hang, and forking is given up
DEVICE_VARIABLES = {"gpu": "CUDA_VISIBLE_DEVICES", "tpu": "TPU_VISIBLE_CHIPS"}
PRELOADED = (f"{__package__}.preload",)
STAGES = ("data", "model", "evaluate", "predict")


@dataclass(frozen=True)
class Slot:
    """Where a worker's trials run."""

    name: str
    cores: tuple[int, ...] = ()
    device: str = ""

    def enter(self) -> None:
        """Pins this process; before a backend counts cores and devices."""
        if self.cores and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, self.cores)
        if self.device:
            kind, index = self.device.split(":")
            os.environ[DEVICE_VARIABLES[kind]] = index
        os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # workers may share a device
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        if self.device.startswith("tpu"):
            os.environ["TPU_CHIPS_PER_PROCESS_BOUNDS"] = os.environ["TPU_PROCESS_BOUNDS"] = "1,1,1"


def slots(workers: int | None = None, cores: int | None = None, devices: tuple[str, ...] = ()) -> list[Slot]:
    """A slot for each worker: the machine's cores shared out among them, and its devices in turn.

    Args:
        workers: how many; by default one for each device, or one.
        cores: of each worker; by default an equal share.
        devices: `gpu:0`, `tpu:1`, …; by default the GPUs that are seen.
    """
    devices = devices or _gpus()
    for device in devices:
        kind, _, index = device.partition(":")
        if kind not in DEVICE_VARIABLES or not index.isdigit():
            raise UsageError(f"--devices: expected gpu:NUMBER or tpu:NUMBER, received '{device}'")
    count = workers if workers is not None else max(len(devices), 1)
    here = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    if cores is not None and not 1 <= cores <= len(here):
        raise UsageError(f"--cores: expected 1 to {len(here)} (the cores of this machine), received {cores}")
    each = cores or max(len(here) // max(count, 1), 1)
    return [
        Slot(
            f"{os.uname().nodename}-{i}" if hasattr(os, "uname") else f"worker-{i}",
            tuple(sorted(here[(i * each + k) % len(here)] for k in range(each))),
            devices[i % len(devices)] if devices else "",
        )
        for i in range(count)
    ]


def _gpus() -> tuple[str, ...]:
    """The GPUs that a process of this machine would see, without starting a backend."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return tuple(f"gpu:{index}" for index in visible.split(",") if index.isdigit())
    if not shutil.which("nvidia-smi"):
        return ()
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False).stdout
    return tuple(f"gpu:{i}" for i, line in enumerate(listed.splitlines()) if line.startswith("GPU"))


class Workers:
    """Threads that take jobs from a client (a `Search`, or a channel to one) until it has no more.

    Args:
        client: `next`, `report`, `end` and `lost`, as `Search` has them.
        app, space: the application and the name of its space module.
        directory: where trials leave their runs.
        places: a `Slot` for each worker.
    """

    def __init__(self, client, app, space: str, directory: Path, places: list[Slot]):
        self.client, self.app, self.space, self.directory = client, app, space, Path(directory)
        # Trials are forked from a clean process that has all imported; where the system cannot, each starts anew.
        self.forks = sys.platform == "linux"
        self.context = multiprocessing.get_context("forkserver" if self.forks else "spawn")
        if self.forks:
            stages = [f"{app.package}.{stage}" for stage in STAGES]
            self.context.set_forkserver_preload([*PRELOADED, trial.__name__, space, *stages])
        self.halt = threading.Event()
        self.faults: list[BaseException] = []
        self.threads = [threading.Thread(target=self._work, args=(place,), name=place.name) for place in places]

    def start(self) -> None:
        for thread in self.threads:
            thread.start()

    @property
    def busy(self) -> bool:
        return any(thread.is_alive() for thread in self.threads)

    def stop(self) -> None:
        """Ends the trials that are running; they wait to be taken up again."""
        self.halt.set()
        for thread in self.threads:
            thread.join()

    def _work(self, place: Slot) -> None:
        try:
            while not self.halt.is_set():
                answer = self.client.next(place.name)
                if "stop" in answer:
                    return
                if "job" in answer:
                    self._run(answer["job"], place)
                else:
                    self.halt.wait(answer["wait"])
        except BaseException as error:  # told by the main thread
            self.faults.append(error)
            self.halt.set()

    def _run(self, job: dict, place: Slot) -> None:
        began = time.perf_counter()
        context, forked = self.context, self.forks
        ours, theirs = context.Pipe()
        kind = "tests" if job["split"] == "test" else "trials"
        directory = str(self.directory / kind / job["name"])
        process = context.Process(target=trial.main, args=(job, self.app.package, self.space, directory, place, theirs))
        process.start()
        theirs.close()
        try:
            result = self._listen(job, place, ours, time.monotonic() + HANGS if forked else math.inf)
        finally:
            ours.close()  # the process ends itself when its parent's end is closed
            process.join(10)
            if process.is_alive():
                process.kill()
                process.join()
        if result is None:
            code = process.exitcode
            why = f"killed by signal {-code}" if code and code < 0 else f"the process ended with status {code}"
            self.client.lost(job["name"], job["lease"], why)
        elif result:
            seconds = time.perf_counter() - began
            training = result.pop("training", None)
            overhead = None if training is None else round(seconds - training, 2)
            self.client.end(job["name"], {**result, "seconds": round(seconds, 2), "overhead": overhead})

    def _listen(self, job: dict, place: Slot, ours, late: float) -> dict | None:
        """The result; None when the process died, hung or was halted; empty when the job was given to another."""
        while not self.halt.is_set():
            curve = None
            if ours.poll(BEAT):
                late = math.inf
                try:
                    message = ours.recv()
                except (EOFError, ConnectionError):
                    return None
                if "result" in message:
                    return message["result"]
                curve = message["curve"]
            elif time.monotonic() > late:  # an application's import has started the backend
                self.context, self.forks = multiprocessing.get_context("spawn"), False
                return None
            reason = self.client.report(job["name"], job["lease"], place.name, curve)["stop"]
            if reason == GONE:
                return {}
            if reason:
                with contextlib.suppress(OSError):  # it has just ended
                    ours.send(reason)
        return None
