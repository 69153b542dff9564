"""Sampling against the distributions it should draw from."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.apps.core.decoding import cut_logits, greedy, sample

from .tables import log_softmax, prefix_step


def constant(logits):
    return lambda tokens, states: (np.tile(np.asarray(logits, np.float32), (len(tokens), 1)), states)


def softmax(logits):
    return np.exp(log_softmax(logits))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_have_the_tempered_frequencies(temperature):
    logits = np.array([1.0, -0.5, 0.3, 2.0])
    drawn = sample(constant(logits), None, 0, end=None, max_length=1, n=20000, temperature=temperature, seed=1)[0]
    share = np.bincount([h.tokens[0] for h in drawn], minlength=4) / 20000
    np.testing.assert_allclose(share, softmax(logits / temperature), atol=0.012)  # three standard deviations
    np.testing.assert_allclose(
        [h.log_prob for h in drawn[:9]], [log_softmax(logits)[h.tokens[0]] for h in drawn[:9]], 1e-5
    )


def test_cuts_by_hand():
    logits = np.log([[0.5, 0.25, 0.15, 0.1]])

    def kept(**cuts):
        return np.isfinite(cut_logits(logits, **cuts))[0].tolist()

    assert kept(top_k=2) == [True, True, False, False]
    assert kept(top_p=0.7) == [True, True, False, False]  # .5 does not reach .7, .75 does
    assert kept(top_p=0.76) == [True, True, True, False]
    assert kept(top_p=0.01) == [True, False, False, False]
    assert kept(min_p=0.3) == [True, True, True, False]  # .15 = .3 × .5 stays
    assert kept(min_p=0.4) == [True, True, False, False]
    assert kept(temperature=0) == [True, False, False, False]
    assert kept(temperature=0.5, min_p=0.3) == [True, False, False, False]  # .25² < .3 × .5²
    np.testing.assert_allclose(cut_logits(logits, temperature=2.0), logits / 2)


@given(seed=st.integers(0, 2**31), top_k=st.integers(0, 9), top_p=st.floats(0.05, 1), min_p=st.floats(0, 1))
@settings(max_examples=50, deadline=None)
def test_cuts_keep_the_best_and_fit_their_definition(seed, top_k, top_p, min_p):
    logits = np.random.default_rng(seed).normal(size=(3, 8)) * 2
    kept = np.isfinite(cut_logits(logits, top_k=top_k, top_p=top_p, min_p=min_p))
    for row, keep in zip(logits, kept, strict=True):
        order = np.argsort(-row)
        if 0 < top_k < 8:
            order = order[:top_k]
        p = softmax(row[order])
        order = order[: 1 + int((p.cumsum() < top_p - 1e-12).sum())] if top_p < 1 else order
        expected = [t for t in order if np.exp(row[t] - row.max()) >= min_p * (1 - 1e-12)]
        assert sorted(np.flatnonzero(keep)) == sorted(expected)


def test_repetition_penalty_by_hand():
    """Keskar et al.: 2 / 2 < 1.5 forbids the repeat; then −1 × 2 does the same below zero."""
    found = greedy(constant([2.0, 1.5, -9.0]), None, 2, end=None, max_length=3, repetition_penalty=2.0)[0][0]
    assert found.tokens.tolist() == [0, 1, 0]  # then 1.0 against 0.75
    found = greedy(constant([-1.0, -1.5, -9.0]), None, 2, end=None, max_length=3, repetition_penalty=2.0)[0][0]
    assert found.tokens.tolist() == [0, 1, 0]


def test_seed_and_uniforms_decide_the_draw():
    step, start, _ = prefix_step(4, 10)
    options = {"end": 0, "max_length": 8, "n": 3}
    texts = lambda found: [[h.tokens.tolist() for h in item] for item in found]  # noqa: E731
    one = texts(sample(step, start(2), 1, seed=7, **options))
    assert one == texts(sample(step, start(2), 1, seed=7, **options))
    assert one != texts(sample(step, start(2), 1, seed=8, **options))
    uniforms = np.random.default_rng(7).random((8, 6))
    assert one == texts(sample(step, start(2), 1, uniforms=uniforms, **options))


@given(seed=st.integers(0, 2**31), n=st.integers(1, 3))
@settings(max_examples=15, deadline=None)
def test_scores_and_ends_of_samples(seed, n):
    step, start, logits_of = prefix_step(seed, 5, attention=2)
    for item, drawn in enumerate(sample(step, start(2), 3, end=0, max_length=6, min_length=1, n=n, seed=seed)):
        assert len(drawn) == n
        for hypothesis in drawn:
            path = hypothesis.tokens.tolist() + [0] * hypothesis.ended
            assert 1 <= len(hypothesis.tokens) <= 6
            assert hypothesis.ended or len(hypothesis.tokens) == 6
            assert 0 not in hypothesis.tokens
            total = sum(log_softmax(logits_of(item, path[:t])[0])[token] for t, token in enumerate(path))
            assert hypothesis.log_prob == pytest.approx(total, rel=1e-5)
            weights = [logits_of(item, path[:t])[1] for t in range(len(hypothesis.tokens))]
            np.testing.assert_allclose(hypothesis.attention, weights)


def test_rules_hold_in_samples():
    step, start, _ = prefix_step(9, 6)
    allowed = np.array([True, True, True, False, True, True])
    for (found,) in sample(
        step,
        start(20),
        1,
        end=0,
        max_length=12,
        seed=0,
        mask=lambda t, s: allowed,
        forbidden=[[1, 2]],
        no_repeat_ngram=2,
    ):
        tokens = found.tokens.tolist()
        pairs = list(itertools.pairwise(tokens))
        assert 3 not in tokens
        assert (1, 2) not in pairs
        assert len(set(pairs)) == len(pairs)


def test_a_callback_sees_the_prefix():
    """A rising scale: only tokens above the last are allowed."""
    step, start, _ = prefix_step(1, 30)

    def rising(tokens, logits):
        floor = tokens[:, -1:] if tokens.shape[1] else np.zeros((len(tokens), 1), int)
        return (np.arange(logits.shape[1]) > floor) | (np.arange(logits.shape[1]) == 0)

    for (found,) in sample(step, start(8), 1, end=0, max_length=30, mask=rising, seed=3):
        assert (np.diff(found.tokens) > 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1.0}, "temperature"),
        ({"top_k": -1}, "top_k"),
        ({"top_p": 0.0}, "top_p"),
        ({"min_p": 1.5}, "min_p"),
        ({"repetition_penalty": 0.0}, "repetition_penalty"),
        ({"end": 9}, "end token"),
        ({"uniforms": np.zeros((2, 1))}, "uniforms"),
        ({"mask": lambda tokens, logits: np.zeros(3, bool)}, "no token is allowed"),
        ({"logits": [np.nan, 0.0, 0.0]}, "finite"),
        ({"logits": np.zeros((0,))}, "at least one token"),
    ],
)
def test_bad_input(options, message):
    options = {"end": 0, "max_length": 3, "logits": [0.0, 1.0, 2.0], **options}
    with pytest.raises(ValueError, match=message):
        sample(constant(options.pop("logits")), None, 1, **options)
