import numpy as np
import pytest
from scipy.special import expit as sigmoid

from elman.layers import LayerNormGRUCell, LayerNormLSTMCell, Recurrent


def normal(x, gain):
    return gain * (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-3)


def lstm(w, x, h, c):
    i, f, g, o = np.split(normal(x @ w["input_kernel"], w["input_gain"]) + w["bias"]
                          + normal(h @ w["recurrent_kernel"], w["recurrent_gain"]), 4, -1)  # fmt: skip
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(normal(c, w["cell_gain"]) + w["cell_offset"]), c


def gru(w, x, h, reset_after):
    xz, xr, xg = np.split(normal(x @ w["input_kernel"], w["input_gain"]) + w["bias"], 3, -1)
    if reset_after:
        product = normal(h @ w["recurrent_kernel"], w["recurrent_gain"]) + w["recurrent_bias"]
        hz, hr, hg = np.split(product, 3, -1)
        inner = sigmoid(xr + hr) * hg
    else:
        n = 2 * h.shape[-1]
        hz, hr = np.split(normal(h @ w["recurrent_kernel"][:, :n], w["recurrent_gain"][:n]), 2, -1)
        inner = normal((sigmoid(xr + hr) * h) @ w["recurrent_kernel"][:, n:], w["recurrent_gain"][n:])
    z = sigmoid(xz + hz)
    return z * h + (1 - z) * np.tanh(xg + inner)


@pytest.mark.parametrize("kind", ["lstm", "gru", "gru_before"])
@pytest.mark.parametrize("unroll", [False, True])
def test_against_numpy(kind, unroll):
    rng = np.random.default_rng(3)
    cell = LayerNormLSTMCell(5) if kind == "lstm" else LayerNormGRUCell(5, reset_after=kind == "gru")
    layer = Recurrent(cell, unroll=unroll)
    layer.build((2, 4, 3))
    cell.set_weights([rng.normal(size=w.shape) for w in cell.weights])
    weights = {w.name: np.array(w, "float64") for w in cell.weights}
    x, h, c = rng.normal(size=(2, 4, 3)), rng.normal(size=(2, 5)), rng.normal(size=(2, 5))
    states = [h, c] if kind == "lstm" else [h]
    got = layer(x.astype("float32"), initial_state=[s.astype("float32") for s in states])
    for t in range(4):
        if kind == "lstm":
            h, c = lstm(weights, x[:, t], h, c)
        else:
            h = gru(weights, x[:, t], h, kind == "gru")
    np.testing.assert_allclose(got, h, atol=1e-5)


def test_scale_of_the_kernels_does_not_matter():
    """What layer normalisation is for: both products may be scaled at will, up to epsilon."""
    cell = LayerNormGRUCell(8, epsilon=1e-9)
    layer, x = Recurrent(cell, unroll=True), np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")
    before = np.array(layer(x))
    cell.input_kernel.assign(cell.input_kernel * 7.0)
    cell.recurrent_kernel.assign(cell.recurrent_kernel * 0.2)
    np.testing.assert_allclose(layer(x), before, atol=1e-5)
