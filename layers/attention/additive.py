import keras
from keras import ops

from ..cells.base import check_units
from .base import Attention


@keras.saving.register_keras_serializable(package="elman")
class BahdanauAttention(Attention):
    """Additive attention.

        eᵢ = v · tanh(W mᵢ + Q q),  weights = softmax(e),  context = Σ weightsᵢ mᵢ

    with q the query, mᵢ the memory, W the memory kernel, Q the query kernel and v the score vector. With `normalize`,
    v is replaced by g v / ‖v‖ and a bias b is added inside the tanh.

    Args:
        units: size of v.
        normalize: whether v is normalised (weight normalisation, scale g = units^-½ at the start).
        kernel_initializer: of W, Q and v.

    Shapes, masking: see `Attention`.
    Reference: Bahdanau, Cho & Bengio 2014, Neural Machine Translation by Jointly Learning to Align and Translate
    (arXiv:1409.0473). Normalised form: Salimans & Kingma 2016 (arXiv:1602.07868), as in Raffel et al. 2017.
    """

    def __init__(self, units, normalize=False, kernel_initializer="glorot_uniform", **kwargs):
        super().__init__(**kwargs)
        self.units = check_units(units)
        self.normalize = normalize
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, query_shape, memory_shape):
        self.memory_kernel = self.add("memory_kernel", (memory_shape[-1], self.units))
        self.query_kernel = self.add("query_kernel", (query_shape[-1], self.units))
        self.vector = self.add("vector", (self.units, 1))
        if self.normalize:
            self.scale = self.add("scale", (), keras.initializers.Constant(self.units**-0.5))
            self.bias = self.add("bias", (self.units,), "zeros")
        self.built = True

    def add(self, name, shape, initializer=None):
        return self.add_weight(shape=shape, initializer=initializer or self.kernel_initializer, name=name)

    def key_size(self, memory_size):
        return self.units

    def keys(self, values):
        return ops.matmul(values, self.memory_kernel)

    def score(self, query, keys, state):
        return self.energy(keys + ops.expand_dims(ops.matmul(query, self.query_kernel), 1))

    def energy(self, hidden):
        """v · tanh(hidden), normalised on demand."""
        vector = ops.cast(self.vector, self.compute_dtype)
        if self.normalize:
            hidden = hidden + self.bias
            vector = vector * (self.scale / ops.sqrt(ops.sum(vector * vector)))
        return ops.squeeze(ops.matmul(ops.tanh(hidden), vector), -1)

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "normalize": self.normalize,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
