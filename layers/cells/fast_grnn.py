"""The gated recurrent network for devices with kilobytes of memory."""

import keras
from keras import ops

from .base import KernelCell, check_units


@keras.saving.register_keras_serializable(package="elman")
class FastGRNNCell(KernelCell):
    """The fast gated recurrent network: one input and one recurrent kernel serve the gate and the candidate.

        p = x W + h U
        z = recurrent_activation(p + bz)                 gate
        g = activation(p + bh)                           candidate
        h' = (ζ (1 − z) + ν) ∘ g + z ∘ h                 new hidden state, also the output

    with x the input, h the hidden state, W the input kernel, U the recurrent kernel, b the bias (order z, h), and two
    trained numbers in (0, 1), ζ = σ(scale[0]) and ν = σ(scale[1]). With ranks, W = W₁ W₂ and U = U₁ U₂, products of
    kernels with so many columns and rows. A cell of 64 units has a third of a GRU's weights, with ranks fewer still.

    Args:
        units: size of h.
        activation: of the candidate.
        recurrent_activation: of the gate.
        input_rank, recurrent_rank: ranks of W and U; None leaves them whole.
        The others: see `KernelCell`; `dropout` acts on the inputs before W₁, `recurrent_dropout` on h before U₁.

    Call arguments: inputs (batch, features), states [h], each (batch, units). Returns h' and [h'].
    The paper's training in three phases (low rank, sparse, quantised) is not part of the cell: the export quantises.
    Reference: Kusupati et al. 2018, FastGRNN: a fast, accurate, stable and tiny kilobyte sized gated recurrent neural
    network (arXiv:1901.02358).
    """

    def __init__(
        self,
        units,
        activation="tanh",
        recurrent_activation="sigmoid",
        input_rank=None,
        recurrent_rank=None,
        **kwargs,
    ):
        super().__init__(units, **kwargs)
        self.activation = keras.activations.get(activation)
        self.recurrent_activation = keras.activations.get(recurrent_activation)
        self.input_rank = input_rank if input_rank is None else check_units(input_rank, "input_rank")
        self.recurrent_rank = (
            recurrent_rank if recurrent_rank is None else check_units(recurrent_rank, "recurrent_rank")
        )

    def _add_kernels(self, features, hidden):
        self.input_kernel, self.input_factor = self._add_factors("input", features, self.input_rank, "kernel")
        self.recurrent_kernel, self.recurrent_factor = self._add_factors(
            "recurrent", hidden, self.recurrent_rank, "recurrent"
        )
        self.bias = self._add("bias", (2 * self.units,), "bias") if self.use_bias else None
        self.scale = self.add_weight((2,), name="scale", initializer=_scale_initializer)

    def _add_factors(self, name, size, rank, family):
        """A kernel (size, units), or its two factors (size, rank) and (rank, units)."""
        if rank is None:
            return self._add(f"{name}_kernel", (size, self.units), family), None
        first = self._add(f"{name}_kernel", (size, rank), family)
        return first, self._add(f"{name}_factor", (rank, self.units), family)

    def project(self, inputs, masks=None):
        if masks and "inputs" in masks:
            inputs = inputs * masks["inputs"]
        product = ops.matmul(inputs, self.input_kernel)
        return product if self.input_factor is None else ops.matmul(product, self.input_factor)

    def recur(self, projected, states, masks=None, matmul=ops.matmul):
        product = matmul(self.hidden(states[0], masks), self.recurrent_kernel)
        if self.recurrent_factor is not None:
            product = matmul(product, self.recurrent_factor)
        product = projected + product
        gate, candidate = (product, product) if self.bias is None else self._biased(product)
        gate, candidate = self.recurrent_activation(gate), self.activation(candidate)
        zeta, nu = ops.unstack(ops.sigmoid(self.scale))
        hidden = (zeta * (1 - gate) + nu) * candidate + gate * states[0]
        return hidden, [hidden]

    def _biased(self, product):
        return [product + b for b in ops.split(ops.convert_to_tensor(self.bias), 2)]

    def get_config(self):
        return {
            **super().get_config(),
            "activation": keras.activations.serialize(self.activation),
            "recurrent_activation": keras.activations.serialize(self.recurrent_activation),
            "input_rank": self.input_rank,
            "recurrent_rank": self.recurrent_rank,
        }


def _scale_initializer(shape, dtype=None):
    """ζ = 0.73 and ν = 0.02, where the paper's own code starts."""
    return ops.convert_to_tensor([1.0, -4.0], dtype=dtype)
