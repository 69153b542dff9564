"""Loops over a whole sequence, one implementation per backend."""

import keras

if keras.backend.backend() == "tensorflow":
    from .tensorflow import compiled_scan, compiles, scan
elif keras.backend.backend() == "jax":
    from .jax import compiled_scan, compiles, scan
else:
    raise ImportError(f"expected the tensorflow or the jax backend of Keras, received {keras.backend.backend()!r}")

__all__ = ["compiled_scan", "compiles", "scan"]
