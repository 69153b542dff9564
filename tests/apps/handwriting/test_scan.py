"""Pictures as a model sees them: what does not matter, and what must not break."""

import numpy as np
import pytest

from elman.apps.handwriting import images, scan
from elman.apps.handwriting.ink import make_ink

from .lines import written


def rendered(move, height=60, pen=3):
    """A line of writing, its points (points, 2) moved."""
    (ink,) = written(1, length=24)
    strokes = [move(np.asarray(s)[:, :2]) for s in ink.strokes]
    at = np.concatenate([np.asarray(s) for s in ink.strokes])[:, :2]
    moved = np.concatenate(strokes)
    tall = height * np.ptp(moved[:, 1]) / np.ptp(at[:, 1])
    return images.render(make_ink([s.tolist() for s in strokes], name="line"), tall, pen)


def alike(found, other):
    """The largest correlation of two prepared pictures, one set along the other by up to 12 columns."""
    length = min(len(found), len(other)) - 24
    core = found[12 : 12 + length].ravel()
    return max(np.corrcoef(core, other[at : at + length].ravel())[0, 1] for at in range(25))


def test_paper_and_brightness_do_not_matter():
    picture = rendered(lambda at: at)
    plain = scan.prepare(picture, 36, 3)
    assert plain.shape[1] == 36
    assert len(plain) % 3 == 0
    assert plain[-3:].any()
    large = np.ones((picture.shape[0] + 60, picture.shape[1] + 80))
    large[25 : 25 + len(picture), 30 : 30 + picture.shape[1]] = picture
    shade = np.linspace(0, 0.25, large.shape[1]) + np.linspace(0.1, 0, len(large))[:, None]
    # more paper, faint, white on black, uneven light
    for other in (large, 0.3 + 0.4 * large, 1 - large, 0.6 * large + shade):
        found = scan.prepare(other, 36, 3)
        assert abs(len(found) - len(plain)) <= 4
        assert alike(found, plain) > 0.97


@pytest.mark.parametrize(
    "move",
    [
        pytest.param(lambda at: at @ [[1.0, -0.2], [0.0, 1.0]], id="climbs"),
        pytest.param(lambda at: at @ [[1.0, 0.0], [-0.4, 1.0]], id="leans"),
        pytest.param(lambda at: at * 7.0, id="large"),
        pytest.param(
            lambda at: (
                at + np.outer(np.sin((at[:, 0] - at[:, 0].min()) / np.ptp(at[:, 0]) * 3), [0, 0.4 * np.ptp(at[:, 1])])
            ),
            id="sags",
        ),
    ],
)
def test_climb_slant_size_and_sag_are_taken_out(move):
    plain, moved = scan.prepare(rendered(lambda at: at), 40, 2), scan.prepare(rendered(move), 40, 2)
    assert abs(len(moved) - len(plain)) < 0.15 * len(plain)
    assert abs(np.average(np.arange(40), weights=moved.sum(0)) - 19.5) < 2
    assert (moved.sum(1) > 0).mean() > 0.7
    width = np.std(np.repeat(np.arange(40), (100 * moved.mean(0)).astype(int)))
    expected = np.std(np.repeat(np.arange(40), (100 * plain.mean(0)).astype(int)))
    assert width == pytest.approx(expected, rel=0.12)


def test_resolution_does_not_matter():
    small, large = (scan.prepare(rendered(lambda at: at, height, height / 20), 40, 2) for height in (60, 240))
    assert alike(images.resize(large, len(small), 40), small) > 0.9


def test_a_ruled_line_is_not_taken_for_the_writing():
    picture = rendered(lambda at: at)
    ruled = np.pad(picture, ((10, 40), (20, 20)), constant_values=1.0)
    ruled[-5] = 0.4
    found, plain = scan.prepare(ruled, 40, 2), scan.prepare(picture, 40, 2)
    assert abs(len(found) - len(plain)) <= 6
    assert alike(found, plain) > 0.9


def test_a_blank_picture_has_no_ink():
    assert not scan.prepare(np.full((40, 200), 0.9), 32, 2).any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (3, 4), (2, 2), (2, 90_000)])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_pictures_of_few_pixels_give_frames(shape, stride):
    found = scan.prepare(np.random.default_rng(0).random(shape), 12 * stride, stride)
    assert found.shape[1] == 12 * stride
    assert len(found) % stride == 0
    assert len(found) >= 2 * stride
    assert np.isfinite(found).all()


def test_noise_alone_gives_frames():
    found = scan.prepare(np.random.default_rng(0).random((80, 600)), 32, 2)
    assert np.isfinite(found).all()
    assert len(found) < 3000


@pytest.mark.parametrize("shape", [(3, 2_000_000), (3000, 4000)])
def test_large_pictures_are_bounded(shape):
    """A very long dashed line, and one on a page: few more columns than a decoder takes."""
    picture = np.ones(shape, np.float32)
    picture[shape[0] // 2, ::7] = 0.0
    picture[shape[0] // 2 + 1, ::14] = 0.0
    found = scan.prepare(picture, 40, 2)
    assert found.shape[1] == 40
    assert len(found) < 50_000
    assert np.isfinite(found).all()
