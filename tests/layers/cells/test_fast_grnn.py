import numpy as np
import pytest
from keras import ops

from elman.layers import FastGRNNCell, GRUCell


def built(cell, features=32):
    cell.build((None, features))
    return cell


def test_it_has_a_third_of_the_weights_of_a_gru_and_with_ranks_fewer():
    whole, gru = built(FastGRNNCell(64)), built(GRUCell(64))
    assert whole.count_params() == 32 * 64 + 64 * 64 + 2 * 64 + 2
    assert whole.count_params() < 0.34 * gru.count_params()
    low = built(FastGRNNCell(64, input_rank=8, recurrent_rank=16))
    assert low.count_params() == 8 * (32 + 64) + 16 * (64 + 64) + 2 * 64 + 2


def test_factors_are_the_kernel_that_they_multiply_to():
    low, whole = built(FastGRNNCell(5, input_rank=2, recurrent_rank=3), 4), built(FastGRNNCell(5), 4)
    whole.input_kernel.assign(ops.matmul(low.input_kernel, low.input_factor))
    whole.recurrent_kernel.assign(ops.matmul(low.recurrent_kernel, low.recurrent_factor))
    rng = np.random.default_rng(0)
    x, h = rng.normal(size=(3, 4)).astype("float32"), rng.normal(size=(3, 5)).astype("float32")
    np.testing.assert_allclose(low.step(x, [h])[0], whole.step(x, [h])[0], atol=1e-6)


def test_a_rank_is_a_positive_integer():
    with pytest.raises(ValueError, match="recurrent_rank to be a positive integer, received recurrent_rank=0"):
        FastGRNNCell(4, recurrent_rank=0)
