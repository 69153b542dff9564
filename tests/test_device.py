"""The base package alone, in an environment of its own: what a device has."""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import SMALLEST, smallest

ROOT = Path(__file__).parents[1]
MEGABYTES = 150  # what the design allows the base package and all that it needs


@pytest.fixture(scope="module")
def device(tmp_path_factory):
    """The bin directory of an environment with the base package."""
    home = tmp_path_factory.mktemp("device")
    subprocess.run([sys.executable, "-m", "venv", home], check=True)
    made = subprocess.run(
        [home / "bin" / "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", str(ROOT)],
        capture_output=True, text=True, cwd=home,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr[-500:]
    return home / "bin"


def run(device, *words, **options):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    command = [str(word) for word in (device / words[0], *words[1:])]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=device.parent, **options)


@pytest.mark.slow
def test_the_base_package_is_small_and_brings_no_training_stack(device):
    site = next((device.parent / "lib").glob("python*/site-packages"))
    own = [f for f in site.rglob("*") if f.relative_to(site).parts[0].split("-")[0] not in ("pip", "setuptools")]
    size = sum(f.stat().st_size for f in own if f.is_file()) / 1e6
    print(f"base package: {size:.0f} MB")
    assert size < MEGABYTES
    for name in ("tensorflow", "keras", "pandas", "matplotlib", "onnxruntime"):
        assert run(device, "python", "-c", f"import {name}").returncode != 0


@pytest.mark.slow
def test_it_predicts_as_the_training_machine_does(device, elman, co2_run, deepar_run, tmp_path):
    for run_, suffix in ((co2_run, "csv"), (deepar_run, "json")):
        out = tmp_path / f"device.{suffix}"
        done = run(device, "elman", "forecasting", "predict", run_ / "bundle", "--example", "--out", out)
        assert done.returncode == 0, done.stderr
        here = tmp_path / f"here.{suffix}"
        assert elman("forecasting", "predict", run_ / "bundle", "--example", "--out", here).status == 0
        assert out.read_text() == here.read_text()


OWN = {"handwriting": ["--model", "streaming"]}  # its step too


@pytest.mark.slow
@pytest.mark.parametrize("app", SMALLEST)
def test_every_application_predicts(device, elman, app, tmp_path):
    words = smallest(app, tmp_path) + OWN.get(app, [])
    made = elman(app, "run", *words, "--quiet", "--out", tmp_path / "run")
    assert made.status == 0, made.err
    out = tmp_path / "device.json"
    done = run(device, "elman", app, "predict", tmp_path / "run" / "bundle", "--example", "--out", out)
    assert done.returncode == 0, done.stderr
    here = tmp_path / "here.json"
    assert elman(app, "predict", tmp_path / "run" / "bundle", "--example", "--out", here).status == 0
    assert json.loads(out.read_text()) == json.loads(here.read_text())


@pytest.mark.slow
def test_it_evaluates_and_benchmarks(device, co2_run, tmp_path):
    table = "ds,y\n" + "".join(
        f"{2002 + i // 48}-{1 + i // 4 % 12:02d}-{1 + 7 * (i % 4):02d},{i % 9}\n" for i in range(90)
    )
    (tmp_path / "t.csv").write_text(table)
    done = run(device, "elman", "forecasting", "benchmark", co2_run / "bundle", "--seconds", "0.1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("forecast:")
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert " litert " in done.stdout
    assert "onnx" not in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "extra"),
    [
        (["train"], "train"),
        (["run"], "train"),
        (["export", "RUN"], "train"),
        (["predict", "RUN", "--example"], "train"),
        (["predict", "BUNDLE", "--example", "--engine", "onnx"], "train"),
        (["predict", "BUNDLE", "--example", "--out", "forecast.png"], "train"),
        (["evaluate", "BUNDLE"], "train"),
    ],
)
def test_what_is_missing_names_its_extra(device, co2_run, words, extra):
    places = {"RUN": co2_run, "BUNDLE": co2_run / "bundle"}
    done = run(device, "elman", "forecasting", *[places.get(word, word) for word in words])
    assert done.returncode == 1
    assert f"pip install 'elman[{extra}]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_start_and_memory(device, co2_run):
    """Figures for the report; the bounds are wide, for a busy machine."""

    def seconds(*words):
        times = []
        for _ in range(5):
            began = time.perf_counter()
            assert run(device, "elman", *words).returncode == 0
            times.append(time.perf_counter() - began)
        return statistics.median(times)

    start, predict = seconds("--version"), seconds("forecasting", "predict", co2_run / "bundle", "--example")
    code = (
        "from elman.apps.cli import main; "
        f"main(['forecasting', 'predict', {str(co2_run / 'bundle')!r}, '--example']); "
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    # (getrusage would count the process that forked this one)
    memory = int(run(device, "python", "-c", code, check=True).stdout.splitlines()[-1]) / 1024
    print(f"elman --version {start:.2f} s, predict {predict:.2f} s, resident memory {memory:.0f} MB")
    assert memory < 120
    assert start < 10
    assert predict < 20
