import numpy as np

from elman.layers import LayerNormGRUCell, Recurrent


def test_scale_of_the_kernels_does_not_matter():
    """What layer normalisation is for: both products may be scaled at will, up to epsilon."""
    cell = LayerNormGRUCell(8, epsilon=1e-9)
    layer, x = Recurrent(cell, unroll=True), np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")
    before = np.array(layer(x))
    cell.input_kernel.assign(cell.input_kernel * 7.0)
    cell.recurrent_kernel.assign(cell.recurrent_kernel * 0.2)
    np.testing.assert_allclose(layer(x), before, atol=1e-5)
