"""Training that is killed without warning goes on where it was."""

import json
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.conftest import history

OPTIONS = (
    "--epochs 6 --units 8 --horizon 8 --lookback 60 --segment 4 --windows-per-epoch 256 --average 0.9 "
    "--schedule cosine --quiet"
)
TRAIN = [sys.executable, "-m", "elman.apps.cli", "forecasting", "train", *OPTIONS.split(), "--out"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "run"
    subprocess.run([*TRAIN, path], check=True, capture_output=True)
    return path


def step(path):
    """Steps done in the epoch that the last checkpoint is in."""
    last = path / "checkpoints" / "last.npz"
    if not last.exists():
        return 0
    with np.load(last) as file:
        return json.loads(file["history"].item())["step"]


@pytest.mark.slow
def test_killed_at_random_inside_an_epoch(tmp_path, whole):
    """A checkpoint after every step: place in the data, seeds, optimizer and average go on where it was."""
    path, train = tmp_path / "run", [*TRAIN[:-1], "--checkpoint-seconds", "0.001", TRAIN[-1]]
    child = subprocess.Popen([*train, path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.time() + 300
    while not step(path) and child.poll() is None and time.time() < end:
        time.sleep(0.002)
    time.sleep(random.random())  # another moment in every run of the tests
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not (path / "metrics.json").exists()
    done = subprocess.run([*train, path, "--resume"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert history(path) == history(whole)


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before the first epoch ends", "after an epoch", "between epochs", "at the end"])
def test_kill_and_resume_gives_the_history_of_an_unbroken_run(tmp_path, whole, moment):
    path = tmp_path / "run"
    child = subprocess.Popen([*TRAIN, path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wanted = {
        "before the first epoch ends": lambda: (path / "config.json").exists(),
        "after an epoch": lambda: (path / "history.csv").exists(),
        "between epochs": lambda: (path / "history.csv").exists() and len(history(path)) >= 3,
        "at the end": lambda: (path / "model.keras").exists(),
    }[moment]
    end = time.time() + 300
    while not wanted() and child.poll() is None and time.time() < end:
        time.sleep(0.002)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert (path / "config.json").exists()
    assert not (path / "metrics.json").exists() or moment == "at the end"
    done = subprocess.run([*TRAIN, path, "--resume"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert history(path) == history(whole)
    assert (path / "metrics.json").exists()
    assert (path / "codec.json").read_text() == (whole / "codec.json").read_text()
    assert not list(path.rglob(".part-*"))
