"""A recurrence as one operator: the form that ONNX has for LSTM, GRU and Elman cells."""

import contextlib
import contextvars

import keras
from keras import ops

from ..cells.elman import ElmanCell
from ..cells.gru import GRUCell
from ..cells.lstm import LSTMCell
from ..cells.stack import StackedCells

_WANTED = contextvars.ContextVar("native_recurrence", default=False)


@contextlib.contextmanager
def native_recurrence():
    """While this is entered, `Recurrent` traces a standard cell as one operator instead of a loop.

    The operator is TensorFlow's CudnnRNN, a placeholder that nothing here runs: the ONNX export replaces it by ONNX's
    own LSTM, GRU or RNN. `seed` tells the two forms of a GRU apart (1: the reset gate acts after the product).
    """
    token = _WANTED.set(True)
    try:
        yield
    finally:
        _WANTED.reset(token)


def native_layers(cell):
    """The cells, from the lowest up, that can each be one operator; [] where one cannot, or where a loop is wanted."""
    cells = cell.cells if type(cell) is StackedCells else [cell]
    return cells if _WANTED.get() and all(_mode(c) for c in cells) else []


def _mode(cell):
    """The operator's mode for a cell, or "" where the cell is not the standard one."""
    name = keras.activations.serialize(cell.activation) if hasattr(cell, "activation") else None
    if type(cell) is ElmanCell and name in ("tanh", "relu"):
        return f"rnn_{name}"
    gates = keras.activations.serialize(getattr(cell, "recurrent_activation", None) or keras.activations.linear)
    if (name, gates) != ("tanh", "sigmoid"):
        return ""
    if type(cell) is LSTMCell and not (cell.peepholes or cell.projection):
        return "lstm"
    return "gru" if type(cell) is GRUCell else ""


def native_scan(cells, sequences, states):
    """A placeholder for each of some layers over a sequence (time, batch, features).

    Args:
        states: of each layer; of a single layer by themselves too.

    Returns: (outputs, last output, states).
    """
    stacked = isinstance(states[0], list | tuple)
    final = []
    for cell, before in zip(cells, states if stacked else [states], strict=True):
        sequences, last, after = _scan(_mode(cell), cell, sequences, before)
        final.append(after)
    return sequences, last, final if stacked else final[0]


def _scan(mode, cell, sequences, states):
    """One placeholder: (outputs, last output, states).

    Its parameters are flat and in ONNX's order of gates: W and U with the gates first, the bias of W, the bias of U.
    """
    import tensorflow as tf

    features, width = cell.input_kernel.shape
    order = (0, 3, 1, 2) if mode == "lstm" else tuple(range(cell.gates))

    def flat(matrix):
        blocks = ops.split(ops.transpose(matrix) if len(matrix.shape) == 2 else matrix, cell.gates, axis=0)
        return ops.reshape(ops.concatenate([blocks[i] for i in order], axis=0), (-1,))

    bias = ops.reshape(cell.project(ops.zeros((1, features))), (-1,))
    recurrent_bias = getattr(cell, "recurrent_bias", None)
    recurrent_bias = ops.zeros(width) if recurrent_bias is None else ops.convert_to_tensor(recurrent_bias)
    parameters = ops.concatenate([flat(m) for m in (cell.input_kernel, cell.recurrent_kernel, bias, recurrent_bias)], 0)
    first = [tf.ensure_shape(state[None], (1, None, cell.units)) for state in states]
    outputs, hidden, memory, _ = tf.raw_ops.CudnnRNN(
        input=sequences,
        input_h=first[0],
        input_c=first[-1],
        params=parameters,
        rnn_mode=mode,
        input_mode="linear_input",
        seed=int(getattr(cell, "reset_after", False)),
        is_training=False,
    )
    final = [hidden[0], memory[0]] if mode == "lstm" else [hidden[0]]
    return outputs, hidden[0], final
