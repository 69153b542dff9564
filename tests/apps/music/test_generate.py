"""Drawing and scoring: against the layers, against brute force, and against the rules."""

import dataclasses

import numpy as np
import pytest

from elman.apps.core.engines import Engine
from elman.apps.core.signature import Signature, Spec
from elman.apps.music import generate
from elman.apps.music.baselines import Markov
from elman.apps.music.codec import FIRST, SHIFT, Codec
from elman.apps.music.config import PredictOptions
from elman.apps.music.data import Encoded
from elman.apps.music.predict import check

RNG = np.random.default_rng(5)
HIDDEN = 6
KERNEL, OUTPUT = RNG.normal(size=(88, HIDDEN)).astype("f4"), RNG.normal(size=(88, HIDDEN)).astype("f4")


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def nade_engine():
    """A model without a past: NADE with the biases that it is given."""

    def run(signature, arrays):
        if signature.name == "conditional":
            hidden = sigmoid(arrays["hidden_bias"] + arrays["drawn"] @ KERNEL)
            return {"logits": arrays["visible_bias"] + hidden @ OUTPUT.T}
        rows = len(arrays["previous"])
        visible = np.full((rows, 88), -3.0, "f4") + 0.1 * arrays["state_0"][:, :1]
        return {
            "visible_bias": visible,
            "hidden_bias": np.ones((rows, HIDDEN), "f4"),
            "next_state_0": arrays["state_0"] + 1,
        }

    keys = Spec("previous", (None, 88))
    outputs = {"visible_bias": "", "hidden_bias": ""}
    step = Signature(
        "step", (keys, Spec("state_0", (None, 1))), {**outputs, "next_state_0": ""}, {"next_state_0": "state_0"}
    )
    specs = (Spec("visible_bias", (None, 88)), Spec("hidden_bias", (None, HIDDEN)), Spec("drawn", (None, 88)))
    return Engine("numpy", {"step": step, "conditional": Signature("conditional", specs, {"logits": ""})}, run)


CODEC = Codec("frames", 4)


def test_frames_are_drawn_as_nade_draws_them():
    from elman.layers import nade_sample

    outputs = {
        "visible_bias": RNG.normal(-2, 1, (20, 88)).astype("f4"),
        "hidden_bias": RNG.normal(size=(20, HIDDEN)).astype("f4"),
    }
    drawer = generate.Drawer(nade_engine(), CODEC, generate.Rules())
    drawn, log_prob = drawer.draw(outputs, np.zeros((20, 0), bool), np.random.default_rng(1), 0)
    uniform = np.random.default_rng(1).random((20, 88))
    expected = nade_sample(uniform, outputs["visible_bias"], outputs["hidden_bias"], KERNEL, OUTPUT, xp=np)
    np.testing.assert_array_equal(drawn, expected)
    for row in range(20):
        total, c = 0.0, outputs["hidden_bias"][row].astype(float)
        for d in range(88):
            p = sigmoid(outputs["visible_bias"][row, d] + sigmoid(c) @ OUTPUT[d])
            total += np.log(p if drawn[row, d] else 1 - p)
            c = c + drawn[row, d] * KERNEL[d]
        assert total == pytest.approx(log_prob[row], rel=1e-4)


@pytest.mark.parametrize("temperature", [0.0, 1.0, 2.0])
def test_the_rules_hold(temperature):
    outputs = {"visible_bias": np.ones((30, 88), "f4"), "hidden_bias": np.zeros((30, HIDDEN), "f4")}
    rules = generate.Rules(temperature, allowed=generate.allowed_pitches("G", 50, 70), max_notes=3)
    drawn, _ = generate.Drawer(nade_engine(), CODEC, rules).draw(outputs, np.zeros((30, 0), bool), RNG, 0)
    pitches = np.unique(np.nonzero(drawn)[1] + 21)
    assert set(pitches) <= {50, 52, 54, 55, 57, 59, 60, 62, 64, 66, 67, 69}
    assert 0 < drawn.sum(axis=1).max() <= 3


def test_scores_are_those_of_the_chain_rule_over_whole_pieces():
    rolls = [(RNG.random((n, 88)) < 0.06).astype(np.uint8) for n in (7, 3, 12)]
    pieces = [Encoded(None, r, np.zeros(len(r), "i4"), np.zeros((len(r), 0), "f4")) for r in rolls]
    nats, hits = generate.step_scores(nade_engine(), CODEC, pieces)
    assert [len(n) for n in nats] == [7, 3, 12]
    assert sum(hits.values()) >= sum(int(r.sum()) for r in rolls)
    for found, roll in zip(nats, rolls, strict=True):
        for t, y in enumerate(roll):
            before = np.cumsum(y) - y
            logits = np.array([
                -3.0 + 0.1 * t + sigmoid(1.0 + (y * (np.arange(88) < d)) @ KERNEL) @ OUTPUT[d] for d in range(88)
            ])  # fmt: skip
            assert before[-1] <= y.sum()
            expected = -(y * logits - np.logaddexp(0, logits)).sum()
            assert found[t] == pytest.approx(expected, rel=1e-4)


