import math

import keras
from keras import ops

from ..cells.base import check_units
from .categorical import gumbel
from .distribution import DistributionHead, identity, positive


def correlation(x):
    """tanh, kept off ±1, where the density would be infinite."""
    return 0.999 * ops.tanh(x)


@keras.saving.register_keras_serializable(package="elman")
class MixtureDensityHead(DistributionHead):
    """Pen strokes: the offset (x, y) from a mixture of 2-D Gaussians, and whether the pen is lifted from a Bernoulli.

        w = softmax(logits);  m, s, ρ: means, scales and correlation of each component;  e: the pen's logit
        z = (x − mₓ)² / sₓ² + (y − mᵧ)² / sᵧ² − 2 ρ (x − mₓ)(y − mᵧ) / (sₓ sᵧ)
        log p = log Σ w · exp(−z / 2(1 − ρ²)) / (2π sₓ sᵧ √(1 − ρ²))  +  pen · e − log(1 + exp e)

    Args:
        components: number of Gaussians M.
        kernel_initializer, bias_initializer: as in `DistributionHead`.

    Shapes: features (..., features) to outputs (..., 6 M + 1); targets (..., 3): x, y and pen (0 or 1); log p (...).
    Reference: Graves 2013, Generating Sequences With Recurrent Neural Networks (arXiv:1308.0850), §4.1. Scales are
    softplus where the paper has exp (the same for small ones), with a floor, and |ρ| < 0.999.
    """

    links = (
        ("logits", identity),
        ("mean_x", identity),
        ("mean_y", identity),
        ("scale_x", positive),
        ("scale_y", positive),
        ("correlation", correlation),
    )

    def __init__(self, components=20, **kwargs):
        super().__init__(units=check_units(components, "components"), **kwargs)

    @property
    def width(self):
        return len(self.links) * self.units + 1

    @classmethod
    def params(cls, outputs):
        """The named parameters (..., M), and `pen` (...), from what the layer returned."""
        return {**super().params(outputs[..., :-1]), "pen": outputs[..., -1]}

    @staticmethod
    def log_prob(y, logits, mean_x, mean_y, scale_x, scale_y, correlation, pen):
        """log p of strokes (..., 3), of shape (...)."""
        y = ops.cast(y, logits.dtype)
        x, y, lifted = y[..., 0:1], y[..., 1:2], y[..., 2]
        x, y = (x - mean_x) / scale_x, (y - mean_y) / scale_y
        rest = (1.0 - correlation) * (1.0 + correlation)
        z = (x * x + y * y - 2.0 * correlation * x * y) / rest
        log_density = -0.5 * z - ops.log(scale_x * scale_y) - 0.5 * ops.log(rest) - math.log(2.0 * math.pi)
        strokes = ops.logsumexp(ops.log_softmax(logits) + log_density, axis=-1)
        return strokes + lifted * pen - ops.softplus(pen)

    @staticmethod
    def sample(seed, logits, mean_x, mean_y, scale_x, scale_y, correlation, pen, bias=0.0):
        """One stroke a step, (..., 3). A bias above 0 gives neater ones: logits × (1 + bias), scales × exp(−bias)."""
        seed = seed if isinstance(seed, keras.random.SeedGenerator) else keras.random.SeedGenerator(seed)
        chosen = ops.argmax(logits * (1.0 + bias) + gumbel(seed, logits), axis=-1)
        chosen = ops.one_hot(chosen, logits.shape[-1], dtype=logits.dtype)
        mean_x, mean_y, scale_x, scale_y, correlation = (
            ops.sum(chosen * part, axis=-1) for part in (mean_x, mean_y, scale_x, scale_y, correlation)
        )
        a, b = (keras.random.normal(ops.shape(pen), dtype=pen.dtype, seed=seed) for _ in range(2))
        sharp = math.exp(-bias)
        x = mean_x + sharp * scale_x * a
        y = mean_y + sharp * scale_y * (correlation * a + ops.sqrt(1.0 - correlation * correlation) * b)
        lifted = keras.random.uniform(ops.shape(pen), dtype=pen.dtype, seed=seed) < ops.sigmoid(pen)
        return ops.stack([x, y, ops.cast(lifted, pen.dtype)], axis=-1)

    def get_config(self):
        config = super().get_config()
        return {"components": config.pop("units"), **config}
