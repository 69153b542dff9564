"""Truncated back-propagation: the states pass the edge of a window, the gradient does not."""

import itertools
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops

import elman.layers as el
from elman.apps.core import checkpoint, training
from elman.apps.core.config import TrainingConfig
from elman.apps.core.gradients import differentiate
from elman.apps.core.source import Source
from elman.apps.core.streams import Carrying, Streams

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 12, 2)).astype("float32")
WINDOW = 4


def carrying(make, batch=3):
    """A model of one recurrent layer, trained in windows, and the same over whole sequences."""
    keras.utils.set_random_seed(1)
    cell = make(5)
    over_time = el.Recurrent(cell, return_sequences=True, return_state=True)
    dense = keras.layers.Dense(1)
    inputs = keras.Input((None, 2))
    whole = keras.Model(inputs, dense(over_time(inputs)[0]))

    def window(x, states, training):
        hidden, *states = over_time(x, initial_state=states, training=training)
        return dense(hidden), states

    return Carrying(whole, window, cell.get_initial_state(batch)), whole


def read(model, x, begins=()):
    """The outputs of one window after the other."""
    starts = range(0, x.shape[1], WINDOW)
    return [model({"inputs": x[:, s : s + WINDOW], "begins": np.full(len(x), s in (0, *begins))}) for s in starts]


def stack(units):
    return el.StackedCells([el.LSTMCell(units), el.GRUCell(units)])


@pytest.mark.parametrize("make", [el.GRUCell, el.SLSTMCell, stack])
def test_windows_give_what_the_whole_sequence_gives(make):
    model, whole = carrying(make)
    np.testing.assert_allclose(ops.concatenate(read(model, X), axis=1), whole(X), atol=1e-6)


def test_a_stream_that_begins_knows_nothing_of_the_one_before():
    model, whole = carrying(el.LSTMCell)
    read(model, X)
    begins = np.array([True, False, True])
    found = np.array(model({"inputs": X[:, :WINDOW], "begins": begins}))
    anew = np.array(whole(X[:, :WINDOW]))
    np.testing.assert_allclose(found[begins], anew[begins], atol=1e-6)
    assert np.abs(found - anew)[~begins].max() > 1e-3


def test_states_pass_the_edge_of_a_window():
    model, _ = carrying(el.LSTMCell)
    other = X.copy()
    other[:, 1] += 1.0  # in the first window
    second, changed = read(model, X)[1], read(model, other)[1]
    assert np.abs(np.array(second) - np.array(changed)).min() > 1e-5


def test_gradients_stop_at_the_edge_of_a_window():
    model, whole = carrying(el.LSTMCell)
    fixed, weights = [v.value for v in model.non_trainable_variables], [v.value for v in model.trainable_variables]

    def later(first, second, through):
        """The loss on the second window alone."""
        if not through:
            outputs, _ = whole.stateless_call(weights, [], ops.concatenate([first, second], 1))
            return ops.sum(ops.square(outputs[:, WINDOW:]))
        begins = np.ones(3, bool)
        _, states = model.stateless_call(weights, fixed, {"inputs": first, "begins": begins})
        outputs, _ = model.stateless_call(weights, states, {"inputs": second, "begins": ~begins})
        return ops.sum(ops.square(outputs))

    parts = ops.convert_to_tensor(X[:, :WINDOW]), ops.convert_to_tensor(X[:, WINDOW : 2 * WINDOW])
    before, within = differentiate(lambda a, b: later(a, b, True), *parts)
    full_before, full_within = differentiate(lambda a, b: later(a, b, False), *parts)
    assert (before == 0).all()
    assert (np.abs(full_before).sum(axis=-1) > 1e-6).all()
    np.testing.assert_allclose(within, full_within, rtol=1e-4, atol=1e-6)


# Streams

DOCUMENTS = [5, 1, 3, 8, 2, 4]  # windows of each


