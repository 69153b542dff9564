"""The networks: padding changes nothing, step by step equals the whole line, the loss is CTC's."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import ops

from elman.apps.core.engines import Engine
from elman.apps.core.engines import keras as runtime
from elman.apps.handwriting import decode, generated, model, stream
from elman.apps.handwriting.codec import Codec
from elman.apps.handwriting.config import Config, PredictOptions
from elman.apps.handwriting.lines import Line, collate, encode

from .lines import written

SMALL = {"units": 5, "layers": 2, "channels": 2}
CONFIGS = {name: Config(model=name, **SMALL) for name in ("online", "streaming", "offline")}
CONFIGS["tall"] = dataclasses.replace(CONFIGS["offline"], height=24, stride=3)


def codec_of(config):
    return generated.codec(config)


def engine_of(network, config, codec):
    signatures = {s.name: s for s in model.signatures(network, config, codec)}
    return Engine("keras", signatures, runtime.load(signatures))


def some(config, codec, count=3):
    return [encode(codec, ink) for ink in generated.write(config, codec, "test", range(count))]


@pytest.mark.parametrize("name", CONFIGS)
def test_padding_changes_nothing(name):
    config = CONFIGS[name]
    codec = codec_of(config)
    keras.utils.set_random_seed(0)
    network = model.build(config, codec)
    engine = engine_of(network, config, codec)
    lines = some(config, codec)
    frames, _ = collate(lines)
    logits = ops.convert_to_numpy(ops.log_softmax(network.predict(frames, verbose=0), axis=-1))
    for row, line in enumerate(lines):
        alone = engine("recognise", frames=np.asarray(line.frames, np.float32)[None])["log_probs"][0]
        np.testing.assert_allclose(logits[row, : len(alone)], alone, atol=1e-4)
        np.testing.assert_allclose(np.exp(logits[row, len(alone) :, 0]), 1.0, atol=1e-5)  # padding says blank


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_step_by_step_is_the_whole_line(cell):
    config = dataclasses.replace(CONFIGS["streaming"], cell=cell)
    codec = codec_of(config)
    keras.utils.set_random_seed(1)
    engine = engine_of(model.build(config, codec), config, codec)
    decoder = decode.Decoder(codec, PredictOptions())
    for ink in written(3, seed=7, length=20):
        whole = engine("recognise", frames=codec.encode(ink)[None])["log_probs"][0]
        streamed, after = stream.follow(engine, codec, ink, decoder)
        np.testing.assert_allclose(streamed.log_probs, whole, atol=2e-5)
        assert len(after) == len(ink.strokes)
        assert after[-1]["text"] == decoder(whole)[0].text


def test_a_model_of_whole_lines_does_not_stream():
    config = CONFIGS["online"]
    codec = codec_of(config)
    engine = engine_of(model.build(config, codec), config, codec)
    with pytest.raises(Exception, match="--preset streaming"):
        stream.InkStream(engine, codec, decode.Decoder(codec, PredictOptions()))


def brute_force(logits, target):
    """−log p of a target by summing over every alignment."""
    frames, classes = logits.shape
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    total = -np.inf
    for path in np.ndindex(*[classes] * frames):
        merged = [c for i, c in enumerate(path) if i == 0 or c != path[i - 1]]
        if [c for c in merged if c] == list(target):
            total = np.logaddexp(total, log_probs[np.arange(frames), path].sum())
    return -total


@pytest.mark.parametrize("target", [[1], [1, 2], [2, 2], [1, 2, 1]])
def test_the_loss_is_that_of_all_alignments_a_character(target):
    logits = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    padded = np.concatenate([logits, np.tile([[0.0, -30, -30]], (4, 1))]).astype(np.float32)  # as CTCHead pads
    labels = np.array([[*target, *[0] * (4 - len(target))]])
    found = float(model.CTCLoss()(labels, padded[None]))
    assert found == pytest.approx(brute_force(logits, target) / len(target), rel=1e-4)


def test_a_text_without_an_alignment_counts_nothing():
    logits = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    found = model.CTCLoss(reduction=None)(np.array([[1, 1, 2], [1, 2, 1]]), logits)  # four frames wanted, and three
    assert np.isfinite(found).all()
    assert found[0] == 0
    assert found[1] > 0


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's own kernel")
def test_the_loss_of_what_is_all_but_impossible_is_finite_and_is_learnt_from():
    import tensorflow as tf

    logits = tf.Variable(np.tile(np.float32([200, 0, 0, 0]), (1, 3, 1)))
    with tf.GradientTape() as tape:
        nats = model.CTCLoss()(np.array([[1, 2]]), logits)
    assert 70 < float(nats) < 250
    gradient = tape.gradient(nats, logits).numpy()
    assert np.isfinite(gradient).all()
    assert gradient[0, 0, 1] < -0.1


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's own kernel")
def test_the_native_loss_and_its_gradient_are_those_of_keras(monkeypatch):
    import tensorflow as tf

    rng = np.random.default_rng(0)
    logits = tf.Variable(2 * rng.normal(size=(4, 20, 6)).astype(np.float32))
    labels = np.array([[1, 2, 3, 4, 5], [1, 1, 2, 0, 0], [5, 0, 0, 0, 0], [3, 4, 3, 4, 0]])

    def measured():
        with tf.GradientTape() as tape:
            nats = model.CTCLoss(reduction=None)(labels, logits)
        return nats.numpy(), tape.gradient(nats, logits).numpy()

    native = measured()
    monkeypatch.setattr(model, "_native_nats", model._nats)
    for found, wanted in zip(native, measured(), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_a_classifier_pads_and_learns_the_right_class():
    codec = Codec(("0", "1", "2"), "symbol", 0.1, 3)
    config = Config(model="classifier", **SMALL)
    keras.utils.set_random_seed(2)
    network = model.build(config, codec)
    engine = engine_of(network, config, codec)
    lines = [Line(codec.encode(ink), np.array([1])) for ink in written(3, length=3)]
    frames, _ = collate(lines)
    shares = ops.convert_to_numpy(ops.softmax(network.predict(frames, verbose=0)))
    for row, line in enumerate(lines):
        np.testing.assert_allclose(
            engine("classify", frames=line.frames[None])["probabilities"][0], shares[row], atol=1e-5
        )
    logits = np.array([[3.0, 0.0, -1.0]], np.float32)
    wanted = -np.log(np.exp(logits[0]) / np.exp(logits[0]).sum())
    for label in (1, 2, 3):
        assert float(model.SymbolLoss()(np.array([[label]]), logits)) == pytest.approx(wanted[label - 1], rel=1e-5)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_saved_model_is_the_same(name, tmp_path):
    config = CONFIGS[name]
    codec = codec_of(config)
    network = model.build(config, codec)
    network.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras", compile=False)
    frames, _ = collate(some(config, codec, 2))
    np.testing.assert_allclose(network.predict(frames, verbose=0), loaded.predict(frames, verbose=0), atol=1e-6)
