from .additive import BahdanauAttention
from .base import Attention
from .cell import AttentionCell
from .coverage import CoverageAttention, coverage_loss
from .dot_product import LuongAttention
from .local import LuongLocalAttention
from .location import LocationSensitiveAttention
from .monotonic import BahdanauMonotonicAttention, LuongMonotonicAttention
from .window import GaussianWindowAttention

__all__ = [
    "Attention",
    "AttentionCell",
    "BahdanauAttention",
    "BahdanauMonotonicAttention",
    "CoverageAttention",
    "GaussianWindowAttention",
    "LocationSensitiveAttention",
    "LuongAttention",
    "LuongLocalAttention",
    "LuongMonotonicAttention",
    "coverage_loss",
]
