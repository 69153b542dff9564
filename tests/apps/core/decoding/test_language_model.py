"""The n-gram model against modified Kneser-Ney written out for strings."""

import collections
import itertools

import numpy as np
import pytest

from elman.apps.core.decoding import LanguageModel
from elman.apps.core.decoding.language_model import _discounts

TEXTS = ["the cat sat on the mat", "a cat ate a rat", "that hat", "", "on and on and on", "the rat sat on a hat"] * 2


def plain(texts, order, alphabet):
    """p(c | h) by the formulas of Chen and Goodman, over tuples."""
    counts = [collections.Counter() for _ in range(order + 1)]
    for text in texts:
        padded = ["<"] * (order - 1) + list(text) + [">"]
        for i in range(order - 1, len(padded)):
            counts[order][tuple(padded[i - order + 1 : i + 1])] += 1
    for n in range(order - 1, 0, -1):
        for gram, count in counts[n + 1].items():
            counts[n][gram[1:]] += count if n > 1 and gram[1] == "<" else 1
    discounts = [None] + [_discounts(np.array(list(counts[n].values()))) for n in range(1, order + 1)]

    def p(character, history):
        n = len(history) + 1
        lower = p(character, history[1:]) if history else 1 / (len(alphabet) + 1)
        seen = {gram[-1]: count for gram, count in counts[n].items() if gram[:-1] == history}
        if not seen:
            return lower
        cut = {c: discounts[n][min(count, 3)] for c, count in seen.items()}
        total = sum(seen.values())
        own = (seen[character] - cut[character]) / total if character in seen else 0.0
        return own + sum(cut.values()) / total * lower

    return p


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_probabilities_are_modified_kneser_ney(order):
    model = LanguageModel.train(TEXTS, order)
    p = plain(TEXTS, order, model.alphabet)
    for text in ["the hat", "zebra".replace("z", "s").replace("b", "r"), "on", "", "ttttt", " and a"]:
        state = model.start
        padded = ["<"] * (order - 1) + list(text)
        for i in range(len(text) + 1):
            history = tuple(padded[i : i + order - 1])
            expected = [p(c, history) for c in [*model.alphabet, ">"]]
            found = np.exp(model.log_probs(state))
            np.testing.assert_allclose(found[1:], expected, rtol=1e-9)
            assert found.sum() == pytest.approx(1)
            if i < len(text):
                state = model.advance(state, 1 + model.alphabet.index(text[i]))


def test_score_is_the_sum_over_characters():
    model = LanguageModel.train(TEXTS, 3)
    p = plain(TEXTS, 3, model.alphabet)
    padded = ["<", "<", *"rat hat", ">"]
    logs = [np.log(p(padded[i], tuple(padded[i - 2 : i]))) for i in range(2, len(padded))]
    assert model.score("rat hat") == pytest.approx(sum(logs))
    assert model.score("rat hat", end=False) == pytest.approx(sum(logs[:-1]))


def test_all_texts_sum_to_one():
    """A proper distribution over texts: with the end in it, those up to a length leave a vanishing rest."""
    model = LanguageModel.train(["ab", "a", "b", "ba"], 2)
    total = sum(
        np.exp(model.score("".join(letters))) for n in range(13) for letters in itertools.product("ab", repeat=n)
    )
    assert 0.99 < total < 1 + 1e-9


def test_longer_histories_help_on_held_out_text():
    train, held_out = TEXTS[:6], "the cat sat on a mat"
    scores = [LanguageModel.train(train, order).score(held_out) for order in (1, 2, 4)]
    assert scores == sorted(scores)


def test_discounts_by_hand():
    """n1 = 4, n2 = 2, n3 = 1, n4 = 1: Y = 1/2, D = 1 − ½, 2 − 3 · ½ · ½, 3 − 4 · ½ · 1."""
    np.testing.assert_allclose(_discounts(np.array([1, 1, 1, 1, 2, 2, 3, 4, 9])), [0, 0.5, 1.25, 1.0])
    np.testing.assert_allclose(_discounts(np.array([1, 1, 2])), [0, 0.5, 1, 1.5])


def test_the_file_is_small_and_complete(tmp_path):
    model = LanguageModel.train(TEXTS, 4, alphabet="zyx" + "abcdehmnorst ")
    model.save(tmp_path / "model.npz")
    loaded = LanguageModel.load(tmp_path / "model.npz")
    assert (loaded.alphabet, loaded.order) == (model.alphabet, 4)
    for text in ["the cat", "xyz", ""]:
        assert loaded.score(text) == model.score(text)
    assert (tmp_path / "model.npz").stat().st_size < 3000
    assert not list(tmp_path.glob("*.partial"))


def test_the_cache_changes_nothing(monkeypatch):
    model = LanguageModel.train(TEXTS, 4)
    expected = [model.score(text) for text in TEXTS]
    monkeypatch.setattr("elman.apps.core.decoding.language_model._CACHED", 2)
    fresh = LanguageModel.train(TEXTS, 4)
    assert [fresh.score(text) for text in TEXTS] == expected
    assert len(fresh._rows) <= 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LanguageModel.train([], 3), "no text"),
        (lambda: LanguageModel.train(["abc"], 3, alphabet="ab"), "outside it: 'c'"),
        (lambda: LanguageModel.train(["ab"], 0), "order of 1 to"),
        (lambda: LanguageModel.train(["ab"], 40), "order of 1 to"),
        (lambda: LanguageModel.train(["ab"], 2, alphabet="aab"), "different characters"),
        (lambda: LanguageModel.train(["ab"], 2).score("abx"), "received 'x'"),
        (lambda: LanguageModel("ab", 2, [1, 2], [1]), "one count for each"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_file_of_something_else(tmp_path):
    np.savez(tmp_path / "other.npz", weights=np.zeros(3))
    with pytest.raises(ValueError, match="without"):
        LanguageModel.load(tmp_path / "other.npz")
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(ValueError, match=r"expected a language model .* of another kind"):
        LanguageModel.load(tmp_path / "text.npz")
