import math

import keras
from keras import ops

from .distribution import DistributionHead, binet, positive


@keras.saving.register_keras_serializable(package="elman")
class NegativeBinomialHead(DistributionHead):
    """A negative binomial a unit, for counts: mean m and dispersion a, variance m + a m².

        m = softplus(o₁),  a = softplus(o₂),  r = 1 / a
        log p(y) = ln Γ(y + r) − ln Γ(y + 1) − ln Γ(r) + r log(r / (r + m)) + y log(m / (r + m)),   y = 0, 1, 2, …

    Computed so that counts in the millions, or dispersions near zero (the Poisson limit), keep their digits in float32.

    Reference: Salinas et al. 2017, DeepAR (arXiv:1704.04110), §3.1. See `DistributionHead` for arguments and shapes.
    """

    links = (("mean", positive), ("dispersion", positive))

    @staticmethod
    def log_prob(y, mean, dispersion):
        """log p(y), elementwise, at integers y ≥ 0."""
        y = ops.cast(y, mean.dtype)
        r = 1.0 / dispersion
        # ln Γ by Binet's function; what is left of its large terms is a product of r and one of y with logs near zero.
        rest = ops.log1p(ops.maximum((r - 1.0) / (y + 1.0), -0.9999)) - ops.log1p(r / mean)
        near = ops.log1p(ops.maximum((y - mean) / (r + mean), -0.5))
        ratio = ops.where(y + r < 0.5 * (r + mean), ops.log((y + r) / (r + mean)), near)
        large = r * ratio + y * rest
        logs = 0.5 * (ops.log(r) - ops.log(y + r) - ops.log(y + 1.0))
        return large + logs + 1.0 - 0.5 * math.log(2 * math.pi) + binet(y + r) - binet(r) - binet(y + 1.0)

    @staticmethod
    def sample(seed, mean, dispersion):
        """One draw a value: a Poisson whose rate is a gamma; `seed` an integer or a `keras.random.SeedGenerator`."""
        seed = seed if isinstance(seed, keras.random.SeedGenerator) else keras.random.SeedGenerator(seed)
        shape = ops.shape(mean)
        r = ops.broadcast_to(1.0 / dispersion, shape)
        rate = keras.random.gamma(shape, r, dtype=mean.dtype, seed=seed) * mean / r
        # Keras has no Poisson; a binomial of n trials is one to within rate / n in total variation (Le Cam).
        trials = float(2**24)
        return keras.random.binomial(shape, trials, ops.minimum(rate / trials, 1.0), dtype=mean.dtype, seed=seed)
