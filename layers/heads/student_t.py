import math

import keras
from keras import ops

from .distribution import DistributionHead, binet, identity, positive


def above_two(x):
    """2 + softplus(x): the variance of Student's t exists."""
    return 2.0 + positive(x)


@keras.saving.register_keras_serializable(package="elman")
class StudentTHead(DistributionHead):
    """Student's t a unit: location m, scale s and degrees of freedom n; outliers mislead it less than a normal.

        m = o₁,  s = softplus(o₂),  n = 2 + softplus(o₃)          (n > 2: the variance s² n / (n − 2) exists)
        log p(y) = ln Γ((n + 1) / 2) − ln Γ(n / 2) − ½ log(n π) − log s − (n + 1)/2 · log(1 + ((y − m) / s)² / n)

    `log_prob` takes any n > 0, and tends to the normal's for large n without loss of digits.

    Reference: Salinas et al. 2017, DeepAR (arXiv:1704.04110), and its implementation in GluonTS.
    See `DistributionHead` for arguments and shapes.
    """

    links = (("location", identity), ("scale", positive), ("df", above_two))

    @staticmethod
    def log_prob(y, location, scale, df):
        """log p(y), elementwise."""
        z = (ops.cast(y, location.dtype) - location) / scale
        half = 0.5 * df
        # ln Γ(n/2 + ½) − ln Γ(n/2) − ½ ln(n/2), its large terms cancelled on paper.
        ratio = half * ops.log1p(0.5 / half) - 0.5 + binet(half + 0.5) - binet(half)
        return ratio - 0.5 * math.log(2 * math.pi) - ops.log(scale) - (half + 0.5) * ops.log1p(z * z / df)

    @staticmethod
    def sample(seed, location, scale, df):
        """One draw a value: a normal over the root of a gamma; `seed` an integer or a `keras.random.SeedGenerator`."""
        seed = seed if isinstance(seed, keras.random.SeedGenerator) else keras.random.SeedGenerator(seed)
        shape = ops.shape(location)
        normal = keras.random.normal(shape, dtype=location.dtype, seed=seed)
        half = 0.5 * ops.broadcast_to(df, shape)
        return location + scale * normal * ops.sqrt(
            half / keras.random.gamma(shape, half, dtype=location.dtype, seed=seed)
        )
