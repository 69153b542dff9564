import csv
import io
import json

import pytest

from elman.apps.core.config import from_json
from elman.tuning import report
from elman.tuning.search import Trial
from elman.tuning.workers import Slot

from . import fake
from .test_search import drive, opened, result, sweep

PLACES = [Slot("w0", (0,)), Slot("w1", (1,))]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("sweep")
    search = opened(tmp_path, sweep(seeds=2), trials=12, confirm=2)
    job = search.next("w")["job"]
    search.end("0000", result(job, curve=[2.0, 1.0], seconds=2.0, overhead=0.5))
    job = search.next("w")["job"]
    search.end("0001", {"state": "failed", "message": "no memory"})
    drive(search)
    report.write_report(search, tmp_path, PLACES)
    return search, tmp_path


def test_the_best_configuration_is_one_that_train_takes(finished):
    search, path = finished
    saved = json.loads((path / "best.json").read_text())
    config = from_json(fake.Config, saved["config"])
    assert fake.error(saved["config"]) == saved["score"] == min(t.score for t in search.trials.values() if t.score)
    assert config.epochs == fake.Config().epochs
    assert saved["default_score"] == fake.error(search.sweep.base)


def test_every_trial_is_a_row(finished):
    search, path = finished
    with (path / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["trial"] for row in rows] == list(search.trials)
    assert [row["state"] for row in rows][:3] == ["done", "failed", "done"]
    assert [row["units"] for row in rows] == [str(t.config["units"]) for t in search.trials.values()]
    assert float(rows[0]["seed 1"]) == float(rows[0]["error"])


def test_the_report_says_what_was_gained_and_what_failed(finished):
    search, path = finished
    text = (path / "report.md").read_text()
    assert "12 trials (11 done, 1 failed) by random search" in text
    assert "- 0001: no memory" in text
    assert "is **better** than the default" in text
    assert "over 2 seeds" in text
    for name in ("history", "parallel", "curves", "importance"):
        assert f"![{name}" in text or f"plots/{name}.png" in text
        assert (path / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert report.gain(search) == (fake.error(search.sweep.base), search.best().score)


def test_a_tuned_configuration_that_is_worse_on_test_is_called_so(tmp_path):
    search = opened(tmp_path, trials=4, confirm=1)
    drive(search, 4)
    while "job" in (answer := search.next("w")):
        job = answer["job"]
        worse = 1.0 if job["name"].startswith("0000") else 2.0
        search.end(job["name"], result(job, metrics=[{"error": worse}]))
    report.write_report(search, tmp_path, PLACES)
    text = (tmp_path / "report.md").read_text()
    assert "is **NOT better** than the default: 100.0 % apart, over one seed" in text
    assert "an importance would be noise" in text


def test_importance_finds_the_hyperparameter_that_matters():
    trials = []
    for i in range(40):
        config = {"kind": "ab"[i % 2], "units": (2, 4, 8)[i % 3], "rate": 0.1 * (i % 7), "depth": 1}
        trials.append(Trial(str(i), config, [0], score=config["units"] + 0.01 * (i % 5)))
    shares, explained = report.importance(["kind", "units", "rate", "depth"], trials)
    assert next(iter(shares)) == "units"
    assert shares["units"] > 0.9
    assert "depth" not in shares  # it never changed
    assert explained > 0.9


def test_without_a_terminal_each_end_is_a_line_and_quiet_is_silent(tmp_path, capsys):
    search = opened(tmp_path, trials=2)
    with report.Table(search, 1, quiet=False) as table, report.Table(search, 1, quiet=True) as silent:
        drive(search)
        table.refresh()
        silent.refresh()
        table.refresh()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines] == ["0000 done", "0001 done"]


def test_the_live_table_shows_state_score_and_the_time_left(tmp_path):
    from rich.console import Console

    search = opened(tmp_path, trials=4)
    search.next("here")
    search.trials["0000"].curve = [1.0, 0.5]
    job = search.next("there")["job"]
    search.end(job["name"], result(job, seconds=30.0))
    console = Console(record=True, width=120, file=io.StringIO())
    console.print(report.Table(search, 2, quiet=True)._render())
    text = console.export_text()
    assert "00:45 left" in text  # three trials of 30 s, two at a time
    assert "running" in text
    assert f"{search.trials['0001'].score:.4g} (trial 0001)" in text
