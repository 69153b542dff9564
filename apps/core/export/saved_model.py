"""SavedModel: all signatures in one directory, servable by TensorFlow Serving."""

from collections.abc import Sequence
from pathlib import Path

import keras
import tensorflow as tf

from ..signature import Signature


def tensor_specs(signature: Signature, batch: int | None = None) -> dict[str, tf.TensorSpec]:
    """The inputs as TensorFlow describes them, with the batch fixed where one is given."""
    return {s.name: tf.TensorSpec((batch, *s.shape[1:]), s.dtype, name=s.name) for s in signature.inputs}


def write(model: keras.Model, signatures: Sequence[Signature], path: Path, *, for_litert: bool = False) -> None:
    """Writes the signatures over the model's weights.

    Args:
        for_litert: fix the batch of the signatures that LiteRT runs a row at a time.
    """
    archive = keras.export.ExportArchive()
    archive.track(model)
    for signature in signatures:
        specs = tensor_specs(signature, 1 if for_litert and signature.fixed_batch else None)
        archive.add_endpoint(signature.name, signature.function, input_signature=[specs])
    archive.write_out(str(path), verbose=False)
