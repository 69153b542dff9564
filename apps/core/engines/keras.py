"""Keras: the signatures' own functions, compiled, on the backend in use."""

from collections.abc import Callable, Mapping

import keras
import numpy as np
from keras import ops

from ..signature import Signature


def load(signatures: Mapping[str, Signature]) -> Callable:
    """A runner over the functions of the signatures."""
    functions = {name: _compiled(signature) for name, signature in signatures.items()}

    def run(signature: Signature, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        outputs = functions[signature.name]({name: ops.convert_to_tensor(array) for name, array in arrays.items()})
        return {name: np.asarray(ops.convert_to_numpy(tensor)) for name, tensor in outputs.items()}

    return run


def _compiled(signature: Signature) -> Callable:
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(signature.function)
    import tensorflow as tf

    specs = {spec.name: tf.TensorSpec(spec.shape, spec.dtype, name=spec.name) for spec in signature.inputs}
    return tf.function(signature.function, input_signature=[specs])
