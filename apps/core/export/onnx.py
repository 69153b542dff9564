"""ONNX: a file per signature."""

import logging
from pathlib import Path

import tensorflow as tf
import tf2onnx

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

    with quiet_stderr():
        proto, _ = tf2onnx.convert.from_function(function, list(specs.values()), opset=OPSET)
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


def _rename(graph, old: list[str], new: list[str]) -> None:
    """Renames graph outputs (tf2onnx numbers them) to the names that the signature declares."""
    names = dict(zip(old, new, strict=True))
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for output in graph.output:
        output.name = names[output.name]
