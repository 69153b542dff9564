"""LiteRT: one file in which all signatures share their weights, built-in operators only."""

import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.python.convert import mlir_quantize

from ..backend import quiet_stderr
from ..errors import ElmanError
from ..signature import Signature

MOST_ROWS = 256  # of a signature, to measure the ranges of full int8 on

PRODUCTS = {"BATCH_MATMUL", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"}

# variant -> file name; the float file comes first, as the reference of the others
VARIANTS = {
    "litert": "model.tflite",
    "litert-float16": "model_float16.tflite",
    "litert-dynamic": "model_dynamic.tflite",
    "litert-int8": "model_int8.tflite",
}


def in_full_int8(signatures: Sequence[Signature]) -> list[Signature]:
    """The signatures that full int8 covers: those without a loop over time, on which TensorFlow's calibrator crashes.

    None where something would be left that no step stands in for.
    """
    if any(s.fixed_batch and not s.steps for s in signatures):
        return []
    return [s for s in signatures if not s.fixed_batch]


def write(saved_model: Path, signatures: Sequence[Signature], path: Path, variant: str, samples: Callable) -> None:
    """Converts signatures of a SavedModel (written with `for_litert`) to one variant.

    Args:
        samples: `samples()` yields (signature name, inputs) of real data; full int8 measures its ranges on them.
    """
    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model), signature_keys=[s.name for s in signatures])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if variant != "litert":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if variant == "litert-float16":
        converter.target_spec.supported_types = [tf.float16]
    if variant == "litert-int8":
        converter.representative_dataset = samples
    try:
        with quiet_stderr(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if variant == "litert-int8" and any(s.raw for s in signatures):
                content = _quantize_products(converter)
            else:
                content = converter.convert()
    except Exception as error:  # the converter raises its own kinds, whose message is a page of MLIR
        raise ElmanError(f"LiteRT ({variant}): {_reason(str(error))}") from error
    check_builtin(content, path.name)
    path.write_bytes(content)


def _quantize_products(converter) -> bytes:
    """The model with its products in int8, by ranges that were measured, and all else in float32."""
    converter._experimental_calibrate_only = True
    others = {name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)} - PRODUCTS
    return mlir_quantize(converter.convert(), denylisted_ops=others)


def check_builtin(content: bytes, name: str) -> None:
    """Refuses a file with an operator that a stock interpreter lacks; names it, and the layer that it came from."""
    foreign = [(op, where) for op, where, builtin in operators(content) if not builtin]
    if foreign:
        listed = "; ".join(f"{op} from {where}" for op, where in sorted(set(foreign))[:5])
        raise ElmanError(f"{name}: operators that LiteRT does not have: {listed}")


def operators(content: bytes) -> Iterable[tuple[str, str, bool]]:
    """Every operator of every subgraph (the bodies of loops are subgraphs): name, layer, and whether it is built in."""
    model = schema.Model.GetRootAs(content)
    names = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
    codes = [model.OperatorCodes(i) for i in range(model.OperatorCodesLength())]
    for graph in (model.Subgraphs(i) for i in range(model.SubgraphsLength())):
        for operator in (graph.Operators(i) for i in range(graph.OperatorsLength())):
            code = codes[operator.OpcodeIndex()]
            custom = code.CustomCode()
            name = custom.decode() if custom else names[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
            tensor = graph.Tensors(operator.Outputs(0)) if operator.OutputsLength() else None
            yield name, tensor.Name().decode() if tensor else "", custom is None


def _reason(message: str) -> str:
    """The operators that did not convert, and the layers that they came from, out of the converter's message."""
    where = re.findall(r"""fused\["\w+:", "([^"@]+)[^\n]*'tf\.(\w+)' op is neither""", message)
    if where:
        listed = "; ".join(f"{operator} from {layer}" for layer, operator in sorted(set(where))[:5])
        return f"operators that LiteRT does not have: {listed}"
    operators = sorted(set(re.findall(r"'tf\.(\w+)'", message)))
    return f"did not convert: {', '.join(operators)}" if operators else message.strip().splitlines()[0]


def weight_bytes(content: bytes) -> dict[str, int]:
    """What each signature reads: the constants of its graph and of the loops in it, in bytes."""
    model = schema.Model.GetRootAs(content)
    names = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}

    def buffers(index: int) -> set[int]:
        graph = model.Subgraphs(index)
        found = {graph.Tensors(i).Buffer() for i in range(graph.TensorsLength())}
        for operator in (graph.Operators(i) for i in range(graph.OperatorsLength())):
            if names[model.OperatorCodes(operator.OpcodeIndex()).BuiltinCode()] == "WHILE":
                options = schema.WhileOptions()
                options.Init(operator.BuiltinOptions().Bytes, operator.BuiltinOptions().Pos)
                found |= buffers(options.CondSubgraphIndex()) | buffers(options.BodySubgraphIndex())
        return found

    signatures = (model.SignatureDefs(i) for i in range(model.SignatureDefsLength()))
    return {
        s.SignatureKey().decode(): sum(model.Buffers(b).DataLength() for b in buffers(s.SubgraphIndex()))
        for s in signatures
    }


def calibration(samples: dict[str, list[dict]], signatures: Sequence[Signature]) -> Callable:
    """A representative set for the converter, whose interpreter takes one batch size only: row by row."""

    def rows() -> Iterable:
        for signature in signatures:
            places = [
                (inputs, i) for inputs in samples[signature.name] for i in range(len(next(iter(inputs.values()))))
            ]
            for inputs, i in places[:: -(-len(places) // MOST_ROWS)]:
                yield signature.name, {name: array[i : i + 1] for name, array in inputs.items()}

    return rows
