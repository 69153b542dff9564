import keras
from keras import ops


def wide_dtype(layer):
    """The type of a layer's outputs where half precision would lose what a likelihood needs: float32 at least."""
    return keras.backend.result_type(layer.compute_dtype, "float32")


class DistributionHead(keras.layers.Layer):
    """Features to the parameters of one distribution a unit: a linear map, then `params` gives each its range.

        outputs = features W + b                 what the layer returns, float32 at least under any policy
        params = head.params(outputs)            a dict of named tensors, each (..., units)
        log p = head.log_prob(y, **params)       elementwise, (..., units)
        y ~ head.sample(seed, **params)

    `params`, `log_prob` and `sample` are pure functions on the class: they need no instance and no weights.
    A subclass names its parameters and their ranges in `links`; `NegativeLogLikelihood(head)` is the loss.

    Args:
        units: number of values predicted jointly per step, each with a distribution of its own.
        kernel_initializer, bias_initializer: initialisers of W (features, len(links) · units) and b.

    Shapes: features (..., features) to outputs (..., len(links) · units).
    """

    links = ()

    def __init__(self, units=1, kernel_initializer="glorot_uniform", bias_initializer="zeros", **kwargs):
        super().__init__(**kwargs)
        if not isinstance(units, int) or units < 1:
            raise ValueError(f"{type(self).__name__}: expected units to be a positive integer, received {units!r}")
        self.units = units
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.supports_masking = True

    @property
    def width(self):
        return len(self.links) * self.units

    def build(self, input_shape):
        self.kernel = self.add_weight(
            shape=(input_shape[-1], self.width), initializer=self.kernel_initializer, name="kernel"
        )
        self.bias = self.add_weight(shape=(self.width,), initializer=self.bias_initializer, name="bias")
        self.built = True

    def call(self, features):
        # The product runs in the policy's type; a likelihood in half precision would lose its digits.
        return ops.cast(ops.matmul(features, self.kernel) + self.bias, wide_dtype(self))

    def compute_output_spec(self, features):
        return keras.KerasTensor((*features.shape[:-1], self.width), dtype=wide_dtype(self))

    @classmethod
    def params(cls, outputs):
        """The named parameters, each in its range, from what the layer returned."""
        parts = ops.split(outputs, len(cls.links), axis=-1)
        return {name: link(part) for (name, link), part in zip(cls.links, parts, strict=True)}

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
        }


@keras.saving.register_keras_serializable(package="elman")
class NegativeLogLikelihood(keras.losses.Loss):
    """−log p(y) of a distribution head, the mean over its units: `compile(loss=NegativeLogLikelihood(head))`.

    Args:
        head: a distribution head (`StudentTHead(...)`, …) or its class.

    Shapes: y_true as the head's `log_prob` takes it, y_pred the head's outputs.
    Masking: the mask of y_pred and sample weights (batch, steps) are honoured.
    """

    def __init__(self, head, reduction="sum_over_batch_size", name="negative_log_likelihood", **kwargs):
        super().__init__(name=name, reduction=reduction, **kwargs)
        self.head = head if isinstance(head, type) else type(head)
        if not hasattr(self.head, "params"):
            raise ValueError(f"NegativeLogLikelihood: expected a distribution head, received {head!r}")

    def call(self, y_true, y_pred):
        log_prob = self.head.log_prob(y_true, **self.head.params(y_pred))
        return -ops.mean(log_prob, axis=-1) if len(log_prob.shape) == len(y_pred.shape) else -log_prob

    def get_config(self):
        return {**super().get_config(), "head": keras.saving.get_registered_name(self.head)}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "head": keras.saving.get_registered_object(config["head"])})


def identity(x):
    """x: any number."""
    return x


def positive(x):
    """softplus, kept off zero: exp would overflow, and a scale of zero makes the likelihood infinite."""
    return ops.softplus(x) + 1e-5


def binet(x):
    """μ(x) = ln Γ(x) − (x − ½) ln x + x − ½ ln 2π for x > 0: the part of ln Γ that stays small for any x.

    Keras has no ln Γ, and differences of it at large arguments would lose all their digits in float32; with μ the
    large terms cancel on paper. μ(x) = μ(x + 1) + (x + ½) ln(1 + 1/x) − 1 three times, then Stirling's series.
    """
    steps = 0.0
    for k in range(3):
        steps = steps + (x + (k + 0.5)) * ops.log1p(1.0 / (x + k)) - 1.0
    r = 1.0 / (x + 3.0)
    s = r * r
    return steps + r * (1 / 12 - s * (1 / 360 - s * (1 / 1260 - s / 1680)))
