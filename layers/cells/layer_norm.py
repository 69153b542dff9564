"""Cells with layer normalisation."""

import keras
from keras import ops

from .gru import GRUCell
from .lstm import LSTMCell


def _normalize(x, gain, axis, epsilon):
    """Zero mean and unit variance over the features, in float32 at least, times the gain."""
    wide = ops.cast(x, "float32") if x.dtype in ("float16", "bfloat16") else x
    centred = wide - ops.mean(wide, axis=axis, keepdims=True)
    variance = ops.mean(ops.square(centred), axis=axis, keepdims=True)
    return ops.cast(centred * ops.rsqrt(variance + epsilon), x.dtype) * gain


@keras.saving.register_keras_serializable(package="elman")
class LayerNormLSTMCell(LSTMCell):
    """The long short-term memory with layer normalisation of both products and of the cell state.

        [i f g o] = N(x W; k) + N(h U; r) + b
        c' = s(f) * c + s(i) * activation(g)
        h' = s(o) * activation(N(c'; n) + m)

    with N(a; gain) = gain * (a - mean a) / sqrt(var a + epsilon) over the features, all four gates together, and the
    gains k, r, n and the offset m learnt; all else as in `LSTMCell`, peepholes and projection included.

    Args:
        epsilon: added to the variance.
        The others: see `LSTMCell`.

    Call arguments: inputs (batch, features), states [h, c]. Returns h' and [h', c'].

    Reference:
        Ba, Kiros and Hinton 2016, Layer normalization, equations 20 to 22.
    """

    compiled = True
    additive = ()

    def __init__(self, units, epsilon=1e-3, **kwargs):
        super().__init__(units, **kwargs)
        self.epsilon = epsilon

    def build(self, input_shape):
        super().build(input_shape)
        self.input_gain = self.add_weight((4 * self.units,), name="input_gain", initializer="ones")
        self.recurrent_gain = self.add_weight((4 * self.units,), name="recurrent_gain", initializer="ones")
        self.cell_gain = self.add_weight((self.units,), name="cell_gain", initializer="ones")
        self.cell_offset = self.add_weight((self.units,), name="cell_offset", initializer="zeros")

    def finish_projection(self, product, axis=-1, columns=slice(None)):
        gain = self.along(self.input_gain[columns], axis)
        return super().finish_projection(_normalize(product, gain, axis, self.epsilon), axis, columns)

    def _gates(self, projected, product, axis):
        return projected + _normalize(product, self.along(self.recurrent_gain, axis), axis, self.epsilon)

    def _normalize_cell(self, cell, axis):
        gain, offset = self.along(self.cell_gain, axis), self.along(self.cell_offset, axis)
        return _normalize(cell, gain, axis, self.epsilon) + offset

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}


@keras.saving.register_keras_serializable(package="elman")
class LayerNormGRUCell(GRUCell):
    """The gated recurrent unit with layer normalisation of both products.

    As `GRUCell`, with N(x W; k) for x W and N(h U; r) for h U, and N as in `LayerNormLSTMCell`, over the blocks of a
    product together (the paper normalises the candidate apart from the gates); with reset_after=False the product
    (r * h) Uh has its own N, with the gain of its block.

    Args:
        epsilon: added to the variance.
        The others: see `GRUCell`.

    Call arguments: inputs (batch, features), states [h]. Returns h' and [h'].

    Reference:
        Ba, Kiros and Hinton 2016, Layer normalization.
    """

    compiled = True
    additive = ()

    def __init__(self, units, epsilon=1e-3, **kwargs):
        super().__init__(units, **kwargs)
        self.epsilon = epsilon

    def build(self, input_shape):
        super().build(input_shape)
        self.input_gain = self.add_weight((3 * self.units,), name="input_gain", initializer="ones")
        self.recurrent_gain = self.add_weight((3 * self.units,), name="recurrent_gain", initializer="ones")

    def finish_projection(self, product, axis=-1, columns=slice(None)):
        gain = self.along(self.input_gain[columns], axis)
        return super().finish_projection(_normalize(product, gain, axis, self.epsilon), axis, columns)

    def _finish_product(self, product, axis, columns=slice(None)):
        gain = self.along(self.recurrent_gain[columns], axis)
        return super()._finish_product(_normalize(product, gain, axis, self.epsilon), axis, columns)

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}
