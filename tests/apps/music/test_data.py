"""Splits, windows and statistics."""

import dataclasses

import numpy as np
import pytest

from elman.apps.core.errors import DataError
from elman.apps.music import data, midi, statistics
from elman.apps.music.config import Config
from elman.apps.music.score import Piece, make_notes


def folder(path, count=20, beats=16):
    rng = np.random.default_rng(0)
    for number in range(count):
        notes = [(b / 2, 0.5, rng.integers(50, 70), 80, 0) for b in range(2 * beats)]
        midi.write(Piece(str(number), make_notes(notes), beats), path / f"{number}.mid")
    return Config(data=str(path), window=24, transpose=2, steps_per_beat=2)


def test_pieces_are_split_once_and_for_all(tmp_path):
    config = folder(tmp_path)
    first, second = data.load(config), data.load(dataclasses.replace(config, seed=9))
    names = [[e.piece.name for e in d.parts["test"]] for d in (first, second)]
    assert names[0] == names[1]
    assert [len(p) for p in first.parts.values()] == [16, 2, 2]
    again = data.load(config, codec=first.codec)
    assert [e.piece.name for e in again.parts["test"]] == names[0]


def test_other_data_are_all_test(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    codec = data.load(folder(tmp_path / "a")).codec
    config = folder(tmp_path / "b", 5, beats=12)
    loaded = data.load(config, codec=codec)
    assert [len(p) for p in loaded.parts.values()] == [0, 0, 5]


def test_windows_cover_every_step_in_every_transposition(tmp_path):
    loaded = data.load(folder(tmp_path))
    assert loaded.train.count == 16 * 2 * 5  # 32 steps are two windows of 24
    assert loaded.rows_per_epoch == 32
    inputs, targets, weights = loaded.train.gather(np.arange(10))
    assert inputs["sequence"].shape == (10, 25, 88)
    np.testing.assert_array_equal(inputs["sequence"][:, 1:], targets)
    assert weights.min() == 1
    np.testing.assert_array_equal(inputs["sequence"][0, 1:, 10:80], inputs["sequence"][4, 1:, 14:84])  # −2 and +2
    first, second = inputs["sequence"][2], inputs["sequence"][7]  # the same piece at step 0 and at step 8, as it is
    np.testing.assert_array_equal(first[9:], second[1:17])
    np.testing.assert_array_equal(first[8], second[0])


def test_carried_windows_follow_on_each_other(tmp_path):
    loaded = data.load(dataclasses.replace(folder(tmp_path), carry=True))
    assert loaded.train.count == 16 * 2 * 5
    chains = loaded.train.chains()
    assert sorted(np.concatenate(chains)) == list(range(160))
    for chain in chains:
        inputs, _, weights = loaded.train.gather(chain)
        assert weights.sum(axis=1).tolist() == [24, 8] == loaded.train.sizes()[chain].tolist()
        np.testing.assert_array_equal(inputs["sequence"][1, 0], inputs["sequence"][0, -1])


def test_too_few_pieces_are_refused(tmp_path):
    with pytest.raises(DataError, match="no piece for"):
        data.load(folder(tmp_path, 2))


def test_copies_are_found_in_any_key():
    rng = np.random.default_rng(0)
    training = [np.pad((rng.random((40, 20)) < 0.2).astype(np.uint8), ((0, 0), (30, 38))) for _ in range(2)]
    stolen = np.roll(training[1], 4, axis=1)[3:23]
    assert statistics.copies([stolen], training, 4) == 1.0
    changed = stolen.copy()
    changed[::8, 50] ^= 1
    assert statistics.copies([changed], training, 4) == 0.0


def test_statistics_of_a_known_roll():
    roll = np.zeros((8, 88), np.uint8)
    roll[0:4, 39] = roll[4:8, 39 + 7] = 1
    roll[0:2, 43] = 1
    found = statistics.statistics([roll], 4)
    assert found["pitch_classes"][[0, 4, 7]] == pytest.approx([1 / 3] * 3)
    assert found["note_lengths"][[2, 4]] == pytest.approx([1 / 3, 2 / 3])
    assert found["polyphony"][[1, 2]] == pytest.approx([0.75, 0.25])
    assert statistics.repetition([np.tile(roll, (3, 1))], 4) == pytest.approx(4 / 5)
    assert statistics.distances(found, found)["mean"] == 0.0
