"""Generated training lines: others in every epoch, the same whoever writes them, and none before they are needed."""

import dataclasses
import itertools
import subprocess
import sys

import numpy as np
import pytest

from elman.apps import handwriting
from elman.apps.handwriting import data, fresh, generated

CONFIG = handwriting.Config(lines=24, lines_per_epoch=8, length=4, stack=6, units=4, layers=1, epochs=5, batch_size=4)


@pytest.fixture
def counted(monkeypatch):
    """The numbers of the training lines that this process writes, and of those that another one was asked for."""
    here, there = [], []

    def write(config, codec, split, numbers):
        numbers = list(numbers)
        if split == "train":
            here.append(numbers)
        return write_them(config, codec, split, numbers)

    class Ahead(fresh._Ahead):
        def __init__(self, config, codec, numbers):
            there.append(list(numbers))
            super().__init__(config, codec, numbers)

    write_them = generated.write
    monkeypatch.setattr(generated, "write", write)
    monkeypatch.setattr(fresh, "_Ahead", Ahead)
    return here, there


def same(one, other):
    return len(one) == len(other) and all(
        np.array_equal(a.frames, b.frames) and np.array_equal(a.classes, b.classes)
        for a, b in zip(one, other, strict=True)
    )


def test_a_line_depends_on_its_number_alone():
    codec = generated.codec(CONFIG)
    whole = list(fresh.written(CONFIG, codec, "train", range(9)))
    assert same(list(fresh.written(CONFIG, codec, "train", [4, 8, 2])), [whole[4], whole[8], whole[2]])
    assert not same(list(fresh.written(CONFIG, codec, "validation", range(9))), whole)


def test_epochs_follow_on_each_other_and_another_process_writes_the_same_lines(counted):
    here, there = counted
    codec = generated.codec(CONFIG)
    source = data.load(CONFIG).train
    assert source.count == 8
    assert here == there == []
    found = [source.fresh(epoch) for epoch in range(5)]
    assert here == [list(range(8))], "the others were to come from the other process"
    assert there == [list(range(n, n + 8)) for n in (8, 16, 0, 8)]
    for epoch, rows in enumerate(found):
        lines = list(fresh.written(CONFIG, codec, "train", there[epoch - 1] if epoch else range(8)))
        assert rows.sizes().tolist() == [len(line.frames) for line in lines]
        frames, classes = rows.gather(np.arange(8))
        for row, line in enumerate(lines):
            np.testing.assert_array_equal(frames[row, : len(line.frames)], line.frames.astype(np.float32))
            np.testing.assert_array_equal(classes[row, : len(line.classes)], line.classes)


def test_half_of_an_epoch_may_be_lines_of_the_epoch_before(counted):
    here, there = counted
    codec = generated.codec(CONFIG)
    source = fresh.source(dataclasses.replace(CONFIG, fresh=0.5), codec)
    sizes = [source.fresh(epoch).sizes().tolist() for epoch in range(5)]
    assert here == [list(range(8))]
    assert there == [list(range(n, n + 4)) for n in (8, 12, 16, 20)]
    assert all(before[4:] == after[:4] for before, after in itertools.pairwise(sizes))
    resumed = fresh.source(dataclasses.replace(CONFIG, fresh=0.5), codec)
    assert [resumed.fresh(epoch).sizes().tolist() for epoch in (3, 4)] == sizes[3:]


def test_all_lines_in_every_epoch_are_written_once(counted):
    here, there = counted
    source = fresh.source(dataclasses.replace(CONFIG, lines_per_epoch=0), generated.codec(CONFIG))
    assert source.count == 24
    assert source.fresh(0).sizes().tolist() == source.fresh(1).sizes().tolist()
    assert here == [list(range(24))]
    assert there == []


def test_where_the_other_process_fails_the_lines_are_written_here(counted, monkeypatch):
    here, there = counted
    monkeypatch.setattr(sys, "executable", "/bin/false")
    source = fresh.source(CONFIG, generated.codec(CONFIG))
    sizes = [source.fresh(epoch).sizes().tolist() for epoch in range(2)]
    assert here == [list(range(8)), list(range(8, 16))]
    assert len(there) == 2
    monkeypatch.undo()
    again = fresh.source(CONFIG, generated.codec(CONFIG))
    assert [again.fresh(epoch).sizes().tolist() for epoch in range(2)] == sizes


def test_the_other_process_ends_with_the_one_that_it_writes_for(tmp_path):
    code = (
        "import os, sys; from elman.apps import handwriting; from elman.apps.handwriting import fresh, generated\n"
        "config = handwriting.Config(lines=10**6)\n"
        "ahead = fresh._Ahead(config, generated.codec(config), tuple(range(10**6)))\n"
        "print(ahead._process.pid, flush=True)\n"
        "while not ahead._found: pass\n"
        "os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == -9, done.stderr
    # it holds the pipes that run() has read to their end, or it would not have returned


def test_the_other_process_loads_neither_keras_nor_tensorflow():
    code = "import sys, elman.apps.handwriting.fresh; sys.exit(bool({'keras', 'tensorflow'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
