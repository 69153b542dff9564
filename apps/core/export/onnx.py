"""ONNX: a file per signature."""

import logging
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


def write(signature: Signature, path: Path) -> None:
    """Converts one signature; outputs keep their names."""
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    specs = tensor_specs(signature)
    names = list(signature.outputs)

    @tf.function(input_signature=list(specs.values()))
    def function(*tensors):
        outputs = signature.function(dict(zip(specs, tensors, strict=True)))
        return [tf.identity(outputs[name], name=name) for name in names]

    with quiet_stderr(), native_recurrence():
        proto, _ = tf2onnx.convert.from_function(
            function, list(specs.values()), opset=OPSET, custom_op_handlers={"CudnnRNN": (_recurrence, [])}
        )
    graph = proto.graph
    if len(graph.output) != len(names):
        raise ElmanError(f"ONNX ({signature.name}): {len(graph.output)} outputs for {len(names)}")
    _rename(graph, [output.name for output in graph.output], names)
    path.write_bytes(proto.SerializeToString())


def quantize(source: Path, path: Path) -> None:
    """int8 weights (dynamic quantisation): activations stay float between operators."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    logging.getLogger().setLevel(logging.ERROR)
    quantize_dynamic(str(source), str(path), weight_type=QuantType.QInt8)


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
