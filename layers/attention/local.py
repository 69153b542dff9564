import keras
from keras import ops

from ..cells.base import check_units
from .base import masked_softmax, read
from .dot_product import LuongAttention


@keras.saving.register_keras_serializable(package="elman")
class LuongLocalAttention(LuongAttention):
    """Multiplicative attention to the neighbourhood of a predicted position (local-p).

        p = (S − 1) σ(u · tanh(P q))                               the centre, S positions in the memory
        weightsᵢ = softmax(e)ᵢ exp(−(i − p)² / (2 (D / 2)²))       over the positions |i − p| ≤ D, 0 elsewhere
        context = Σ weightsᵢ mᵢ

    with q the query, mᵢ the memory, e the score of `LuongAttention`, P the centre kernel, u the centre vector and D the
    reach. The weights sum to at most one.

    Args:
        reach: D, positions to either side, 1 or more.
        The others: see `LuongAttention`.

    Shapes, masking: see `Attention`; S and i count the positions that are not masked, i from 0.
    Reference: Luong, Pham & Manning 2015, Effective Approaches to Attention-based Neural Machine Translation
    (arXiv:1508.04025), §3.2, where p is S σ(…).
    """

    def __init__(self, reach=10, score="general", **kwargs):
        super().__init__(score, **kwargs)
        self.reach = check_units(reach, "reach")

    def build(self, query_shape, memory_shape):
        self.centre_kernel = self.add("centre_kernel", (query_shape[-1], query_shape[-1]))
        self.centre_vector = self.add("centre_vector", (query_shape[-1], 1))
        super().build(query_shape, memory_shape)

    def attend(self, query, memory, state):
        values, keys, mask = memory
        guess = ops.matmul(ops.tanh(ops.matmul(query, self.centre_kernel)), self.centre_vector)
        there = ops.cast(mask, keras.backend.result_type(mask.dtype, "float32"))  # bfloat16 counts to 256 only
        last = ops.sum(there, axis=-1, keepdims=True) - 1
        distance = ops.cumsum(there, axis=-1) - 1 - last * ops.cast(ops.sigmoid(guess), there.dtype)
        near = ops.where(ops.abs(distance) <= self.reach, mask, ops.zeros_like(mask))
        weights = masked_softmax(self.score(query, keys, state), near)
        weights = weights * ops.cast(ops.exp(-2 * ops.square(distance / self.reach)), weights.dtype)
        return read(weights, values), weights, self.update(state, weights)

    def get_config(self):
        return {**super().get_config(), "reach": self.reach}
