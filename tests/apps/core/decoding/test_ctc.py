"""CTC decoding against a sum over all alignments, and each of its guides against the same by hand."""

import itertools
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.apps.core.decoding import LanguageModel, PrefixBeamSearch, best_path

from .tables import log_softmax

SEEDS = st.integers(0, 2**31)


def every_text(log_probs, labels, blank=0):
    """log p of every text of a short sequence: the sum over all alignments."""
    totals = {}
    for alignment in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        classes = [c for i, c in enumerate(alignment) if c != blank and (i == 0 or alignment[i - 1] != c)]
        text = "".join(labels[c] for c in classes)
        path = sum(log_probs[t, c] for t, c in enumerate(alignment))
        totals[text] = np.logaddexp(totals.get(text, -np.inf), path)
    return totals


def random_frames(seed, shape, scale=2.0):
    return (np.random.default_rng(seed).normal(size=shape) * scale).astype(np.float32)


def exact(alphabet, **options):
    """A search that prunes nothing."""
    return PrefixBeamSearch(alphabet, **{"beam": 2000, "threshold": -np.inf, "margin": np.inf, **options})


def check(found, expected, count):
    """The n best are those of a table text -> score."""
    ranked = sorted((score, text) for text, score in expected.items() if score > -np.inf)[::-1][:count]
    assert [t.text for t in found] == [text for _, text in ranked]
    np.testing.assert_allclose([t.score for t in found], [score for score, _ in ranked], rtol=1e-5, atol=1e-6)


@given(seed=SEEDS, frames=st.integers(1, 6), blank=st.integers(0, 3))
@settings(max_examples=25, deadline=None)
def test_prefix_beam_is_the_sum_over_alignments(seed, frames, blank):
    logits = random_frames(seed, (2, frames, 4))
    labels = "abc"[:blank] + "-" + "abc"[blank:]
    for item, found in zip(logits, exact("abc", blank=blank)(logits, n_best=8), strict=True):
        expected = every_text(log_softmax(item), labels, blank)
        check(found, expected, 8)
        np.testing.assert_allclose([t.log_prob for t in found], [expected[t.text] for t in found], rtol=1e-5)


def test_a_case_where_best_path_is_wrong():
    """Graves 2006, figure: blank wins both frames at .6, yet p("a") = 1 − .36 = .64."""
    frames = np.log([[[0.6, 0.4], [0.6, 0.4]]])
    assert best_path(frames, "a", log_probs=True)[0].text == ""
    found = exact("a", log_probs=True)(frames)[0][0]
    assert found.text == "a"
    assert np.exp(found.log_prob) == pytest.approx(0.64)


@given(seed=SEEDS, blank=st.integers(0, 2))
@settings(max_examples=25, deadline=None)
def test_best_path(seed, blank):
    logits = random_frames(seed, (3, 12, 3))
    lengths = [12, 7, 0]
    labels = ["x", "yy"]
    for item, length, found in zip(logits, lengths, best_path(logits, labels, lengths, blank=blank), strict=True):
        probabilities = np.exp(log_softmax(item[:length])).reshape(length, 3)
        winners = probabilities.argmax(-1).tolist()
        runs = [(c, [t for t, _ in run]) for c, run in itertools.groupby(enumerate(winners), key=lambda pair: pair[1])]
        runs = [(c, max(run, key=lambda t: probabilities[t, c])) for c, run in runs if c != blank]
        assert found.classes.tolist() == [c for c, _ in runs]
        assert found.text == "".join(labels[c - (c > blank)] for c, _ in runs)
        assert found.frames.tolist() == [t for _, t in runs]
        np.testing.assert_allclose(found.confidences, [probabilities[t, c] for c, t in runs], rtol=1e-5)


MODEL = LanguageModel.train(["abba cab", "cabbac", "bac abc", "aa"], order=3)


@given(seed=SEEDS, weight=st.sampled_from([0.0, 0.5, 2.0]), bonus=st.sampled_from([0.0, 1.5]))
@settings(max_examples=15, deadline=None)
def test_language_model_is_added_to_every_text(seed, weight, bonus):
    logits = random_frames(seed, (1, 5, 5))
    found = exact("abc ", language_model=MODEL, lm_weight=weight, bonus=bonus)(logits, n_best=10)[0]
    expected = every_text(log_softmax(logits[0]), "-abc ")
    check(found, {t: p + weight * MODEL.score(t) + bonus * len(t) for t, p in expected.items()}, 10)
    found = exact("abc ", bonus=bonus)(logits, n_best=10)[0]
    check(found, {t: p + bonus * len(t) for t, p in expected.items()}, 10)


