from .categorical import CategoricalHead
from .distribution import NegativeLogLikelihood
from .gaussian import GaussianHead
from .mixture_density import MixtureDensityHead
from .nade import NADEHead, nade_log_prob, nade_logits, nade_sample
from .negative_binomial import NegativeBinomialHead
from .quantile import QuantileHead, QuantileLoss, pinball_loss, sample_quantiles
from .student_t import StudentTHead

__all__ = [
    "CategoricalHead",
    "GaussianHead",
    "MixtureDensityHead",
    "NADEHead",
    "NegativeBinomialHead",
    "NegativeLogLikelihood",
    "QuantileHead",
    "QuantileLoss",
    "StudentTHead",
    "nade_log_prob",
    "nade_logits",
    "nade_sample",
    "pinball_loss",
    "sample_quantiles",
]
