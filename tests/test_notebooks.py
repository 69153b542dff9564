"""The notebooks: committed with small outputs, in the form that a reader expects, and running without an error."""

import base64
import os
import re
from pathlib import Path

import nbformat
import pytest

from elman.apps.cli import APPS

ROOT = Path(__file__).parents[1]
BOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MACHINE = re.compile(r"(?<![\w.~$}])/(work|root|home|opt|tmp|usr)/")
by_name = pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)


def cells(path: Path, kind: str) -> list:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == kind]


def outputs(path: Path) -> list:
    return [output for cell in cells(path, "code") for output in cell.outputs]


def pictures(path: Path) -> list[bytes]:
    found = [output.get("data", {}) for output in outputs(path)]
    kinds = ("image/png", "image/jpeg")
    return [base64.b64decode(data[kind]) for data in found for kind in kinds if kind in data]


def test_every_application_has_a_notebook_and_there_are_two_more():
    assert {path.stem for path in BOOKS} == {*APPS, "cells_and_gradients", "to_the_device"}


@by_name
def test_it_says_what_you_will_learn_and_what_to_try_next(path):
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    first, last = book.cells[0], book.cells[-1]
    assert first.cell_type == last.cell_type == "markdown"
    assert first.source.startswith("# ")
    assert "What you will learn" in first.source
    assert "## What to try next" in last.source


@by_name
def test_it_is_committed_as_one_clean_run(path):
    counts = [cell.execution_count for cell in cells(path, "code")]
    assert counts == list(range(1, len(counts) + 1))
    assert not [output for output in outputs(path) if output.output_type == "error"]
    assert not [output.text for output in outputs(path) if output.get("name") == "stderr"]
    assert pictures(path)


@by_name
def test_its_outputs_are_small_and_name_no_machine(path):
    assert path.stat().st_size < 500_000
    assert max(map(len, pictures(path))) < 60 * 1024
    assert not MACHINE.search(path.read_text(encoding="utf-8"))


@by_name
def test_it_uses_public_names_only(path):
    source = "\n".join(cell.source for cell in cells(path, "code"))
    assert not re.findall(r"\._[a-z]\w*|import _\w+", source)


@pytest.mark.slow
@by_name
def test_it_runs(path, tmp_path, monkeypatch):
    import nbclient

    monkeypatch.delenv("MPLBACKEND", raising=False)  # the kernel draws into the notebook
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    here = tmp_path / "here"
    here.mkdir()
    book = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(book, timeout=600, kernel_name="python3", resources={"metadata": {"path": here}}).execute()
    assert not os.listdir(here)  # what it writes goes into a temporary directory