@given(seed=SEEDS, unknown=st.sampled_from([-1.0, -5.0, -np.inf]))
@settings(max_examples=15, deadline=None)
def test_lexicon_costs_each_unknown_word(seed, unknown):
    logits = random_frames(seed, (1, 5, 4))
    words = {"a", "ab", "bba"}
    found = exact("ab ", lexicon=words, unknown=unknown)(logits, n_best=10)[0]
    expected = {}
    for text, score in every_text(log_softmax(logits[0]), "-ab ").items():
        strange = sum(word not in words for word in text.split())
        expected[text] = score + (unknown * strange if strange else 0.0)
    check(found, expected, 10)


@given(seed=SEEDS)
@settings(max_examples=15, deadline=None)
def test_hotwords_are_rewarded_whole(seed):
    """A phrase and a word that opens it; nothing is left of a reward that did not come about."""
    logits = random_frames(seed, (1, 6, 4))
    found = exact("ab ", hotwords={"ab": 2.0, "b": 1.0, "ab ab": 4.5})(logits, n_best=40)[0]
    expected = {}
    for text, score in every_text(log_softmax(logits[0]), "-ab ").items():
        words, reward = text.split(" "), 0.0
        while words:
            if words[:2] == ["ab", "ab"]:
                reward, words = reward + 4.5, words[2:]
            else:
                reward, words = reward + {"ab": 2.0, "b": 1.0}.get(words[0], 0.0), words[1:]
        expected[text] = score + reward
    check(found, expected, 40)


@given(seed=SEEDS)
@settings(max_examples=15, deadline=None)
def test_a_grammar_is_obeyed(seed):
    """Texts of the form [ab]+1[1]*, as a regular expression would have it."""
    logits = random_frames(seed, (1, 6, 4))

    def allowed(prefix):
        options = [bool(re.fullmatch(r"[ab]*|[ab]+1*", prefix + c)) for c in "ab1"]
        return np.array([bool(re.fullmatch(r"[ab]+1+", prefix)), *options])

    found = exact("ab1", allowed=allowed)(logits, n_best=10)[0]
    expected = every_text(log_softmax(logits[0]), "-ab1")
    check(found, {t: p for t, p in expected.items() if re.fullmatch("[ab]+1+", t)}, 10)


def written(text, alphabet, seed, noise=1.0, hold=2, gap=2):
    """Frames as a trained network gives them: a few of each character, blanks between; and the frames of the peaks."""
    rng = np.random.default_rng(seed)
    frames, peaks = [], []
    for character in text:
        for _ in range(rng.integers(1, gap + 1)):
            frames.append(0)
        for place in range(rng.integers(1, hold + 1)):
            if not place:
                peaks.append(len(frames))
            frames.append(1 + alphabet.index(character))
    frames.append(0)
    logits = rng.normal(size=(len(frames), len(alphabet) + 1)) * noise
    logits[np.arange(len(frames)), frames] += 6 - np.array([0 if t in peaks else 1 for t in range(len(frames))])
    return logits.astype(np.float32), peaks


TEXT = "the cat sat on the mat and saw the hat of the bat"
LETTERS = "abcdefghijklmnopqrstuvwxyz "


@pytest.mark.parametrize("seed", range(5))
def test_positions_and_confidences(seed):
    """A forced alignment by Viterbi puts each character where the search says it is."""
    logits, peaks = written(TEXT, LETTERS, seed, noise=0.7)
    found = PrefixBeamSearch(LETTERS)(logits[None])[0][0]
    assert found.text == TEXT
    probabilities = np.exp(log_softmax(logits))
    np.testing.assert_allclose(found.confidences, probabilities[found.frames, found.classes], rtol=1e-5)
    assert (np.diff(found.frames) > 0).all()
    assert np.abs(found.frames - peaks).max() <= 1  # within a run of at most two frames
    for place, (frame, index) in enumerate(zip(found.frames, found.classes, strict=True)):
        around = [t for t in (frame - 1, frame + 1) if logits[t].argmax() == index]
        assert found.confidences[place] >= max([probabilities[t, index] for t in around], default=0) - 1e-6


