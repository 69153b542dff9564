"""The numbers that training computes with."""

import contextlib

import keras

from . import distribution
from .errors import UsageError


@contextlib.contextmanager
def policy(name: str):
    """While this is entered, layers that are built compute by a policy of Keras such as `mixed_bfloat16`."""
    if name == "mixed_float16" and distribution.mirrored():
        raise UsageError("--precision mixed_float16: not with --replicas on TensorFlow; take mixed_bfloat16, or JAX")
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
