import keras
from keras import ops

from .distribution import DistributionHead, identity


def gumbel(seed, like):
    """Standard Gumbel noise of the shape of `like`: the argmax of logits plus it is a draw from their softmax."""
    uniform = keras.random.uniform(ops.shape(like), minval=1e-7, maxval=1.0, dtype=like.dtype, seed=seed)
    return -ops.log(-ops.log(uniform))


@keras.saving.register_keras_serializable(package="elman")
class CategoricalHead(DistributionHead):
    """One of `units` classes a step: log p(y) = l_y − log Σₖ exp(lₖ) for logits l = features W + b.

    `log_prob` takes integers (...) with logits (..., units), and returns (...). Arguments: see `DistributionHead`.
    """

    links = (("logits", identity),)

    @staticmethod
    def log_prob(y, logits):
        """log p(y) for integers y (...)."""
        y = ops.expand_dims(ops.cast(y, "int32"), -1)
        return ops.squeeze(ops.take_along_axis(ops.log_softmax(logits), y, axis=-1), -1)

    @staticmethod
    def sample(seed, logits, temperature=1.0):
        """One class a step, (...); a temperature below 1 sharpens the distribution."""
        return ops.argmax(logits / temperature + gumbel(seed, logits), axis=-1)
