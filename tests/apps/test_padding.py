"""A padded step weighs nothing: more padding, or other numbers in it, change no loss, no metric and no gradient."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from elman.apps import captioning, forecasting, handwriting, music
from elman.apps.core.engines import Engine
from elman.apps.core.engines.keras import load

RNG = np.random.default_rng(0)


def outcome(stage, config, codec, weights, batch):
    """The weights of a model, those given if any; its loss, the one that Keras reports, the gradient of each weight."""
    network = stage.build(config, codec)
    if weights:
        network.set_weights(weights)
    inputs, targets, *weight = batch
    loss, weight = stage.loss(network, config, codec), weight[0] if weight else None
    weights = network.get_weights()  # a pass in training moves the statistics of a normalisation
    network.compile("sgd", loss)
    metric = network.test_on_batch(inputs, targets, weight)
    with tf.GradientTape() as tape:
        value = loss(targets, network(inputs, training=True), sample_weight=weight)
        value += sum(network.losses)
    return weights, float(value), metric, tape.gradient(value, network.trainable_variables)


def same(stage, codec, one, other, config, other_config=None, other_codec=None):
    """Both batches have one outcome, with gradients that are not zero."""
    keras.utils.set_random_seed(0)
    weights, loss, metric, gradient = outcome(stage, config, codec, None, one)
    found = outcome(stage, other_config or config, other_codec or codec, weights, other)
    assert found[1] == pytest.approx(loss, rel=2e-5)
    assert found[2] == pytest.approx(metric, rel=2e-5)
    for a, b in zip(gradient, found[3], strict=True):
        a, b = (np.array(tf.convert_to_tensor(g)) for g in (a, b))
        np.testing.assert_allclose(b, a, rtol=1e-3, atol=2e-5 * max(np.abs(a).max(), 1e-2))
    assert sum(np.abs(np.array(tf.convert_to_tensor(g))).sum() for g in gradient) > 0.1
    return weights


def test_forecasting(monkeypatch):
    """A series that is shorter than the look-back: what stands before it, and what was not observed after it."""
    from elman.apps.forecasting import data
    from elman.apps.forecasting.frequency import Frequency
    from elman.apps.forecasting.tables import Series, Table

    y = 20 + RNG.normal(size=90)
    y[40:50] = np.nan
    table = Table(Frequency("s", 3600), (Series("a", np.datetime64("2021-01-01", "s"), y, {}, {}),))
    monkeypatch.setattr(data, "read", lambda *args, **kwargs: table)
    options = {"horizon": 8, "lookback": 24, "units": 6, "dropout": 0.0, "embedding": 0, "calendar": False}
    options |= {"split": (0.6, 0.2, 0.2), "season": 4, "batch_size": 4}
    for more in ({"segment": 4, "anchor": "last", "loss": "mse"}, {"model": "deepar", "segment": 1, "lags": (1, 3)}):
        config = forecasting.APP.config(**options, **more)
        loaded = data.load(config)
        rows = np.flatnonzero(loaded.train.gather(np.arange(loaded.train.count))[2].min(axis=1) == 0)[:4]
        inputs, targets, weights = loaded.train.gather(rows)
        inputs = {**inputs, "observed": inputs["observed"].copy(), "y": inputs["y"].copy()}
        inputs["observed"][:, :8] = 0
        spoilt, changed = inputs["y"].copy(), np.where(weights == 0, targets + 7.0, targets).astype("float32")
        if config.model == "segment":  # the autoregressive model is given values that were not observed, filled in
            spoilt[:, :8] = 99.0
        same(forecasting.APP.stage("model"), loaded.codec, (inputs, targets, weights),
             ({**inputs, "y": spoilt}, changed, weights), config)  # fmt: skip
        assert (changed != targets).any()


@pytest.mark.parametrize("kind", ["frames", "voices", "performance"])
def test_music(kind):
    from elman.apps.music import data, generate
    from elman.apps.music.codec import Codec

    codec = {"frames": Codec("frames", 4, bar=4), "voices": Codec("voices", 4, 3, 60, 70, 4)}.get(
        kind, Codec("performance", 4)
    )
    quiet = {"dropout": 0.0, "units": 8, "head_units": 6, "embedding": 4, "context": 4, "attention": 3}
    config = music.APP.config(codec=kind, window=9, **quiet)
    shape = {"frames": (88,), "voices": (3,), "performance": ()}[kind]
    pieces = []
    for steps in (9, 4, 6):
        sequence = RNG.integers(0, 2 if kind == "frames" else codec.symbols, (steps, *shape)).astype("int32")
        place = RNG.integers(0, 4, steps).astype("int32")
        pieces.append(data.Encoded(None, sequence, place, np.zeros((steps, 0), "float32")))

    def batch(window, spoil):
        rows = [data.cut(codec, piece, 0, window) for piece in pieces]
        inputs = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
        weights = inputs.pop("weight")
        if spoil:
            beyond = np.concatenate([np.zeros((3, 1)), weights == 0], axis=1).astype(bool)
            inputs["sequence"][beyond] = 1
        return inputs, inputs["sequence"][:, 1:], weights

    stage = music.APP.stage("model")
    weights = same(stage, codec, batch(9, False), batch(14, True), config, dataclasses.replace(config, window=14))
    network = stage.build(config, codec)
    network.set_weights(weights)
    signatures = {s.name: s for s in stage.signatures(network, config, codec)}
    engine = Engine("keras", signatures, load(signatures))
    together, _ = generate.step_scores(engine, codec, pieces)
    for piece, scores in zip(pieces, together, strict=True):
        np.testing.assert_allclose(generate.step_scores(engine, codec, [piece])[0][0], scores, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["online", "streaming", "offline", "attention", "classifier"])
def test_handwriting(name):
    from elman.apps.handwriting import generated
    from elman.apps.handwriting.codec import Codec
    from elman.apps.handwriting.lines import Line, collate, encode, with_previous

    config = handwriting.APP.config(model=name, units=5, layers=2, channels=2, dropout=0.0, length=8)
    inks = generated.write(config, generated.codec(config), "test", range(3))
    if name == "classifier":
        codec = Codec(("0", "1", "2"), "symbol", 0.1, 3)
        lines = [Line(codec.encode(ink), np.array([1 + i], np.int32)) for i, ink in enumerate(inks)]
    else:
        codec = generated.codec(config)
        lines = [encode(codec, ink) for ink in inks]
    frames, classes = collate(lines)
    more = np.pad(frames, ((0, 0), (0, 64), (0, 0))), np.pad(classes, ((0, 0), (0, 0 if name == "classifier" else 9)))
    batches = (frames, classes), more
    if name == "attention":
        batches = [with_previous(*batch) for batch in batches]
    same(handwriting.APP.stage("model"), codec, *batches, config)


@pytest.mark.parametrize("attention", [True, False])
def test_captioning(attention):
    from elman.apps.captioning.codec import END, START, Codec

    words = ("<pad>", "<start>", "<end>", "<unknown>", *"abcdefgh")
    codec = Codec("words", words, image_size=32, longest=6)
    config = captioning.APP.config(
        image_size=32, longest=6, units=6, embedding=5, memory_units=7, attention_units=6, captions=2, dropout=0.0,
        word_dropout=0.0, word_swap=0.0, attention=attention, coverage=0.5 if attention else 0.0, label_smoothing=0.1,
    )  # fmt: skip
    longer = dataclasses.replace(codec, longest=11)
    pictures = RNG.integers(0, 256, (3, 32, 32, 3)).astype("uint8")

    def batch(longest):
        captions = np.zeros((3, 2, longest + 1), "int32")
        captions[..., 0] = START
        captions[..., 1:4], captions[..., 4] = np.arange(4, 7), END
        captions[0, 1, 2:5] = [END, 0, 0]
        captions[2, 1] = 0  # a picture that lacks a caption
        targets = captions[..., 1:]
        return {"image": pictures, "captions": captions}, targets, (targets > 0).astype("float32")

    same(captioning.APP.stage("model"), codec, batch(6), batch(11), config, other_codec=longer)
