import keras
from keras import ops

from .base import KernelCell


@keras.saving.register_keras_serializable(package="elman")
class IndRNNCell(KernelCell):
    """The independently recurrent cell: each unit sees its own past alone.

        h' = activation(x W + u ∘ h + b)

    with x the input, h the hidden state, h' the new one (also the output), W the input kernel, u the recurrent kernel
    (a vector) and b the bias.

    Args:
        units: size of h.
        activation: of the new hidden state.
        recurrent_initializer: of u; uniform in [−1, 1] by default. For long memories over T steps the paper draws from
            [0, 2^(1/T)] and constrains |u| to it.
        The others: see `KernelCell`.

    Call arguments: inputs (batch, features), states [h]. Returns h' and [h'].
    Reference: Li et al. 2018, Independently Recurrent Neural Network (arXiv:1803.04831).
    """

    def __init__(self, units, activation="relu", recurrent_initializer="default", **kwargs):
        if recurrent_initializer == "default":
            recurrent_initializer = keras.initializers.RandomUniform(-1.0, 1.0)
        super().__init__(units, recurrent_initializer=recurrent_initializer, **kwargs)
        self.activation = keras.activations.get(activation)

    def _add_kernels(self, features, hidden):
        self.input_kernel = self._add("input_kernel", (features, self.units), "kernel")
        self.recurrent_kernel = self._add("recurrent_kernel", (self.units,), "recurrent")
        self.bias = self._add("bias", (self.units,), "bias") if self.use_bias else None

    def recur(self, projected, states, masks=None, matmul=ops.matmul):
        hidden = self.activation(projected + self.recurrent_kernel * self.hidden(states[0], masks))
        return hidden, [hidden]

    def get_config(self):
        return {**super().get_config(), "activation": keras.activations.serialize(self.activation)}
