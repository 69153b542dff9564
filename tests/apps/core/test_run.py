import dataclasses
import json
import subprocess
import sys

import pytest

from elman.apps.core.errors import ElmanError, UsageError
from elman.apps.core.run import Run, start
from elman.apps.forecasting import APP, Config


def test_a_new_run_holds_its_configuration(tmp_path):
    config = Config(units=3)
    run = start(APP, config, tmp_path / "a" / "run")
    assert run.config(APP) == config
    assert json.loads((run.path / "config.json").read_text())["application"] == "forecasting"


def test_an_existing_directory_is_refused(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("precious")
    with pytest.raises(UsageError, match="exists; choose another, or use --resume or --overwrite"):
        start(APP, Config(), tmp_path / "run")
    with pytest.raises(UsageError, match="not a run directory; it is left as it is"):
        start(APP, Config(), tmp_path / "run", overwrite=True)
    with pytest.raises(UsageError, match="not a run directory"):
        start(APP, Config(), tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "mine.txt").read_text() == "precious"


@pytest.mark.parametrize("content", ['{"architectures": ["x"]}', "[1]", '{"application": "forecasting"}'])
def test_the_directory_of_another_program_is_not_overwritten(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    (tmp_path / "weights").write_text("precious")
    for option in ("overwrite", "resume"):
        with pytest.raises(UsageError, match="not a run directory"):
            start(APP, Config(), tmp_path, **{option: True})
    assert (tmp_path / "weights").read_text() == "precious"


def test_a_file_is_never_overwritten(tmp_path):
    (tmp_path / "file").write_text("precious")
    with pytest.raises(UsageError, match="not a run directory"):
        start(APP, Config(), tmp_path / "file", overwrite=True)
    assert (tmp_path / "file").read_text() == "precious"


def test_overwrite_starts_from_nothing(tmp_path):
    first = start(APP, Config(units=3), tmp_path / "run")
    (first.path / "history.csv").write_text("old")
    second = start(APP, Config(units=4), tmp_path / "run", overwrite=True)
    assert second.config(APP).units == 4
    assert {p.name for p in second.path.iterdir()} == {".lock", "config.json"}


def test_resume_wants_the_same_configuration(tmp_path):
    config = Config(units=3)
    start(APP, config, tmp_path / "run")
    assert start(APP, config, tmp_path / "run", resume=True).path == tmp_path / "run"
    with pytest.raises(UsageError, match="these differ: epochs, units"):
        start(APP, dataclasses.replace(config, units=4, epochs=2), tmp_path / "run", resume=True)
    with pytest.raises(UsageError, match="--out"):
        start(APP, config, None, resume=True)


def test_resume_clears_what_a_killed_process_left(tmp_path):
    run = start(APP, Config(), tmp_path / "run")
    (run.path / ".part-1.json").write_text("half")
    (run.path / "checkpoints" / ".part-2").mkdir(parents=True)
    start(APP, Config(), run.path, resume=True)
    assert {p.name for p in run.path.rglob("*")} == {".lock", "checkpoints", "config.json"}


def test_a_directory_in_use_is_refused_until_its_process_ends(tmp_path):
    code = """
import sys, time
from elman.apps.core.run import start
from elman.apps.forecasting import APP, Config
start(APP, Config(), sys.argv[1])
print("started", flush=True)
time.sleep(600)
"""
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "started\n"
        for option in ("overwrite", "resume"):
            with pytest.raises(UsageError, match=f"is in use by process {other.pid} on "):
                start(APP, Config(), tmp_path / "run", **{option: True})
        assert (tmp_path / "run" / "config.json").exists()
    finally:
        other.kill()
        other.wait()
    start(APP, Config(), tmp_path / "run", resume=True)


def test_a_run_of_another_application_is_named(tmp_path):
    run = start(APP, Config(), tmp_path / "run")
    other = dataclasses.replace(APP, name="music")
    with pytest.raises(ElmanError, match="a run of 'forecasting', not of 'music'"):
        run.config(other)


def test_metrics_add_up(tmp_path):
    run = Run(tmp_path)
    run.write_metrics(a=1, b=2)
    run.write_metrics(b=3)
    assert run.metrics == {"a": 1, "b": 3}


def test_a_run_without_a_model_says_how_to_go_on(tmp_path):
    with pytest.raises(ElmanError, match="--resume"):
        start(APP, Config(), tmp_path / "run").model(APP)
