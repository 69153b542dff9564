"""The network: word by word equals the whole caption, no word sees what comes, noise is for training alone."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from elman.apps.captioning import describe, model
from elman.apps.captioning.codec import END, START, Codec
from elman.apps.captioning.config import Config
from elman.apps.captioning.describe import Search
from elman.apps.captioning.model import WordLoss
from elman.apps.core.engines import Engine
from elman.apps.core.engines.keras import load

LONGEST, SIDE = 6, 32
CODEC = Codec("words", ("<pad>", "<start>", "<end>", "<unknown>", *"abcdefgh"), image_size=SIDE, longest=LONGEST)
BASE = {"image_size": SIDE, "longest": LONGEST, "units": 8, "embedding": 5, "memory_units": 7, "attention_units": 6,
        "captions": 2}  # fmt: skip
CASES = {
    "lstm": Config(**BASE),
    "gru": Config(**BASE, cell="gru"),
    "layernorm": Config(**BASE, cell="layernorm_lstm"),
    "nic": Config(**BASE, attention=False, concepts=1.0),
    "after": Config(**BASE, look="after", concepts=0.5),
}


def made(config):
    keras.utils.set_random_seed(1)
    built = model.build(config, CODEC)
    for variable in built.trainable_variables:
        variable.assign(variable + 0.2 * keras.random.normal(variable.shape, seed=len(variable.shape)))
    signatures = {s.name: s for s in model.signatures(built, config, CODEC)}
    return built, Engine("keras", signatures, load(signatures))


def batch(count=3):
    rng = np.random.default_rng(2)
    captions = rng.integers(4, CODEC.size, (count, 2, LONGEST + 1)).astype(np.int32)
    captions[:, :, 0] = START
    captions[0, 1, 3:] = [END, 0, 0, 0]
    return {"image": rng.integers(0, 256, (count, SIDE, SIDE, 3)).astype(np.uint8), "captions": captions}


@pytest.mark.parametrize("case", CASES)
def test_step_by_step_equals_the_whole_caption(case):
    built, engine = made(CASES[case])
    rows = batch()
    whole = ops.convert_to_numpy(built(rows))
    memory, states = describe.encode(engine, rows["image"])
    for place in range(LONGEST):
        answer = engine("step", tokens=rows["captions"][:, 1, place], **memory, **states)
        np.testing.assert_allclose(answer["logits"], whole[:, 1, place], rtol=1e-4, atol=1e-4)
        states = {f"state_{k[5:]}": v for k, v in answer.items() if k.startswith("next_")}
        if memory:
            np.testing.assert_allclose(answer["looks"].sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_no_word_sees_what_comes(case):
    built, _ = made(CASES[case])
    rows = batch()
    before = ops.convert_to_numpy(built(rows))
    rows["captions"] = rows["captions"].copy()
    rows["captions"][:, :, 4:] = 5
    after = ops.convert_to_numpy(built(rows))
    np.testing.assert_allclose(before[:, :, :4], after[:, :, :4], atol=1e-5)
    assert not np.allclose(before[:, :, 4:], after[:, :, 4:], atol=1e-3)


def test_every_parameter_learns():
    built, _ = made(CASES["lstm"])
    rows = batch()
    with tf.GradientTape() as tape:
        loss = ops.mean(WordLoss()(rows["captions"][:, :, 1:], built(rows, training=True)))
    gradients = tape.gradient(loss, [v.value for v in built.trainable_variables])
    idle = [v.path for v, g in zip(built.trainable_variables, gradients, strict=True) if g is None or not np.any(g)]
    assert not idle


def test_a_saved_model_gives_the_same(tmp_path):
    built, _ = made(CASES["lstm"])
    built.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras", compile=False)
    np.testing.assert_array_equal(ops.convert_to_numpy(built(batch())), ops.convert_to_numpy(again(batch())))


def test_coverage_is_zero_for_even_looks_and_counts_words_only():
    network = made(Config(**BASE, coverage=1.0))[0].get_layer("network")
    real = np.array([[1, 1, 1, 0]], np.float32)
    even = np.full((1, 4, 3), 1 / 3, np.float32)
    network._add_coverage(ops.convert_to_tensor(even), ops.convert_to_tensor(real))
    assert float(network.losses[-1]) == pytest.approx(0, abs=1e-10)
    one_place = np.zeros((1, 4, 3), np.float32)
    one_place[..., 0] = 1
    network._add_coverage(ops.convert_to_tensor(one_place), ops.convert_to_tensor(real))
    assert float(network.losses[-1]) == pytest.approx((1 - 3) ** 2 + 1 + 1)


def test_concepts_are_what_places_add_to_the_logits():
    network = made(Config(**BASE, look="after", concepts=2.0))[0].get_layer("network")
    memory = np.random.default_rng(3).normal(size=(2, 4, 7)).astype(np.float32)
    captions = np.array([[[START, 4, 5, END, 0, 0, 0], [START, 4, 6, 7, END, 0, 0]], [[START, 9, END, 0, 0, 0, 0]] * 2])
    says = memory @ network.shown.kernel.numpy() @ network.logits.kernel.numpy()
    p = 1 / (1 + np.exp(-(np.log(np.exp(says).mean(axis=1)) + network.rarity.numpy())))
    had = np.zeros(p.shape, bool)
    had[0, [4, 5, 6, 7]] = had[1, 9] = True
    network._add_concepts(ops.convert_to_tensor(memory), ops.convert_to_tensor(captions))
    assert float(network.losses[-1]) == pytest.approx(-2 * np.log(np.where(had, p, 1 - p)).sum() / 5, rel=1e-4)


def test_the_cell_begins_with_what_the_places_say():
    network = made(Config(**BASE, look="after", concepts=1.0))[0].get_layer("network")
    features = network.see(batch()["image"])
    kernel = network.told.kernel.numpy()
    memory, told = network.remember(features)
    network.told.kernel.assign(0 * kernel)
    _, untold = network.remember(features)
    told, untold = (np.concatenate([ops.convert_to_numpy(state) for state in states], 1) for states in (told, untold))
    chances = 1 / (1 + np.exp(-ops.convert_to_numpy(network.hear(memory))))
    inner = np.arctanh(np.clip(untold, -1 + 1e-6, 1 - 1e-6))
    np.testing.assert_allclose(told, np.tanh(inner + chances @ kernel), atol=1e-3)
    assert not np.allclose(told, untold, atol=0.01)


@pytest.mark.parametrize("option", ["word_swap", "word_dropout", "scheduled_sampling", "dropout"])
def test_noise_is_for_training_alone(option):
    share = {"sampling_steps": 1} if option == "scheduled_sampling" else {}
    built, _ = made(Config(**{**BASE, "dropout": 0.0, option: 0.9}, **share))
    rows = batch(8)
    built(rows, training=True)
    np.testing.assert_array_equal(*(ops.convert_to_numpy(built(rows)) for _ in range(2)))
    calm, noisy = (ops.convert_to_numpy(built(rows, training=t)) for t in (False, True))
    assert not np.allclose(calm, noisy, atol=1e-3)


def test_a_swapped_word_is_that_of_another_row_at_its_place():
    network = made(Config(**BASE, word_swap=0.99))[0].get_layer("network")
    fed = np.tile(np.arange(4, 10, dtype=np.int32)[:, None], (1, LONGEST))
    fed[:, 0], fed[2, 3:] = START, 0
    noisy = ops.convert_to_numpy(network._noisy(ops.convert_to_tensor(fed)))
    assert (noisy[:, 0] == START).all()
    assert (noisy[2, 3:] == 0).all()
    words = fed > 3
    changed = noisy[words] != fed[words]
    assert changed.mean() > 0.8
    for row, column in zip(*np.nonzero(noisy != fed), strict=True):
        assert noisy[row, column] == fed[(row - 2) % 6, column]


def test_a_beam_of_one_is_greedy_and_nothing_special_is_said():
    _, engine = made(CASES["lstm"])
    pixels = batch()["image"]
    found = describe.describe(engine, CODEC, pixels, Search(1, 1, 0.0, 0, LONGEST))
    memory, states = describe.encode(engine, pixels)
    token = np.full(3, START, np.int32)
    for place in range(LONGEST):
        answer = engine("step", tokens=token, **memory, **states)
        logits = answer["logits"].copy()
        logits[:, [0, 1, 3]] = -np.inf
        if not place:
            logits[:, END] = -np.inf
        token = logits.argmax(axis=1).astype(np.int32)
        states = {f"state_{k[5:]}": v for k, v in answer.items() if k.startswith("next_")}
        for row in range(3):
            said = found[row][0].tokens
            if place <= len(said):
                assert token[row] == (said[place] if place < len(said) else END)
    best = describe.describe(engine, CODEC, pixels, Search(3, 3, 0.0, 0, LONGEST))
    for one, several in zip(found, best, strict=True):
        assert several[0].log_prob >= one[0].log_prob - 1e-6
        assert len({c.text for c in several}) == 3
        assert all(c.looks.shape[0] in (len(c.tokens), len(c.tokens) + 1) for c in several)


def test_no_group_of_words_comes_twice():
    _, engine = made(CASES["lstm"])
    for best in describe.describe(engine, CODEC, batch(6)["image"], Search(2, 2, 0.0, 1, LONGEST)):
        for caption in best:
            assert len(set(caption.tokens.tolist())) == len(caption.tokens)
