"""Codecs: what is encoded comes back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.apps.core.errors import DataError
from elman.apps.music.codec import EVENTS, FIRST, HOLD, REST, Codec, chords, density
from elman.apps.music.score import Piece, from_roll, from_voices, highest_line, make_notes

FRAMES = Codec("frames", 4)
VOICES = Codec("voices", 4, voices=3, low=40, high=80)
EVENT = Codec("performance", 4)


@given(seed=st.integers(0, 10_000), steps=st.integers(1, 40), share=st.floats(0.01, 0.5))
@settings(max_examples=40, deadline=None)
def test_frames_come_back(seed, steps, share):
    roll = (np.random.default_rng(seed).random((steps, 88)) < share).astype(np.uint8)
    np.testing.assert_array_equal(FRAMES.encode(FRAMES.decode(roll)), roll)
    np.testing.assert_array_equal(FRAMES.encode(from_roll(roll, FRAMES.step)), roll)


def random_voices(rng, steps, count):
    """Lines of notes that may be struck again, be held, or rest."""
    rows = []
    for voice in range(count):
        now = 0
        while now < steps:
            length = int(min(rng.integers(1, 6), steps - now))
            if rng.random() < 0.8:
                pitch = rng.integers(40, 81)
                rows.append((now / 4, length / 4, pitch, 80, voice))
            now += length
    return Piece("drawn", make_notes(rows), steps / 4)


@given(seed=st.integers(0, 10_000), steps=st.integers(1, 40))
@settings(max_examples=40, deadline=None)
def test_voices_come_back_note_for_note(seed, steps):
    piece = random_voices(np.random.default_rng(seed), steps, 3)
    if len(np.unique(piece.notes["voice"])) < 3:
        return  # a silent voice leaves no name: the others move up
    back = VOICES.decode(VOICES.encode(piece))
    order = np.lexsort((piece.notes["voice"], piece.notes["start"]))
    again = np.lexsort((back.notes["voice"], back.notes["start"]))
    np.testing.assert_array_equal(back.notes[again], piece.notes[order])
    assert back.beats == piece.beats


@given(seed=st.integers(0, 10_000), count=st.integers(1, 30))
@settings(max_examples=40, deadline=None)
def test_a_performance_comes_back_to_a_tick_and_a_loudness(seed, count):
    rng = np.random.default_rng(seed)
    pitches = rng.permutation(np.arange(21, 109))[:count]
    rows = [(rng.random() * 20, 0.05 + rng.random() * 4, p, rng.integers(1, 128), 0) for p in pitches]
    piece = Piece("drawn", make_notes(rows), 24.0, ((0.0, 90.0),))
    events = EVENT.encode(piece)
    assert events.min() >= 0
    assert events.max() == EVENTS - 1
    back = EVENT.decode(events, 90.0)
    for mine, theirs in zip(*(np.sort(p.notes, order="pitch") for p in (piece, back)), strict=True):
        assert mine["pitch"] == theirs["pitch"]
        tick = 0.01 * 90 / 60  # beats
        assert abs(mine["start"] - theirs["start"]) <= tick / 2 + 1e-9
        assert abs(mine["duration"] - theirs["duration"]) <= tick + 1e-9
        assert abs(mine["velocity"] - theirs["velocity"]) <= 2


@pytest.mark.parametrize("codec", [FRAMES, VOICES, EVENT])
def test_transposing_before_and_after_is_the_same(codec):
    piece = random_voices(np.random.default_rng(3), 30, 3)
    shifted = Piece(piece.name, piece.notes.copy(), piece.beats)
    shifted.notes["pitch"] = np.clip(shifted.notes["pitch"], 45, 75)
    for semitones in (-3, 0, 5):
        moved = codec.encode(shifted.transposed(semitones))
        np.testing.assert_array_equal(codec.transpose(codec.encode(shifted), semitones), moved)


def test_voices_without_names_are_told_apart_by_pitch():
    rows = [(0, 1, 60, 80, 0), (0, 0.5, 72, 80, 0), (0, 1, 55, 80, 0), (0.5, 0.5, 71, 80, 0)]
    table = VOICES.encode(Piece("one track", make_notes(rows), 1.0))
    struck = FIRST - 40
    assert table[:, 0].tolist() == [struck + 72, HOLD, struck + 71, HOLD]
    assert table[:, 1].tolist() == [struck + 60, HOLD, HOLD, HOLD]
    assert table[:, 2].tolist() == [struck + 55, HOLD, HOLD, HOLD]


def test_rests_and_holds_of_steps_of_voices():
    piece = from_voices(np.array([[60, 55], [60, -1], [-1, -1], [62, 55]]), 0.25)
    table = Codec("voices", 4, voices=2, low=50, high=70).encode(piece)
    assert table.tolist() == [[12, 7], [HOLD, REST], [REST, REST], [14, 7]]


def test_too_many_voices_and_pitches_out_of_range_are_refused():
    four = random_voices(np.random.default_rng(0), 30, 4)
    with pytest.raises(DataError, match="4 voices; expected at most 3"):
        VOICES.encode(four)
    high = Piece("high", make_notes([(0, 1, 120, 80, 0)]), 1.0)
    with pytest.raises(DataError, match="outside the 88 keys"):
        FRAMES.encode(high)


def test_places_in_the_bar_follow_upbeat_and_changes_of_metre():
    piece = Piece("", make_notes([]), 8.0, metre=((-3.0, 4.0), (5.0, 3.0)))
    places = Codec("frames", 1, bar=4).places(piece, 11)
    assert places.tolist() == [3, 0, 1, 2, 3, 0, 1, 2, 0, 1, 2]


def test_conditions_say_what_sounds():
    roll = np.zeros((8, 88), np.uint8)
    roll[0:4, 39] = roll[2:8, 43] = 1  # C4, then E4 from the third step
    places = np.arange(8) % 4
    assert density(Codec("frames", 2, bar=4), roll, places)[:, 0].tolist() == [1.0] * 4 + [0.0] * 4
    told = chords(Codec("frames", 2), roll)
    assert [np.flatnonzero(row).tolist() for row in told] == [[0]] * 2 + [[0, 4]] * 2 + [[4]] * 4


def test_a_codec_survives_json():
    codec = Codec("voices", 2, 4, 40, 80, 8, ("density",), 96.0, 3.0, ("ab", "cd"))
    assert Codec.from_json(codec.to_json()) == codec


def test_the_highest_line_is_one_note_at_once():
    notes = make_notes(
        [(0, 4, 60, 80, 0), (0, 2, 72, 80, 0), (1, 1, 67, 80, 0), (2.5, 1, 71, 80, 0), (3, 1, 74, 80, 0)]
    )
    line = highest_line(notes)
    assert [(float(n["start"]), float(n["duration"]), int(n["pitch"])) for n in line] == [
        (0.0, 2.0, 72), (2.5, 0.5, 71), (3.0, 1.0, 74),
    ]  # fmt: skip
