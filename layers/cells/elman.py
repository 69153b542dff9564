"""The simple recurrent network."""

import keras
from keras import ops

from .base import KernelCell


@keras.saving.register_keras_serializable(package="elman")
class ElmanCell(KernelCell):
    """The simple recurrent cell of Elman.

        h' = activation(x W + h U + b)

    with x the input, h the hidden state, h' the new one (also the output), W the input kernel, U the recurrent kernel
    and b the bias. With activation="relu" and recurrent_initializer="identity" it is the IRNN.

    Args:
        units: size of h.
        activation: of the new hidden state.
        The others: see `KernelCell`.

    Call arguments: inputs (batch, features), states [h], each (batch, units). Returns h' and [h'].

    Reference:
        Elman 1990, Finding structure in time. Le, Jaitly and Hinton 2015, A simple way to initialize recurrent
        networks of rectified linear units (IRNN).
    """

    compiled = True
    additive = (1,)

    def __init__(self, units, activation="tanh", **kwargs):
        super().__init__(units, **kwargs)
        self.activation = keras.activations.get(activation)

    def recur(self, projected, states, masks=None, matmul=ops.matmul, axis=-1):
        total = matmul(self.hidden(states[0], masks), self.recurrent_kernel)
        hidden = self.activation(total if projected is None else projected + total)
        return hidden, [hidden]

    def get_config(self):
        return {**super().get_config(), "activation": keras.activations.serialize(self.activation)}
