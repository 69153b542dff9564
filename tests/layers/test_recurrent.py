"""The driver: against keras.layers, against itself another way, and on what should not work."""

import re

import keras
import numpy as np
import pytest
from keras import ops

from elman.layers import (
    AttentionDecoder,
    BahdanauAttention,
    ElmanCell,
    GRUCell,
    LayerNormGRUCell,
    LayerNormLSTMCell,
    LSTMCell,
    MinGRUCell,
    NASCell,
    Recurrent,
    StackedCells,
    ZoneoutCell,
)

tf = pytest.importorskip("tensorflow")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 7, 5)).astype("float32")
MASK = RNG.random((3, 7)) > 0.4
MASK[0] = False
PAIRS = {
    "elman": (lambda: ElmanCell(6), lambda: keras.layers.SimpleRNNCell(6)),
    "lstm": (lambda: LSTMCell(6), lambda: keras.layers.LSTMCell(6)),
    "gru": (lambda: GRUCell(6), lambda: keras.layers.GRUCell(6)),
    "gru_before": (lambda: GRUCell(6, reset_after=False), lambda: keras.layers.GRUCell(6, reset_after=False)),
}
COMPILED = {
    "elman": lambda: ElmanCell(6, activation="relu"),
    "lstm": lambda: LSTMCell(6, dropout=0.3, recurrent_dropout=0.4),
    "peepholes": lambda: LSTMCell(4, peepholes=True, projection=6),
    "gru": lambda: GRUCell(6, recurrent_dropout=0.4),
    "gru_before": lambda: GRUCell(6, reset_after=False),
    "lstm_norm": lambda: LayerNormLSTMCell(6),
    "gru_norm": lambda: LayerNormGRUCell(6, reset_after=False),
}


def randomize(cell, seed=1):
    rng = np.random.default_rng(seed)
    for weight in cell.trainable_weights:
        weight.assign(rng.normal(size=weight.shape) * 0.5)


def copy(theirs, cell):
    weights = theirs.get_weights()
    if len(cell.weights) == 4:  # Keras has the two biases of a GRU in one
        weights = [*weights[:2], *weights[2]]
    cell.set_weights(weights)


@pytest.mark.parametrize("unroll", [False, True])
@pytest.mark.parametrize("name", PAIRS)
def test_as_keras_rnn(name, unroll):
    ours, theirs = (make() for make in PAIRS[name])
    for cell in (ours, theirs):
        cell.build((3, 5))
    randomize(theirs)
    copy(theirs, ours)
    for mask, backwards, zero in ((None, False, False), (MASK, True, False), (MASK, False, True)):
        options = dict(return_sequences=True, return_state=True, go_backwards=backwards, zero_output_for_mask=zero)
        expected = keras.layers.RNN(theirs, **options)(X, mask=mask)
        received = Recurrent(ours, unroll=unroll, **options)(X, mask=mask)
        for e, r in zip(expected, received, strict=True):
            np.testing.assert_allclose(r, e, atol=1e-6)


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_each_others_cells(name):
    ours, theirs = (make() for make in PAIRS[name])
    ours.build((3, 5))
    randomize(ours)
    np.testing.assert_allclose(keras.layers.RNN(ours)(X), Recurrent(ours, unroll=True)(X), atol=1e-6)
    np.testing.assert_allclose(Recurrent(theirs)(X, mask=MASK), keras.layers.RNN(theirs)(X, mask=MASK), atol=1e-6)


def test_keras_cell_drops_out_one_mask_per_sequence():
    cell = keras.layers.LSTMCell(6, dropout=0.5, seed=3)
    layer, x = Recurrent(cell, return_sequences=True, unroll=True), np.ones((1, 4, 50), "float32")
    kernel = np.zeros((50, 24))
    kernel[:, 12:18] = 1.0  # only the candidate sees the input
    layer(x)
    cell.set_weights([kernel / 50, np.zeros((6, 24)), np.zeros(24)])
    first, second = layer(x, training=True), layer(x, training=True)
    c = np.arctanh(np.array(first) / 0.5)[0, :, 0]  # all gates are at 1/2, so that c' = c / 2 + tanh(u) / 2
    steps = c - 0.5 * np.concatenate([[0], c[:-1]])
    np.testing.assert_allclose(steps, steps[0], rtol=1e-4)
    assert np.abs(first - second).max() > 1e-4


