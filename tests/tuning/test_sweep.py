import json
import os
import signal
import subprocess
import sys
import time

import pytest

from elman.apps import cli, forecasting
from elman.apps.core.config import from_json
from elman.tuning.channel import Server

from .test_workers import light  # noqa: F401  (trials are formulas in this module too)

SMALL = ["--units", "4", "--lookback", "52", "--segment", "26", "--windows-per-epoch", "64", "--confirm", "1"]
SPACE = ["--space", "units=4,8", "learning-rate=1e-3..1e-2"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--trials", "0"], "--trials: expected 1 or more, received 0"),
        (["--minutes", "0"], "--minutes: expected more than 0"),
        (["--trial-epochs", "0"], "--trial-epochs: expected 1 or more"),
        (["--confirm", "-1"], "--confirm: expected 0 or more"),
        (["--workers", "0"], "--workers: expected 1 or more (0 with --chief), received 0"),
        (["--search", "annealing"], "expected one of random, grid, bayesian, hyperband; received 'annealing'"),
        (["--space", "unit=4"], "unknown hyperparameter 'unit'; did you mean 'units'?"),
        (["--space", "horizon=4,8"], "'horizon' is not searched; these are: model, cell, units"),
        (["--chief", "here"], "--chief: expected HOST:PORT, received 'here'"),
        (["--worker", "here"], "--worker: expected HOST:PORT, received 'here'"),
        (["--resume"], "is not the directory of a sweep (no sweep.json)"),
        (["--data", "nothing.csv"], "nothing.csv"),
    ],
)
def test_bad_input_is_a_line_and_leaves_nothing(tmp_path, capsys, words, message):
    out = tmp_path / "sweep"
    assert cli.main(["forecasting", "tune", "--out", str(out), *words]) in (1, 2)
    error = capsys.readouterr().err.strip()
    assert message in error
    assert len(error.splitlines()) == 1
    assert not out.exists()


def test_a_port_in_use_leaves_nothing(tmp_path, capsys):
    server = Server("127.0.0.1", 0)
    chief = f"127.0.0.1:{server.port}"
    assert cli.main(["forecasting", "tune", "--out", str(tmp_path / "sweep"), "--chief", chief]) == 2
    server.close()
    assert "in use; choose another port" in capsys.readouterr().err
    assert not (tmp_path / "sweep").exists()


def test_a_directory_of_another_sweep_is_refused_by_what_differs(tmp_path, capsys):
    saved = {"application": "forecasting", "search": "grid", "base": {"units": 5}}
    (tmp_path / "sweep.json").write_text(json.dumps(saved))
    assert cli.main(["forecasting", "tune", "--out", str(tmp_path)]) == 2
    assert "exists; choose another" in capsys.readouterr().err
    assert cli.main(["forecasting", "tune", "--out", str(tmp_path), "--resume", "--units", "6"]) == 2
    error = capsys.readouterr().err
    assert "is of another sweep; these differ" in error
    assert "search" in error
    assert "units" in error


def command(*words):
    return [sys.executable, "-m", "elman.apps.cli", "forecasting", "tune", *words]


def events(path):
    journal = path / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True) if journal.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def ended(path):
    return [e["trial"] for e in events(path) if e["event"] == "end"]


def wait_for(condition, seconds=240):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.1)


@pytest.mark.slow
def test_everything_killed_twice_resumes_to_the_sweep_that_was_not(tmp_path):
    out = tmp_path / "sweep"
    words = ["--out", str(out), "--trials", "3", "--trial-epochs", "6", "--workers", "2", "--quiet", *SMALL, *SPACE]
    for count, resume in ((1, []), (2, ["--resume"])):
        process = subprocess.Popen(command(*words, *resume), start_new_session=True)
        wait_for(lambda wanted=count: len(ended(out)) >= wanted)
        os.killpg(process.pid, signal.SIGKILL)  # chief, the process that forks, and trials
        process.wait()
    subprocess.run(command(*words, "--resume"), check=True, timeout=600)
    names = ended(out)
    assert len(names) == len(set(names))
    assert {name for name in names if "seed" not in name} == {"0000", "0001", "0002"}
    calm = tmp_path / "calm"
    words[1] = str(calm)
    subprocess.run(command(*words), check=True, timeout=600)
    best = [json.loads((path / "best.json").read_text()) for path in (out, calm)]
    assert best[0]["config"] == best[1]["config"]
    assert best[0]["score"] == pytest.approx(best[1]["score"], rel=1e-5)


@pytest.mark.slow
def test_two_machines_share_a_sweep_and_train_takes_its_best(tmp_path):
    server = Server("127.0.0.1", 0)
    port = server.port
    server.close()
    at, out = f"127.0.0.1:{port}", tmp_path / "sweep"
    small = ["--trials", "3", "--trial-epochs", "2", "--epochs", "3", *SMALL, *SPACE]
    chief = subprocess.Popen(command("--out", str(out), "--chief", at, "--workers", "0", "--quiet", *small))
    worker = subprocess.Popen(command("--worker", at, "--out", str(tmp_path / "worker"), "--quiet"))
    assert chief.wait(600) == 0
    assert worker.wait(60) == 0
    assert sorted(p.name for p in (tmp_path / "worker" / "trials").iterdir()) == ["0000", "0001", "0002"]
    assert "Test: wql" in (out / "report.md").read_text()
    best = json.loads((out / "best.json").read_text())
    config = from_json(forecasting.Config, best["config"])
    assert config.epochs == 3
    run = str(tmp_path / "run")
    assert cli.main(["forecasting", "train", "--config", str(out / "best.json"), "--out", run, "--quiet"]) == 0
