"""LiteRT: one file in which all signatures share their weights, built-in operators only."""

import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import tensorflow as tf

from ..backend import quiet_stderr
from ..errors import ElmanError
from ..signature import Signature

# variant -> file name; the float file comes first, as the reference of the others
VARIANTS = {
    "litert": "model.tflite",
    "litert-float16": "model_float16.tflite",
    "litert-dynamic": "model_dynamic.tflite",
    "litert-int8": "model_int8.tflite",
}


def write(saved_model: Path, signatures: Sequence[Signature], path: Path, variant: str, samples: Callable) -> None:
    """Converts a SavedModel (written with `for_litert`) to one variant.

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
            content = converter.convert()
    except Exception as error:  # the converter raises its own kinds, whose message is a page of MLIR
        raise ElmanError(f"LiteRT ({variant}): {_reason(str(error))}") from error
    check_builtin(content, path.name)
    path.write_bytes(content)


def check_builtin(content: bytes, name: str) -> None:
    """Refuses a file with an operator that a stock interpreter lacks, in whichever subgraph."""
    foreign = sorted(set(re.findall(rb"Flex[A-Z]\w+", content)))
    if foreign:
        raise ElmanError(f"{name}: operators that LiteRT does not have: {b', '.join(foreign).decode()}")


def _reason(message: str) -> str:
    """The operators that did not convert, out of the converter's message."""
    operators = sorted(set(re.findall(r"tf\.(\w+)", message)))
    return f"did not convert: {', '.join(operators)}" if operators else message.strip().splitlines()[0]


def calibration(samples: dict[str, list[dict]], signatures: Sequence[Signature]) -> Callable:
    """A representative set for the converter, whose interpreter takes one batch size only: the first row of each."""

    def rows() -> Iterable:
        for signature in signatures:
            for inputs in samples[signature.name]:
                yield signature.name, {name: array[:1] for name, array in inputs.items()}

    return rows
