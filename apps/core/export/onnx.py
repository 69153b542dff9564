"""ONNX: a file per signature."""

import contextlib
import logging
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf2onnx
from tf2onnx import utils

from ....layers.kernels.native import native_recurrence
from ..backend import quiet_stderr
from ..errors import ElmanError
from ..signature import Signature
from .saved_model import tensor_specs

OPSET = 18


def write(signature: Signature, path: Path, *, native: bool = True) -> int:
    """Converts one signature; outputs keep their names. Returns the bytes of its weights.

    Args:
        native: write standard cells as ONNX's own LSTM, GRU and RNN, else as loops.
    """
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    specs = tensor_specs(signature)
    names = list(signature.outputs)

    @tf.function(input_signature=list(specs.values()))
    def function(*tensors):
        outputs = signature.function(dict(zip(specs, tensors, strict=True)))
        return [tf.identity(outputs[name], name=name) for name in names]

    with quiet_stderr(), native_recurrence() if native else contextlib.nullcontext():
        proto, _ = tf2onnx.convert.from_function(
            function, list(specs.values()), opset=OPSET, custom_op_handlers={"CudnnRNN": (_recurrence, [])}
        )
    graph = proto.graph
    if len(graph.output) != len(names):
        raise ElmanError(f"ONNX ({signature.name}): {len(graph.output)} outputs for {len(names)}")
    _rename(graph, [output.name for output in graph.output], names)
    path.write_bytes(proto.SerializeToString())
    return _weight_bytes(graph)


def write_int8(signature: Signature, source: Path, path: Path) -> int:
    """int8 weights (dynamic quantisation) of the file `source`: activations stay float between operators.

    ONNX Runtime has an LSTM with int8 weights, and none of GRU and RNN: a signature with those is converted with loops,
    whose products it does quantise.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    logging.getLogger().setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as scratch:
        if {node.op_type for node in onnx.load(source).graph.node} & {"GRU", "RNN"}:
            source = Path(scratch) / "loop.onnx"
            write(signature, source, native=False)
        folded = Path(scratch) / "folded.onnx"  # the weights of an LSTM are to be constants
        quant_pre_process(str(source), str(folded), skip_symbolic_shape=True)
        quantize_dynamic(str(folded), str(path), weight_type=QuantType.QInt8)
    return _weight_bytes(onnx.load(path).graph)


def _weight_bytes(graph) -> int:
    """The constants of a graph and of the loops in it."""
    inner = [a.g for node in graph.node for a in node.attribute if a.HasField("g")]
    return sum(len(tensor.SerializeToString()) for tensor in graph.initializer) + sum(map(_weight_bytes, inner))


def _recurrence(graph, node, name, arguments):
    """Replaces the placeholder of `native_recurrence` by ONNX's own LSTM, GRU or RNN, and folds its parameters."""
    mode, after = node.get_attr("rnn_mode").s.decode(), node.get_attr("seed").i
    sequences, hidden, memory, parameters = node.input
    kind, gates = {"lstm": ("LSTM", 4), "gru": ("GRU", 3)}.get(mode, ("RNN", 1))
    features, units = graph.get_shape(sequences)[2], graph.get_shape(hidden)[2]
    outputs = list(node.output)
    graph.remove_node(node.name)

    def constant(values):
        return graph.make_const(utils.make_name("recurrence"), np.array(values, np.int64)).output[0]

    def block(start, *shape):
        ends = [constant([start]), constant([start + int(np.prod(shape))])]
        piece = graph.make_node("Slice", [parameters, *ends]).output[0]
        return graph.make_node("Reshape", [piece, constant([1, *shape])]).output[0]

    width = gates * units
    kernels = [block(0, width, features), block(width * features, width, units)]
    kernels.append(block(width * (features + units), 2 * width))
    attributes = {"hidden_size": units}
    if kind == "GRU":
        attributes["linear_before_reset"] = after
    if kind == "RNN":
        attributes["activations"] = [{"rnn_relu": "Relu"}.get(mode, "Tanh")]
    states = [hidden, memory] if kind == "LSTM" else [hidden]
    made = graph.make_node(kind, [sequences, *kernels, "", *states], attr=attributes, output_count=1 + len(states))
    graph.make_node("Squeeze", [made.output[0], constant([1])], outputs=[outputs[0]])
    for source, target in zip(made.output[1:], outputs[1:], strict=False):
        graph.make_node("Identity", [source], outputs=[target])


def _rename(graph, old: list[str], new: list[str]) -> None:
    """Renames graph outputs (tf2onnx numbers them) to the names that the signature declares."""
    names = dict(zip(old, new, strict=True))
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for output in graph.output:
        output.name = names[output.name]
