"""BLEU, ROUGE-L and CIDEr-D against the COCO scorer (pycocoevalcap 1.2, run once) and values worked by hand."""

import sys

import numpy as np
import pytest

from elman.apps.captioning import metrics

REFERENCES = [
    ["a man rides a brown horse", "a man on a horse in a field", "someone is riding a horse"],
    ["two dogs run on the beach", "dogs running along the sea", "two brown dogs play on sand"],
    ["a child eats an apple", "a girl is eating a red apple"],
    ["a red car on the road", "the car drives down a road"],
    ["a boy throws a ball to a dog", "a boy plays with his dog"],
]
FOUND = ["a man riding a horse", "two dogs run along the beach", "a girl eats a red apple", "a car a car a road",
         "a cat sleeps"]  # fmt: skip


def test_as_the_coco_scorer():
    np.testing.assert_allclose(
        metrics.bleu(FOUND, REFERENCES)[:3], [0.7478916403843405, 0.6022854903559982, 0.3978624340210224], rtol=1e-8
    )
    assert metrics.bleu(FOUND, REFERENCES)[3] == 0  # the COCO scorer adds 1e-15 to every count: 4.8e-5
    assert metrics.rouge_l(FOUND, REFERENCES) == pytest.approx(0.6034408632232615)
    theirs = [2.63744377, 2.41363054, 2.37761126, 1.38582234, 0.02242217]
    np.testing.assert_allclose(metrics.Cider(REFERENCES).scores(FOUND), theirs, rtol=1e-6)
    assert metrics.cider_d(FOUND, REFERENCES) == pytest.approx(1.7673860141506075)


def test_bleu_by_hand():
    # the example of Papineni et al. 2002: two of seven words, since `the` comes at most twice in a reference
    references = [["the cat is on the mat", "there is a cat on the mat"]]
    assert metrics.bleu(["the the the the the the the"], references)[0] == pytest.approx(2 / 7)
    # four of four words, brevity e^(1 − 6/4): both references are longer, the nearer has six words
    assert metrics.bleu(["the cat is on"], references)[0] == pytest.approx(np.exp(1 - 6 / 4))


def test_rouge_by_hand():
    # common subsequence `police the gunman`: P = R = 3/4
    assert metrics.rouge_l(["police kill the gunman"], [["police killed the gunman"]]) == pytest.approx(0.75)
    precision, recall = 1.0, 0.5
    expected = (1 + 1.44) * precision * recall / (recall + 1.44 * precision)
    assert metrics.rouge_l(["a dog"], [["a big brown dog"]]) == pytest.approx(expected)


def test_perfect_captions_score_the_most():
    alone = [["a man rides a brown horse"], ["two dogs run on the beach"], ["one child eats an apple"]]
    perfect = [group[0] for group in alone]
    assert metrics.bleu(perfect, alone)[3] == pytest.approx(1)
    assert metrics.cider_d(perfect, alone) == pytest.approx(10)
    assert metrics.rouge_l(perfect, alone) == pytest.approx(1)


def test_punctuation_and_case_do_not_count_and_an_empty_caption_scores_nothing():
    assert metrics.cider_d([c.upper() + " ." for c in FOUND], REFERENCES) == metrics.cider_d(FOUND, REFERENCES)
    found = metrics.all_metrics([""] * len(REFERENCES), REFERENCES)
    assert not any(found.values())


def test_where_ends_count_breaking_off_costs():
    scorer = metrics.Cider(REFERENCES, ends=True)
    whole, broken = (scorer.score(0, "a man rides a horse", ended) for ended in (True, False))
    assert whole > broken > 0
    plain = metrics.Cider(REFERENCES)
    assert plain.score(0, "a man rides a horse", True) == plain.score(0, "a man rides a horse", False)


def test_meteor_is_that_of_nltk_with_the_best_reference():
    # the example of nltk's documentation, which gives 0.6944 for the first of its references
    caption = "It is a guide to action which ensures that the military always obeys the commands of the party"
    references = [
        "It is a guide to action that ensures that the military will forever heed Party commands",
        "It is the practical guide for the army always to heed the directions of the party",
    ]
    found = metrics.meteor([caption, ""], [references, ["a dog"]])
    if found is None:
        pytest.skip("nltk or its WordNet is not installed")
    assert found == pytest.approx(0.6944 / 2, abs=1e-4)
    assert metrics.all_metrics([caption], [references])["meteor"] == pytest.approx(2 * found)


def test_without_nltk_meteor_is_left_out(monkeypatch):
    monkeypatch.setitem(sys.modules, "nltk", None)
    monkeypatch.setitem(sys.modules, "nltk.corpus", None)
    assert metrics.meteor(FOUND, REFERENCES) is None
    assert "meteor" not in metrics.all_metrics(FOUND, REFERENCES)
