"""In-graph decoders: equal to the NumPy ones on both backends, out of a SavedModel, and trained with."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops

from elman.apps.core import decoding as numpy_decoding
from elman.layers.decoding import (
    beam_search,
    cut_logits,
    greedy,
    sample,
    sampling_rate,
    scheduled_sampling,
    sequence_loss,
    teacher_forcing,
)

from . import equivalence
from .models import BEAMS, Toy, check_beams, only_even, only_even_in_graph, split

TENSORFLOW = keras.backend.backend() == "tensorflow"


def test_same_hypotheses_as_numpy_compiled(capsys):
    equivalence.main()
    assert "12 cases equal" in capsys.readouterr().out


def test_same_hypotheses_as_numpy_on_the_other_backend():
    backend = "jax" if TENSORFLOW else "tensorflow"
    pytest.importorskip(backend)
    done = subprocess.run(
        [sys.executable, "-m", "tests.layers.decoding.equivalence"],
        env={**os.environ, "KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu"},
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert f"12 cases equal on {backend}" in done.stdout, done.stderr[-2000:]


@pytest.mark.parametrize("seed", range(6))
def test_beam_search_equals_numpy_eagerly(seed):
    """More random models, without compiling each."""
    toy, options = Toy(seed + 10, 9), BEAMS[seed]
    start = np.array([1, 4, 2], np.int32)
    expected = numpy_decoding.beam_search(
        toy.numpy_step, toy.states(3), start, max_length=6, **split(options, only_even)
    )
    found = beam_search(toy.step, toy.states(3), start, max_length=6, **split(options, only_even_in_graph))
    check_beams(found, expected, options["end"])


def test_beam_of_one_is_greedy():
    toy, start = Toy(5, 7), np.array([1, 2, 3, 4], np.int32)
    one = beam_search(toy.step, toy.states(4), start, end=0, max_length=8, beam=1)
    other = greedy(toy.step, toy.states(4), start, end=0, max_length=8)
    np.testing.assert_array_equal(one["tokens"][:, 0], other["tokens"])
    np.testing.assert_array_equal(one["lengths"][:, 0], other["lengths"])
    np.testing.assert_allclose(one["scores"][:, 0], other["scores"], rtol=1e-5)


def test_rules_that_leave_nothing_score_minus_infinity():
    toy = Toy(0, 6)
    nothing = lambda tokens, length, logits: ops.zeros_like(logits, "bool")  # noqa: E731
    found = beam_search(toy.step, toy.states(2), np.array([1, 2]), end=0, max_length=4, beam=3, mask=nothing)
    assert np.isneginf(np.asarray(found["scores"])).all()
    assert numpy_decoding.beam_search(
        toy.numpy_step, toy.states(2), [1, 2], end=0, max_length=4, beam=3, mask=lambda t, x: np.zeros(6, bool)
    ) == [[], []]


@pytest.mark.skipif(not TENSORFLOW, reason="SavedModel is TensorFlow's")
def test_out_of_a_saved_model(tmp_path):
    """Two signatures with a free batch size decode as NumPy does; draws come in as uniforms."""
    import tensorflow as tf

    toy, exported = Toy(21, 12), Toy(21, 12)
    layer = keras.layers.Dense(12, use_bias=False)
    layer.build((None, 6))
    layer.kernel.assign(toy.kernel)
    exported.kernel = layer.kernel

    def beams(h, start):
        states = {"h": h, "rest": (ops.zeros_like(start)[:, None], None)}
        return beam_search(exported.step, states, start, end=0, max_length=7, beam=4, n_best=3, length_penalty="wu")

    def samples(h, start, uniforms):
        states = {"h": h, "rest": (ops.zeros_like(start)[:, None], None)}
        return sample(exported.step, states, start, end=0, max_length=7, top_p=0.9, uniforms=uniforms)

    h, start = tf.TensorSpec((None, 6), name="h"), tf.TensorSpec((None,), tf.int32, name="start")
    archive = keras.export.ExportArchive()
    archive.track(layer)
    archive.add_endpoint("beams", beams, input_signature=[h, start])
    archive.add_endpoint("samples", samples, input_signature=[h, start, tf.TensorSpec((7, None), name="uniforms")])
    archive.write_out(tmp_path / "model", verbose=False)
    signatures = tf.saved_model.load(str(tmp_path / "model")).signatures
    for batch in (1, 3):
        states, start = toy.states(batch, seed=batch), np.arange(1, batch + 1, dtype=np.int32)
        found = signatures["beams"](h=states["h"], start=start)
        expected = numpy_decoding.beam_search(
            toy.numpy_step, states, start, end=0, max_length=7, beam=4, n_best=3, length_penalty="wu"
        )
        check_beams(found, expected, 0)
        uniforms = np.random.default_rng(batch).random((7, batch)).astype(np.float32)
        found = signatures["samples"](h=states["h"], start=start, uniforms=uniforms)
        expected = numpy_decoding.sample(
            toy.numpy_step, states, start, end=0, max_length=7, top_p=0.9, uniforms=uniforms
        )
        for row, (hypothesis,) in enumerate(expected):
            length = found["lengths"][row]
            assert found["tokens"][row, :length].numpy().tolist() == hypothesis.tokens.tolist()


@pytest.mark.parametrize(
    "cuts",
    [{"top_k": 3}, {"top_p": 0.6}, {"min_p": 0.2}, {"temperature": 0.5, "top_k": 5, "top_p": 0.9, "min_p": 0.01}],
)
def test_cuts_equal_numpy(cuts):
    logits = np.random.default_rng(0).normal(size=(20, 9)).astype(np.float32) * 2
    np.testing.assert_allclose(cut_logits(logits, **cuts), numpy_decoding.cut_logits(logits, **cuts), rtol=1e-5)


def test_draws_follow_the_seed_and_the_distribution():
    logits = np.array([1.0, -0.5, 0.3, 2.0], np.float32)
    step = lambda tokens, states: (ops.zeros((ops.shape(tokens)[0], 1)) + logits, states)  # noqa: E731
    start = np.zeros(20000, np.int32)
    found = np.asarray(sample(step, None, start, end=None, max_length=1, seed=3)["tokens"])[:, 0]
    expected = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(np.bincount(found, minlength=4) / 20000, expected, atol=0.012)
    np.testing.assert_array_equal(
        found, np.asarray(sample(step, None, start, end=None, max_length=1, seed=3)["tokens"])[:, 0]
    )


def test_teacher_forcing_is_the_step_along_the_targets():
    toy, rng = Toy(2, 6), np.random.default_rng(2)
    targets = rng.integers(0, 6, (2, 5))
    mask = np.array([[True] * 5, [True] * 3 + [False] * 2])
    logits, states = teacher_forcing(toy.step, toy.states(2), np.array([1, 2]), targets, mask)
    for item in range(2):
        state = {"h": toy.states(2)["h"][item : item + 1], "rest": (np.zeros((1, 1), np.int32), None)}
        inputs = [[1, 2][item], *targets[item, :-1]]
        for place in range(5 if not item else 3):
            row, state = toy.numpy_step(np.array([inputs[place]]), state)
            np.testing.assert_allclose(logits[item, place], row[0], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(states["h"][item], state["h"][0], rtol=1e-4, atol=1e-5)  # padding moved nothing
        assert int(states["rest"][0][item, 0]) == (5 if not item else 3)
    assert states["rest"][1] is None


@pytest.mark.skipif(not TENSORFLOW, reason="time unknown to the graph is TensorFlow's case")
def test_a_free_length_gives_the_same_logits_and_gradient():
    import tensorflow as tf

    toy, rng = Toy(4, 6), np.random.default_rng(4)
    kernel = tf.Variable(toy.kernel)
    toy.kernel = kernel
    targets = rng.integers(0, 6, (3, 4)).astype(np.int32)
    uniforms = rng.random((2, 3, 3)).astype(np.float32)
    results = []
    for spec, jit in [((None, None), False), ((3, 4), True)]:

        def gradient(targets, uniforms):
            with tf.GradientTape() as tape:
                start = np.array([1, 2, 3], np.int32)
                logits, _ = scheduled_sampling(toy.step, toy.states(3), start, targets, rate=0.5, uniforms=uniforms)
                loss = sequence_loss(logits, targets)
            return logits, tape.gradient(loss, kernel)

        specs = [tf.TensorSpec(spec, tf.int32), tf.TensorSpec((2, None if spec[1] is None else 3, 3))]
        run = tf.function(gradient, input_signature=specs, jit_compile=jit, autograph=False)
        results.append([np.asarray(value) for value in run(targets, uniforms)])
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    assert np.abs(results[0][1]).max() > 0.01


@pytest.mark.parametrize("rate", [0.0, 0.5, 1.0])
def test_scheduled_sampling_draws_at_its_rate(rate):
    """A step that answers with a token it never is given shows how often it was fed its own."""
    inputs = []

    def step(tokens, states):
        inputs.append(np.asarray(tokens))
        return ops.zeros((400, 3)) + np.array([-50.0, -50.0, 50.0], np.float32), states

    targets = np.zeros((400, 6), np.int32)
    scheduled_sampling(step, None, np.ones(400, np.int32), targets, rate=rate, seed=1)
    assert (inputs[0] == 1).all()
    assert np.mean(np.array(inputs[1:]) == 2) == pytest.approx(rate, abs=0.04)


def test_sampling_rate_by_hand():
    assert float(sampling_rate(25, "linear", 100)) == pytest.approx(0.25)
    assert float(sampling_rate(200, "linear", 100, floor=0.1)) == pytest.approx(0.9)
    assert float(sampling_rate(2, "exponential", 0.9)) == pytest.approx(1 - 0.81)
    assert float(sampling_rate(30, "sigmoid", 10)) == pytest.approx(1 - 10 / (10 + np.exp(3.0)))
    assert float(sampling_rate(1e6, "sigmoid", 10)) == pytest.approx(1)  # exp(i / k) would overflow
    with pytest.raises(ValueError, match="linear"):
        sampling_rate(1, "exponential", 2.0)


def test_sequence_loss_by_hand():
    p = np.array([[[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]], [[0.5, 0.25, 0.25], [1.0, 0.0, 0.0]]])
    with np.errstate(divide="ignore"):
        logits = np.log(p).astype(np.float32) + 3
    targets, mask = np.array([[0, 1], [2, 2]]), np.array([[1, 1], [1, 0]])  # the masked target is impossible
    each = -np.log([0.7, 0.8, 0.25])
    assert float(sequence_loss(logits, targets, mask)) == pytest.approx(each.mean(), rel=1e-5)
    assert float(sequence_loss(logits, targets, mask, reduction="sequences")) == pytest.approx(each.sum() / 2, rel=1e-5)
    np.testing.assert_allclose(
        sequence_loss(logits, targets, mask, reduction=None), [each[:2], [each[2], 0]], rtol=1e-5, atol=1e-6
    )
    smooth = sequence_loss(logits[:1], targets[:1], label_smoothing=0.3)
    expected = -(0.7 * np.log([0.7, 0.8]) + 0.1 * np.log(p[0]).sum(-1)).mean()
    assert float(smooth) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s, h: beam_search(s, h, [1], end=9, max_length=4), "end token in 0 … 4"),
        (lambda s, h: beam_search(s, h, [1], end=0, max_length=4, beam=6), "no wider than the vocabulary"),
        (lambda s, h: beam_search(s, h, [1], end=0, max_length=4, beam=2, n_best=3), "n_best <= beam"),
        (lambda s, h: beam_search(s, h, [1], end=0, max_length=4, length_penalty="x"), "length_penalty"),
        (lambda s, h: sample(s, h, [1], end=0, max_length=4, min_length=5), "min_length"),
        (lambda s, h: sample(s, h, [1], end=0, max_length=4, top_p=0.0), "top_p"),
        (lambda s, h: scheduled_sampling(s, h, [1], [[1, 2]], rate=1.5), r"rate in \[0, 1\]"),
        (lambda s, h: teacher_forcing(s, h, [1], [1, 2]), "batch, time"),
        (lambda s, h: sequence_loss(np.zeros((1, 2, 3)), [[0, 1]], reduction="mean"), "reduction"),
    ],
)
def test_bad_input(call, message):
    toy = Toy(0, 5)
    with pytest.raises(ValueError, match=message):
        call(toy.step, toy.states(1))
