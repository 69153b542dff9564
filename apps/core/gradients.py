"""What gradients do: their norm in each layer, and at the states of each time step."""

import csv
from pathlib import Path

import keras
import numpy as np
from keras import ops, tree

from ...layers import Nudges
from .files import write_csv


def gradient_norms(model, loss, inputs, targets, weights=None) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Norms of the gradient of a loss: one per layer with weights, and ‖∂L/∂s_t‖ at the states s_t of each time step.

    Args:
        model: a built Keras model; dropout does not act here.
        loss: a `keras.losses.Loss`; what regularisers add is not counted.
        inputs, targets, weights: one batch.

    Returns:
        ({layer: norm}, {`Recurrent`: (time,)}), norms over the whole batch and all states of a cell (h and c of an
        LSTM); a stack of cells has one for each, from below.
        Time runs forwards also where a layer reads backwards.
    """
    fixed = [v.value for v in model.non_trainable_variables]
    start = [ops.convert_to_tensor(v.value) for v in model.trainable_variables]

    def objective(values, tensors):
        with Nudges(tensors):
            outputs, _ = model.stateless_call(values, fixed, inputs, training=False)
            return loss(targets, outputs, sample_weight=weights)

    with Nudges() as found:
        model.stateless_call(start, fixed, inputs, training=False)
    per_weight, per_state = differentiate(objective, start, found.tensors)
    layers: dict[str, float] = {}
    for variable, gradient in zip(model.trainable_variables, per_weight, strict=True):
        name = variable.path.removeprefix(f"{model.name}/").rpartition("/")[0] or variable.path
        layers[name] = float(np.hypot(layers.get(name, 0.0), np.linalg.norm(gradient)))
    states = {}
    for number, (name, backwards, gradient) in enumerate(zip(found.names, found.backwards, per_state, strict=True)):
        squares = [np.square(g.astype(float)).reshape(len(g), -1).sum(1) for g in gradient]
        norms = np.sqrt(sum(squares))
        label = f"{name}, {1 + found.names[:number].count(name)}" if found.names.count(name) > 1 else name
        states[label] = norms[::-1] if backwards else norms
    return layers, states


def differentiate(objective, *arguments) -> tuple:
    """The gradients of `objective(*structures of tensors)`, as structures of arrays."""
    if keras.backend.backend() == "jax":
        import jax

        gradients = jax.grad(objective, argnums=tuple(range(len(arguments))))(*arguments)
    else:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(arguments)
            value = objective(*arguments)
        gradients = tape.gradient(value, arguments, unconnected_gradients="zero")
        gradients = tree.map_structure(tf.convert_to_tensor, gradients)  # those of embeddings are sparse
    return tree.map_structure(ops.convert_to_numpy, gradients)


class Watch(keras.callbacks.Callback):
    """After each epoch writes `gradients.csv` and `gradients_over_time.csv` into the run, at its end a plot.

    Args:
        directory: the run directory.
        batches: their first batch in the order of the epoch is what is differentiated.
        loss: the loss of the training, a `keras.losses.Loss`.
    """

    def __init__(self, directory: Path, batches, loss):
        super().__init__()
        self.directory, self.batches, self.loss = directory, batches, loss
        self.paths = [directory / name for name in ("gradients.csv", "gradients_over_time.csv")]

    def on_train_begin(self, logs=None):
        self.rows = [_read(path) for path in self.paths]

    def on_epoch_end(self, epoch, logs=None):
        layers, states = gradient_norms(self.model, self.loss, *self.batches[0])
        new = [{"epoch": epoch + 1, "layer": name, "norm": norm} for name, norm in layers.items()]
        over_time = [
            {"epoch": epoch + 1, "layer": name, "step": t + 1, "norm": float(norm)}
            for name, norms in states.items()
            for t, norm in enumerate(norms)
        ]
        for i, more in enumerate((new, over_time)):
            self.rows[i] = [row for row in self.rows[i] if int(row["epoch"]) <= epoch] + more
            if self.rows[i]:
                write_csv(self.paths[i], self.rows[i])

    def on_train_end(self, logs=None):
        if self.rows[0]:
            plot_gradients(*self.rows, self.directory / "plots" / "gradients.png")


def _read(path: Path) -> list[dict]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def plot_gradients(layers: list[dict], over_time: list[dict], path: Path) -> None:
    """The norm per layer over the epochs, and per time step in the first, middle and last epoch."""
    from matplotlib.figure import Figure

    from .report import save_figure

    figure = Figure(figsize=(10, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name in dict.fromkeys(row["layer"] for row in layers):
        points = [(int(r["epoch"]), float(r["norm"])) for r in layers if r["layer"] == name]
        left.plot(*zip(*points, strict=True), marker=".", label=name)
    left.set(xlabel="epoch", ylabel="norm of the gradient", yscale="log", title="Per layer")
    epochs = sorted({int(r["epoch"]) for r in over_time})
    shown = sorted({epochs[0], epochs[len(epochs) // 2], epochs[-1]}) if epochs else []
    for name in dict.fromkeys(row["layer"] for row in over_time):
        for epoch in shown:
            points = [
                (int(r["step"]), float(r["norm"]))
                for r in over_time
                if r["layer"] == name and int(r["epoch"]) == epoch and float(r["norm"]) > 0
            ]
            if points:
                right.plot(
                    *zip(*points, strict=True), label=f"{name}, epoch {epoch}", alpha=0.4 + 0.6 * epoch / shown[-1]
                )
    right.set(xlabel="time step t", ylabel="‖∂L/∂s_t‖", yscale="log", title="Per time step")
    for axes in (left, right):
        if axes.lines:
            axes.legend(frameon=False, fontsize=7)
    save_figure(figure, path)
