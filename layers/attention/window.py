import keras
from keras import ops

from ..cells.base import check_units
from .base import Attention, read


@keras.saving.register_keras_serializable(package="elman")
class GaussianWindowAttention(Attention):
    """A window over the memory that moves forward only: a sum of Gaussians in the position u.

        (a, b, d) = exp(W q + w₀),  k' = k + d,  φᵤ = Σⱼ aⱼ exp(−bⱼ (k'ⱼ − u)²),  context = Σᵤ φᵤ mᵤ,   u = 0, 1, …

    with q the query, mᵤ the memory, W the query kernel and w₀ its bias. The weights φ do not sum to one.

    Args:
        components: number of Gaussians.
        step: at the start, how many positions the window moves a step: w₀ of d is log(step).
        kernel_initializer: of W.

    State: k (batch, components), zeros at first. Shapes, masking: see `Attention`; it uses no keys.
    Reference: Graves 2013, Generating Sequences With Recurrent Neural Networks (arXiv:1308.0850), §5.1.
    """

    def __init__(self, components=10, step=0.1, kernel_initializer="glorot_uniform", **kwargs):
        super().__init__(**kwargs)
        self.components = check_units(components, "components")
        if not step > 0:
            raise ValueError(f"GaussianWindowAttention: expected step above 0, received {step!r}")
        self.step = step
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.state_size = (self.components,)

    def build(self, query_shape, memory_shape):
        width = 3 * self.components
        self.query_kernel = self.add_weight(
            shape=(query_shape[-1], width), initializer=self.kernel_initializer, name="query_kernel"
        )
        self.bias = self.add_weight(shape=(width,), initializer=self._initial_bias, name="bias")
        self.built = True

    def _initial_bias(self, shape, dtype=None):
        zeros = ops.zeros((2 * self.components,), dtype=dtype)
        return ops.concatenate([zeros, ops.log(ops.full((self.components,), self.step, dtype=dtype))])

    def initial_state(self, memory):
        return [ops.tile(ops.zeros_like(memory[2][:, :1]), (1, self.components))]

    def attend(self, query, memory, state):
        values, _, mask = memory
        parts = ops.exp(ops.matmul(query, self.query_kernel) + self.bias)
        height, width, move = (ops.expand_dims(part, 1) for part in ops.split(parts, 3, axis=-1))
        centre = ops.expand_dims(state[0], 1) + move
        positions = ops.cast(ops.arange(ops.shape(values)[1]), self.compute_dtype)[:, None]
        weights = ops.sum(height * ops.exp(-width * ops.square(centre - positions)), axis=-1) * mask
        return read(weights, values), weights, [ops.squeeze(centre, 1)]

    def get_config(self):
        return {
            **super().get_config(),
            "components": self.components,
            "step": self.step,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
