import errno
import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from elman.apps.core import files
from elman.apps.core.errors import ElmanError


def names(path: Path) -> list[str]:
    return sorted(p.name for p in path.iterdir())


@pytest.mark.parametrize("old", [None, "old"])
def test_replacing_puts_the_whole_file_in_place(tmp_path, old):
    path = tmp_path / "deep" / "file.txt"
    if old:
        path.parent.mkdir()
        path.write_text(old)
    with files.replacing(path) as temporary:
        assert temporary.suffix == ".txt"
        assert temporary.parent == path.parent
        temporary.write_text("new")
        assert not path.exists() if old is None else path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(path.parent) == ["file.txt"]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("old", [None, "old"])
def test_a_failing_block_changes_nothing(tmp_path, old):
    path = tmp_path / "file.txt"
    if old:
        path.write_text(old)

    def write():
        with files.replacing(path) as temporary:
            temporary.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()
    assert names(tmp_path) == (["file.txt"] if old else [])
    assert old is None or path.read_text() == "old"


@pytest.mark.parametrize("old", [None, "old"])
def test_a_failing_block_leaves_the_directory_as_it_was(tmp_path, old):
    path = tmp_path / "bundle"
    if old:
        path.mkdir()
        (path / "a").write_text(old)

    def write():
        with files.replacing_directory(path) as temporary:
            (temporary / "b").write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()
    assert names(tmp_path) == (["bundle"] if old else [])
    assert old is None or names(path) == ["a"]


def test_replacing_a_directory_replaces_all_of_it(tmp_path):
    path = tmp_path / "bundle"
    for name in ("a", "b"):
        with files.replacing_directory(path) as temporary:
            (temporary / name).mkdir()
            (temporary / name / "x").write_text(name)
    assert names(tmp_path) == ["bundle"]
    assert names(path) == ["b"]


def full(*args, **kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


WRITERS = {
    "text": lambda path: files.write_text(path, "new"),
    "json": lambda path: files.write_json(path, {"new": 1}),
    "csv": lambda path: files.write_csv(path, [{"new": 1}]),
}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("step", ["rename", "write"])
def test_a_full_disk_keeps_the_old_file(tmp_path, monkeypatch, writer, step):
    path = tmp_path / "file"
    path.write_text("old")
    if step == "rename":
        monkeypatch.setattr(os, "replace", full)
    else:
        monkeypatch.setattr(Path, "open", full)
        monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        WRITERS[writer](path)
    monkeypatch.undo()
    assert names(tmp_path) == ["file"]
    assert path.read_text() == "old"


def test_a_full_disk_keeps_the_old_directory(tmp_path, monkeypatch):
    path = tmp_path / "bundle"
    path.mkdir()
    (path / "a").write_text("old")
    renames = os.replace
    calls = []

    def second_fails(source, target):
        calls.append(target)
        full() if len(calls) == 2 else renames(source, target)

    monkeypatch.setattr(os, "replace", second_fails)
    with pytest.raises(OSError, match="No space left"), files.replacing_directory(path) as temporary:
        (temporary / "a").write_text("new")
    assert names(tmp_path) == ["bundle"]
    assert (path / "a").read_text() == "old"


def test_a_killed_writer_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    code = (
        "import sys, time; from elman.apps.core.files import replacing\n"
        "with replacing(sys.argv[1]) as t: t.write_text('half'); print('ready', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "ready\n"
    child.kill()
    child.wait()
    assert path.read_text() == "old"
    assert [n for n in names(tmp_path) if not n.startswith(".part-")] == ["file.txt"]


def test_csv_has_the_columns_of_all_rows_in_order(tmp_path):
    files.write_csv(tmp_path / "t.csv", [{"a": 1, "b": 2}, {"a": 3, "c": "x,y"}])
    assert (tmp_path / "t.csv").read_text().splitlines() == ["a,b,c", "1,2,", '3,,"x,y"']


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe"])
def test_a_broken_json_file_is_named(tmp_path, content):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(ElmanError, match=r"x\.json: not valid JSON"):
        files.read_json(tmp_path / "x.json")
    with pytest.raises(ElmanError, match=r"none\.json: no such file"):
        files.read_json(tmp_path / "none.json")


def test_json_and_checksum(tmp_path):
    value = {"a": [1, 2.5, None], "é": "日本"}
    files.write_json(tmp_path / "x.json", value)
    assert files.read_json(tmp_path / "x.json") == value == json.loads((tmp_path / "x.json").read_text("utf-8"))
    assert files.sha256(tmp_path / "x.json") == hashlib.sha256((tmp_path / "x.json").read_bytes()).hexdigest()


def test_two_writers_of_one_file_leave_one_of_the_two(tmp_path):
    code = (
        "import sys; from elman.apps.core.files import write_text\n"
        "for _ in range(200): write_text(sys.argv[1], sys.argv[2] * 50_000)"
    )
    path = tmp_path / "x.txt"
    children = [subprocess.Popen([sys.executable, "-c", code, str(path), letter]) for letter in "ab"]
    seen = set()
    while any(child.poll() is None for child in children):
        if path.exists():
            seen.add(path.read_text())
        time.sleep(0.005)
    assert seen <= {"a" * 50_000, "b" * 50_000}
    assert all(child.returncode == 0 for child in children)
    assert names(tmp_path) == ["x.txt"]
