"""Training on lines of different length that is killed inside an epoch goes on where it was."""

import signal
import subprocess
import sys
import time
import zipfile

import pytest

from elman.apps.core import checkpoint
from tests.conftest import history

OPTIONS = (
    "--lines 96 --lines-per-epoch 72 --length 8 --units 6 --layers 1 --epochs 3 --batch-size 8 "
    "--checkpoint-seconds 0.001 --schedule cosine --average 0.9 --quiet"
)
TRAIN = [sys.executable, "-m", "elman.apps.cli", "handwriting", "train", *OPTIONS.split(), "--out"]


def inside(path, epoch):
    """Whether the last checkpoint stands inside an epoch."""
    try:
        where = checkpoint.read(path / checkpoint.LAST)
    except (OSError, zipfile.BadZipFile):
        return False
    return where["step"] > 2 and len(where["history"]) == epoch


@pytest.mark.slow
def test_kill_inside_an_epoch_and_resume_gives_the_history_of_an_unbroken_run(tmp_path):
    whole, path = tmp_path / "whole", tmp_path / "run"
    subprocess.run([*TRAIN, whole], check=True, capture_output=True)
    for resume, epoch in (([], 0), (["--resume"], 1)):
        child = subprocess.Popen([*TRAIN, path, *resume], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.time() + 300
        while not inside(path, epoch) and child.poll() is None and time.time() < end:
            time.sleep(0.002)
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
    done = subprocess.run([*TRAIN, path, "--resume"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert history(path) == history(whole)
