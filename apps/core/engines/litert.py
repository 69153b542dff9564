"""LiteRT: one file, all signatures. Needs `numpy` and `ai-edge-litert` only."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from ..backend import quiet_stderr
from ..errors import ElmanError
from ..signature import Signature


def load(directory: Path, pattern: str, signatures: Mapping[str, Signature], threads: int = 1) -> Callable:
    """A runner over the `.tflite` file; memory is allocated on the first call of each shape."""
    path = directory / pattern
    try:
        with quiet_stderr():
            interpreter = Interpreter(str(path), num_threads=threads)
            runners = {name: interpreter.get_signature_runner(name) for name in signatures}
    except (ValueError, RuntimeError) as error:
        raise ElmanError(f"{path}: LiteRT refuses the file: {str(error).splitlines()[0]}") from None

    called: set[str] = set()

    def run(signature: Signature, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        runner = runners[signature.name]
        if signature.name not in called:
            called.add(signature.name)
            with quiet_stderr():  # the first call allocates, and says so
                return _answer(runner, signature, arrays)
        return _answer(runner, signature, arrays)

    return run


def _answer(runner: Callable, signature: Signature, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    if not signature.fixed_batch:
        return runner(**arrays)
    batch = len(next(iter(arrays.values())))
    rows = [runner(**{name: array[i : i + 1] for name, array in arrays.items()}) for i in range(batch)]
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
