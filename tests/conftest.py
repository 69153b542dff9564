"""What the tests share: quiet runtimes, the command line as a function, and one tiny trained run."""

import csv
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("MPLBACKEND", "agg")

import pytest

# A forecaster that trains in seconds; what it learns is of no matter.
_SEGMENT = (
    "--epochs 2 --units 8 --horizon 8 --lookback 60 --segment 4 --windows-per-epoch 128 --test-stride 60 "
    "--baseline-origins 2 --levels 0.025 0.1 0.5 0.9 0.975"
)
_DEEPAR = (
    "--model deepar --epochs 2 --units 8 --horizon 4 --lookback 10 --lags 1 2 52 --paths 20 --windows-per-epoch 64 "
    "--test-stride 100 --baseline-origins 2 --levels 0.1 0.5 0.9"
)
TINY, TINY_DEEPAR = _SEGMENT.split(), _DEEPAR.split()
# The options with which every application trains in seconds: what is tested of all of them begins here.
SMALLEST = {
    "forecasting": _SEGMENT,
    "music": "--codec frames --context 4 --head-units 8 --attention 8 --units 12 --window 16 --epochs 1 --batch-size 8 "
    "--steps-per-beat 2",
    "captioning": "--scenes 60 --held-out-scenes 8 --longest 9 --captions 2 --units 16 --embedding 8 --memory-units 12 "
    "--attention-units 8 --epochs 1 --batch-size 16 --image-size 32",
    "handwriting": "--lines 64 --length 8 --units 8 --layers 1 --epochs 1 --batch-size 16 --lines-per-epoch 32",
}


def smallest(app: str, folder: Path) -> list[str]:
    """The options of `SMALLEST`, and those of the data where an application's own are too many."""
    return SMALLEST[app].split() + (["--data", str(write_tunes(folder / "tunes.abc"))] if app == "music" else [])


def write_tunes(path: Path) -> Path:
    """Twenty melodies in ABC notation."""
    scale = "CDEFGABcdefgab"
    tunes = [[scale[(n * (k + 2) + k * k) % len(scale)] for k in range(64)] for n in range(1, 21)]
    lines = [f"X:{n}\nT:{n}\nM:4/4\nL:1/8\nK:C\n{''.join(tune)}|" for n, tune in enumerate(tunes)]
    path.write_text("\n\n".join(lines) + "\n")
    return path


def command(*words) -> SimpleNamespace:
    """Runs `elman WORDS` in this process: its exit status, standard output and standard error."""
    import contextlib
    import io

    from elman.apps.cli import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main([str(word) for word in words])
        except SystemExit as stop:  # tyro ends so on --help and on a wrong option
            status = stop.code or 0
    return SimpleNamespace(status=status, out=out.getvalue(), err=err.getvalue())


def history(path: Path) -> list[dict]:
    """The rows of a run's history.csv, but for their seconds, which no two trainings share."""
    with (path / "history.csv").open() as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


@pytest.fixture
def elman():
    return command


@pytest.fixture(autouse=True)
def _seeded():
    """What a test builds has the same weights in each run, in whatever order, so that it fails always or never."""
    if keras := sys.modules.get("keras"):
        keras.utils.set_random_seed(0)


def _once(factory, name: str, make) -> Path:
    """A directory that one worker makes and every other one waits for."""
    root = factory.getbasetemp()
    root = root.parent if os.environ.get("PYTEST_XDIST_WORKER") else root
    path, lock, failed = root / name, root / f"{name}.lock", root / f"{name}.failed"
    done = root / f"{name}.done"
    try:
        lock.mkdir()
    except FileExistsError:
        while not done.exists():
            if failed.exists():
                pytest.fail(f"{name} could not be made: {failed.read_text()}")
            time.sleep(0.2)
        return path
    result = make(path)
    if result.status:
        failed.write_text(result.err)
        pytest.fail(f"{name} could not be made: {result.err}")
    done.touch()
    return path


@pytest.fixture(scope="session")
def co2_run(tmp_path_factory) -> Path:
    """The run directory of a tiny segment model on co2, with its bundle. Read only: copy it to change it."""
    return _once(tmp_path_factory, "co2-run", lambda out: command("forecasting", "run", *TINY, "--quiet", "--out", out))


@pytest.fixture(scope="session")
def deepar_run(tmp_path_factory) -> Path:
    """The same of an autoregressive model."""
    words = ("forecasting", "run", *TINY_DEEPAR, "--quiet", "--out")
    return _once(tmp_path_factory, "deepar-run", lambda out: command(*words, out))
