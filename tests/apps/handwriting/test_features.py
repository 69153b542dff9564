"""What the network sees does not depend on place, size and slant of the writing, nor on the tablet's rate."""

import dataclasses

import numpy as np
import pytest

from elman.apps.handwriting import features, texts
from elman.apps.handwriting.codec import FIRST, Codec
from elman.apps.handwriting.ink import Ink, make_ink

from .lines import written

CODEC = Codec(tuple(texts.ALPHABET))


def mapped(ink: Ink, matrix, shift=(0.0, 0.0)) -> Ink:
    strokes = [np.column_stack([s[:, :2] @ np.array(matrix).T + shift, s[:, 2]]) for s in ink.strokes]
    return dataclasses.replace(ink, strokes=tuple(strokes))


@pytest.mark.parametrize("ink", written(3), ids=lambda ink: ink.text)
def test_place_and_size_do_not_matter(ink):
    frames = CODEC.encode(ink)
    moved = CODEC.encode(mapped(ink, [[37.0, 0], [0, 37.0]], (1e4, -3e3)))
    np.testing.assert_allclose(frames, moved, atol=2e-3)


@pytest.mark.parametrize("ink", written(3, length=30), ids=lambda ink: ink.text)
def test_slope_is_taken_out(ink):
    sloping = mapped(ink, [[1, 0], [0.1, 1]])
    plain, found = (features.normalise(i)[0] for i in (ink, sloping))
    np.testing.assert_allclose(found - found.mean(0), plain - plain.mean(0), atol=1e-3)
    raw = [features.normalise(i, deskew=False)[0] for i in (ink, sloping)]
    assert np.abs(raw[0] - raw[1]).mean() > 0.3


@pytest.mark.parametrize("slant", [-0.5, -0.2, 0.3, 0.6])
def test_slant_is_mostly_taken_out(slant):
    bars = [[[4 * i, 0], [4 * i, 10]] if i % 2 else [[4 * i, 10], [4 * i, 0]] for i in range(12)]
    leaning = mapped(make_ink(bars, name="bars"), [[1, slant], [0, 1]])
    points, owner, _ = features.normalise(leaning)
    ends = [points[owner == i] for i in range(12)]
    lean = [(e[-1, 0] - e[0, 0]) / (e[-1, 1] - e[0, 1]) for e in ends]
    assert np.abs(lean).max() < 0.25 * abs(slant)


def test_points_lie_at_equal_distances():
    turn = np.linspace(0, 2 * np.pi, 200)
    points = np.stack([np.cos(turn), np.sin(turn)], 1)
    found, down, place = features.resample(points, np.zeros(200, int), 0.2)
    steps = np.hypot(*np.diff(found, axis=0).T)
    np.testing.assert_allclose(steps, 0.2, rtol=5e-3)
    assert len(found) == round(2 * np.pi / 0.2)
    assert down.all()
    assert (np.diff(place) > 0).all()


def test_a_dot_is_not_lost():
    bar = [[0, 0], [0, 10]]
    ink = make_ink([bar, [[0, 14]], [[5, 0], [5, 10]]], name="i l")
    points, owner, _ = features.normalise(ink)
    _, down, place = features.resample(points, owner, 0.2)
    on_dot = (place > 1.0) & (place < 3.0)
    assert on_dot.any()
    assert np.isfinite(CODEC.encode(ink)).all()
    assert down.min() == 0


@pytest.mark.parametrize("factor", [2, 5])
def test_the_rate_of_the_tablet_does_not_matter(factor):
    """Points of the same ink lie in the same places, and as many frames are made of it, but for one in fifty."""
    for ink in written(4, seed=3):
        finer, places, begin = [], [], 0
        for stroke in ink.strokes:
            at = np.linspace(0, len(stroke) - 1, factor * (len(stroke) - 1) + 1)
            finer.append(np.stack([np.interp(at, np.arange(len(stroke)), column) for column in stroke.T], 1))
            places.append(begin + factor * np.arange(len(stroke)))
            begin += len(at)
        other = dataclasses.replace(ink, strokes=tuple(finer))
        a, b = features.normalise(ink)[0], features.normalise(other)[0][np.concatenate(places)]
        assert np.abs(a - b)[:, 1].max() < 0.05  # heights of an x
        assert np.abs(a - b)[:, 0].max() < 0.02 * np.ptp(a[:, 0])
        frames = [len(CODEC.encode(line)) for line in (ink, other)]
        assert abs(frames[1] - frames[0]) <= max(1, frames[0] // 50)


@pytest.mark.parametrize("ink", written(4, seed=5, length=30), ids=lambda ink: ink.text)
def test_causal_frames_do_not_change_when_more_is_written(ink):
    codec = dataclasses.replace(CODEC, causal=True)
    whole = codec.encode(ink)
    for count in range(FIRST, len(ink.strokes), 3):
        part = codec.encode(dataclasses.replace(ink, strokes=ink.strokes[:count]))
        np.testing.assert_allclose(part[:-1], whole[: len(part) - 1], atol=1e-5)  # the last may yet be filled up


def test_places_point_into_the_ink():
    (ink,) = written(1, seed=2, length=25)
    frames, places = CODEC.encode_traced(ink)
    assert len(frames) == len(places)
    assert (np.diff(places) >= 0).all()
    assert places[0] >= 0
    assert places[-1] <= ink.points - 1


@pytest.mark.parametrize(
    "strokes",
    [[[[0, 0], [10, 0]]], [[[0, 0], [0, 10]]], [[[0, 0]], [[1, 1]]], [[[0, 0], [1e-6, 0]]], [[[0, 0], [1e8, 3]]]],
)
def test_odd_ink_gives_numbers(strokes):
    for codec in (CODEC, dataclasses.replace(CODEC, causal=True), Codec(("a",), "symbol", 0.1, 3)):
        frames = codec.encode(make_ink(strokes, name="odd"))
        assert np.isfinite(frames).all()
        assert len(frames) >= 1


def test_classes_refuse_what_the_alphabet_lacks():
    codec = Codec(("a", "b", "é"))
    np.testing.assert_array_equal(codec.classes("éab"), [3, 1, 2])
    with pytest.raises(ValueError, match="line 3: characters outside the model's alphabet: 'c' 'z'"):
        codec.classes("zcab", "line 3")


def test_the_codec_comes_back_from_json():
    codec = dataclasses.replace(CODEC, calibration=(1.5, -0.2), causal=True).remember(["b", "a", "a"])
    assert Codec.from_json(codec.to_json()) == codec
