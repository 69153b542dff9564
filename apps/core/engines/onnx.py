"""ONNX Runtime: a file per signature."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnxruntime

from ..signature import Signature


def load(directory: Path, pattern: str, signatures: Mapping[str, Signature], threads: int = 1) -> Callable:
    """A runner over the `.onnx` files; a file is opened when its signature is first called."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    sessions: dict[str, onnxruntime.InferenceSession] = {}

    def run(signature: Signature, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if signature.name not in sessions:
            path = str(directory / pattern.format(signature.name))
            sessions[signature.name] = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        session = sessions[signature.name]
        used = {i.name for i in session.get_inputs()}  # an input that no output depends on is not in the file
        names = [output.name for output in session.get_outputs()]
        values = session.run(names, {name: array for name, array in arrays.items() if name in used})
        return dict(zip(names, values, strict=True))

    return run
