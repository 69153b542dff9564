"""What test_descriptors.py asks of another process: `python -m tests.layers.other_process jax|load FOLDER`."""

import pathlib
import sys

import keras
import numpy as np
from keras import ops

from elman.layers import Recurrent
from tests import descriptors

BATCH, TIME = 2, 4


def objective(descriptor, cell):
    """A function of the inputs to a scalar that depends on every output, through the driver."""
    x, memory = descriptors.inputs(BATCH, TIME, descriptor.memory)
    layer = Recurrent(cell, return_sequences=True)
    weight = np.cos(np.arange(TIME, dtype="float32"))[None, :, None]

    def value(x):
        outputs = layer(x, initial_state=descriptors.start(cell, BATCH, memory))
        return ops.sum(ops.sin(outputs) * weight), outputs

    return value, ops.convert_to_tensor(x)


def head_objective(head, layer, dtype="float32"):
    """A function of a head's inputs to its loss, and inputs."""
    x, _ = descriptors.inputs(BATCH, TIME)
    target = head.target(np.random.default_rng(0), (BATCH, TIME))
    target = target.astype(dtype) if target.dtype == "float32" else target
    loss = head.loss(layer)

    def value(x):
        outputs = layer(x, target) if head.name == "nade" else layer(x)
        return ops.mean(loss.call(target, outputs)), outputs  # a call of the loss itself would cast to float32

    return value, ops.convert_to_tensor(x.astype(dtype))


def jax_results(folder):
    """Outputs and gradients of the whole table on JAX, with the weights that TensorFlow wrote."""
    import jax

    results, functions = {}, []
    for descriptor in descriptors.TABLE:
        cell = descriptor.make()
        cell.build((None, descriptors.FEATURES))
        cell.built = True
        with np.load(folder / f"{descriptor}.npz") as saved:
            cell.set_weights([saved[f"arr_{i}"] for i in range(len(saved.files))])
        functions.append((str(descriptor), *objective(descriptor, cell)))
    for head in descriptors.HEADS:
        layer = descriptors.build_head(head)
        functions.append((str(head), *head_objective(head, layer)))

    def everything():
        return {name: jax.value_and_grad(value, has_aux=True)(x) for name, value, x in functions}

    for name, ((_, outputs), gradient) in jax.jit(everything)().items():
        results[f"{name}_outputs"], results[f"{name}_gradient"] = outputs, gradient
    np.savez(folder / "jax.npz", **results)


def load(folder):
    """What the saved model predicts here."""
    model = keras.saving.load_model(folder / "model.keras")
    with np.load(folder / "inputs.npz") as saved:
        outputs = model(dict(saved))
    np.savez(folder / "loaded.npz", **{name: ops.convert_to_numpy(output) for name, output in outputs.items()})


if __name__ == "__main__":
    {"jax": jax_results, "load": load}[sys.argv[1]](pathlib.Path(sys.argv[2]))
