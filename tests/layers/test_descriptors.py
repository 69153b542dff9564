"""Tests that walk the table of tests/descriptors.py."""

import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops, tree

from elman.layers import Recurrent
from tests import descriptors
from tests.descriptors import FEATURES, HEADS, POSITIONS, TABLE
from tests.layers import other_process

ROOT = pathlib.Path(__file__).parents[2]
every = pytest.mark.parametrize("descriptor", TABLE, ids=str)


def numpy(x):
    return tree.map_structure(lambda t: np.asarray(ops.convert_to_numpy(t), "float64"), x)


def assert_close(got, expected, tolerance=1e-5):
    """Within the tolerance, relative to the largest value expected."""
    for g, e in zip(tree.flatten(numpy(got)), tree.flatten(numpy(expected)), strict=True):
        assert g.shape == e.shape
        np.testing.assert_allclose(g, e, rtol=0, atol=tolerance * max(1.0, np.abs(e).max(initial=0.0)))


def run(descriptor, cell, x, memory, mask=None, memory_mask=None, **kwargs):
    states = descriptors.start(cell, len(x), memory, memory_mask)
    return Recurrent(cell, return_sequences=True, return_state=True)(x, initial_state=states, mask=mask, **kwargs)


@every
@pytest.mark.parametrize(("batch", "time"), [(1, 1), (3, 5)])
def test_equals_the_definition(descriptor, batch, time):
    cell, (x, memory) = descriptors.build(descriptor), descriptors.inputs(batch, time, descriptor.memory, seed=time)
    memory_mask = (
        None if memory is None else np.arange(POSITIONS) < np.arange(POSITIONS - batch, POSITIONS)[:, None] + 1
    )
    states = numpy(descriptors.start(cell, batch, memory, memory_mask))
    outputs, *final = run(descriptor, cell, x, memory, memory_mask=memory_mask)
    expected = []
    for t in range(time):
        output, states = descriptor.step(descriptors.Parameters(cell), x[:, t].astype("float64"), states)
        expected.append(output)
    assert_close(outputs, np.stack(expected, 1), 2e-5)
    assert_close(final, states, 2e-5)


@every
def test_step_by_step_and_in_a_keras_rnn_equals_the_whole_sequence(descriptor):
    cell, (x, memory) = descriptors.build(descriptor), descriptors.inputs(2, 5, descriptor.memory)
    outputs, *final = run(descriptor, cell, x, memory)
    states = start = descriptors.start(cell, 2, memory)
    steps = []
    for t in range(5):
        output, states = cell.step(x[:, t], states)
        steps.append(output)
    assert_close(outputs, ops.stack(steps, axis=1))
    assert_close(final, states)
    assert_close(outputs, keras.layers.RNN(cell, return_sequences=True)(x, initial_state=start))
    if hasattr(cell, "parallel"):
        parallel, last = cell.parallel(cell.project(ops.swapaxes(x, 0, 1)), start)
        assert_close(outputs, ops.swapaxes(parallel, 0, 1))
        assert_close(final, last)


@every
def test_a_masked_step_changes_nothing_whatever_it_holds(descriptor):
    cell, (x, memory) = descriptors.build(descriptor), descriptors.inputs(2, 6, descriptor.memory)
    mask = np.array([[1, 1, 1, 1, 0, 0], [0, 1, 0, 1, 1, 0]], bool)
    poisoned = np.where(mask[..., None], x, np.nan).astype("float32")
    outputs, *final = run(descriptor, cell, poisoned, memory, mask=mask)
    for row in range(2):
        kept = slice(row, row + 1)
        alone, *last = run(descriptor, cell, x[kept, mask[row]], None if memory is None else memory[kept])
        assert_close(numpy(outputs)[kept][:, mask[row]], alone)
        assert_close(tree.map_structure(lambda s, kept=kept: s[kept], final), last)


