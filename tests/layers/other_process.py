"""What test_descriptors.py asks of another process: `python -m tests.layers.other_process jax|load|fit FOLDER`."""

import pathlib
import sys

import keras
import numpy as np
from keras import ops

from elman.layers import AttentionCell, AttentionDecoder, Recurrent
from tests import descriptors
from tests.descriptors import FEATURES, HEADS, TABLE

BATCH, TIME = 2, 4


def objective(descriptor, cell):
    """A function of the inputs to a scalar that depends on every output, through the driver."""
    x, memory = descriptors.inputs(BATCH, TIME, descriptor.memory)
    layer = Recurrent(cell, return_sequences=True)
    weight = np.cos(np.arange(TIME, dtype="float32"))[None, :, None]

    training = descriptor.name not in (
        "zoneout",
        "dropout",
    )  # which would draw; training takes the compiled loop on JAX

    def value(x):
        outputs = layer(x, initial_state=descriptors.start(cell, BATCH, memory), training=training)
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


def pure(value, layer):
    """`value` as a function of x and the trainable weights of a layer."""

    def function(x, weights):
        with keras.StatelessScope(zip(layer.trainable_weights, weights, strict=True)):
            return value(x)

    return function


def jax_results(folder):
    """Outputs and gradients of the whole table on JAX, with the weights that TensorFlow wrote."""
    import jax

    results, functions = {}, {}
    for descriptor in TABLE:
        cell = descriptor.make()
        cell.build((None, FEATURES))
        cell.built = True
        with np.load(folder / f"{descriptor}.npz") as saved:
            cell.set_weights([saved[f"arr_{i}"] for i in range(len(saved.files))])
        functions[str(descriptor)] = cell, *objective(descriptor, cell)
    for head in HEADS:
        layer = descriptors.build_head(head)
        functions[str(head)] = layer, *head_objective(head, layer)

    def all_of_them():
        return {
            name: jax.value_and_grad(pure(value, layer), (0, 1), has_aux=True)(
                x, [w.value for w in layer.trainable_weights]
            )
            for name, (layer, value, x) in functions.items()
        }

    for name, ((_, outputs), (dx, dweights)) in jax.jit(all_of_them)().items():
        results[f"{name}_outputs"] = outputs
        results[f"{name}_gradient"] = np.concatenate([np.ravel(g) for g in (dx, *dweights)])
    np.savez(folder / "jax.npz", **results)


def everything():
    """One functional model with a branch for every entry of the table."""
    sequence, targets = keras.Input((None, FEATURES), name="sequence"), keras.Input((None, 12), name="targets")
    memories = {n: keras.Input((None, n), name=f"memory{n}") for n in {d.memory for d in TABLE if d.memory}}
    outputs = {}
    for descriptor in TABLE:
        cell = descriptor.make()
        if isinstance(cell, AttentionCell):
            options = ("attention_units", "activation", "attend_first", "input_feeding")
            options = {name: getattr(cell, name) for name in options}
            layer = AttentionDecoder(cell.cell, cell.attention, **options, return_alignments=True, name=str(descriptor))
            outputs[str(descriptor)], outputs[f"{descriptor}_alignments"] = layer(sequence, memories[descriptor.memory])
        else:
            outputs[str(descriptor)] = Recurrent(cell, return_sequences=True, name=str(descriptor))(sequence)
    for head in HEADS:
        layer = head.make(name=f"{head}_head")
        outputs[f"{head}_head"] = layer(sequence, targets) if head.name == "nade" else layer(sequence)
    names = {"sequence": sequence, "targets": targets, **{m.name: m for m in memories.values()}}
    return keras.Model(names, outputs)


def inputs(batch, time):
    """Inputs of `everything`."""
    data = {"sequence": descriptors.inputs(batch, time)[0]}
    data["targets"] = np.random.default_rng(0).integers(0, 2, (batch, time, 12)).astype("float32")
    return data | {f"memory{d.memory}": descriptors.inputs(batch, time, d.memory)[1] for d in TABLE if d.memory}


def fit(folder):
    """Losses of cells that drop out, in mixed precision, which takes the plain loop."""
    x, results = descriptors.inputs(6, 3)[0], {}
    keras.config.set_dtype_policy("mixed_bfloat16")
    for name, cell in descriptors.dropping(0.1).items():
        model = keras.Sequential([keras.Input((None, FEATURES)), Recurrent(cell)])
        model.compile("sgd", "mse")
        target = np.zeros((6, model.output_shape[-1]), "float32")
        results[name] = model.fit(x, target, batch_size=6, verbose=0).history["loss"]
    np.savez(folder / "fit.npz", **results)


def load(folder):
    """What the saved model predicts here."""
    model = keras.saving.load_model(folder / "model.keras")
    with np.load(folder / "inputs.npz") as saved:
        outputs = model(dict(saved))
    np.savez(folder / "loaded.npz", **{name: ops.convert_to_numpy(output) for name, output in outputs.items()})


if __name__ == "__main__":
    {"jax": jax_results, "load": load, "fit": fit}[sys.argv[1]](pathlib.Path(sys.argv[2]))
