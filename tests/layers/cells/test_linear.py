import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import elman.layers as el

rng = np.random.default_rng(0)


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("length", [1, 2, 7, 64, 100])
def test_linear_scan_and_its_gradient_equal_the_loop(parts, length):
    shapes = [(length, 1 if parts == 2 else 3, 4), (length, 3, 4), (3, 4)]
    numbers = [tuple(tf.constant(rng.uniform(-0.9, 0.9, size=s)) for _ in range(parts)) for s in shapes]
    flat = [t for number in numbers for t in number]
    weight = rng.normal(size=(parts, length, 3, 4))

    def loop(a, b, start):
        states, (a, b, h) = [], (x[0] if parts == 1 else tf.complex(*x) for x in (a, b, start))
        for t in range(length):
            h = a[t] * h + b[t]
            states.append(h)
        states = tf.stack(states)
        return [states] if parts == 1 else [tf.math.real(states), tf.math.imag(states)]

    results = []
    for function in (el.linear_scan, loop):
        with tf.GradientTape() as tape:
            tape.watch(flat)
            states = function(*numbers)
            total = sum(tf.reduce_sum(tf.sin(s) * w) for s, w in zip(states, weight, strict=True))
        results.append([*states, *tape.gradient(total, flat)])
    for got, expected in zip(*results, strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-9)


@pytest.mark.parametrize("cell", [el.MinGRUCell(4), el.MinLSTMCell(4), el.LRUCell(4, 3)], ids=lambda c: c.name)
def test_parallel_form_with_an_unknown_length_and_batch(cell):
    x = rng.normal(size=(50, 2, 3)).astype("float32")
    cell.build((None, 3))
    states = [ops.convert_to_tensor(rng.normal(size=(2, n)), "float32") for n in cell.state_size]

    @tf.function(input_signature=[tf.TensorSpec((None, None, 3))])
    def parallel(x):
        outputs, final = cell.parallel(cell.project(x), states)
        return outputs, *final

    outputs, final = [], states
    for now in x:
        output, final = cell.step(now, final)
        outputs.append(output)
    for got, expected in zip(parallel(x), [ops.stack(outputs), *final], strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize("zero_output", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("cell", [el.MinGRUCell(4), el.MinLSTMCell(4), el.LRUCell(4, 3)], ids=lambda c: c.name)
def test_the_driver_takes_the_parallel_form_and_nothing_changes(cell, masked, zero_output, monkeypatch):
    options = dict(return_sequences=True, return_state=True, zero_output_for_mask=zero_output)
    x = tf.constant(rng.normal(size=(3, 34, 3)).astype("float32"))
    mask = None
    if masked:
        mask = rng.random((3, 34)) > 0.3
        mask[0, :5], mask[1, 20:], mask[2] = False, False, False
    calls, parallel = [], cell.parallel
    monkeypatch.setattr(cell, "parallel", lambda *arguments: calls.append(1) or parallel(*arguments))
    results = []
    for unroll in (False, True):
        layer = el.Recurrent(cell, unroll=unroll, **options)
        layer.build(x.shape)
        states = [tf.constant(np.random.default_rng(n).normal(size=(3, n)), "float32") for n in cell.state_size]
        with tf.GradientTape() as tape:
            tape.watch([x, states])
            outputs, *final = layer(x, initial_state=states, mask=mask, training=True)
            total = tf.reduce_sum(tf.sin(outputs)) + sum(tf.reduce_sum(s) for s in final)
        variables = [x, *states, *(w.value for w in cell.trainable_weights)]
        results.append([outputs, *final, *tape.gradient(total, variables)])
    assert calls == [1]
    for got, expected in zip(*results, strict=True):
        np.testing.assert_allclose(got, expected, atol=2e-4)
    tf.function(el.Recurrent(cell, **options))(x)  # neither while training nor eager: the form that is exported
    assert calls == [1]


def test_lru_starts_inside_its_ring():
    cell = el.LRUCell(4, 500, min_radius=0.5, max_radius=0.9, max_phase=0.3, seed=1)
    cell.build((None, 3))
    real, imaginary = (np.asarray(x) for x in cell._eigenvalues())
    eigenvalues = real + 1j * imaginary
    assert np.all((np.abs(eigenvalues) > 0.499) & (np.abs(eigenvalues) < 0.901))
    assert np.all((np.angle(eigenvalues) >= 0) & (np.angle(eigenvalues) < 0.3))


def test_echo_state_reservoir_has_its_radius_and_forgets():
    cell = el.EchoStateCell(60, spectral_radius=0.8, connectivity=0.2, seed=3)
    cell.build((None, 2))
    matrix = np.asarray(cell.recurrent_kernel.value)
    assert np.abs(np.linalg.eigvals(matrix)).max() == pytest.approx(0.8, rel=1e-4)
    assert np.mean(matrix != 0) == pytest.approx(0.2, abs=0.03)
    assert cell.trainable_weights == []
    states = [rng.normal(size=(1, 60)).astype("float32"), np.zeros((1, 60), "float32")]
    for x in rng.normal(size=(100, 1, 2)).astype("float32"):
        states = [cell.step(x, [h])[0] for h in states]
    assert np.abs(np.asarray(states[0]) - np.asarray(states[1])).max() < 1e-4


def test_zoneout_keeps_old_states_at_its_rate_at_every_step_anew():
    cell = el.ZoneoutCell(el.LSTMCell(200), [0.3, 0.6], seed=1)
    x = rng.normal(size=(1, 6, 3)).astype("float32")
    layer = el.Recurrent(cell, return_sequences=True)
    outputs = np.asarray(layer(x, training=True))[0]
    kept = outputs[1:] == outputs[:-1]
    np.testing.assert_allclose(kept.mean(1), 0.3, atol=0.1)
    assert np.any(kept[0] != kept[1])
    np.testing.assert_array_equal(layer(x), layer(x))


def test_locked_dropout_is_the_same_at_every_step():
    cell = el.DropoutCell(el.ElmanCell(300), outputs=0.4, seed=1)
    outputs = np.asarray(
        el.Recurrent(cell, return_sequences=True)(rng.normal(size=(1, 5, 3)).astype("float32"), training=True)
    )[0]
    dropped = outputs == 0
    assert dropped[0].mean() == pytest.approx(0.4, abs=0.1)
    assert np.all(dropped == dropped[0])


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: el.MinGRUCell(0),
        lambda: el.MinGRUCell(3, recurrent_dropout=0.1),
        lambda: el.MLSTMCell(3, heads=2),
        lambda: el.SLSTMCell(4, heads=0),
        lambda: el.LRUCell(3, min_radius=0.9, max_radius=0.5),
        lambda: el.EchoStateCell(3, leak=0),
        lambda: el.SpectralRadius(connectivity=0),
        lambda: el.ZoneoutCell(el.LSTMCell(3), [0.1]),
        lambda: el.ZoneoutCell(el.LSTMCell(3), 1.0),
        lambda: el.ZoneoutCell(el.MLSTMCell(4)),
        lambda: el.ZoneoutCell(el.SLSTMCell(4), 0.1),
        lambda: el.DropoutCell(keras.layers.LSTMCell(3)),
        lambda: el.DropoutCell(el.LSTMCell(3), inputs=1.0),
    ],
)
def test_bad_arguments_are_named(wrong):
    with pytest.raises(ValueError, match=r"expected .* received"):
        wrong()
