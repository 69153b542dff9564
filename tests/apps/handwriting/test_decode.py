"""What guides the reading: beam, language model, lexicon, pattern, hot words; confidences and their calibration."""

import numpy as np
import pytest

from elman.apps.core.errors import DataError, UsageError
from elman.apps.handwriting import decode, evaluate, predict, texts
from elman.apps.handwriting.codec import Codec
from elman.apps.handwriting.config import PredictOptions

from .lines import written

CODEC = Codec(tuple(" abcdeht1"))


def spelled(*frames, codec=CODEC):
    """Log-probabilities (frames, classes): each frame a dict letter -> p, the rest shared out."""
    rows = []
    for frame in frames:
        row = np.full(len(codec.alphabet) + 1, (1 - sum(frame.values())) / 10)
        for letter, p in frame.items():
            row[codec.alphabet.index(letter) + 1 if letter else 0] += p
        rows.append(np.log(row / row.sum()))
    return np.array(rows)


FRAMES = {"b": 0.5, "t": 0.4}, {"": 0.9}, {"h": 0.9}, {"": 0.9}, {"e": 0.9}  # bhe, or the
UNSURE = spelled(*FRAMES)


def text(**options):
    return decode.Decoder(CODEC, PredictOptions(**options))(UNSURE)[0].text


def test_best_path_reads_what_is_most_probable():
    assert text() == "bhe"
    assert text(beam=10) == "bhe"


def test_the_built_in_language_model_knows_english():
    codec = Codec(tuple(texts.ALPHABET))
    model = decode.load_language_model(decode.BUILT_IN, codec.alphabet)
    assert model.score("and the words of") > model.score("adn hte wrods fo") + 10
    reader = decode.Decoder(codec, PredictOptions(beam=10, language_model=decode.BUILT_IN))
    assert reader(spelled(*FRAMES, codec=codec))[0].text == "the"


def test_without_the_words_of_a_split_the_language_model_finds_them_less_probable():
    words = texts.load("test").words[:200]
    whole, rest = (decode.built_in(tuple(texts.ALPHABET), split) for split in ("", "train"))
    gained = [whole.score(word) - rest.score(word) for word in words]
    assert np.mean(gained) > 3
    known = [whole.score(word) - rest.score(word) for word in texts.load("train").words[:200]]
    assert abs(np.mean(known)) < 1


def test_a_language_model_from_a_text_file_changes_a_doubtful_letter(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("the the the cat ate the hat\nthe Ünicode!! the\n" * 5)
    assert text(beam=10, language_model=str(path)) == "the"
    saved = tmp_path / "lm.npz"
    decode.load_language_model(path, CODEC.alphabet).save(saved)
    assert text(beam=10, language_model=str(saved)) == "the"


def test_lexicon_pattern_and_hot_words(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("the hat\nzebra\n")
    assert text(lexicon=str(path)) == "the"
    assert text(pattern="t.e") == "the"
    assert text(pattern="[ab]he|1") == "bhe"
    assert text(beam=10, hotwords=("the",)) == "the"
    assert text(beam=10, hotwords=("ÿ",)) == "bhe"


def test_n_best_are_ordered_and_different():
    found = decode.Decoder(CODEC, PredictOptions(beam=20, n_best=5))(UNSURE)
    assert [t.text for t in found[:2]] == ["bhe", "the"]
    scores = [t.score for t in found]
    assert scores == sorted(scores, reverse=True)
    assert len({t.text for t in found}) == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam": 0}, "--beam"), ({"n_best": 3}, "--n-best"), ({"unknown": 1.0, "beam": 3}, "--unknown"),
        ({"sure": 1.5}, "--sure"), ({"pattern": "("}, "--pattern"), ({"pattern": "zz"}, "no reading"),
    ],
)  # fmt: skip
def test_wrong_options_are_refused(options, message):
    with pytest.raises((UsageError, DataError), match=message):
        decode.Decoder(CODEC, PredictOptions(**options))(UNSURE)


def test_files_that_do_not_serve_are_refused(tmp_path):
    (tmp_path / "other.txt").write_text("ÖÄÜ\n")
    (tmp_path / "bad.npz").write_text("no")
    for name, option in (
        ("gone.txt", "language_model"),
        ("other.txt", "language_model"),
        ("bad.npz", "language_model"),
    ):
        with pytest.raises(DataError, match=name):
            text(beam=5, **{option: str(tmp_path / name)})
    with pytest.raises(DataError, match="no word"):
        text(lexicon=str(tmp_path / "other.txt"))


def test_characters_know_their_strokes():
    (ink,) = written(1, length=10)
    frames, places = Codec(CODEC.alphabet).encode_traced(ink)
    log_probs = np.log(np.full((len(frames), 10), 1e-3))
    chosen = [2, len(frames) // 2, len(frames) - 1]
    log_probs[:, 0] = np.log(0.99)
    for frame, letter in zip(chosen, "abc", strict=True):
        log_probs[frame] = np.log(1e-3)
        log_probs[frame, CODEC.alphabet.index(letter) + 1] = np.log(0.99)
    reading = predict.made(ink, CODEC, log_probs, places, decode.Decoder(CODEC, PredictOptions()))
    assert reading.text == "abc"
    starts = np.cumsum([0, *[len(s) for s in ink.strokes]])
    for found, frame in zip(reading.characters, chosen, strict=True):
        assert starts[found["stroke"]] + found["point"] == pytest.approx(places[frame], abs=0.51)
        assert found["confidence"] == pytest.approx(0.99, abs=1e-3)
    assert reading.sure


def test_platt_finds_the_curve_that_made_the_data():
    rng = np.random.default_rng(0)
    confidences = rng.uniform(0.05, 0.999, 20_000)
    logit = np.log(confidences / (1 - confidences))
    right = rng.random(20_000) < 1 / (1 + np.exp(-0.6 * logit + 0.3))
    a, b = evaluate.platt(confidences, right)
    assert a == pytest.approx(0.6, abs=0.04)
    assert b == pytest.approx(-0.3, abs=0.06)


def test_alignment_and_rates():
    assert evaluate.aligned(["abc"], ["adc"]) == [("a", "a"), ("b", "d"), ("c", "c")]
    assert ("", "x") in evaluate.aligned(["ab"], ["axb"])
    assert ("b", "") in evaluate.aligned(["ab"], ["a"])
    assert evaluate.right_characters("ab", " ab ").tolist() == [False, True, True, False]
    assert evaluate.right_characters("abc", "axc").tolist() == [True, False, True]
    found = evaluate.rates(["ab cd", "ef"], ["ab cx", "ef"])
    assert found == {"cer": pytest.approx(1 / 7), "wer": pytest.approx(1 / 3), "lines_right": 0.5}