@pytest.mark.parametrize("descriptor", descriptors.ATTENTIONS, ids=str)
def test_a_masked_memory_reaches_nothing(descriptor):
    cell, (x, memory) = descriptors.build(descriptor), descriptors.inputs(2, 4, descriptor.memory)
    mask = np.arange(POSITIONS) < np.array([[POSITIONS], [3]])
    poisoned = np.where(mask[..., None], memory, np.nan).astype("float32")
    outputs, *final = run(descriptor, cell, x, poisoned, memory_mask=mask)
    weights = numpy(cell.alignment(final))
    assert np.all(weights[1, 3:] == 0)
    alone, *_ = run(descriptor, cell, x[1:], memory[1:, :3])
    assert_close(outputs[1:], alone)
    empty, *final = run(descriptor, cell, x, memory, memory_mask=np.zeros((2, POSITIONS), bool))
    assert np.all(np.isfinite(numpy(empty)))
    assert np.all(numpy(cell.alignment(final)) == 0)


def move(variables, direction, shift):
    for variable, d in zip(variables, direction, strict=True):
        variable.assign_add(shift * d)


@every
def test_gradients_against_finite_differences(descriptor):
    cell = descriptors.build(descriptor, dtype="float64")
    x, memory = (None if a is None else a.astype("float64") for a in descriptors.inputs(2, 3, descriptor.memory))
    rng = np.random.default_rng(1)
    x = tf.Variable(x)
    variables = [x, *(w.value for w in cell.trainable_weights)]
    weight = rng.normal(size=(2, 3, cell.output_size))

    def value():
        outputs, *_ = run(descriptor, cell, x.read_value(), memory)
        return tf.reduce_sum(tf.sin(outputs) * weight)

    check_slopes(value, variables, rng)


def check_slopes(value, variables, rng):
    """The gradient of `value()` against central differences along random directions in float64."""
    with tf.GradientTape() as tape:
        result = value()
    gradients = [tf.convert_to_tensor(g) for g in tape.gradient(result, variables, unconnected_gradients="zero")]
    # One random direction through all the variables, and one through each.
    directions = [[rng.normal(size=v.shape) for v in variables]]
    directions += [[d if i == k else 0 * d for i, d in enumerate(directions[0])] for k in range(len(variables))]
    for direction in directions:
        ends = []
        for shift in (1e-5, -2e-5):
            move(variables, direction, shift)
            ends.append(float(value()))
        move(variables, direction, 1e-5)
        slope = (ends[0] - ends[1]) / 2e-5
        expected = sum(float(tf.reduce_sum(g * d)) for g, d in zip(gradients, direction, strict=True))
        assert slope == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("head", HEADS, ids=str)
