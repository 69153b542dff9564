"""The gated recurrent unit."""

import keras
from keras import ops

from .base import KernelCell


@keras.saving.register_keras_serializable(package="elman")
class GRUCell(KernelCell):
    """The gated recurrent unit, with the reset gate after (default) or before the recurrent product.

        z = s(x Wz + bz + h Uz + dz)                             update gate
        r = s(x Wr + br + h Ur + dr)                             reset gate
        g = activation(x Wh + bh + r * (h Uh + dh))              candidate, reset_after=True
        g = activation(x Wh + bh + (r * h) Uh)                   candidate, reset_after=False
        h' = z * h + (1 - z) * g                                 new hidden state, also the output

    with x the input, h the hidden state, s the recurrent activation, W the input kernel, U the recurrent kernel, b the
    bias and d the recurrent bias (none with reset_after=False), blocks in the order z, r, h, as in Keras; Keras keeps b
    and d as the two rows of one weight.

    Args:
        units: size of h.
        activation: of the candidate.
        recurrent_activation: of the gates.
        reset_after: whether the reset gate acts after the recurrent product (as in cuDNN) or before it (the paper).
        The others: see `KernelCell`.

    Call arguments: inputs (batch, features), states [h], each (batch, units). Returns h' and [h'].

    Reference:
        Cho et al. 2014, Learning phrase representations using RNN encoder-decoder for statistical machine translation.
    """

    gates = 3
    compiled = True

    def __init__(self, units, activation="tanh", recurrent_activation="sigmoid", reset_after=True, **kwargs):
        super().__init__(units, **kwargs)
        self.activation = keras.activations.get(activation)
        self.recurrent_activation = keras.activations.get(recurrent_activation)
        self.reset_after = reset_after

    def build(self, input_shape):
        super().build(input_shape)
        self.recurrent_bias = None
        if self.use_bias and self.reset_after:
            self.recurrent_bias = self._add("recurrent_bias", (3 * self.units,), "bias")

    @property
    def additive(self):
        return (2,) if self.reset_after else (2, 1)

    def recur(self, projected, states, masks=None, matmul=ops.matmul, axis=-1):
        hidden, gates, rest = self.hidden(states[0], masks), slice(2 * self.units), slice(2 * self.units, None)
        inputs = [] if projected is None else ops.split(projected, projected.shape[axis] // self.units, axis=axis)

        def product(part, columns):
            return self._finish_product(matmul(part, self.recurrent_kernel[:, columns]), axis, columns)

        if self.reset_after and len(inputs) == 3:
            whole = self._finish_product(matmul(hidden, self.recurrent_kernel), axis)
            *recurrent, candidate = ops.split(whole, 3, axis=axis)
        else:
            recurrent = ops.split(product(hidden, gates), 2, axis=axis)
            candidate = product(hidden, rest) if self.reset_after else None
        if len(inputs) == 3:  # else `matmul` has added them
            recurrent = [x + y for x, y in zip(inputs[:2], recurrent, strict=True)]
        update, reset = (self.recurrent_activation(x) for x in recurrent)
        candidate = reset * candidate if self.reset_after else product(reset * hidden, rest)
        candidate = inputs[-1] + candidate if inputs else candidate
        hidden = update * states[0] + (1 - update) * self.activation(candidate)
        return hidden, [hidden]

    def _finish_product(self, product, axis, columns=slice(None)):
        """What is done to the product of the hidden state with some columns of U."""
        return product if self.recurrent_bias is None else product + self.along(self.recurrent_bias[columns], axis)

    def get_config(self):
        return {
            **super().get_config(),
            "activation": keras.activations.serialize(self.activation),
            "recurrent_activation": keras.activations.serialize(self.recurrent_activation),
            "reset_after": self.reset_after,
        }
