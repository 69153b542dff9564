"""The network: step by step equals the whole sequence, no step sees what comes, transposed keys are no others."""

import keras
import numpy as np
import pytest

from elman.apps.core.engines import Engine
from elman.apps.core.engines.keras import load
from elman.apps.music import generate, model
from elman.apps.music.codec import Codec, condition_width
from elman.apps.music.config import Config
from elman.apps.music.data import Encoded
from elman.apps.music.network import KeyContext
from elman.apps.music.past import PastAttention

STEPS = 9
CASES = {
    "independent": (Config(head="independent", units=12, context=6, window=STEPS), Codec("frames", 4, bar=4)),
    "nade": (Config(units=12, head_units=8, context=6, window=STEPS), Codec("frames", 4, bar=4)),
    "plain nade": (
        Config(units=12, head_units=8, context=0, count_keys=False, window=STEPS),
        Codec("frames", 4),
    ),
    "gru stack": (Config(units=12, layers=2, cell="gru", context=0, window=STEPS), Codec("frames", 4)),
    "density": (
        Config(units=12, context=0, window=STEPS, condition=("density", "chords")),
        Codec("frames", 4, conditions=("density", "chords")),
    ),
    "attention": (
        Config(head="independent", units=12, context=6, placed=True, window=STEPS, attention=4),
        Codec("frames", 4, bar=4),
    ),
    "attention nade": (Config(units=12, head_units=8, context=0, window=STEPS, attention=20), Codec("frames", 4)),
    "attention voices": (
        Config(codec="voices", units=12, head_units=8, embedding=5, window=STEPS, attention=3, attention_heads=3),
        Codec("voices", 4, 3, 60, 70, 4),
    ),
    "voices": (Config(codec="voices", units=12, head_units=8, window=STEPS), Codec("voices", 4, 3, 60, 70, 4)),
    "lone voices": (
        Config(codec="voices", head="independent", units=12, head_units=8, window=STEPS),
        Codec("voices", 4, 3, 60, 70),
    ),
    "performance": (
        Config(codec="performance", cell="layernorm_lstm", units=12, window=STEPS, attention=5),
        Codec("performance", 4),
    ),
}


def drawn(codec, rng):
    if codec.kind == "frames":
        return (rng.random((STEPS, 88)) < 0.05).astype(np.uint8)
    shape = (STEPS, codec.voices) if codec.kind == "voices" else (STEPS,)
    return rng.integers(0, codec.symbols, shape).astype(np.int32)


def made(case):
    keras.utils.set_random_seed(1)
    config, codec = CASES[case]
    network = model.build(config, codec)
    for variable in network.trainable_variables:  # biases and last kernels begin at zero: let nothing hide there
        variable.assign(variable + 0.1 * keras.random.normal(variable.shape, seed=len(variable.shape)))
    signatures = {s.name: s for s in model.signatures(network, config, codec)}
    return config, codec, network, Engine("keras", signatures, load(signatures))


def inputs(codec, sequence, rng):
    row = {"sequence": np.concatenate([codec.blank[None], sequence]).astype(np.int32)[None]}
    place = rng.integers(0, codec.bar, STEPS).astype(np.int32) if codec.bar else np.zeros(STEPS, np.int32)
    condition = rng.random((STEPS, condition_width(codec))).astype(np.float32)
    if codec.bar:
        row["place"] = place[None]
    if codec.conditions:
        row["condition"] = condition[None]
    return row, Encoded(None, sequence, place, condition)


