"""Batches of rows of like length: every row once an epoch, the same for a seed, little padding."""

import numpy as np
import pytest

from elman.apps.core.batching import Batches, Rest
from elman.apps.core.source import Source


def source(sizes):
    return Source(len(sizes), lambda rows: (np.asarray(rows),), lambda: np.asarray(sizes))


@pytest.mark.parametrize(("count", "batch"), [(100, 8), (64, 8), (5, 8), (9, 4)])
def test_every_row_comes_once(count, batch):
    batches = Batches(source(np.random.default_rng(0).integers(1, 50, count)), batch, seed=3)
    for epoch in (0, 1):
        batches.start_epoch(epoch)
        rows = [batches[i][0] for i in range(len(batches))]
        assert sorted(np.concatenate(rows)) == list(range(count))
        assert sorted(map(len, rows))[1:] == [batch] * (len(rows) - 1)


def test_rows_of_like_length_share_a_batch():
    sizes = np.random.default_rng(1).integers(1, 1000, 640)
    batches = Batches(source(sizes), 16, seed=0)
    spread = [np.ptp(sizes[batches[i][0]]) for i in range(len(batches))]
    assert np.mean(spread) < 60
    shuffled = Batches(Source(640, source(sizes).gather), 16, seed=0)
    assert np.mean([np.ptp(sizes[shuffled[i][0]]) for i in range(40)]) > 600


@pytest.mark.parametrize("count", [320, 325, 17, 3])
def test_the_longest_and_the_shortest_batch_come_first(count):
    sizes = np.random.default_rng(2).integers(1, 1000, count)
    batches = Batches(source(sizes), 16, seed=0)
    longest = [sizes[batches[i][0]].max() for i in range(len(batches))]
    assert longest[0] == max(longest)
    assert longest[min(1, len(longest) - 1)] == min(longest)


def test_the_order_depends_on_seed_and_epoch_alone():
    sizes = np.random.default_rng(3).integers(1, 1000, 320)
    one, other = Batches(source(sizes), 16, seed=5), Batches(source(sizes), 16, seed=5)
    other.start_epoch(2)
    first = [one[i][0].tolist() for i in range(20)]
    assert first != [other[i][0].tolist() for i in range(20)]
    other.start_epoch(0)
    assert first == [other[i][0].tolist() for i in range(20)]


def test_an_epoch_of_fewer_rows_draws_others_each_time():
    batches = Batches(source(np.arange(1, 201)), 10, seed=1, rows=50)
    seen = set()
    for epoch in range(3):
        batches.start_epoch(epoch)
        rows = np.concatenate([batches[i][0] for i in range(len(batches))])
        assert len(set(rows.tolist())) == 50
        seen |= set(rows.tolist())
    assert len(seen) > 80


def test_the_rest_of_an_epoch_has_the_rows_that_are_left():
    for sizes in (np.random.default_rng(4).integers(1, 500, 70), None):
        rows = source(np.arange(70)) if sizes is None else source(sizes)
        whole = Batches(rows if sizes is not None else Source(70, rows.gather), 8, seed=2)
        rest = Rest(whole, 3)
        assert len(rest) == len(whole) - 3
        left = np.concatenate([rest[i][0] for i in range(len(rest))])
        assert sorted(left) == sorted(np.concatenate([whole[i][0] for i in range(3, len(whole))]))
