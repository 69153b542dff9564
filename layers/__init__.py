from .heads import (
    GaussianHead,
    NegativeBinomialHead,
    NegativeLogLikelihood,
    QuantileHead,
    QuantileLoss,
    StudentTHead,
    pinball_loss,
    sample_quantiles,
)