@pytest.mark.parametrize("case", CASES)
def test_step_by_step_scores_are_those_of_the_training_loss(case):
    config, codec, network, engine = made(case)
    rng = np.random.default_rng(3)
    sequence = drawn(codec, rng)
    row, encoded = inputs(codec, sequence, rng)
    loss = model.loss(network, config, codec)
    loss.reduction = None
    whole = np.asarray(loss.call(row["sequence"][:, 1:], network(row)))[0]
    nats, _ = generate.step_scores(engine, codec, [encoded])
    np.testing.assert_allclose(nats[0], whole, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("length", [1, 5])
def test_a_primer_at_once_equals_its_steps(case, length):
    _, codec, _, engine = made(case)
    rng = np.random.default_rng(4)
    _, e = inputs(codec, drawn(codec, rng), rng)
    previous = np.concatenate([codec.blank[None], e.sequence])[:length]
    told = generate.told(codec, previous, e.place[:length], e.condition[:length])
    primed = engine("prime", **{k: v[None] for k, v in told.items()})
    states = engine.signatures["step"].first_states(1)
    for t in range(length):
        now = generate.told(codec, previous[t : t + 1], e.place[t : t + 1], e.condition[t : t + 1])
        answer = engine("step", **now, **states)
        states = generate.split_outputs(answer)[1]
    for name, value in answer.items():
        np.testing.assert_allclose(primed[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_no_step_sees_what_comes(case):
    _, codec, network, _ = made(case)
    rng = np.random.default_rng(6)
    row, _ = inputs(codec, drawn(codec, rng), rng)
    before = np.asarray(network(row))
    changed = {k: v.copy() for k, v in row.items()}
    changed["sequence"][0, 6:] = drawn(codec, np.random.default_rng(7))[: STEPS - 5]
    after = np.asarray(network(changed))
    np.testing.assert_allclose(before[0, :5], after[0, :5], atol=1e-5)
    assert not np.allclose(before[0, 6:], after[0, 6:], atol=1e-4)


def test_the_key_context_moves_with_the_music():
    keras.utils.set_random_seed(2)
    layer = KeyContext(5)
    frames = np.zeros((2, 7, 88), "f4")
    frames[:, :, 30:50] = np.random.default_rng(0).random((2, 7, 20)) < 0.3
    hidden = np.random.default_rng(1).normal(size=(2, 7, 4)).astype("f4")

    def logits(x):
        return np.asarray(layer(layer.gather(x, layer.remember_all(x)), hidden))

    logits(frames)
    for variable in layer.trainable_variables:
        variable.assign(keras.random.normal(variable.shape, seed=3))
    plain, moved = logits(frames), logits(np.roll(frames, 5, axis=-1))
    np.testing.assert_allclose(moved[..., 30:60], plain[..., 25:55], rtol=1e-4, atol=1e-4)


def test_attention_finds_what_followed_a_like_state_before_it_has_learnt_anything():
    keras.utils.set_random_seed(5)
    theme = np.random.default_rng(5).normal(size=(1, 8, 16)).astype("f4")
    values = np.eye(8, dtype="f4")[None]
    hidden, values = np.tile(theme, (1, 2, 1)), np.tile(values, (1, 2, 1))
    heads = np.asarray(PastAttention(12, heads=2)(hidden, values)).reshape(16, 2, 8)
    for t in range(8, 15):
        assert heads[t].argmax(axis=-1).tolist() == [(t + 1) % 8] * 2
    assert heads[8:15].sum(axis=-1).mean() > 0.8
    assert heads[:7].sum(axis=-1).mean() < 0.3  # nothing like it came before: it looks nowhere


def test_a_saved_model_gives_the_same(tmp_path):
    _, codec, network, _ = made("nade")
    rng = np.random.default_rng(8)
    row, _ = inputs(codec, drawn(codec, rng), rng)
    network.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras", compile=False)
    np.testing.assert_array_equal(np.asarray(network(row)), np.asarray(again(row)))


@pytest.mark.parametrize("case", ["independent", "nade", "gru stack", "density", "voices"])
def test_windows_that_carry_their_states_give_what_the_whole_gives(case):
    _, codec, network, _ = made(case)
    layer, rng = network.get_layer("network"), np.random.default_rng(2)
    row, _ = inputs(codec, drawn(codec, rng), rng)
    whole, states, parts = np.array(network(row)), layer.beginning(1), []
    for start, stop in ((0, 4), (4, 5), (5, STEPS)):
        part = {k: v[:, start : stop + (k == "sequence")] for k, v in row.items()}
        logits, states = layer.window(part, states)
        parts.append(np.array(logits))
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, atol=1e-5)