def gradients(layer, x, states, mask, weights, training=True):
    cell = layer.cell
    if hasattr(cell, "seed_generator"):
        cell.seed_generator.state.assign([1, 2])
    variables = [w.value for w in cell.weights]
    with tf.GradientTape() as tape:
        tape.watch([x, states])
        output, *final = layer(x, initial_state=states, mask=mask, training=training)
        loss = tf.reduce_sum(output * weights) + sum(tf.reduce_sum(s**2) for s in final)
    return [output, *final, *tape.gradient(loss, [x, *states, *variables])]


@pytest.mark.parametrize("name", COMPILED)
def test_compiled_loop(name):
    """The compiled loop and its hand-written backward pass against automatic differentiation of the unrolled steps."""
    cell = COMPILED[name]()
    masked, collect, zero = name not in ("lstm", "gru_norm"), name != "elman", name == "gru"
    options = dict(return_sequences=collect, return_state=True, zero_output_for_mask=zero, go_backwards=name == "gru")
    fast, slow = Recurrent(cell, **options), Recurrent(cell, unroll=True, **options)
    fast.build(X.shape)
    randomize(cell)
    states = [tf.constant(RNG.normal(size=(3, n)), "float32") for n in cell.state_size]
    weights = RNG.normal(size=(3, 7, 6) if collect else (3, 6)).astype("float32")
    mask = MASK if masked else None
    expected = gradients(slow, tf.constant(X), states, mask, weights)
    received = gradients(fast, tf.constant(X), states, mask, weights)
    for e, r in zip(expected, received, strict=True):
        np.testing.assert_allclose(r, e, atol=2e-5, rtol=1e-4)


def test_compiled_loop_of_unknown_shape():
    """Padding, and the halves of a batch side by side, in a graph that knows neither length nor batch size."""
    cell = GRUCell(6)
    fast, slow = Recurrent(cell, return_sequences=True, return_state=True), Recurrent(cell, True, True, unroll=True)
    fast.build((None, None, 5))
    randomize(cell)

    @tf.function(input_signature=[tf.TensorSpec([None, None, n], d) for n, d in ((5, "float32"), (1, "bool"))])
    def run(x, mask):
        weights = tf.random.stateless_uniform((tf.shape(x)[0], tf.shape(x)[1], 6), (1, 2))
        return weights, gradients(fast, x, [tf.zeros((tf.shape(x)[0], 6))], mask[..., 0], weights)

    for batch, length in ((33, 5), (2, 9)):
        x = tf.constant(RNG.normal(size=(batch, length, 5)), "float32")
        mask = RNG.random((batch, length)) > 0.3
        weights, received = run(x, mask[..., None])
        expected = gradients(slow, x, [tf.zeros((batch, 6))], mask, weights)
        for e, r in zip(expected, received, strict=True):
            np.testing.assert_allclose(r, e, atol=5e-5, rtol=1e-4)


def test_no_second_derivative_in_silence():
    layer = Recurrent(ElmanCell(3))
    x = tf.constant(X)
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = layer(x, training=True)
        first = inner.gradient(y, x)
    with pytest.raises(NotImplementedError, match="unroll=True"):
        outer.gradient(first, x)


