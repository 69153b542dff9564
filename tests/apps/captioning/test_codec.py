"""Sentences to tokens and back; the codec that a bundle carries."""

import json

import numpy as np
import pytest

from elman.apps.captioning.codec import END, PAD, SPECIAL, START, UNKNOWN, Codec, fit_words, words
from elman.apps.core.errors import DataError

SENTENCES = ["A dog's ball, two dogs .", "the dog runs", "A T-shirt; the dog", "un chien très grand"]


def test_words_are_lower_case_without_punctuation():
    assert words("A dog's T-shirt , très GRAND . ") == ["a", "dog's", "t-shirt", "très", "grand"]


def test_rare_words_are_unknown():
    codec = fit_words(SENTENCES, 2)
    assert codec.tokens == (*SPECIAL, "a", "dog", "the")
    assert codec.encode("The dog sleeps") == [6, 5, UNKNOWN]
    assert codec.decode([6, 5, UNKNOWN]) == "the dog"


def test_a_row_starts_ends_and_is_padded_or_cut():
    codec = fit_words(SENTENCES, 1, longest=5)
    row = codec.row("a dog runs")
    assert row.tolist() == [START, *codec.encode("a dog runs"), END, PAD]
    long = codec.row("a dog a dog a dog a dog")
    assert long.shape == (6,)
    assert long[-1] == END
    assert codec.decode(long) == "a dog a dog"


@pytest.mark.parametrize("least", [1, 2])
def test_json_is_the_codec(least):
    codec = fit_words(SENTENCES, least, image_size=32, longest=7, confidence=(0.5, 1.0, -2.0), seen=("x",))
    assert Codec.from_json(json.loads(json.dumps(codec.to_json()))) == codec


def test_confidence():
    codec = fit_words(SENTENCES, 1, confidence=(1.0, 2.0, 0.5))
    assert codec.confident(-3.0, 6) == pytest.approx(1 / (1 + np.exp(-(1 - 2 * 0.5 - 1.5))))
    assert np.isnan(fit_words(SENTENCES, 1).confident(-3.0, 6))


LINES = [f"a {c} {s} beside the {t}" for c in ("brown", "grey", "black") for s in ("dog", "cat", "horse")
         for t in ("wall", "walled garden", "gardener")]  # fmt: skip


def test_subwords_are_those_of_sentencepiece_and_leave_no_word_unknown():
    sentencepiece = pytest.importorskip("sentencepiece")
    from elman.apps.captioning.subwords import fit_pieces

    codec = fit_pieces(LINES, 60)
    assert codec.size <= 60
    for line in (*LINES, "a walled dog", "the greyer gardener"):
        assert codec.decode(codec.encode(line)) == line
    assert sentencepiece.__version__
    text = "a black cat beside the gardener"
    spoken = codec.spoken(codec.encode(text))
    assert [word for word, _ in spoken] == text.split()
    assert [p for _, places in spoken for p in places] == list(range(len(codec.encode(text))))
    again = Codec.from_json(json.loads(json.dumps(codec.to_json())))
    assert again.encode(text) == codec.encode(text)


def test_segments_are_the_most_probable():
    """Against every way to cut the text."""
    pieces = {"▁a": -2.0, "▁ab": -3.5, "b": -1.0, "c": -2.0, "bc": -2.5, "▁": -1.0, "a": -1.5}
    codec = Codec("subwords", (*SPECIAL, *pieces), (0.0,) * 4 + tuple(pieces.values()))

    def cuts(text):
        if not text:
            yield []
        for end in range(1, len(text) + 1):
            if text[:end] in pieces:
                yield from ([text[:end], *rest] for rest in cuts(text[end:]))

    for sentence in ("abc", "a bc", "cab ab", "bcbc"):
        text = "▁" + "▁".join(sentence.split())
        best = max(cuts(text), key=lambda cut: sum(pieces[p] for p in cut))
        assert [codec.tokens[i] for i in codec.encode(sentence)] == best


def test_too_few_or_too_many_pieces_are_named():
    pytest.importorskip("sentencepiece")
    from elman.apps.captioning.subwords import fit_pieces

    with pytest.raises(DataError, match="--pieces 20: sentencepiece could not learn them"):
        fit_pieces([chr(97 + i) * 3 + chr(0x3B1 + i) for i in range(24)], 20)
