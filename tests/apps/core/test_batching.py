"""Batches of rows of like length: every row once an epoch, the same for a seed, little padding."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import elman.layers as el
from elman.apps.core import training
from elman.apps.core.batching import Batches, Rest, pipeline
from elman.apps.core.config import TrainingConfig
from elman.apps.core.source import Source, ragged


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


@pytest.mark.parametrize("skipped", [1, 3, 7, 8])
def test_the_rest_of_an_epoch_has_the_batches_that_are_left_in_their_order(skipped):
    for sizes in (np.random.default_rng(4).integers(1, 500, 70), None):
        rows = source(np.arange(70)) if sizes is None else source(sizes)
        whole = Batches(rows if sizes is not None else Source(70, rows.gather), 8, seed=2)
        rest = Rest(whole, skipped)
        assert len(rest) == len(whole) - skipped
        looked = [rest[i][0].tolist() for i in range(min(2, len(rest)))]  # as Keras does, before the epoch begins
        expected = [0, 1] if len(rest) > 1 else [skipped]
        assert looked == [whole[i][0].tolist() for i in expected]
        rest.on_epoch_begin()
        left = [rest[i][0].tolist() for i in range(len(rest))]
        assert left == [whole[i][0].tolist() for i in range(skipped, len(whole))]


def test_a_pipeline_gives_the_batches_of_the_epoch_that_was_started():
    sequences = [np.full((n, 2), n, "float32") for n in np.random.default_rng(3).integers(1, 30, 50)]
    batches = Batches(ragged(sequences, np.arange(50)), 8, seed=0)
    fed = pipeline(batches)
    assert len(fed) == len(batches) == 7
    orders = []
    for epoch in (0, 1):
        batches.start_epoch(epoch)
        orders.append([])
        for step, (inputs, targets) in enumerate(fed):
            np.testing.assert_array_equal(inputs["sequence"], batches[step][0]["sequence"])
            np.testing.assert_array_equal(targets, batches[step][1])
            orders[-1].extend(targets.numpy())
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(50))
    assert orders[0] != orders[1]
    rest = Rest(batches, 5)
    assert [len(targets) for _, targets in pipeline(rest)] == [len(batches[i][1]) for i in (5, 6)]


def test_padding_is_what_the_batches_hold_beyond_their_rows():
    sizes = np.array([1, 2, 3, 10])
    batches = Batches(source(sizes), 2, seed=None)
    assert batches.padding() == {"share": pytest.approx(1 - 16 / 24), "plain": pytest.approx(1 - 16 / 24)}
    mixed = Batches(source(sizes[[0, 3, 1, 2]]), 2, seed=None)
    assert mixed.padding() == {"share": pytest.approx(1 - 16 / 24), "plain": pytest.approx(1 - 16 / 26)}
    fixed = Source(4, lambda rows: (rows,), lambda: sizes, alike=False, padded=lambda longest: 16)
    assert Batches(fixed, 2, seed=0).padding() == {"share": pytest.approx(1 - 16 / 64)}
    assert [row for batch in Batches(fixed, 2).batches for row in batch] == [0, 1, 2, 3]
    assert Batches(Source(4, lambda rows: (rows,)), 2).padding() is None


def test_like_lengths_leave_a_quarter_of_the_padding():
    sizes = np.random.default_rng(0).geometric(0.08, 3000)
    padding = Batches(source(sizes), 32, seed=0).padding()
    assert padding["share"] < 0.15 < 0.5 < padding["plain"]
    filled = Batches(Source(3000, lambda rows: (rows,), lambda: sizes, padded=lambda n: -(-n // 64) * 64), 32, seed=0)
    assert filled.padding()["share"] > padding["share"]


@pytest.mark.parametrize("make", [list, tf.ragged.constant], ids=["list", "ragged tensor"])
def test_ragged_rows_become_arrays_with_a_mask(make):
    rows = [[1, 2, 3], [4], [5, 6]]
    inputs, targets = ragged(make(rows), [7, 8, 9]).gather(np.array([2, 0]))
    np.testing.assert_array_equal(inputs["sequence"], [[5, 6, 0], [1, 2, 3]])
    np.testing.assert_array_equal(inputs["mask"], [[True, True, False], [True] * 3])
    np.testing.assert_array_equal(targets, [9, 7])
    _, targets, weights = ragged(make(rows), make(rows)).gather(np.array([1, 2]))
    np.testing.assert_array_equal(targets, [[4, 0], [5, 6]])
    np.testing.assert_array_equal(weights, [[1, 0], [1, 1]])
    with pytest.raises(ValueError, match="expected a target for each sequence, received 3 and 2"):
        ragged(rows, [1, 2])


def test_ragged_rows_are_learnt_from_and_their_padding_is_not(tmp_path):
    """The last of the real steps is the answer: what is filled in changes neither loss nor history."""
    random = np.random.default_rng(0)
    rows = [random.normal(size=(n, 1)).astype("float32") for n in random.integers(1, 16, 64)]
    config = TrainingConfig(epochs=3, batch_size=8, learning_rate=0.01)

    def history(padding, folder):
        keras.utils.set_random_seed(0)
        inputs = {
            "sequence": keras.Input((None, 1), name="sequence"),
            "mask": keras.Input((None,), dtype="bool", name="mask"),
        }
        hidden = el.Recurrent(el.ElmanCell(8))(inputs["sequence"], mask=inputs["mask"])
        model = keras.Model(inputs, keras.layers.Dense(1)(hidden))
        source = ragged(rows, [row[-1] for row in rows], padding)
        found = training.fit(model, config, "mse", source, source, folder, quiet=True)
        assert found.padding["share"] < found.padding["plain"]
        return [(row["loss"], row["val_loss"]) for row in found.history]

    first = history(0.0, tmp_path / "zeros")
    assert first == history(np.nan, tmp_path / "nans")
    assert first[2][0] < first[0][0]


def test_the_number_of_shapes_that_are_compiled_is_bounded():
    """An unknown length is filled up to a power of two, an unknown batch size to one of eight sizes for each."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("the loop of TensorFlow")
    from elman.layers.kernels.tensorflow import _bucket

    lengths = {int(_bucket(None, tf.constant(n), 1)) for n in range(1, 1025)}
    assert sorted(lengths) == [16, 32, 64, 128, 256, 512, 1024]
    sizes = [int(_bucket(None, tf.constant(n), 8)) for n in range(1, 257)]
    assert all(n <= size <= max(1.125 * n, n + 1) for n, size in enumerate(sizes, 1))
    assert len({s for s in sizes if s > 128}) == 8
