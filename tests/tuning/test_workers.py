"""Real processes, the training a formula (fake.main)."""

import contextlib
import dataclasses
import json
import os
import random
import signal
import threading
import time

import pytest

from elman.apps.core.config import to_json
from elman.apps.core.errors import UsageError
from elman.tuning import workers as working
from elman.tuning.search import Search, Sweep
from elman.tuning.workers import Slot, Workers, slots

from . import fake

DOMAINS = {"units": [4, 8], "rate": {"low": 0.05, "high": 0.9}}
pytestmark = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="pins cores")


@pytest.fixture(autouse=True)
def light(monkeypatch):
    monkeypatch.setattr(working.trial, "main", fake.main)
    monkeypatch.setattr(working, "PRELOADED", ())
    monkeypatch.setattr(working, "STAGES", ())
    monkeypatch.setattr(working, "BEAT", 0.1)


def search_in(path, trials=6, domains=DOMAINS, **changes):
    path.mkdir(exist_ok=True)
    base = dataclasses.replace(fake.Config(), **changes)
    sweep = Sweep("fake", fake.__name__, to_json(base), domains, trial_epochs=5, stop_hopeless=False)
    return Search(fake.APP, sweep, fake, path, trials=trials, confirm=0)


def team(search, path, count=2):
    places = [Slot(f"w{i}", (sorted(os.sched_getaffinity(0))[0],)) for i in range(count)]
    return Workers(search, fake.APP, fake.__name__, path, places)


def finish(search, path, count=2, seconds=60):
    workers = team(search, path, count)
    workers.start()
    until = time.monotonic() + seconds
    while workers.busy and time.monotonic() < until:
        time.sleep(0.02)
    workers.stop()
    assert not workers.faults
    assert search.finished
    return workers


def test_every_trial_runs_in_a_process_of_its_own_on_its_cores(tmp_path):
    search = search_in(tmp_path)
    finish(search, tmp_path)
    places = sorted((tmp_path / "trials").iterdir())
    assert [p.name for p in places] == sorted(search.trials) == [f"{i:04d}" for i in range(6)]
    pids = {p.joinpath("pid").read_text() for p in places}
    assert len(pids) == 6
    assert str(os.getpid()) not in pids
    assert {p.joinpath("cores").read_text() for p in places} == {json.dumps(sorted(os.sched_getaffinity(0))[:1])}
    assert all(t.state == "done" and t.score == fake.error(t.config) for t in search.trials.values())
    assert all(0 < t.overhead <= t.seconds for t in search.trials.values())


def test_killing_trials_at_random_changes_neither_their_number_nor_the_scores(tmp_path):
    calm = search_in(tmp_path / "calm", pause=0.02)
    finish(calm, tmp_path / "calm")
    search = search_in(tmp_path / "wild", pause=0.1)
    chance, killed = random.Random(1), []

    def kill():
        while len(killed) < 5:
            time.sleep(chance.uniform(0.1, 0.3))
            running = [t.name for t in search.trials.values() if t.state == "running"]
            pids = [tmp_path / "wild" / "trials" / name / "pid" for name in running]
            pids = [int(p.read_text()) for p in pids if p.exists() and p.read_text()]
            if pids and pids[-1] not in killed:
                with contextlib.suppress(ProcessLookupError):  # it has just ended
                    os.kill(pids[-1], signal.SIGKILL)
                    killed.append(pids[-1])

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    finish(search, tmp_path / "wild")
    thread.join(30)
    assert len(killed) == 5
    assert sum(t.cut for t in search.trials.values()) >= 4  # one may have been hit when it had told its result
    assert [(t.name, t.state, t.score) for t in search.trials.values()] == [
        (t.name, t.state, t.score) for t in calm.trials.values()
    ]
    lines = [len((tmp_path / "wild" / "trials" / name / "epochs").read_text()) for name in search.trials]
    assert lines == [5] * 6  # each went on from where it was cut off


def test_a_process_that_crashes_is_one_failed_trial(tmp_path):
    search = search_in(tmp_path, 5, {"units": [2], "kind": ["b"], "rate": [0.1, 0.2], "depth": [1, 2]})
    finish(search, tmp_path, 1)
    states = {name: t.state for name, t in search.trials.items()}
    assert states == {"0000": "done", **{f"{i:04d}": "failed" for i in range(1, 5)}}
    assert "the process ended with status 3, 4 times in a row" in search.trials["0001"].message


def test_a_reason_to_stop_reaches_the_process(tmp_path):
    search = search_in(tmp_path, 1, pause=0.1)
    search._hopeless = lambda trial: "hopeless" if len(trial.curve) == 2 else ""
    finish(search, tmp_path, 1)
    assert 2 <= search.trials["0000"].epochs < 5


def test_a_stopped_team_leaves_no_process_and_another_goes_on(tmp_path):
    search = search_in(tmp_path, 2, pause=0.2)
    workers = team(search, tmp_path)
    workers.start()
    pid = tmp_path / "trials" / "0001" / "pid"
    until = time.monotonic() + 30
    while time.monotonic() < until and not (pid.exists() and pid.read_text()):
        time.sleep(0.02)
    workers.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
    search.journal.close()
    again = search_in(tmp_path, 2, pause=0.2)
    finish(again, tmp_path)
    assert [t.state for t in again.trials.values()] == ["done", "done"]


def test_where_a_forked_process_hangs_trials_start_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(working.trial, "main", fake.hangs_when_forked)
    monkeypatch.setattr(working, "HANGS", 1.0)
    search = search_in(tmp_path, 2)
    workers = finish(search, tmp_path, 1)
    assert [(t.state, t.cut) for t in search.trials.values()] == [("done", 1), ("done", 0)]
    assert workers.context.get_start_method() == "spawn"


def test_slots_share_out_cores_and_devices(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 4, 5})
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert [s.cores for s in slots(2)] == [(0, 1), (4, 5)]
    assert [s.cores for s in slots(3)] == [(0,), (1,), (4,)]
    assert [s.cores for s in slots(2, cores=1)] == [(0,), (1,)]
    assert [s.cores for s in slots()] == [(0, 1, 4, 5)]
    assert [s.cores for s in slots(6)] == [(0,), (1,), (4,), (5,), (0,), (1,)]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    assert [(s.device, s.cores) for s in slots()] == [("gpu:2", (0, 1)), ("gpu:3", (4, 5))]
    assert [s.device for s in slots(3, devices=("tpu:0", "tpu:1"))] == ["tpu:0", "tpu:1", "tpu:0"]
    with pytest.raises(UsageError, match="expected 1 to 4"):
        slots(1, cores=5)
    with pytest.raises(UsageError, match="received 'gpu'"):
        slots(1, devices=("gpu",))
