"""Curves follow the ink within their tolerance, and as few as may be."""

import dataclasses

import numpy as np
import pytest

from elman.apps.handwriting import bezier, features, texts
from elman.apps.handwriting.codec import Codec

from .lines import written


def along(controls, count):
    u = np.linspace(0, 1, count)[:, None]
    return sum(
        c * k * u**i * (1 - u) ** (3 - i) for i, (c, k) in enumerate(zip(np.array(controls), (1, 3, 3, 1), strict=True))
    )


@pytest.mark.parametrize("seed", range(6))
def test_a_cubic_is_one_curve(seed):
    controls = np.array([[0, 0], [1, 2], [3, 2], [4, 0]]) + 0.4 * np.random.default_rng(seed).normal(size=(4, 2))
    found = bezier.fit(along(controls, 60), 0.05)
    assert len(found) == 1
    first, last, back = found[0]
    assert (first, last) == (0, 59)
    far = np.hypot(*(along(controls, 60)[:, None] - along(back, 600)).transpose(2, 0, 1)).min(1)
    assert far.max() <= 0.05


@pytest.mark.parametrize("tolerance", [0.02, 0.06, 0.2])
def test_curves_stay_within_the_tolerance_and_join(tolerance):
    for ink in written(3, length=8):
        points, owner, _ = features.normalise(ink)
        for stroke in (points[owner == i] for i in range(len(ink.strokes))):
            curves = bezier.fit(stroke, tolerance)
            assert [c[0] for c in curves[1:]] == [c[1] for c in curves[:-1]]
            assert (curves[0][0], curves[-1][1]) == (0, len(stroke) - 1)
            for first, last, controls in curves:
                np.testing.assert_allclose(controls[[0, 3]], stroke[[first, last]], atol=1e-9)
                if last - first >= 4:
                    drawn = along(controls, 400)
                    far = np.hypot(*(stroke[first : last + 1, None] - drawn).transpose(2, 0, 1)).min(1)
                    assert far.max() <= tolerance * 1.05


def test_a_circle_takes_a_few_curves():
    turn = np.linspace(0, 2 * np.pi, 200)
    assert 2 <= len(bezier.fit(np.stack([np.cos(turn), np.sin(turn)], 1), 0.01)) <= 8


def test_frames_are_fewer_and_finite():
    codec = Codec(tuple(texts.ALPHABET))
    curved = dataclasses.replace(codec, curves=True)
    for ink in written(4, seed=3, length=20):
        frames, places = curved.encode_traced(ink)
        assert frames.shape == (len(places), curved.features)
        assert np.isfinite(frames).all()
        assert (np.diff(places) >= 0).all()
        assert len(frames) < len(codec.encode(ink))
        assert len(frames) > 1.2 * len(ink.text)
        assert frames[:, -1].sum() == len(ink.strokes)
