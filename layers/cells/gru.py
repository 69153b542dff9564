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

    def recur(self, projected, states, masks=None, matmul=ops.matmul, axis=-1):
        hidden, kernel = self.hidden(states[0], masks), self.recurrent_kernel
        first = kernel if self.reset_after else kernel[:, : 2 * self.units]
        recurrent = self._recurrent(matmul(hidden, first), axis)
        gates = ops.split(projected, 3, axis=axis)
        update = self.recurrent_activation(gates[0] + recurrent[0])
        reset = self.recurrent_activation(gates[1] + recurrent[1])
        if self.reset_after:
            candidate = reset * recurrent[2]
        else:
            candidate = self._candidate(matmul(reset * hidden, kernel[:, 2 * self.units :]), axis)
        hidden = update * states[0] + (1 - update) * self.activation(gates[2] + candidate)
        return hidden, [hidden]

    def _recurrent(self, product, axis):
        """The blocks of the recurrent product."""
        if self.recurrent_bias is not None:
            product = product + self.along(self.recurrent_bias, axis)
        return ops.split(product, 3 if self.reset_after else 2, axis=axis)

    def _candidate(self, product, axis):
        return product

    def get_config(self):
        return {
            **super().get_config(),
            "activation": keras.activations.serialize(self.activation),
            "recurrent_activation": keras.activations.serialize(self.recurrent_activation),
            "reset_after": self.reset_after,
        }
