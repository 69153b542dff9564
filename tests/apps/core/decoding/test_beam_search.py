"""Beam search against exhaustive search, a plain re-derivation of transformers' rules, and hand-worked cases."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.apps.core.decoding import beam_search, coverage_penalty, engine_step, ensemble, greedy, length_normalizer
from elman.apps.core.decoding.beam_search import block_maxima, top_scores
from elman.apps.core.decoding.constraints import least_length

from .tables import exhaustive, log_softmax, plain_beam, prefix_step

SEEDS = st.integers(0, 2**31)


def only(tokens, vocabulary):
    allowed = np.isin(np.arange(vocabulary), tokens)
    return lambda history, logits: allowed


def same(found, expected):
    assert [h.tokens.tolist() for h in found] == [tokens for _, tokens, _ in expected]
    assert [h.ended for h in found] == [ended for _, _, ended in expected]
    np.testing.assert_allclose([h.score for h in found], [score for score, _, _ in expected], rtol=1e-5, atol=1e-6)


@given(seed=SEEDS, batch=st.integers(1, 3), min_length=st.integers(0, 2))
@settings(max_examples=25, deadline=None)
def test_beam_of_one_is_greedy(seed, batch, min_length):
    step, start, _ = prefix_step(seed, 6)
    options = {"end": 0, "max_length": 6, "min_length": min_length}
    found = beam_search(step, start(batch), np.full(batch, 2), beam=1, **options)
    for (one,), (other,) in zip(found, greedy(step, start(batch), 2, **options), strict=True):
        assert (one.tokens.tolist(), one.ended) == (other.tokens.tolist(), other.ended)
        assert one.log_prob == pytest.approx(other.log_prob, rel=1e-5)


@given(seed=SEEDS, batch=st.integers(1, 3), penalty=st.sampled_from([None, "average", "wu"]), end=st.booleans())
@settings(max_examples=25, deadline=None)
def test_beam_as_wide_as_the_space_is_exhaustive(seed, batch, penalty, end):
    """Three tokens and the end out of a vocabulary of 64; 27 prefixes of length 3 fit a beam of 32."""
    end = 0 if end else None
    step, start, logits_of = prefix_step(seed, 64, scale=4.0)
    found = beam_search(
        step, start(batch), 1, end=end, max_length=4, beam=32, n_best=20, length_penalty=penalty,
        mask=only([0, 5, 9, 60] if end == 0 else [5, 9, 60], 64),
    )  # fmt: skip
    for item in range(batch):
        expected = exhaustive(
            logits_of, item, 64, end, 4, [5, 9, 60], lambda length: length_normalizer(length, penalty, 1.0)
        )
        same(found[item], expected[:20])


@given(
    seed=SEEDS, beam=st.integers(1, 6), penalty=st.sampled_from([(None, 1.0), ("average", 0.7), ("wu", 0.9)]),
    min_length=st.integers(0, 3), no_repeat=st.sampled_from([0, 1, 2]), early=st.booleans(), data=st.data(),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_n_best_is_that_of_transformers_rules(seed, beam, penalty, min_length, no_repeat, early, data):
    n_best = data.draw(st.integers(1, beam))
    step, start, logits_of = prefix_step(seed, 7)
    found = beam_search(
        step, start(2), [1, 3], end=4, max_length=6, min_length=min_length, beam=beam, n_best=n_best,
        length_penalty=penalty[0], alpha=penalty[1], no_repeat_ngram=no_repeat, early_stopping=early,
    )  # fmt: skip
    normalizer = lambda length: length_normalizer(length, *penalty)  # noqa: E731
    for item in range(2):
        same(found[item], plain_beam(logits_of, item, 4, 6, beam, normalizer, min_length, no_repeat)[:n_best])


def test_early_stopping_saves_steps():
    """A model sure of its end: what lives on can never catch up."""
    calls = []

    def step(tokens, states):
        calls.append(len(tokens))
        logits = np.full((len(tokens), 5), -20.0, np.float32)
        logits[:, 0 if len(calls) > 2 else 3] = 20
        return logits, states

    found = beam_search(step, None, 1, end=0, max_length=50, beam=3)
    assert found[0][0].tokens.tolist() == [3, 3]
    assert len(calls) == 3
    assert set(calls) == {3}  # the rows never change in number
    calls.clear()
    assert beam_search(step, None, 1, end=0, max_length=50, beam=3, early_stopping=False)[0][0].tokens.size == 2
    assert len(calls) == 50


def test_early_stopping_waits_where_a_longer_one_can_win():
    """Averaged over its length, a long sequence overtakes a short one that ended first."""
    table = {(): [0.4, 0.6], (1,): [0.3, 0.7]}

    def step(tokens, states):
        count = int(states[0, 0])
        row = table[()] if not count else table[(1,)] if count == 1 else [0.001, 0.999]
        return np.log(np.tile(row, (len(tokens), 1))), states + 1

    found = beam_search(
        step, np.zeros((1, 1)), 1, end=0, max_length=8, beam=2, n_best=2, length_penalty="average", log_probs=True
    )[0]
    assert found[0].tokens.tolist() == [1] * 8
    assert found[0].score == pytest.approx((np.log(0.6) + np.log(0.7) + 6 * np.log(0.999)) / 8)
    assert found[1].tokens.tolist() == [1]
    assert found[1].score == pytest.approx(np.log(0.6 * 0.3) / 2)


@pytest.mark.parametrize(("shape", "count"), [((1, 5, 1003), 10), ((3, 2, 250), 4), ((2, 3, 7), 6), ((1, 4, 400), 3)])
def test_top_scores_is_a_sort(shape, count):
    rng = np.random.default_rng(sum(shape))
    logits = rng.integers(-4, 5, shape).astype(np.float32)  # many ties
    logits[rng.random(shape) < 0.3] = -np.inf
    offsets = rng.normal(size=shape[:2]).round(1)
    offsets[0, 0] = -np.inf
    maxima = block_maxima(logits.reshape(-1, shape[2])).reshape(*shape[:2], -1)
    scores, rows, tokens = top_scores(logits, maxima, offsets, count)
    for item in range(shape[0]):
        everything = (logits[item] + offsets[item][:, None]).ravel()
        order = np.argsort(-everything, kind="stable")[:count]
        np.testing.assert_array_equal(scores[item], everything[order])
        np.testing.assert_array_equal(rows[item] * shape[2] + tokens[item], order)


def test_penalties_by_hand():
    assert length_normalizer(7, "wu", 0.5) == pytest.approx(np.sqrt(2.0))
    assert length_normalizer(4, "average", 1.0) == 4
    assert length_normalizer(4, None, 1.0) == 1
    covered = np.array([0.5, 2.0, 0.25])
    assert coverage_penalty(covered, 0.2) == pytest.approx(0.2 * (np.log(0.5) + np.log(0.25)))
    assert coverage_penalty(covered, 1.0, np.array([True, True, False])) == pytest.approx(np.log(0.5))


@pytest.mark.parametrize("beta", [0.0, 0.7])
def test_attention_and_coverage(beta):
    step, start, logits_of = prefix_step(3, 16, attention=4)
    found = beam_search(
        step, start(2), 1, end=0, max_length=4, beam=16, n_best=4, coverage=beta, mask=only([0, 2, 3], 16)
    )
    for item, hypotheses in enumerate(found):
        for hypothesis in hypotheses:
            path = hypothesis.tokens.tolist()
            steps = len(path) + hypothesis.ended
            weights = np.array([logits_of(item, path[:t])[1] for t in range(steps)])
            np.testing.assert_allclose(hypothesis.attention, weights[: len(path)])
            covered = np.log(np.minimum(weights.sum(0), 1)).sum()
            assert hypothesis.score == pytest.approx(hypothesis.log_prob + beta * covered, rel=1e-5)
        assert len(hypotheses) == 4
        assert sorted(h.score for h in hypotheses)[::-1] == [h.score for h in hypotheses]


def contains(sequence, phrase):
    return any(sequence[i : i + len(phrase)] == list(phrase) for i in range(len(sequence)))


@given(seed=SEEDS, data=st.data())
@settings(max_examples=25, deadline=None)
def test_constraints_are_exhaustive_search_within_them(seed, data):
    """Required and forbidden phrases, one set per item, in a beam that holds the whole space."""
    tokens = [5, 9, 60]
    phrase = st.lists(st.sampled_from(tokens), min_size=1, max_size=2)
    required = [data.draw(st.lists(phrase, max_size=2)) for _ in range(2)]
    forbidden = [data.draw(st.lists(st.lists(st.sampled_from(tokens), min_size=2, max_size=3), max_size=1))] * 2
    forbidden = [
        [f for f in banned if not any(contains(r, f) for r in needed)]
        for needed, banned in zip(required, forbidden, strict=True)
    ]
    step, start, logits_of = prefix_step(seed, 64)
    found = beam_search(
        step, start(2), 1, end=0, max_length=4, beam=64, n_best=12, required=required, forbidden=forbidden,
        mask=only([0, *tokens], 64),
    )  # fmt: skip
    for item in range(2):

        def rule(sequence, ended, item=item):
            needed = all(contains(sequence, phrase) for phrase in required[item])
            return needed and not any(contains(sequence, phrase) for phrase in forbidden[item])

        same(found[item], exhaustive(logits_of, item, 64, 0, 4, tokens, rule=rule)[:12])


@given(phrases=st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=3).map(tuple), min_size=1, max_size=3))
@settings(max_examples=40, deadline=None)
def test_the_least_length_of_phrases_is_no_more_than_the_shortest_text_that_holds_them(phrases):
    size = next(
        n
        for n in range(1, 10)
        if any(all(contains(list(text), p) for p in phrases) for text in itertools.product((0, 1), repeat=n))
    )
    assert max(map(len, phrases)) <= least_length(phrases) <= size


def test_required_phrases_are_met_by_a_narrow_beam():
    """A beam of four meets three phrases that the model itself never would choose."""
    step, start, _ = prefix_step(11, 50, scale=3.0)
    phrases = [[7, 8], [30], [12, 12, 13]]
    for (found,) in beam_search(step, start(3), 1, end=0, max_length=14, beam=4, required=phrases):
        assert all(contains(found.tokens.tolist(), phrase) for phrase in phrases)
    for (found,) in beam_search(step, start(3), 1, end=0, max_length=14, beam=4):
        assert not all(contains(found.tokens.tolist(), phrase) for phrase in phrases)


def test_an_unconstrained_item_is_not_touched_by_its_neighbour():
    step, start, _ = prefix_step(5, 20)
    alone = beam_search(step, start(2), 1, end=0, max_length=6, beam=4, n_best=3)
    beside = beam_search(step, start(2), 1, end=0, max_length=6, beam=4, n_best=3, required=[[], [[7, 3]]])
    assert [h.tokens.tolist() for h in alone[0]] == [h.tokens.tolist() for h in beside[0]]
    assert [h.tokens.tolist() for h in alone[1]] != [h.tokens.tolist() for h in beside[1]]


def test_diverse_groups_by_hand():
    """Vijayakumar et al.: two groups of one; the second avoids what the first took at the step."""
    rows = np.log([[0.5, 0.3, 0.2], [0.6, 0.3, 0.1]])

    def step(tokens, states):
        return np.tile(rows[int(states[0, 0])], (len(tokens), 1)), states + 1

    options = {"end": None, "max_length": 2, "beam": 2, "n_best": 2, "log_probs": True}
    # group 1: 0 0; group 2: log .5 − 1 < log .3, then log .6 − 1 < log .3: token 1 twice
    first, second = beam_search(step, np.zeros((1, 1)), 0, groups=2, diversity=1.0, **options)[0]
    assert first.tokens.tolist() == [0, 0]
    assert second.tokens.tolist() == [1, 1]
    assert second.score == pytest.approx(np.log(0.3) + np.log(0.3))  # reported without the penalty
    # at 0.6 the second group still moves at the first step (.5 e^−.6 = .274 < .3), but not at the second (.329 > .3)
    _, second = beam_search(step, np.zeros((1, 1)), 0, groups=2, diversity=0.6, **options)[0]
    assert second.tokens.tolist() == [1, 0]
    assert len(beam_search(step, np.zeros((1, 1)), 0, groups=2, diversity=0.0, **options)[0]) == 1  # found once


def test_ensemble_by_hand():
    one, two = np.array([[0.8, 0.1, 0.1]]), np.array([[0.2, 0.2, 0.6]])
    steps = [lambda t, s: (np.log(one) + 5, s), lambda t, s: (np.log(two) - 3, s)]
    linear, states, _ = ensemble(steps, [3, 1])(np.array([0]), [None, None])
    np.testing.assert_allclose(np.exp(linear), 0.75 * one + 0.25 * two)
    assert states == [None, None]
    log_linear, _, _ = ensemble(steps, log_linear=True)(np.array([0]), [None, None])
    np.testing.assert_allclose(np.exp(log_linear), np.sqrt(one * two))


def test_ensemble_of_one_model_twice_is_the_model():
    step, start, _ = prefix_step(8, 12, attention=3)
    single = beam_search(step, start(2), 1, end=0, max_length=6, n_best=5)
    double = beam_search(ensemble([step, step]), [start(2), start(2)], 1, end=0, max_length=6, n_best=5, log_probs=True)
    for a, b in zip(single, double, strict=True):
        assert [h.tokens.tolist() for h in a] == [h.tokens.tolist() for h in b]
        np.testing.assert_allclose([h.score for h in a], [h.score for h in b], rtol=1e-5)
        np.testing.assert_allclose(a[0].attention, b[0].attention)


def test_engine_step_carries_states_and_repeats_constants():
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(3, 9)).astype(np.float32)
    shapes = []

    def engine(signature, tokens, memory, h):
        assert signature == "decode"
        assert tokens.dtype == np.int32
        shapes.append(memory.shape)
        h = np.tanh(h + memory + tokens[:, None] * 0.1)
        return {"scores": h @ kernel, "next_h": h}

    memory = rng.normal(size=(2, 3)).astype(np.float32)
    options = {"logits": "scores", "constants": {"memory": memory}}
    step = engine_step(engine, "decode", feeds={"next_h": "h"}, **options)

    def by_hand(tokens, states):
        h = np.tanh(states["h"] + states["memory"] + tokens[:, None] * 0.1)
        return h @ kernel, {"h": h, "memory": states["memory"]}

    zeros = np.zeros((2, 3), np.float32)
    found = beam_search(step, {"h": zeros}, 1, end=0, max_length=5, beam=3, n_best=3)
    expected = beam_search(by_hand, {"h": zeros, "memory": memory}, 1, end=0, max_length=5, beam=3, n_best=3)
    for a, b in zip(found, expected, strict=True):
        assert [h.tokens.tolist() for h in a] == [h.tokens.tolist() for h in b]
    assert set(shapes) == {(6, 3)}

    # an Engine declares its own feedback
    engine.signatures = {"decode": SimpleNamespace(states={"next_h": "h"})}
    declared = beam_search(engine_step(engine, "decode", **options), {"h": zeros}, 1, end=0, max_length=5, beam=3)
    assert [item[0].tokens.tolist() for item in declared] == [item[0].tokens.tolist() for item in expected]
    with pytest.raises(ValueError, match=r"expected states \['h'\], received \['c'\]"):
        beam_search(engine_step(engine, "decode", **options), {"c": zeros}, 1, end=0, max_length=5, beam=3)


def constant(logits):
    return lambda tokens, states: (np.tile(np.asarray(logits, np.float32), (len(tokens), 1)), states)


@pytest.mark.parametrize(
    ("logits", "options", "message"),
    [
        ([0.0, np.nan, 1.0], {}, "finite logits"),
        ([0.0, np.inf, 1.0], {}, "finite logits"),
        ([0.0, 2.0, 1.0], {"log_probs": True}, "above zero"),
        ([], {}, "vocabulary of at least one"),
        ([0.0, 1.0, 2.0], {"end": 3}, "end token in 0 … 2"),
        ([0.0, 1.0, 2.0], {"start": 7}, "start tokens in 0 … 2"),
        ([0.0, 1.0, 2.0], {"beam": 4}, "no wider than the vocabulary"),
        ([0.0, 1.0, 2.0], {"n_best": 3}, "n_best <= beam"),
        ([0.0, 1.0, 2.0], {"beam": 3, "groups": 2}, "groups that divide"),
        ([0.0, 1.0, 2.0], {"min_length": 9}, "min_length <= max_length"),
        ([0.0, 1.0, 2.0], {"required": [[0]]}, "end token"),
        ([0.0, 1.0, 2.0], {"required": [[1, 2]], "forbidden": [[2]]}, "contradictory"),
        ([0.0, 1.0, 2.0], {"required": [[1] * 6]}, "more than max_length"),
        ([0.0, 1.0, 2.0], {"required": [[1, 1, 1], [2, 2, 2]]}, "contradictory .* more than max_length"),
        ([0.0, 1.0, 2.0], {"required": [1, 2]}, "phrases as lists of tokens"),
        ([0.0, 1.0, 2.0], {"forbidden": ["a"]}, "phrases as lists of tokens"),
        (
            [0.0, 1.0, 2.0],
            {"mask": lambda tokens, logits: np.ones(2, bool)},
            r"booleans \(2, 3\), received bool \(2,\)",
        ),
        ([0.0, 1.0, 2.0], {"required": [[1, 1]], "no_repeat_ngram": 1}, "repeats an n-gram"),
        ([0.0, 1.0, 2.0], {"required": [[5]]}, "phrases of tokens"),
        ([0.0, 1.0, 2.0], {"length_penalty": "gnmt"}, "length_penalty"),
        ([0.0, 1.0, 2.0], {"coverage": 0.5}, "returns attention"),
        ([0.0, 1.0, 2.0], {"alpha": -1.0}, "of 0 or more"),
        ([0.0, 1.0, 2.0], {"mask": lambda tokens, logits: np.ones(3)}, "booleans"),
    ],
)
def test_bad_input(logits, options, message):
    options = {"start": 1, "end": 0, "max_length": 5, "beam": 2, **options}
    with pytest.raises(ValueError, match=message):
        beam_search(constant(logits), None, options.pop("start"), **options)


def test_shapes_are_checked():
    with pytest.raises(ValueError, match="one per start token"):
        beam_search(constant([0.0, 1.0]), np.zeros((3, 2)), [0, 0], end=None, max_length=2, beam=1)
    with pytest.raises(ValueError, match=r"logits of shape \(2, vocabulary\)"):
        beam_search(lambda t, s: (np.zeros((1, 4)), s), None, 0, end=None, max_length=2, beam=2)


def test_log_probs_skips_the_softmax():
    step, start, _ = prefix_step(2, 9)
    normalised = lambda tokens, states: (lambda out: (log_softmax(out[0]), out[1]))(step(tokens, states))  # noqa: E731
    one = beam_search(step, start(2), 1, end=0, max_length=5, n_best=4)
    two = beam_search(normalised, start(2), 1, end=0, max_length=5, n_best=4, log_probs=True)
    for a, b in zip(one, two, strict=True):
        same(a, [(h.score, h.tokens.tolist(), h.ended) for h in b])
