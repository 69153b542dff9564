import math

import keras
from keras import ops

from .distribution import DistributionHead, identity, positive


@keras.saving.register_keras_serializable(package="elman")
class GaussianHead(DistributionHead):
    """A normal distribution a unit: location m and scale s.

        m = o₁,  s = softplus(o₂)
        log p(y) = −½ ((y − m) / s)² − log s − ½ log 2π

    Reference: Salinas et al. 2017, DeepAR (arXiv:1704.04110). See `DistributionHead` for arguments and shapes.
    """

    links = (("location", identity), ("scale", positive))

    @staticmethod
    def log_prob(y, location, scale):
        """log p(y), elementwise."""
        z = (ops.cast(y, location.dtype) - location) / scale
        return -0.5 * z * z - ops.log(scale) - 0.5 * math.log(2 * math.pi)

    @staticmethod
    def sample(seed, location, scale):
        """One draw a value; `seed` an integer or a `keras.random.SeedGenerator`."""
        return location + scale * keras.random.normal(ops.shape(location), dtype=location.dtype, seed=seed)
