"""The study of long memory: its tasks are what they say, its table is whole, and a short trial learns."""

import math

import numpy as np
import pytest

from elman.apps.core import long_memory
from elman.apps.core.long_memory import Trial


def test_adding_is_the_sum_of_the_two_marked_numbers():
    x, y = long_memory.adding(500, 30, 1)
    assert x.shape == (500, 30, 2)
    np.testing.assert_allclose((x[..., 0] * x[..., 1]).sum(1), y[:, 0], rtol=1e-6)
    assert (x[:, :15, 1].sum(1) == 1).all()
    assert (x[:, 15:, 1].sum(1) == 1).all()
    assert np.mean((y - 1) ** 2) == pytest.approx(1 / 6, rel=0.1)
    np.testing.assert_array_equal(x, long_memory.adding(500, 30, 1)[0])
    assert (x != long_memory.adding(500, 30, 2)[0]).any()


def test_copy_memory_asks_for_what_came_before_the_blanks():
    x, y = long_memory.copy_memory(50, 20, 0)
    assert x.shape == (50, 30, 10)
    symbols = x.argmax(-1)
    np.testing.assert_array_equal(symbols[:, :5], y)
    assert set(y.ravel()) == set(range(8))
    assert (symbols[:, 5:25] == 8).all()
    assert (symbols[:, 25] == 9).all()
    assert (symbols[:, 26:] == 8).all()


def test_an_answer_lies_as_far_back_as_the_task_says():
    task = long_memory.TASKS["copy"]
    model = long_memory.model(Trial("copy", "gru", "chrono", 1.0, 12, units=4))
    assert model.output_shape == (None, task.answers, task.outputs)
    assert task.chance == pytest.approx(math.log(8))


def test_gates_begin_open_for_the_length_of_the_task():
    for name, block in (("lstm", 1), ("gru", 0)):
        cell = long_memory.make_cell(name, "chrono", 50, 200)
        cell.build((None, 3))
        biases = np.array(cell.bias).reshape(-1, 50)[block]
        if name == "gru":
            biases = biases + np.array(cell.recurrent_bias).reshape(-1, 50)[block]
        steps = np.exp(biases)  # a gate of s(b) forgets within e^b + 1 steps
        assert 1 <= steps.min() < 30
        assert 150 < steps.max() <= 199


def test_a_short_trial_learns_and_a_hopeless_one_says_why():
    row = long_memory.study(Trial("adding", "gru", "chrono", 1.0, 6, units=16, steps=400))
    assert row["error"] < 0.02
    assert row["learnt"] == int(row["error"] < 0.01)
    row = long_memory.study(Trial("adding", "irnn", "identity", 0.0, 6, units=4, steps=100, learning_rate=1e20))
    assert "the loss became" in row["ended"]
    assert (row["learnt"], row["steps"]) == (0, 0)


def test_the_published_table_is_that_of_the_plan():
    rows = long_memory.published()
    keys = [long_memory.key(row) for row in rows]
    assert len(set(keys)) == len(keys)
    assert set(keys) <= {long_memory.key(trial) for trial in long_memory.plan()}
    assert {row["cell"] for row in rows} == set(long_memory.CELLS)
    assert {50, 150, 200, 300, 400} <= {row["length"] for row in rows if row["task"] == "adding"}
    for row in rows:
        task = long_memory.TASKS[row["task"]]
        assert row["learnt"] == (row["error"] < task.learnt)
        assert row["seconds"] > 0
