"""The generator: every letter, many hands, words of each split apart."""

import dataclasses
import itertools

import numpy as np
import pytest

from elman.apps.handwriting import config, generated, outlines, texts, writer


def test_every_letter_can_be_written():
    for seed in range(8):
        rng = np.random.default_rng(seed)
        hand = writer.draw_writer(rng)
        for letter in texts.ALPHABET.strip():
            ink = writer.write(letter, hand, rng)
            points = np.concatenate(ink.strokes)
            assert np.isfinite(points).all()
            assert (np.diff(points[:, 2]) >= 0).all(), letter
            assert np.ptp(points[:, :2], axis=0).max() > 0


def test_our_own_outlines_have_all_letters():
    own = outlines.own()
    assert set(own["p"]) == set(texts.ALPHABET.strip())
    assert set("abcdefghijklmnopqrstuvwxyz") == set(own["c"])


def test_letters_stand_where_letters_stand():
    own = outlines.own()["p"]

    def reach(letter):
        points = [np.concatenate(strokes)[:, 1] for strokes in own[letter]]
        return min(p.min() for p in points), max(p.max() for p in points)

    for letter in "acemnorsuvwxz":
        assert reach(letter)[0] >= -1
        assert reach(letter)[1] <= 11
    for letter in "gpqyj":
        assert reach(letter)[0] < -5
    for letter in "bdhkl" + "ABCXYZ" + "0123456789":
        assert reach(letter)[1] >= 18


def test_the_same_seed_writes_the_same():
    one, other = (list(generated.write(config.Config(), codec(), "test", range(5))) for _ in range(2))
    for a, b in zip(one, other, strict=True):
        assert a.text == b.text
        np.testing.assert_array_equal(np.concatenate(a.strokes), np.concatenate(b.strokes))


def codec():
    return generated.codec(config.Config())


def test_hands_differ_more_than_one_hand_does():
    def frames(hand, seed):
        ink = writer.write("hamburg", hand, np.random.default_rng(seed))
        found = codec().encode(ink)
        return found[np.linspace(0, len(found) - 1, 30).round().astype(int)]

    hands = [writer.draw_writer(np.random.default_rng(seed)) for seed in range(24)]
    within = np.mean([np.abs(frames(h, 1) - frames(h, 2)).mean() for h in hands])
    between = np.mean([np.abs(frames(a, 1) - frames(b, 1)).mean() for a, b in itertools.pairwise(hands)])
    assert between > 1.2 * within


@pytest.mark.parametrize("letter", "bdhklt")
def test_a_joined_letter_keeps_its_height(letter):
    for seed in range(40):
        rng = np.random.default_rng(seed)
        hand = writer.draw_writer(rng, "n" + letter)
        hand = dataclasses.replace(hand, join=1.0, ascender=1.0, haste=0, uneven=0.0, wobble=0.02, slope=0.0, drift=0.0)
        hand = dataclasses.replace(hand, bend=0.0, shake=0.0, noise=0.0, delay=1.0, sag=0.0, trend=0.0)
        low, tall = (writer.write(text, hand, np.random.default_rng(1)) for text in ("nnn", f"n{letter}n"))
        heights = [np.ptp(np.concatenate(ink.strokes)[:, 1]) for ink in (low, tall)]
        assert heights[1] > 1.2 * heights[0], seed


def test_no_word_is_in_two_splits():
    sets = {split: set(texts.load(split).words) for split in texts.SPLITS}
    assert all(len(words) > 300 for words in sets.values())
    assert not sets["train"] & sets["test"]
    assert not sets["train"] & sets["validation"]
    assert not sets["validation"] & sets["test"]


def test_lines_of_a_split_keep_to_its_words():
    words = texts.load("test")
    rng = np.random.default_rng(0)
    tokens = [t for _ in range(200) for t in texts.line(words, 40, rng).split()]
    bare = [t.strip(texts.PUNCTUATION) for t in tokens]
    plain = [t for t in bare if t.isalpha() and len(t) > 1 and not t.isupper()]
    assert len(plain) > 500
    assert all(texts.split_of(t) == "test" for t in plain)
    assert set("".join(tokens)) <= set(texts.ALPHABET)


def test_passages_go_along_the_text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(" ".join(f"word{'abcdefghij'[n % 10]}{'klmnopqrst'[n // 10]}" for n in range(100)) * 20)
    words = texts.load("train", str(path))
    follow = set(zip(words.running, words.running[1:], strict=False))
    rng = np.random.default_rng(0)
    lines = [texts.line(words, 40, rng).split() for _ in range(60)]
    along = [all(pair in follow for pair in itertools.pairwise(line)) for line in lines]
    assert 5 < sum(along) < 40


def test_lines_are_about_as_long_as_asked():
    words, rng = texts.load("train"), np.random.default_rng(1)
    lengths = [len(texts.line(words, 40, rng)) for _ in range(300)]
    assert max(lengths) <= 48
    assert 32 < np.mean(lengths) < 46


@pytest.mark.parametrize("content", ["", "only three words"])
def test_a_text_with_few_words_is_refused(content, tmp_path):
    path = tmp_path / "few.txt"
    path.write_text(content)
    with pytest.raises(ValueError, match="different words for train; expected 20 or more"):
        texts.load("train", str(path))
