"""Nearest neighbours of drawings, against slow and plain versions of themselves."""

import numpy as np
import pytest

from elman.apps.handwriting import symbols
from elman.apps.handwriting.ink import make_ink


def slow_warp(a, b):
    total = np.full((len(a) + 1, len(b) + 1), np.inf)
    total[0, 0] = 0
    for i in range(len(a)):
        for j in range(len(b)):
            cost = np.linalg.norm(a[i] - b[j])
            total[i + 1, j + 1] = cost + min(total[i, j], total[i + 1, j], total[i, j + 1])
    return total[-1, -1]


def test_time_warping_of_many_is_that_of_each():
    rng = np.random.default_rng(0)
    table, query = rng.normal(size=(5, 9, 3)), rng.normal(size=(7, 3))
    np.testing.assert_allclose(symbols.warp(table, query), [slow_warp(path, query) for path in table])


def test_a_path_warped_onto_itself_costs_nothing_and_slower_writing_little():
    line = np.stack([np.linspace(0, 1, 24) ** 2, np.linspace(0, 1, 24), np.ones(24)], 1)
    slower = line[np.minimum(np.arange(24) // 2 * 2, 23)]
    shifted = line + np.array([0.5, 0, 0])
    found = symbols.warp(np.stack([line, slower, shifted]), line)
    assert found[0] == 0
    assert found[1] < 0.3 * found[2]


@pytest.mark.parametrize("scale", [0.01, 1.0, 1e4])
def test_a_drawing_s_path_has_no_size_or_place(scale):
    strokes = [[[0, 0], [4, 8], [8, 0]], [[2, 4], [6, 4]]]
    plain = symbols.path(make_ink(strokes, name="A"))
    moved = [[[scale * x + 7 * scale, scale * y - scale] for x, y in stroke] for stroke in strokes]
    np.testing.assert_allclose(symbols.path(make_ink(moved, name="A")), plain, atol=1e-6)
    assert plain.shape == (symbols.POINTS, 3)
    assert np.abs(plain[:, :2]).max() <= 1 + 1e-9
