"""One device and several: the same batch gives the same training."""

import json
import os
import socket
import subprocess
import sys

import keras
import numpy as np
import pytest

from elman.apps.core import distribution
from elman.apps.core.devices import Device, Placement
from elman.apps.core.distribution import Share, Shared
from elman.apps.core.errors import ElmanError, UsageError
from tests.conftest import TINY


class Batches(keras.utils.PyDataset):
    """Five rows and three."""

    def __init__(self, weighted=True):
        super().__init__()
        self.weighted = weighted

    def __len__(self):
        return 2

    def __getitem__(self, step):
        rows = np.arange((5, 3)[step], dtype="float32")
        batch = {"a": rows[:, None]}, 10 * rows
        return (*batch, np.stack([rows, rows], 1)) if self.weighted else batch


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize(("replicas", "processes"), [(2, 1), (4, 1), (4, 2), (8, 4)])
def test_every_row_is_in_one_share_and_what_fills_up_weighs_nothing(replicas, processes, weighted):
    for step, rows in ((0, 5), (1, 3)):
        parts = [Shared(Batches(weighted), Share(replicas, processes, i))[step] for i in range(processes)]
        sizes = {len(part[1]) for part in parts}
        assert len(sizes) == 1
        assert sizes.pop() * processes % replicas == 0
        targets = np.concatenate([part[1] for part in parts])
        weights = np.concatenate([part[2] for part in parts])
        inputs = np.concatenate([part[0]["a"] for part in parts])
        np.testing.assert_array_equal(targets[:rows], 10 * np.arange(rows))
        np.testing.assert_array_equal(inputs[:, 0] * 10, targets)
        assert not weights[rows:].any()
        plain = Batches()[step][2] if weighted else np.ones(rows)
        values = np.random.default_rng(0).normal(size=weights.shape)
        # Both kinds of mean are what they are without the filling.
        assert (values * weights).mean() == pytest.approx((values[:rows] * plain).mean(), rel=1e-5)
        assert (values * weights).sum() / weights.sum() == pytest.approx((values[:rows] * plain).sum() / plain.sum())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "cuda"}, "--device: expected cpu, gpu or tpu"),
        ({"replicas": -1}, "--replicas: expected 0 or more"),
        ({"device": "gpu:1", "replicas": 2}, "--device gpu:1: one device alone"),
        ({"processes": 2}, "--processes: give --coordinator HOST:PORT too"),
        ({"coordinator": "a:1", "processes": 2, "process": 2}, "--process: expected 0 to 1"),
        ({"coordinator": "a", "processes": 2}, "--coordinator: expected HOST:PORT or auto, received 'a'"),
        ({"coordinator": "a:1", "replicas": 2}, "several processes take all the devices"),
    ],
)
def test_placements_that_make_no_sense(options, message):
    with pytest.raises(UsageError, match=message):
        Placement(**options)


def test_more_replicas_than_devices_are_refused(monkeypatch):
    monkeypatch.setattr(distribution.devices, "find", lambda kind: [Device("cpu:0")] if kind == "cpu" else [])
    message = "--replicas 3: expected as many devices, there is cpu:0; --device cpu makes so many"
    with pytest.raises(UsageError, match=message), distribution.spread("", 3):
        pass


def test_several_processes_take_jax(elman, tmp_path):
    answer = elman(
        "forecasting", "train", "--coordinator", "127.0.0.1:9", "--processes", "2", "--out", tmp_path / "run"
    )
    assert answer.status == 2
    assert answer.err == "elman: --coordinator: several processes take the JAX backend: set KERAS_BACKEND=jax\n"


def test_a_first_process_that_is_not_there_is_missed():
    address = free_address()
    with pytest.raises(ElmanError, match=f"--coordinator {address}: no answer for 0 s .* does the first process run"):
        distribution.reach(address, 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        distribution.reach(f"127.0.0.1:{server.getsockname()[1]}", 0.0)


def environment(backend):
    return {**os.environ, "KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}


def program(backend, *words):
    command = [sys.executable, "-m", "tests.apps.core.spread", *map(str, words)]
    return subprocess.Popen(
        command, env=environment(backend), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(*processes):
    for process in processes:
        _, err = process.communicate(timeout=600)
        assert process.returncode == 0, err[-3000:]


def free_address():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def assert_same(one, other, tolerance):
    for a, b in zip(one["history"], other["history"], strict=True):
        assert a == pytest.approx(b, rel=tolerance)
    for a, b in zip(one["weights"], other["weights"], strict=True):
        np.testing.assert_allclose(a, b, atol=tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_several_devices_train_as_one(backend, tmp_path):
    """2 logical CPUs on TensorFlow, 8 virtual ones on JAX. An epoch's loss counts a batch that was filled up as larger;
    16-bit sums are rounded in another order."""
    finish(program(backend, tmp_path / "out.json"))
    for name, (one, several) in json.loads((tmp_path / "out.json").read_text()).items():
        if name == "uneven":
            for a, b in zip(one["weights"], several["weights"], strict=True):
                np.testing.assert_allclose(a, b, atol=1e-4)
            losses = [[row["loss"] for row in run["history"]] for run in (one, several)]
            assert losses[1] == pytest.approx(losses[0], rel=0.02)
            continue
        assert_same(one, several, 0.02 if name.startswith("mixed") else 1e-4)


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path):
    """JAX over loopback; the first process alone writes the checkpoints."""
    address = free_address()
    alone = tmp_path / "alone.json"
    finish(*(program("jax", tmp_path / "two.json", address, 2, i) for i in range(2)))
    finish(program("jax", alone))
    found = [json.loads((tmp_path / f"two.{i}").read_text()) for i in range(2)]
    assert found[0] == found[1]
    assert_same(json.loads(alone.read_text())["even"][0], found[0], 1e-4)


@pytest.mark.slow
def test_the_command_line_trains_in_two_processes(tmp_path):
    """The same history as one process; the run is whole, and can be resumed by one process alone."""
    words = [*TINY, "--quiet", "--out"]

    def command(out, *more):
        line = [sys.executable, "-m", "elman.apps.cli", "forecasting", "train", *words, str(tmp_path / out), *more]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(line, env=environment("jax"), **pipes)

    address = free_address()
    finish(*(command("two", "--coordinator", address, "--processes", "2", "--process", str(i)) for i in range(2)))
    finish(command("one"))
    metrics = json.loads((tmp_path / "two" / "metrics.json").read_text())
    finish(command("two", "--resume"))
    found = [(tmp_path / out / "history.csv").read_text().splitlines() for out in ("one", "two")]
    assert len(found[0]) == len(found[1]) == 3
    for a, b in zip(*found, strict=True):
        assert a.split(",")[0] == b.split(",")[0]
    losses = [[float(v) for line in lines[1:] for v in line.split(",")[1:3]] for lines in found]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert ", 2 processes" in metrics["machine"]
