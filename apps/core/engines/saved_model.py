"""TensorFlow SavedModel: one directory, all signatures."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from ..backend import load as load_backend
from ..backend import quiet_stderr
from ..signature import Signature


def load(directory: Path, pattern: str, signatures: Mapping[str, Signature], threads: int = 1) -> Callable:
    """A runner over the SavedModel (TensorFlow sets its threads once for the process: `threads` is not used)."""
    del threads
    load_backend("engine 'saved_model'")
    with quiet_stderr():
        import tensorflow as tf

        model = tf.saved_model.load(str(directory / pattern))

    def run(signature: Signature, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        outputs = model.signatures[signature.name](**{name: tf.constant(array) for name, array in arrays.items()})
        return {name: tensor.numpy() for name, tensor in outputs.items()}

    return run
