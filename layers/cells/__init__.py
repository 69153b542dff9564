from .base import Cell, KernelCell
from .dropout import DropoutCell
from .echo_state import EchoStateCell, SpectralRadius
from .elman import ElmanCell
from .fast_grnn import FastGRNNCell
from .gru import GRUCell
from .independent import IndRNNCell
from .layer_norm import LayerNormGRUCell, LayerNormLSTMCell
from .linear import LRUCell, linear_scan
from .lstm import LSTMCell
from .minimal import MinGRUCell, MinLSTMCell
from .nas import NASCell
from .stack import StackedCells
from .xlstm import MLSTMCell, SLSTMCell
from .zoneout import ZoneoutCell

__all__ = [
    "Cell",
    "DropoutCell",
    "EchoStateCell",
    "ElmanCell",
    "FastGRNNCell",
    "GRUCell",
    "IndRNNCell",
    "KernelCell",
    "LRUCell",
    "LSTMCell",
    "LayerNormGRUCell",
    "LayerNormLSTMCell",
    "MLSTMCell",
    "MinGRUCell",
    "MinLSTMCell",
    "NASCell",
    "SLSTMCell",
    "SpectralRadius",
    "StackedCells",
    "ZoneoutCell",
    "linear_scan",
]
