"""The one interface to every runtime; each runtime's module is imported when it is asked for."""

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from ..app import missing_extra
from ..config import did_you_mean
from ..errors import ElmanError, UsageError
from ..signature import Signature

# engine -> the module that runs it, and the file in the bundle ({} stands for the signature)
ENGINES = {
    "keras": ("keras", ""),
    "saved_model": ("saved_model", "saved_model"),
    "litert": ("litert", "model.tflite"),
    "litert-float16": ("litert", "model_float16.tflite"),
    "litert-dynamic": ("litert", "model_dynamic.tflite"),
    "litert-int8": ("litert", "model_int8.tflite"),
    "onnx": ("onnx", "{}.onnx"),
    "onnx-int8": ("onnx", "{}_int8.onnx"),
}


class Engine:
    """Runs signatures: `engine("step", x=array) -> {"output": array}`.

    Args:
        name: the engine, as on the command line.
        signatures: name -> Signature.
        runner: `runner(signature, checked arrays) -> dict of arrays`.
    """

    def __init__(self, name: str, signatures: Mapping[str, Signature], runner: Callable):
        self.name, self.signatures, self._runner = name, signatures, runner

    def __call__(self, signature: str, **arrays: np.ndarray) -> dict[str, np.ndarray]:
        if signature not in self.signatures:
            raise ElmanError(f"no signature '{signature}'{did_you_mean(signature, self.signatures)}")
        declared = self.signatures[signature]
        return self._runner(declared, declared.check(arrays))


def open_bundle_engine(directory: Path, signatures: Mapping[str, Signature], name: str, threads: int = 1) -> Engine:
    """The engine `name` over the files of a bundle."""
    if name not in ENGINES:
        raise UsageError(f"unknown engine '{name}'{did_you_mean(name, ENGINES)}")
    module, pattern = ENGINES[name]
    if not pattern:
        raise UsageError("a bundle holds no Keras model: use the run directory, or another engine")
    missing = [f for f in {pattern.format(s) for s in signatures} if not (Path(directory) / f).exists()]
    if missing:
        raise ElmanError(f"{directory}: engine '{name}' needs {missing[0]}, which this bundle does not have")
    try:
        runtime = importlib.import_module(f".{module}", __package__)
    except ModuleNotFoundError as error:
        raise missing_extra(error, f"engine '{name}'") from None
    return Engine(name, signatures, runtime.load(Path(directory), pattern, signatures, threads))
