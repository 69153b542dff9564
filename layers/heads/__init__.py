from .distribution import NegativeLogLikelihood
from .gaussian import GaussianHead
from .negative_binomial import NegativeBinomialHead
from .quantile import QuantileHead, QuantileLoss, pinball_loss, sample_quantiles
from .student_t import StudentTHead
