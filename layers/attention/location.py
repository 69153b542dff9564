import keras
from keras import ops

from ..cells.base import check_units
from .additive import BahdanauAttention


@keras.saving.register_keras_serializable(package="elman")
class LocationSensitiveAttention(BahdanauAttention):
    """Additive attention that also sees where it looked before.

        f = F ∗ a,  eᵢ = v · tanh(W mᵢ + Q q + U fᵢ + b),  weights = softmax(e)

    with q the query, mᵢ the memory, a the weights of the step before (zeros at first), ∗ the convolution over positions
    with the filters F, and U the kernel of the location features.

    Args:
        units: size of v.
        filters: number of filters in F.
        kernel_size: width of F.
        cumulative: whether a is the sum of the weights of all steps before (Tacotron 2), not the last ones.
        The others: see `BahdanauAttention`.

    State: a (batch, positions). Shapes, masking: see `Attention`.
    Reference: Chorowski et al. 2015, Attention-Based Models for Speech Recognition (arXiv:1506.07503). Cumulative:
    Shen et al. 2017 (arXiv:1712.05884).
    """

    state_size = ((None,),)

    def __init__(self, units, filters=32, kernel_size=31, cumulative=False, **kwargs):
        super().__init__(units, **kwargs)
        self.filters = check_units(filters, "filters")
        self.kernel_size = check_units(kernel_size, "kernel_size")
        self.cumulative = cumulative

    def build(self, query_shape, memory_shape):
        self.filter_kernel = self.add("filter_kernel", (self.kernel_size, 1, self.filters))
        self.location_kernel = self.add("location_kernel", (self.filters, self.units))
        if not self.normalize:
            self.location_bias = self.add("location_bias", (self.units,), "zeros")
        super().build(query_shape, memory_shape)

    def score(self, query, keys, state):
        features = ops.conv(ops.expand_dims(state[0], -1), self.filter_kernel, padding="same")
        hidden = keys + ops.expand_dims(ops.matmul(query, self.query_kernel), 1)
        hidden = hidden + ops.matmul(features, self.location_kernel)
        return self.energy(hidden if self.normalize else hidden + self.location_bias)

    def update(self, state, weights):
        return [state[0] + weights if self.cumulative else weights]

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "cumulative": self.cumulative,
        }