def test_no_more_voices_sound_than_may():
    codec = Codec("voices", 4, voices=4, low=60, high=63)
    rng = np.random.default_rng(2)
    drawer = generate.Drawer(chain_engine(rng.normal(size=(6, 6))), codec, generate.Rules(max_notes=2))
    drawer.joint, down, most = False, generate.pressed(codec, 50, np.zeros((0, 4), int)), 0
    for step in range(12):
        outputs = {"logits": rng.normal(size=(50, 4, 6)).astype("f4")}
        symbols, _ = drawer.draw(outputs, down, rng, step)
        down = generate.press(codec, down, symbols)
        most = max(most, down.sum(axis=1).max())
    assert most == 2


def test_keys_are_down_until_they_are_let_go():
    codec = Codec("performance", 4)
    down = generate.pressed(codec, 3, np.array([60, 64, SHIFT + 5, 128 + 60, 70]))
    assert [np.flatnonzero(row).tolist() for row in down] == [[64, 70]] * 3
    down = generate.press(codec, down, np.array([128 + 64, 61, SHIFT]))
    assert [np.flatnonzero(row).tolist() for row in down] == [[70], [61, 64, 70], [64, 70]]


def test_a_key_that_is_none_is_refused():
    for key in ("H", "Cmaj", "c"):
        with pytest.raises(Exception, match="expected a key such as"):
            generate.allowed_pitches(key, 0, 127)
    with pytest.raises(Exception, match="no pitch is left"):
        generate.allowed_pitches("C", 61, 61)


def chain_engine(table):
    """A model of one voice that is a Markov chain over three symbols: logits = table[previous]."""

    def run(signature, arrays):
        previous = arrays["previous"][:, -1, 0] if signature.name == "prime" else arrays["previous"][:, 0]
        return {"logits": table[previous][:, None].astype("f4"), "next_state_0": np.zeros((len(previous), 1), "f4")}

    step = Signature(
        "step", (Spec("previous", (None, 1), "int32"), Spec("state_0", (None, 1))), {}, {"next_state_0": "state_0"}
    )
    prime = Signature("prime", (Spec("previous", (None, None, 1), "int32"),), {}, {})
    return Engine("numpy", {"step": step, "prime": prime}, run)


def voice_stream(table, steps, **options):
    codec = Codec("voices", 4, voices=1, low=60, high=59 + len(table) - FIRST)
    drawer = generate.Drawer(chain_engine(table), codec, generate.Rules(options.pop("temperature", 1.0)))
    places, conditions = np.zeros(steps, "i4"), np.zeros((steps, 0), "f4")
    return list(
        generate.stream(None or drawer.engine, codec, drawer, np.zeros((0, 1), "i4"), places, conditions, **options)
    )


def test_a_beam_finds_what_greedy_misses():
    # from the start (rest, 1): symbol 2 is the likelier first step, but leads to a flat future; 3 leads to a sure one
    table = np.log(np.array([
        [0.25, 0.25, 0.25, 0.25],
        [0.01, 0.01, 0.55, 0.43],
        [0.25, 0.25, 0.25, 0.25],
        [0.01, 0.01, 0.01, 0.97],
    ]))  # fmt: skip
    greedy = voice_stream(table, 6, temperature=0.0)[-1][:, 0]
    assert greedy[0] == 2
    beam = voice_stream(table, 6, beam=8, branch=8)[-1][:, 0]
    assert beam.tolist() == [3] * 6


def test_a_stream_grows_by_a_step_and_is_the_same_for_a_seed():
    table = RNG.normal(size=(5, 5))
    made = voice_stream(table, 9, seed=4)
    assert [len(m) for m in made] == list(range(1, 10))
    np.testing.assert_array_equal(made[-1], voice_stream(table, 9, seed=4)[-1])


def test_markov_chains_are_distributions_and_know_their_data():
    codec = Codec("voices", 1, voices=1, low=60, high=61)
    data = [RNG.integers(0, codec.symbols, (30, 1)).astype(np.int32) for _ in range(3)]
    for order in (0, 1, 2):
        chain = Markov(codec, order, data)
        for start in ([], [2], [1, 3], [0, 0]):
            probabilities = [
                np.exp(-chain.step_scores(np.array([*start, s], np.int32)[:, None])[-1]) for s in range(codec.symbols)
            ]
            assert sum(probabilities) == pytest.approx(1.0)
    steady = [np.tile([[2], [3]], (20, 1)).astype(np.int32)]
    assert (
        Markov(codec, 1, steady).step_scores(steady[0]).mean() < Markov(codec, 0, steady).step_scores(steady[0]).mean()
    )
    drawn = Markov(codec, 1, steady).draw(200, np.random.default_rng(0))[:, 0]
    assert (drawn[1:] != drawn[:-1]).mean() > 0.8


@pytest.mark.parametrize(
    ("option", "message"),
    [({"temperature": -1.0}, "--temperature"), ({"harmonise": True}, "--harmonise"), ({"chords": "C"}, "--chords"),
     ({"bars": 0.0}, "--bars"), ({"tempo": -1.0}, "--tempo")],
)  # fmt: skip
def test_options_out_of_range_are_refused(option, message):
    with pytest.raises(Exception, match=message):
        check(dataclasses.replace(PredictOptions(), **option), CODEC)
