import keras
import numpy as np
from keras import ops

from .distribution import wide_dtype


def check_levels(levels):
    """The levels as floats; refuses any that do not increase inside (0, 1)."""
    levels = tuple(float(level) for level in levels)
    if not levels or any(not 0.0 < level < 1.0 for level in levels) or any(np.diff(levels) <= 0):
        raise ValueError(f"expected quantile levels increasing inside (0, 1), received {levels}")
    return levels


def pinball_loss(y, quantiles, levels):
    """The quantile (pinball) loss max(q (y − ŷ), (q − 1)(y − ŷ)) of each level q.

    Args:
        y: (...), the values observed.
        quantiles: (..., levels), the quantiles predicted.
        levels: the probabilities q, as many as the last axis of `quantiles`.

    Returns: (..., levels). Its mean is minimal where `quantiles` are the true ones.
    Reference: Koenker & Bassett 1978, Regression Quantiles.
    """
    levels = ops.convert_to_tensor(levels, dtype=quantiles.dtype)
    error = ops.expand_dims(ops.cast(y, quantiles.dtype), -1) - quantiles
    return ops.maximum(levels * error, (levels - 1.0) * error)


def sample_quantiles(seed, quantiles, levels):
    """One draw a value from quantiles (..., levels), straight between two levels and constant beyond the ends."""
    levels = ops.convert_to_tensor(levels, dtype=quantiles.dtype)
    uniform = keras.random.uniform((*ops.shape(quantiles)[:-1], 1), dtype=quantiles.dtype, seed=seed)
    # Each interval adds its rise times the share of it that lies below the uniform level.
    share = ops.clip((uniform - levels[:-1]) / (levels[1:] - levels[:-1]), 0.0, 1.0)
    return quantiles[..., 0] + ops.sum(share * (quantiles[..., 1:] - quantiles[..., :-1]), axis=-1)


@keras.saving.register_keras_serializable(package="elman")
class QuantileLoss(keras.losses.Loss):
    """The pinball loss of a `QuantileHead(units, levels)`, the mean over units and levels.

    Args:
        levels: the probabilities of the quantiles, increasing inside (0, 1).

    Shapes: y_true (..., units), y_pred (..., units, levels); sample weights as y_true without its last axis.
    """

    def __init__(self, levels, reduction="sum_over_batch_size", name="quantile_loss", **kwargs):
        super().__init__(name=name, reduction=reduction, **kwargs)
        self.levels = check_levels(levels)

    def call(self, y_true, y_pred):
        return ops.mean(pinball_loss(y_true, y_pred, self.levels), axis=(-2, -1))

    def get_config(self):
        return {**super().get_config(), "levels": list(self.levels)}


@keras.saving.register_keras_serializable(package="elman")
class QuantileHead(keras.layers.Layer):
    """Quantiles of each unit that never cross: the lowest is linear in the features, each next adds a softplus.

        o = features W + b                                       (units × levels)
        ŷ₁ = o₁,  ŷₖ = ŷₖ₋₁ + softplus(oₖ)

    Args:
        units: number of values predicted jointly per step.
        levels: the probabilities of the quantiles, increasing inside (0, 1).
        kernel_initializer: initialiser of W.

    Shapes: features (..., features) to quantiles (..., units, levels), float32.
    Train with `QuantileLoss(levels)`, draw with `sample_quantiles`.
    Reference: Wen et al. 2017, A Multi-Horizon Quantile Recurrent Forecaster (arXiv:1711.11053).
    The increments are ours, against crossing.
    """

    def __init__(self, units=1, levels=(0.1, 0.5, 0.9), kernel_initializer="glorot_uniform", **kwargs):
        super().__init__(**kwargs)
        if not isinstance(units, int) or units < 1:
            raise ValueError(f"QuantileHead: expected units to be a positive integer, received {units!r}")
        self.units = units
        self.levels = check_levels(levels)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape):
        width = self.units * len(self.levels)
        self.kernel = self.add_weight(
            shape=(input_shape[-1], width), initializer=self.kernel_initializer, name="kernel"
        )
        self.bias = self.add_weight(shape=(width,), initializer="zeros", name="bias")
        self.built = True

    def call(self, features):
        outputs = ops.cast(ops.matmul(features, self.kernel) + self.bias, wide_dtype(self))
        outputs = ops.reshape(outputs, (*ops.shape(features)[:-1], self.units, len(self.levels)))
        steps = ops.concatenate([outputs[..., :1], ops.softplus(outputs[..., 1:])], axis=-1)
        return ops.cumsum(steps, axis=-1)

    def compute_output_spec(self, features):
        return keras.KerasTensor((*features.shape[:-1], self.units, len(self.levels)), dtype=wide_dtype(self))

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "levels": list(self.levels),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