def source(documents=DOCUMENTS):
    """Row k is the k-th window: its input says which document and which window of it."""
    rows = np.array([(d, w) for d, count in enumerate(documents) for w in range(count)], "float32")
    edges = np.cumsum([0, *documents])
    chains = [np.arange(a, b) for a, b in itertools.pairwise(edges)]

    def gather(indices):
        return rows[indices], rows[indices], np.full((len(indices), WINDOW), 0.5, "float32")

    return Source(len(rows), gather, chains=lambda: chains)


@pytest.mark.parametrize("batch", [1, 4, 5, 40])
def test_every_window_comes_once_behind_the_one_before_it(batch):
    streams = Streams(source(), batch, seed=1)
    seen, orders = [], []
    for epoch in (0, 1):
        streams.start_epoch(epoch)
        batches = [streams[i] for i in range(len(streams))]
        assert {inputs["inputs"].shape for inputs, _, _ in batches} == {(batch, 2)}
        for lane in range(batch):
            before = None
            for inputs, _, weight in batches:
                if weight[lane].max() == 0:
                    continue
                assert (weight[lane] == 0.5).all()
                document, place = inputs["inputs"][lane]
                if not inputs["begins"][lane]:
                    assert before == (document, place - 1)
                assert inputs["begins"][lane] or place > 0
                before = (document, place)
                seen.append((epoch, document, place))
        orders.append([tuple(row) for inputs, _, _ in batches for row in inputs["inputs"]])
    assert len(seen) == len(set(seen)) == 2 * sum(DOCUMENTS)
    assert batch == 40 or orders[0] != orders[1]


def test_most_windows_go_on():
    streams = Streams(source(), 2, seed=0)
    batches = [streams[i] for i in range(len(streams))]
    begins = sum(int((inputs["begins"] & (weights[:, 0] > 0)).sum()) for inputs, _, weights in batches)
    assert begins <= len(DOCUMENTS) + 1  # and one where a lane begins within a document


def series(count=6, windows=5):
    """The next value of noisy sines, in windows."""
    t = np.arange(windows * WINDOW + 1) / 3 + RNG.uniform(0, 6, (count, 1))
    y = (np.sin(t) + 0.1 * RNG.normal(size=t.shape)).astype("float32")[..., None]
    x = np.concatenate([y[:, :-1], np.ones_like(y[:, :-1])], -1)

    def gather(indices):
        of, start = indices // windows, indices % windows * WINDOW
        steps = start[:, None] + np.arange(WINDOW)
        return x[of[:, None], steps], y[of[:, None], steps + 1], np.ones(steps.shape, "float32")

    chains = np.arange(count * windows).reshape(count, windows)
    return Source(count * windows, gather, chains=lambda: list(chains))


CONFIG = TrainingConfig(epochs=4, batch_size=2, learning_rate=0.02, patience=0, checkpoint_seconds=1e-9)


def rows(fitted):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in fitted.history]


@pytest.mark.parametrize("calls", [4, 25])
def test_a_resumed_training_goes_on_with_its_states(tmp_path, calls):
    train, held_out = series(), series(2)
    whole, _ = carrying(el.ElmanCell, 2)
    expected = training.fit(whole, CONFIG, "mse", train, held_out, tmp_path / "whole", quiet=True)
    assert expected.history[-1]["val_loss"] < expected.history[0]["val_loss"]
    seen = []

    def breaking(indices):
        seen.append(1)
        if len(seen) > calls:
            raise OSError("the disk is gone")
        return train.gather(indices)

    broken, model = Source(train.count, breaking, chains=train.chains), carrying(el.ElmanCell, 2)[0]
    with pytest.raises(Exception, match="the disk is gone"):
        training.fit(model, CONFIG, "mse", broken, held_out, tmp_path / "broken", quiet=True)
    assert checkpoint.read(tmp_path / "broken" / checkpoint.LAST)["step"] > 0
    model, _ = carrying(el.ElmanCell, 2)
    found = training.fit(model, CONFIG, "mse", train, held_out, tmp_path / "broken", quiet=True, resume=True)
    assert rows(found) == rows(expected)
    for a, b in zip(whole.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_the_same_on_jax():
    pytest.importorskip("jax")
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not slow", __file__]
    done = subprocess.run(command, env={**os.environ, "KERAS_BACKEND": "jax"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