@pytest.mark.parametrize("beam", [1, 3, 25])
@pytest.mark.parametrize("chunk", [1, 7, 40])
def test_streaming_is_reading_at_once(beam, chunk):
    """Whatever the chunks; and what was called stable is how the final text begins."""
    logits, _ = written(TEXT * 3, LETTERS, beam, noise=2.2)
    search = PrefixBeamSearch(
        LETTERS, beam=beam, language_model=LanguageModel.train([TEXT], 4, LETTERS), hotwords=["mat"]
    )
    whole = search(logits[None], n_best=beam)[0]
    stream, stable, lengths = search.stream(), "", []
    for start in range(0, len(logits), chunk):
        stable += stream.feed(logits[start : start + chunk])
        stream._forget()  # whenever it comes, it changes nothing
        lengths.append(len(stable))
        assert all(t.text.startswith(stable) for t in stream.finish(beam))
    pieces = stream.finish(beam)
    assert lengths[len(lengths) // 2] > 20  # half way through the frames, much of the text is final
    for one, other in zip(whole, pieces, strict=True):
        assert one.text == other.text
        assert one.text.startswith(stable)
        np.testing.assert_allclose(one.score, other.score)
        np.testing.assert_array_equal(one.frames, other.frames)


def test_pruning_keeps_the_best_of_likely_frames():
    """The thresholds of everyday use change nothing that matters, where the network is as sure as trained ones are."""
    for seed in range(2):
        logits, _ = written(TEXT, LETTERS, seed, noise=1.3)
        model = LanguageModel.train([TEXT, "a hat and a mat"], 5, LETTERS)
        pruned = PrefixBeamSearch(LETTERS, language_model=model)(logits[None])[0][0]
        full = exact(LETTERS, language_model=model, beam=200)(logits[None])[0][0]
        assert pruned.text == full.text
        assert pruned.score == pytest.approx(full.score, abs=0.3)


def test_a_language_model_mends_a_reading():
    logits, _ = written("the cat sat", LETTERS, 3, noise=1.0)
    wrong = 1 + LETTERS.index("x")
    place = int(np.flatnonzero(logits.argmax(-1) == 1 + LETTERS.index("c"))[0])
    run = [t for t in (place, place + 1) if logits[t].argmax() == 1 + LETTERS.index("c")]
    for t in run:
        logits[t, wrong] = logits[t, 1 + LETTERS.index("c")] + 0.5
    assert PrefixBeamSearch(LETTERS)(logits[None])[0][0].text == "the xat sat"
    model = LanguageModel.train([TEXT] * 3, 4, LETTERS)
    assert PrefixBeamSearch(LETTERS, language_model=model)(logits[None])[0][0].text == "the cat sat"
    assert PrefixBeamSearch(LETTERS, lexicon=TEXT.split())(logits[None])[0][0].text == "the cat sat"
    assert PrefixBeamSearch(LETTERS, hotwords=["cat"])(logits[None])[0][0].text == "the cat sat"


def test_lengths_and_empty_input():
    logits = random_frames(0, (2, 6, 3))
    search = exact("ab")
    assert search(logits, [3, 0])[0][0].text == search(logits[:1, :3])[0][0].text
    empty = search(logits, [3, 0])[1][0]
    assert (empty.text, empty.log_prob, empty.frames.size) == ("", 0.0, 0)
    assert search.stream().feed(logits[0, :0]) == ""


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PrefixBeamSearch(""), "one or more different labels"),
        (lambda: PrefixBeamSearch("aba"), "different labels"),
        (lambda: PrefixBeamSearch("ab", blank=3), "blank class"),
        (lambda: PrefixBeamSearch("ab", beam=0), "beam >= 1"),
        (lambda: PrefixBeamSearch("xyz", language_model=MODEL), "same alphabet, received one without"),
        (lambda: PrefixBeamSearch("ab", lexicon=["ac"]), "over the alphabet"),
        (lambda: PrefixBeamSearch("ab", hotwords=["q"]), "over the alphabet"),
        (lambda: PrefixBeamSearch("ab ", lexicon=["a "]), "delimiter"),
        (lambda: PrefixBeamSearch("ab")(np.full((1, 2, 3), np.nan)), "finite"),
        (lambda: PrefixBeamSearch("ab")(np.zeros((1, 2, 4))), "frames of 3 classes"),
        (lambda: PrefixBeamSearch("ab")(np.zeros((2, 3))), "shape"),
        (lambda: PrefixBeamSearch("ab")(np.zeros((2, 3, 3)), [4, 1]), "lengths"),
        (lambda: PrefixBeamSearch("ab", log_probs=True)(np.ones((1, 3, 3))), "above zero"),
        (lambda: PrefixBeamSearch("ab", allowed=lambda prefix: np.ones(2))(np.zeros((1, 3, 3))), "3 booleans"),
        (lambda: PrefixBeamSearch("ab", log_probs=True)(np.full((1, 3, 3), -np.inf)), "no text is left"),
        (lambda: PrefixBeamSearch("ab")(np.zeros((1, 3, 3)), n_best=30), "n_best <= beam"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
