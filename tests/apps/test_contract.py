"""What core, tuning, the tests and the documents ask of an application, held against each of them."""

import dataclasses
import importlib
import inspect
from pathlib import Path

import pytest

from elman.apps import cli
from tests.conftest import SMALLEST

ROOT = Path(__file__).parents[2]
CALLED = {
    "data": {"load": ("config", "codec")},
    "model": {
        "build": ("config", "codec"),
        "loss": ("model", "config", "codec"),
        "signatures": ("model", "config", "codec"),
        "rows": ("config", "codec"),
        "carried": ("model", "config", "codec"),
        "refine": ("model", "config", "data", "directory", "resume", "quiet"),
    },
    "evaluate": {
        "calibrate": ("engine", "config", "data"),
        "evaluate": ("engine", "config", "data", "quiet"),
        "score": ("engine", "config", "data"),
        "samples": ("engine", "config", "data"),
        "plots": ("evaluation", "directory"),
    },
    "predict": {
        "predict": ("engine", "config", "codec", "source", "options"),
        "write": ("result", "path"),
        "summary": ("result",),
        "example": ("config", "data", "path"),
    },
}
OPTIONAL = {"rows", "carried", "refine"}
DATA = {"codec", "train", "validation", "sizes", "rows_per_epoch", "warnings", "description", "license"}
SPACE = ("OBJECTIVE", "DIRECTION", "COMPARABLE", "sample", "score")
by_name = pytest.mark.parametrize("name", cli.APPS)


def application(name: str):
    return importlib.import_module(f"elman.apps.{name}").APP


def parameters(function) -> tuple[str, ...]:
    """The names of a function's parameters, in their order."""
    return tuple(inspect.signature(function).parameters)


def test_every_application_on_disk_is_one_of_the_command_line():
    assert set(cli.APPS) == {f.parent.name for f in (ROOT / "apps").glob("*/config.py")} - {"core"}
    assert set(cli.APPS) == set(SMALLEST)


@by_name
def test_the_record_is_that_of_its_package(name):
    app = application(name)
    assert (app.name, app.package) == (name, f"elman.apps.{name}")
    assert app.default in app.presets
    assert Path(app.output_name).suffix in app.output_suffixes
    assert ".json" in app.output_suffixes
    assert "data" in {field.name for field in dataclasses.fields(app.config)}
    assert app.predict_options()


@by_name
@pytest.mark.parametrize("stage", CALLED)
def test_a_stage_has_what_core_calls(name, stage):
    module = application(name).stage(stage)
    missing = set(CALLED[stage]) - OPTIONAL - set(vars(module))
    assert not missing, f"apps/{name}/{stage}.py lacks {missing}"
    for function, called in CALLED[stage].items():
        if function in vars(module):
            assert parameters(getattr(module, function))[: len(called)] == called, function


@by_name
def test_data_and_card_have_what_a_run_writes(name):
    app = application(name)
    data = app.stage("data").Data
    assert {field.name for field in dataclasses.fields(data)} | set(vars(data)) >= DATA
    codec = app.stage("codec").Codec
    assert callable(codec.to_json)
    assert callable(codec.from_json)
    evaluate = app.stage("evaluate")
    assert evaluate.INTENDED_USE.endswith(".")
    assert evaluate.LIMITS.endswith(".")


@by_name
def test_tuning_has_a_space(name):
    space = importlib.import_module(f"elman.tuning.spaces.{name}")
    assert not [word for word in SPACE if not hasattr(space, word)]
    assert space.DIRECTION in ("min", "max")
    assert set(space.COMPARABLE) <= {field.name for field in dataclasses.fields(application(name).config)}


@by_name
def test_the_documents_have_its_page_and_its_notebook(name):
    assert (ROOT / "apps" / name / "README.md").exists()
    assert f"(notebooks/{name}.ipynb)" in (ROOT / "notebooks/docs/index.md").read_text(encoding="utf-8")
    assert f"elman {name} run" in (ROOT / "README.md").read_text(encoding="utf-8")
