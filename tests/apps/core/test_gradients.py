import csv
import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

import elman.layers as el
from elman.apps.core import training
from elman.apps.core.config import TrainingConfig
from elman.apps.core.gradients import gradient_norms
from elman.apps.core.source import Source

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(4, 9, 3)).astype("float32"), RNG.normal(size=(4, 1)).astype("float32")
LOSS = keras.losses.MeanSquaredError()


def net(*layers):
    keras.utils.set_random_seed(1)
    return keras.Sequential([keras.Input(X.shape[1:]), *layers, keras.layers.Dense(1, name="out")])


def test_over_time_it_is_the_product_of_the_jacobians():
    """A linear Elman cell: ∂L/∂h_t = ∂L/∂h_T Uᵀ^(T−t), exactly."""
    model = net(el.Recurrent(el.ElmanCell(5, activation="linear"), name="elman"))
    layers, states = gradient_norms(model, LOSS, X, Y)
    matrix = np.array(model.get_layer("elman").cell.recurrent_kernel, float)
    gradient = 2 / len(X) * (np.array(model(X), float) - Y) @ np.array(model.get_layer("out").kernel, float).T
    expected = []
    for _ in range(X.shape[1]):
        expected.append(np.linalg.norm(gradient))
        gradient = gradient @ matrix.T
    np.testing.assert_allclose(states["elman"], expected[::-1], rtol=1e-4)
    with tf.GradientTape() as tape:
        loss = LOSS(Y, model(X))
    of_out = tape.gradient(loss, [v.value for v in model.get_layer("out").trainable_variables])
    assert layers["out"] == pytest.approx(np.sqrt(sum(np.sum(np.square(g)) for g in of_out)), rel=1e-4)
    assert len(layers) == 2


def test_stacks_directions_and_masks():
    model = net(
        keras.layers.Masking(),
        keras.layers.Bidirectional(el.Recurrent(el.GRUCell(4), return_sequences=True, name="both")),
        el.Recurrent([el.LSTMCell(4), el.MinGRUCell(3)], name="stack"),
    )
    x = X.copy()
    x[:, 6:] = 0
    _, states = gradient_norms(model, LOSS, x, Y)
    assert {name: len(norms) for name, norms in states.items()} == {
        "forward_both": 9, "backward_both": 9, "stack, 1": 9, "stack, 2": 9,
    }  # fmt: skip
    for name, norms in states.items():
        assert (norms[:6] > 0).all(), name
        # Behind the last step of the mask the states are held: the gradient passes through them.
        np.testing.assert_allclose(norms[6:], 0 if "both" in name else norms[-1], err_msg=name)


def test_gates_keep_a_gradient_that_a_plain_cell_loses():
    x = RNG.normal(size=(8, 100, 3)).astype("float32")
    share = {}
    for name, cell in (
        ("elman", el.ElmanCell(16, recurrent_initializer=keras.initializers.RandomNormal(stddev=0.1))),
        ("lstm", el.LSTMCell(16, forget_bias=4.0)),
    ):
        model = keras.Sequential([keras.Input((100, 3)), el.Recurrent(cell, name="cell"), keras.layers.Dense(1)])
        norms = gradient_norms(model, LOSS, x, np.ones((8, 1)))[1]["cell"]
        share[name] = norms[0] / norms[-1]
    assert share["elman"] < 1e-9
    assert share["lstm"] > 1e-4


def test_what_is_nudged_by_nothing_is_as_before():
    layer = el.Recurrent([el.LSTMCell(4), el.GRUCell(3)], return_sequences=True)
    before = np.array(layer(X))
    with el.Nudges() as found:
        np.testing.assert_allclose(layer(X), before, atol=1e-6)
    assert [[t.shape for t in cell] for cell in found.tensors] == [[(9, 4, 4)] * 2, [(9, 4, 3)]]
    with el.Nudges([found.tensors[0], [found.tensors[1][0] + 1.0]]):
        assert np.abs(np.array(layer(X)) - before).min() > 1e-3


def test_watching_leaves_tables_and_a_plot(tmp_path):
    config = TrainingConfig(epochs=2, batch_size=2, watch_gradients=True)
    source = Source(4, lambda rows: (X[rows], Y[rows]))
    for epochs, resume in ((2, False), (3, True)):
        model = net(el.Recurrent(el.LSTMCell(4), name="lstm"))
        training.fit(
            model,
            dataclasses.replace(config, epochs=epochs),
            LOSS,
            source,
            source,
            tmp_path,
            quiet=True,
            resume=resume,
        )
    with (tmp_path / "gradients_over_time.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(int(r["epoch"]), int(r["step"])) for r in rows] == [(e, t) for e in (1, 2, 3) for t in range(1, 10)]
    assert all(float(r["norm"]) > 0 for r in rows)
    assert (tmp_path / "plots" / "gradients.png").read_bytes()[:4] == b"\x89PNG"


def test_an_attention_cell_is_watched_without_its_memory():
    decoder = el.AttentionDecoder(el.LSTMCell(4), el.BahdanauAttention(5))
    inputs = {"x": keras.Input((9, 3), name="x"), "memory": keras.Input((6, 2), name="memory")}
    model = keras.Model(inputs, decoder(inputs["x"], inputs["memory"]))
    memory = RNG.normal(size=(4, 6, 2)).astype("float32")
    _, states = gradient_norms(model, LOSS, {"x": X, "memory": memory}, np.zeros((4, 9, 6), "float32"))
    (norms,) = states.values()
    assert len(norms) == 9
    assert (norms[:-1] > 0).all()  # the last states reach the loss by no later step
