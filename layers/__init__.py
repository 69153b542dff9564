from .attention import (
    Attention,
    AttentionCell,
    BahdanauAttention,
    BahdanauMonotonicAttention,
    CoverageAttention,
    GaussianWindowAttention,
    LocationSensitiveAttention,
    LuongAttention,
    LuongMonotonicAttention,
    coverage_loss,
)
from .attention.decoder import AttentionDecoder
from .cells import Cell, ElmanCell, GRUCell, KernelCell, LSTMCell, StackedCells
from .heads import (
    CategoricalHead,
    GaussianHead,
    MixtureDensityHead,
    NADEHead,
    NegativeBinomialHead,
    NegativeLogLikelihood,
    QuantileHead,
    QuantileLoss,
    StudentTHead,
    nade_log_prob,
    nade_logits,
    nade_sample,
    pinball_loss,
    sample_quantiles,
)
from .recurrent import Recurrent
