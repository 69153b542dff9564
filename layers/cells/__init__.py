from .base import Cell, KernelCell
from .elman import ElmanCell
from .gru import GRUCell
from .lstm import LSTMCell
from .stack import StackedCells

__all__ = ["Cell", "ElmanCell", "GRUCell", "KernelCell", "LSTMCell", "StackedCells"]