@pytest.mark.parametrize(("masked", "jit_compile"), [(True, "auto"), (False, True)])
def test_fit_as_keras(masked, jit_compile):
    """Three batches, the last one short, end in the weights that keras.layers.LSTM ends in."""
    x = RNG.normal(size=(90, 7, 5)).astype("float32")
    x[3, 4:] = 0
    ends = []
    for layer in (Recurrent(LSTMCell(6)), keras.layers.LSTM(6)):
        model = keras.Sequential([keras.Input((None, 5)), keras.layers.Masking(0.0 if masked else 9.0), layer])
        model.set_weights([np.random.default_rng(2).normal(size=w.shape) * 0.5 for w in model.weights])
        model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=jit_compile)
        model.fit(x, np.zeros((90, 6)), batch_size=40, verbose=0, shuffle=False)
        ends.append(model.get_weights())
    for ours, theirs in zip(*ends, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "make", [lambda: NASCell(3), lambda: ZoneoutCell(LSTMCell(3)), lambda: keras.layers.LSTMCell(3, dropout=0.2)]
)
def test_a_plain_loop_trains_under_xla(make):
    model = keras.Sequential([keras.Input((7, 5)), Recurrent(make())])
    model.compile("adam", "mse", jit_compile=True)
    assert np.isfinite(model.fit(X, np.zeros((3, 3)), verbose=0).history["loss"][0])


def test_bidirectional():
    ours = keras.layers.Bidirectional(Recurrent(GRUCell(4), return_sequences=True))
    theirs = keras.layers.Bidirectional(keras.layers.GRU(4, return_sequences=True))
    theirs(X, mask=MASK), ours(X, mask=MASK)
    for mine, peer in ((ours.forward_layer, theirs.forward_layer), (ours.backward_layer, theirs.backward_layer)):
        randomize(peer)
        copy(peer, mine.cell)
    np.testing.assert_allclose(ours(X, mask=MASK), theirs(X, mask=MASK), atol=1e-6)


@pytest.mark.parametrize("collect", [False, True])
def test_recomputed_segments(collect):
    """With a segment length that does not divide the length, and a sequence masked over whole segments."""
    cell = LSTMCell(6)
    mask = MASK.copy()
    mask[1, 2:5] = False
    states = [tf.constant(RNG.normal(size=(3, 6)), "float32") for _ in range(2)]
    weights = RNG.normal(size=(3, 7, 6) if collect else (3, 6)).astype("float32")
    layers = [Recurrent(cell, collect, True, recompute=n) for n in (None, 3)]
    layers[0].build(X.shape)
    expected, received = (gradients(layer, tf.constant(X), states, mask, weights) for layer in layers)
    for e, r in zip(expected, received, strict=True):
        np.testing.assert_allclose(r, e, atol=2e-5, rtol=1e-4)


