import keras
from keras import ops

from ..cells.base import check_units
from .distribution import wide_dtype


def nade_logits(y, visible_bias, hidden_bias, kernel, output_kernel, segments=8):
    """The logits of p(y_d = 1 | y₁ … y_d₋₁) for all d at once, given the whole vector y. Symbols: see `NADEHead`.

    Between two ones of y the hidden units do not change, so a row with k ones has k + 1 distinct hidden states, not D.
    Those are computed, by matrix products alone: rows × segments × (D + H) numbers where the definition
    has rows × D × H. Rows with `segments` ones or more are exact too: further segments are computed when there are any.

    Args:
        y: (..., D), zeros and ones.
        visible_bias, hidden_bias: (..., D) and (..., H), the biases b and c.
        kernel, output_kernel: W and V, both (D, H).
        segments: how many hidden states a row are computed at once.
    """
    y = ops.cast(y, visible_bias.dtype)
    before = ops.cumsum(y, axis=-1) - y

    def block(start):
        index = ops.reshape(ops.arange(start, start + segments, dtype=y.dtype), (segments, 1))
        rank = ops.expand_dims(before, -2)
        ones = ops.expand_dims(y, -2) * ops.cast(rank < index, y.dtype)
        hidden = ops.sigmoid(ops.expand_dims(hidden_bias, -2) + ops.matmul(ones, kernel))
        logits = ops.matmul(hidden, ops.transpose(output_kernel))
        return ops.sum(logits * ops.cast(ops.equal(rank, index), y.dtype), axis=-2)

    logits = visible_bias + block(0)
    for start in range(segments, y.shape[-1], segments):
        more = ops.cond(ops.max(before) >= start, lambda start=start: block(start), lambda: ops.zeros_like(y))
        logits = logits + more
    return logits


def nade_log_prob(y, visible_bias, hidden_bias, kernel, output_kernel, segments=8):
    """log p(y) of the whole vectors, (...). Arguments as in `nade_logits`."""
    logits = nade_logits(y, visible_bias, hidden_bias, kernel, output_kernel, segments)
    return ops.sum(ops.cast(y, logits.dtype) * logits - ops.softplus(logits), axis=-1)


def nade_sample(uniform, visible_bias, hidden_bias, kernel, output_kernel, xp=ops):
    """Draw vectors (..., D): dimension d is one where `uniform` (..., D), drawn from [0, 1), is below its probability.

    It is deterministic given `uniform`, so it exports. With `xp=numpy` it runs on exported arrays, without Keras.
    """
    drawn = []
    for d in range(kernel.shape[0]):
        hidden = 0.5 + 0.5 * xp.tanh(0.5 * hidden_bias)
        logit = visible_bias[..., d] + xp.sum(hidden * output_kernel[d], axis=-1)
        one = xp.where(uniform[..., d] < 0.5 + 0.5 * xp.tanh(0.5 * logit), 1.0, 0.0)
        hidden_bias = hidden_bias + one[..., None] * kernel[d]
        drawn.append(one)
    return xp.stack(drawn, axis=-1)


@keras.saving.register_keras_serializable(package="elman")
class NADEHead(keras.layers.Layer):
    """Binary vectors whose entries depend on each other, such as the keys of a chord, given the features of a step.

        b = b₀ + features B,  c = c₀ + features C
        h_d = σ(c + Σ_{i<d} y_i W_i),  p(y_d = 1 | y₁ … y_d₋₁) = σ(b_d + V_d · h_d),  p(y) = Π_d p(y_d | …)

    `head(features, targets)` gives the logits of all D conditional probabilities (teacher forcing), so the loss is
    `keras.losses.BinaryCrossentropy(from_logits=True)`, which is −log p(y) / D.
    To draw: `head.sample(features, uniform)`, or `nade_sample(…, xp=numpy)` on exported `head.biases(features)` and the
    arrays `head.kernel`, `head.output_kernel`.

    Args:
        units: size D of the vectors.
        hidden: number H of hidden units.
        kernel_initializer: initialiser of W, V, B and C.

    Shapes: features (..., features), targets (..., D), logits (..., D), float32.
    Reference: Larochelle & Murray 2011, The Neural Autoregressive Distribution Estimator; its biases conditioned on an
    RNN as in Boulanger-Lewandowski et al. 2012 (arXiv:1206.6392).
    """

    def __init__(self, units=88, hidden=150, kernel_initializer="glorot_uniform", **kwargs):
        super().__init__(**kwargs)
        self.units = check_units(units)
        self.hidden = check_units(hidden, "hidden")
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.supports_masking = True

    def build(self, features_shape, targets_shape=None):
        def add(name, shape, initializer=None):
            return self.add_weight(shape=shape, initializer=initializer or self.kernel_initializer, name=name)

        self.input_kernel = add("input_kernel", (features_shape[-1], self.units + self.hidden))
        self.bias = add("bias", (self.units + self.hidden,), "zeros")
        self.kernel = add("kernel", (self.units, self.hidden))
        self.output_kernel = add("output_kernel", (self.units, self.hidden))
        self.built = True

    def biases(self, features):
        """The biases b (..., D) and c (..., H) of a step, float32."""
        biases = ops.cast(ops.matmul(features, self.input_kernel) + self.bias, wide_dtype(self))
        return biases[..., : self.units], biases[..., self.units :]

    def call(self, features, targets):
        kernels = (ops.cast(k, wide_dtype(self)) for k in (self.kernel, self.output_kernel))
        return nade_logits(targets, *self.biases(features), *kernels)

    def sample(self, features, uniform):
        """Draw vectors (..., D) from `uniform` (..., D) noise in [0, 1)."""
        kernels = (ops.cast(k, wide_dtype(self)) for k in (self.kernel, self.output_kernel))
        return nade_sample(uniform, *self.biases(features), *kernels)

    def compute_output_spec(self, features, targets):
        return keras.KerasTensor(targets.shape, dtype=wide_dtype(self))

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "hidden": self.hidden,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
