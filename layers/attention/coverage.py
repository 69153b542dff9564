import keras
from keras import ops

from .additive import BahdanauAttention


@keras.saving.register_keras_serializable(package="elman")
class CoverageAttention(BahdanauAttention):
    """Additive attention that sees how much of each position it has read.

        cᵢ = Σ of the weights of all steps before at position i
        eᵢ = v · tanh(W mᵢ + Q q + cᵢ u + b),  weights = softmax(e)

    with q the query, mᵢ the memory and u the coverage vector. `coverage_loss` is the penalty for reading twice.

    Args: see `BahdanauAttention`.

    State: the coverage c (batch, positions). Shapes, masking: see `Attention`.
    Reference: See, Liu & Manning 2017, Get To The Point (arXiv:1704.04368), §2.3; the idea is of Tu et al. 2016
    (arXiv:1601.04811), whose learned coverage vectors this is not.
    """

    state_size = ((None,),)

    def build(self, query_shape, memory_shape):
        self.coverage_vector = self.add("coverage_vector", (1, self.units))
        if not self.normalize:
            self.coverage_bias = self.add("coverage_bias", (self.units,), "zeros")
        super().build(query_shape, memory_shape)

    def score(self, query, keys, state):
        hidden = keys + ops.expand_dims(ops.matmul(query, self.query_kernel), 1)
        hidden = hidden + ops.expand_dims(state[0], -1) * self.coverage_vector
        return self.energy(hidden if self.normalize else hidden + self.coverage_bias)

    def update(self, state, weights):
        return [state[0] + weights]


def coverage_loss(alignments):
    """Σᵢ min(weightsᵢ, coverageᵢ) of each step, (batch, time), from alignments (batch, time, positions)."""
    covered = ops.cumsum(alignments, axis=1) - alignments
    return ops.sum(ops.minimum(alignments, covered), axis=-1)