def test_windows_of_truncated_back_propagation():
    """States out of one window and into the next give the whole sequence; detached, they stop the gradient."""
    layer = Recurrent([LSTMCell(4), GRUCell(6)], return_sequences=True, return_state=True)
    x = tf.constant(X)
    whole, *final = layer(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        first, *states = layer(x[:, :4])
        second, *states = layer(x[:, 4:], initial_state=keras.tree.map_structure(ops.stop_gradient, states))
        loss = tf.reduce_sum(second**2)
    np.testing.assert_allclose(ops.concatenate([first, second], 1), whole, atol=1e-6)
    for a, b in zip(keras.tree.flatten(states), keras.tree.flatten(final), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    gradient = tape.gradient(loss, x)
    assert np.all(gradient[:, :4] == 0)
    assert np.all(np.abs(gradient[:, 4:]).sum(-1) > 0)


@pytest.mark.parametrize("collect", [False, True])
def test_a_stack_in_training_is_that_of_its_steps(collect):
    """A stack runs cell by cell, each in its fastest form; unrolled, it runs step by step."""
    cell = StackedCells([ElmanCell(3), LSTMCell(4, recurrent_dropout=0.4, seed=1), MinGRUCell(5), GRUCell(6)])
    fast, slow = (Recurrent(cell, collect, True, zero_output_for_mask=True, unroll=u) for u in (False, True))
    fast.build(X.shape)
    randomize(cell)
    states = [[tf.constant(RNG.normal(size=(3, n)), "float32") for n in c.state_size] for c in cell.cells]
    weights, x = RNG.normal(size=(3, 7, 6) if collect else (3, 6)).astype("float32"), tf.constant(X)
    results = []
    for layer in (fast, slow):
        cell.cells[1].seed_generator.state.assign([1, 2])
        with tf.GradientTape() as tape:
            tape.watch([x, states])
            output, *final = layer(x, initial_state=states, mask=MASK, training=True)
            loss = tf.reduce_sum(output * weights) + sum(tf.reduce_sum(s**2) for s in tf.nest.flatten(final))
        variables = [x, *tf.nest.flatten(states), *(w.value for w in cell.trainable_weights)]
        results.append([output, *tf.nest.flatten(final), *tape.gradient(loss, variables)])
    for e, r in zip(*results, strict=True):
        np.testing.assert_allclose(r, e, atol=2e-5, rtol=1e-4)


def test_stack_is_layer_on_layer():
    cells = [ElmanCell(3), LSTMCell(4), GRUCell(6)]
    stacked = Recurrent(cells, return_sequences=True)(X, mask=MASK)
    y = X
    for cell in cells:
        y = Recurrent(cell, return_sequences=True)(y, mask=MASK)
    np.testing.assert_allclose(stacked, y, atol=1e-6)


def test_a_list_with_keras_cells_is_a_stack():
    cells = [LSTMCell(4), keras.layers.GRUCell(6, dropout=0.2)]
    stacked = Recurrent(cells, return_sequences=True)
    y = Recurrent(cells[1])(Recurrent(cells[0], return_sequences=True)(X))
    np.testing.assert_allclose(stacked(X)[:, -1], y, atol=1e-6)
    again = Recurrent.from_config(stacked.get_config())
    assert [type(cell) for cell in again.cell.cells] == [type(cell) for cell in cells]


def test_integers_and_sequences_without_a_step():
    layer = Recurrent(LSTMCell(6), return_sequences=True)
    np.testing.assert_allclose(layer(np.ones((2, 3, 5), "int32")), layer(np.ones((2, 3, 5), "float32")))
    assert layer(X[:, :0]).shape == (3, 0, 6)


@pytest.mark.parametrize("unroll", [False, True])
def test_nan_in_a_masked_step_does_not_leak(unroll):
    layer = Recurrent(LSTMCell(6), return_sequences=True, return_state=True, unroll=unroll)
    layer.build(X.shape)
    clean, states = tf.constant(np.where(MASK[..., None], X, 0)), [tf.zeros((3, 6))] * 2
    expected = gradients(layer, clean, states, MASK, 1.0)
    received = gradients(layer, tf.constant(np.where(MASK[..., None], X, np.nan)), states, MASK, 1.0)
    for e, r in zip(expected, received, strict=True):
        np.testing.assert_array_equal(r, e)
    assert np.all(received[3][~MASK] == 0)


def test_irnn_carries_its_state():
    cell = ElmanCell(6, activation="relu", recurrent_initializer="identity")
    h = np.abs(RNG.normal(size=(3, 6))).astype("float32")
    np.testing.assert_allclose(Recurrent(cell)(X * 0, initial_state=[h]), h, atol=1e-6)


def test_dropout_is_locked():
    """The same units are off at every step of a sequence, and others in the next sequence."""
    cell = ElmanCell(4, activation="linear", dropout=0.5, seed=1)
    layer = Recurrent(cell, return_sequences=True)
    layer.build((1, 6, 9))
    cell.recurrent_kernel.assign(np.zeros((4, 4)))
    x = np.ones((1, 6, 9), "float32")
    first, second = (np.array(layer(x, training=True)) for _ in range(2))
    assert np.all(first == first[:, :1])
    assert np.any(first != second)
    np.testing.assert_allclose(layer(x)[0, 0], np.sum(cell.input_kernel, 0), atol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy):
    cell = LSTMCell(6, dtype=policy)
    layer = Recurrent(cell, return_sequences=True, return_state=True)
    layer.build(X.shape)
    states = [tf.zeros((3, 6), layer.compute_dtype)] * 2
    received = gradients(layer, tf.constant(X), states, MASK, tf.ones((), layer.compute_dtype))
    exact = LSTMCell(6)
    exact.build((3, 5))
    exact.set_weights(cell.get_weights())
    full = Recurrent(exact, return_sequences=True, return_state=True, unroll=True)
    expected = gradients(full, tf.constant(X), [tf.zeros((3, 6))] * 2, MASK, 1.0)
    assert received[0].dtype == layer.compute_dtype
    assert cell.input_kernel.dtype == "float32"
    for e, r in zip(expected, received, strict=True):
        np.testing.assert_allclose(tf.cast(r, "float32"), e, atol=0.15 if policy.endswith("bfloat16") else 0.02)


def test_free_batch_converts_to_litert(tmp_path):
    """A masked loop of a free batch size and length, with built-in ops only."""
    inputs = keras.Input((None, 5))
    cells = [LSTMCell(4), GRUCell(6)]
    model = keras.Model(inputs, Recurrent(cells, return_sequences=True)(keras.layers.Masking()(inputs)))
    model.export(tmp_path / "model", verbose=0)
    flat = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "model")).convert()
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_content=flat).get_signature_runner()
    x = np.where(MASK[..., None], X, 0)
    (received,) = runner(**{next(iter(runner.get_input_details())): x}).values()
    np.testing.assert_allclose(received, model(x), atol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LSTMCell(0), "expected units to be a positive integer, received units=0"),
        (lambda: GRUCell(4.5), "received units=4.5"),
        (lambda: LSTMCell(4, projection=-1), "expected projection to be a positive integer"),
        (lambda: ElmanCell(4, dropout=1.0), r"expected dropout in \[0, 1\), received dropout=1.0"),
        (lambda: ElmanCell(4, recurrent_dropout=-0.1), "expected recurrent_dropout in"),
        (lambda: Recurrent(4), "expected a cell"),
        (lambda: Recurrent(keras.layers.LSTM(4)), "expected a cell, .* received <LSTM"),
        (lambda: StackedCells([]), "expected a list of one or more cells"),
        (lambda: Recurrent(ElmanCell(4), recompute=0), "expected recompute to be a positive integer"),
        (lambda: Recurrent([ZoneoutCell(GRUCell(4))], recompute=3), "draws once a sequence, .* received <Stacked"),
        (lambda: Recurrent(keras.layers.GRUCell(4, dropout=0.1), recompute=3), "draws once a sequence"),
        (lambda: Recurrent(ElmanCell(4))(X[0]), r"expected sequences of shape \(batch, time, features\)"),
        (lambda: Recurrent(ElmanCell(4))(X, mask=MASK[:, :3]), r"expected a mask of shape .*\(3, 7\).* \(3, 3\)"),
        (lambda: Recurrent(LSTMCell(4))(X, initial_state=[np.zeros((3, 4))]), "expected initial states of shapes"),
        (lambda: Recurrent(ElmanCell(4))(X, initial_state=[np.zeros((3, 5))]), r"\(3, 4\).*received .*\(3, 5\)"),
        (lambda: Recurrent(LSTMCell(4))(X, initial_state="zeros"), r"expected initial states of shapes \[\(3, 4\)"),
        (lambda: [layer(x) for layer in [Recurrent(ElmanCell(4))] for x in (X, X[..., 1:])], "expected 5 features"),
        (lambda: LSTMCell(4)(X[:, 0], np.zeros((2, 4))), "expected a list of states of sizes"),
        (lambda: LSTMCell(4)(X, [np.zeros((3, 4))] * 2), r"expected inputs of shape \(batch, features\)"),
        (lambda: Recurrent(ElmanCell(4), unroll=True)(X[:, :0]), "expected a known length to unroll"),
        (lambda: Recurrent(ElmanCell(4), unroll=True)(keras.Input((None, 5))), "expected a known length to unroll"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_weights_are_called_the_same_in_a_loaded_model(tmp_path):
    inputs = keras.Input((None, 3))
    x = Recurrent([LSTMCell(4), ZoneoutCell(GRUCell(3), 0.1)], return_sequences=True)(inputs)
    outputs = AttentionDecoder(ElmanCell(4), BahdanauAttention(2))(keras.layers.RNN(NASCell(2), True)(x), x)
    model = keras.Model(inputs, outputs)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")

    def names(weights):
        return [re.sub(r"_\d+(?=/|$)", "", w.path) for w in weights]

    assert names(loaded.weights) == names(model.weights)
