"""LSTM and GRU against torch.nn, values and gradients, without torch.

golden/torch.json was written once with torch 2.13.0: after torch.manual_seed(0), for torch.nn.LSTM(3, 4) and then
torch.nn.GRU(3, 4), batch_first, on x = randn(2, 5, 3): the outputs y, the final states (h, then c), the gradients of
sum(y * weights) with weights = randn_like(y), and the parameters; every tensor flattened and rounded to 7 digits.
"""

import json
import pathlib

import numpy as np
import pytest

from elman.layers import GRUCell, LSTMCell, Recurrent

tf = pytest.importorskip("tensorflow")
GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "golden" / "torch.json").read_text())
ORDER = {"lstm": (0, 1, 2, 3), "gru": (1, 0, 2)}  # torch has i f g o, as here, and r z n where z comes first here


def ours(name, values, suffix=""):
    """Our weights, or their gradients, from torch's, whose kernels are turned and whose gates are ordered otherwise."""
    order = ORDER[name]

    def block(key):
        matrix = np.array(values[key + suffix], "float32").reshape(len(order), 4, -1)
        return np.concatenate([matrix[i] for i in order]).T

    kernel, recurrent = block("weight_ih_l0"), block("weight_hh_l0")
    bias, recurrent_bias = block("bias_ih_l0")[0], block("bias_hh_l0")[0]
    if name == "gru":
        return [kernel, recurrent, bias, recurrent_bias]
    return [kernel, recurrent, bias if suffix else bias + recurrent_bias]


@pytest.mark.parametrize("unroll", [False, True])
@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_torch(name, unroll):
    values = GOLDEN[name]
    x, weights = (tf.reshape(tf.constant(values[k]), (2, 5, -1)) for k in ("x", "weights"))
    cell = LSTMCell(4) if name == "lstm" else GRUCell(4)
    layer = Recurrent(cell, return_sequences=True, return_state=True, unroll=unroll)
    layer.build((2, 5, 3))
    cell.set_weights(ours(name, values))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y, *states = layer(x, training=True)
        loss = tf.reduce_sum(y * weights)
    gradients = tape.gradient(loss, [x, *(w.value for w in cell.weights)])
    np.testing.assert_allclose(np.ravel(y), values["y"], atol=2e-6)
    np.testing.assert_allclose(np.ravel(np.stack(states)), values["state"], atol=2e-6)
    np.testing.assert_allclose(np.ravel(gradients[0]), values["x_grad"], atol=2e-6)
    for got, expected in zip(gradients[1:], ours(name, values, "_grad"), strict=True):
        np.testing.assert_allclose(got, expected, atol=5e-6)
