"""Whole-sequence loops: `scan(step, xs, states, collect, training)`, one implementation per backend."""

import keras

if keras.backend.backend() == "tensorflow":
    from .tensorflow import scan
elif keras.backend.backend() == "jax":
    from .jax import scan
else:
    raise ImportError(f"expected the tensorflow or the jax backend of Keras, received {keras.backend.backend()!r}")

__all__ = ["scan"]