def test_gradients_of_a_head_against_finite_differences(head):
    layer = descriptors.build_head(head, dtype="float64")
    value, x = other_process.head_objective(head, layer, "float64")
    x = tf.Variable(x)
    check_slopes(lambda: value(x.read_value())[0], [x, *(w.value for w in layer.weights)], np.random.default_rng(1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("descriptors")


def elsewhere(mode, folder, **environment):
    command = [sys.executable, "-m", "tests.layers.other_process", mode, str(folder)]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def on_jax(folder):
    """The table and the heads on TensorFlow and on JAX, with the same weights."""
    results, functions = {}, {}
    for descriptor in TABLE:
        cell = descriptors.build(descriptor)
        np.savez(folder / f"{descriptor}.npz", *cell.get_weights())
        functions[str(descriptor)] = cell, *other_process.objective(descriptor, cell)
    for head in HEADS:
        layer = descriptors.build_head(head)
        functions[str(head)] = layer, *other_process.head_objective(head, layer)
    for name, (layer, value, x) in functions.items():
        variables = [x, *(w.value for w in layer.trainable_weights)]
        with tf.GradientTape() as tape:
            tape.watch(x)
            total, outputs = value(x)
        gradients = tape.gradient(total, variables, unconnected_gradients="zero")
        results[name] = outputs, np.concatenate([np.ravel(tf.convert_to_tensor(g)) for g in gradients])
    elsewhere("jax", folder, KERAS_BACKEND="jax")
    return results, dict(np.load(folder / "jax.npz"))


@pytest.mark.parametrize("entry", [*TABLE, *HEADS], ids=str)
def test_tensorflow_equals_jax(entry, on_jax):
    outputs, gradient = on_jax[0][str(entry)]
    assert_close(outputs, on_jax[1][f"{entry}_outputs"])
    assert_close(gradient, on_jax[1][f"{entry}_gradient"])


def descend(variables, loss, steps=8):
    """The losses of a few steps of Adam."""
    optimizer, losses = keras.optimizers.Adam(0.02), []
    for _ in range(steps):
        with tf.GradientTape() as tape:
            value = loss()
        losses.append(float(value))
        gradients = tape.gradient(value, [v.value for v in variables], unconnected_gradients="zero")
        optimizer.apply(gradients, variables)
    return losses


@every
def test_training_reduces_a_loss(descriptor):
    cell, (x, memory) = descriptors.build(descriptor), descriptors.inputs(3, 3, descriptor.memory)
    if not cell.trainable_weights:
        assert descriptor.name == "echo_state"
        return
    target = 0.5 * np.tanh(x[:, :, :1])

    def loss():
        outputs, *_ = run(descriptor, cell, x, memory)
        return tf.reduce_mean(tf.square(outputs - target))

    losses = descend(cell.trainable_weights, loss)
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("head", HEADS, ids=str)
def test_training_a_head_reduces_its_loss_in_every_policy(head):
    x, _ = descriptors.inputs(3, 4)
    target = head.target(np.random.default_rng(0), (3, 4))
    starts = []
    for dtype in ("float32", "mixed_bfloat16"):
        layer = head.make(dtype=dtype)
        arguments = (x, target) if head.name == "nade" else (x,)
        layer(*arguments)
        rng = np.random.default_rng(1)
        layer.set_weights([0.5 * rng.normal(size=w.shape) for w in layer.weights])
        objective = head.loss(layer)
        losses = descend(layer.trainable_weights, lambda a=arguments, o=objective, h=layer: o(target, h(*a)))
        assert losses[-1] < losses[0]
        assert layer(*arguments).dtype == "float32"
        starts.append(losses[0])
    assert starts[1] == pytest.approx(starts[0], rel=0.05)


def test_a_fresh_process_loads_every_layer(folder):
    model, data = descriptors.randomized(other_process.everything()), other_process.inputs(2, 3)
    model.save(folder / "model.keras")
    np.savez(folder / "inputs.npz", **data)
    elsewhere("load", folder)
    loaded = np.load(folder / "loaded.npz")
    for name, expected in model(data).items():
        assert_close(loaded[name], expected)


@every
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_follows_float32(descriptor, dtype):
    exact, half = descriptors.build(descriptor), descriptors.build(descriptor, dtype=f"mixed_{dtype}")
    half.set_weights(exact.get_weights())
    assert {w.dtype for w in half.trainable_weights} <= {"float32"}
    x, memory = descriptors.inputs(2, 4, descriptor.memory)
    if "hard" in descriptor.name:
        pytest.skip("a decision near its threshold may fall either way")
    expected, *_ = run(descriptor, exact, x, memory)
    got, *_ = run(descriptor, half, x, memory)
    assert keras.backend.standardize_dtype(got.dtype) == dtype
    assert_close(got, expected, 0.15 if dtype == "bfloat16" else 0.03)


@pytest.mark.slow
def test_every_cell_drops_out_on_jax(folder):
    """JAX refuses what is drawn in a loop."""
    elsewhere("fit", folder, KERAS_BACKEND="jax")
    losses = np.load(folder / "fit.npz")
    assert set(losses.files) == set(descriptors.dropping(0.1))
    assert all(np.all(np.isfinite(losses[name])) for name in losses.files)


def exported(descriptor, cell, whole=False, batch=2):
    """The inference form as a concrete function of (x, *states), and arguments for it: one step, or a whole sequence
    of unknown length through the driver."""
    x, memory = descriptors.inputs(batch, 5, descriptor.memory)
    _, states = cell.step(x[:, 0], descriptors.start(cell, batch, memory))
    flat = tree.flatten(states)
    specs = [tf.TensorSpec((batch, None, FEATURES) if whole else (batch, FEATURES), tf.float32, name="x")]
    specs += [tf.TensorSpec(s.shape, tf.float32, name=f"state_{i}") for i, s in enumerate(flat)]
    layer = Recurrent(cell, return_sequences=True, return_state=True)

    def call(x, *flat_states):
        before = tree.pack_sequence_as(states, list(flat_states))
        output, *new = layer(x, initial_state=before) if whole else cell.step(x, before)
        return {"output": output, **{f"new_{i}": tf.identity(s) for i, s in enumerate(tree.flatten(new))}}

    function = tf.function(call, input_signature=specs)
    return function, [x[:, 1:] if whole else x[:, 1], *map(np.asarray, flat)]


def check_litert(table, folder, whole=False):
    from ai_edge_litert.interpreter import Interpreter

    archive, calls = keras.export.ExportArchive(), {}
    for descriptor in table:
        cell = descriptors.build(descriptor)
        function, arguments = exported(descriptor, cell, whole)
        archive.track(cell)
        archive.add_endpoint(str(descriptor), function)
        calls[str(descriptor)] = arguments, function(*arguments)
    archive.write_out(folder / "saved_model", verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "saved_model"), signature_keys=list(calls))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    content = converter.convert()
    assert b"Flex" not in content
    interpreter = Interpreter(model_content=content)
    for name, (arguments, expected) in calls.items():
        runner = interpreter.get_signature_runner(name)
        names = ["x", *(f"state_{i}" for i in range(len(arguments) - 1))]
        wanted = runner.get_input_details()
        got = runner(**{n: a for n, a in zip(names, arguments, strict=True) if n in wanted})
        for key, value in expected.items():
            assert_close(got[key], value)


def check_onnx(descriptor, whole=False):
    import onnxruntime
    import tf2onnx

    function, arguments = exported(descriptor, descriptors.build(descriptor), whole)
    expected = function(*arguments)
    model, _ = tf2onnx.convert.from_function(function, input_signature=function.input_signature, opset=18)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    names = ["x", *(f"state_{i}" for i in range(len(arguments) - 1))]
    wanted = {i.name for i in session.get_inputs()}
    got = session.run(None, {n: a for n, a in zip(names, arguments, strict=True) if n in wanted})
    for output, value in zip(session.get_outputs(), got, strict=True):
        assert_close(value, expected[output.name])


FEW = [d for d in TABLE if d.name in ("lstm", "mlstm", "location")]


def test_some_steps_export(tmp_path):
    check_litert(FEW, tmp_path)
    check_onnx(FEW[0])


# The parallel form of a monotonic attention is a cumulative product, which neither container has: its step is exported.
WHOLE = [d for d in TABLE if "monotonic" not in d.name]


@pytest.mark.slow
@pytest.mark.parametrize(("table", "whole"), [(TABLE, False), (WHOLE, True)], ids=["step", "whole"])
def test_every_layer_exports_to_litert_with_built_in_ops(table, whole, tmp_path):
    check_litert(table, tmp_path, whole)


@pytest.mark.slow
@every
def test_every_step_exports_to_onnx(descriptor):
    check_onnx(descriptor)


@pytest.mark.slow
@pytest.mark.parametrize("descriptor", WHOLE, ids=str)
def test_every_whole_sequence_exports_to_onnx(descriptor):
    check_onnx(descriptor, whole=True)
