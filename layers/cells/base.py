"""The cell protocol: a pure step from inputs and states to an output and new states."""

import keras
from keras import ops


def check_units(units, name="units"):
    """Return `units` when it is a positive integer; raise a ValueError that says so when it is not."""
    if isinstance(units, bool) or not hasattr(units, "__index__") or units <= 0:
        raise ValueError(f"expected {name} to be a positive integer, received {name}={units!r}")
    return int(units)


def check_rate(rate, name="dropout"):
    """Return `rate` when it lies in [0, 1); raise a ValueError that says so when it does not."""
    if not isinstance(rate, int | float) or not 0 <= rate < 1:
        raise ValueError(f"expected {name} in [0, 1), received {name}={rate!r}")
    return rate


def check_cell(cell):
    """Return `cell` when it is a cell, of this package or of Keras; raise a ValueError that says so when it is not."""
    if isinstance(cell, type | keras.layers.RNN) or not (callable(cell) and hasattr(cell, "state_size")):
        raise ValueError(f"expected a cell, with a call method and a state_size, received {cell!r}")
    return cell


def forget_masks(cell):
    """Make a Keras cell, which keeps the dropout masks that it draws first, draw new ones."""
    for part in getattr(cell, "cells", [cell]):
        if hasattr(part, "reset_dropout_mask"):
            part.reset_dropout_mask()
            part.reset_recurrent_dropout_mask()


class Cell(keras.layers.Layer):
    """One step of a recurrent network, `step(inputs, states) -> (output, states)`, with nothing hidden in the object.

    A cell sets `state_size` and `output_size` and implements `recur`, or `project` and `recur`:

        step(inputs, states) = recur(project(inputs), states)

    `project` is what does not depend on the states, such as the product of the inputs with their kernel: `Recurrent`
    hoists it out of the loop and calls it once on the whole sequence, time first. A state that `recur` returns
    untouched (the same object) is a constant of the sequence: the driver neither copies nor stores it per step.
    Products with a trained kernel inside `recur` go through the argument `matmul`, so that the driver can gather the
    gradient of the kernel in one product over all steps; a kernel used otherwise still gets its gradient, step by step.

    What is random in training is drawn once per sequence by `draw_masks` and reaches the step as the argument `masks`:
    None is the inference form. Noise that differs from step to step is drawn by `project` when `masks` is not None, and
    travels as part of what it returns. A cell also works inside `keras.layers.RNN`, where masks are drawn at every
    step; on JAX, whose loop cannot draw, dropout and zoneout need `Recurrent`.

    Attributes:
        state_size: a list with one entry per state: an integer n for (batch, n), a tuple for (batch, *shape), or again
            such a list.
        output_size: an integer.
    """

    def project(self, inputs, masks=None):
        """Map inputs (…, batch, features) to a tensor, or a tree of tensors, with the same leading axes."""
        return inputs

    def recur(self, projected, states, masks=None, matmul=ops.matmul):
        """Map one step of the projected inputs, and the list of states, to (output, list of new states)."""
        raise NotImplementedError(f"{type(self).__name__} does not implement recur")

    def step(self, inputs, states, masks=None):
        """Map inputs (batch, features) and the list of states to (output, list of new states)."""
        return self.recur(self.project(inputs, masks), states, masks)

    def get_build_config(self):
        """None: a loaded cell is built by the layer that drives it, and its weights have the names of a new one."""
        return None

    def draw_masks(self, batch_size):
        """Draw what stays fixed over a training sequence (locked dropout masks), or None. The cell is built by then."""
        return None

    def get_initial_state(self, batch_size=None):
        """Zeros for every state, in the structure of `state_size`."""

        def zeros(size):
            if isinstance(size, list):
                return [zeros(s) for s in size]
            shape = size if isinstance(size, tuple) else (size,)
            return ops.zeros((batch_size, *shape), dtype=self.compute_dtype)

        return zeros(list(self.state_size))

    def call(self, inputs, states, training=False):
        if len(inputs.shape) != 2:
            raise ValueError(f"expected inputs of shape (batch, features), received {tuple(inputs.shape)}")
        if not isinstance(states, list | tuple) or len(states) != len(self.state_size):
            shapes = keras.tree.map_structure(lambda s: tuple(s.shape), states)
            raise ValueError(f"expected a list of states of sizes {list(self.state_size)}, received shapes {shapes}")
        masks = self.draw_masks(ops.shape(inputs)[0]) if training else None
        return self.step(inputs, states, masks)


class KernelCell(Cell):
    """A cell with an input kernel W (features, gates·units), a recurrent kernel U (units, gates·units) and a bias b.

    Args:
        units: size of the hidden state h.
        use_bias: whether there is a bias b.
        kernel_initializer, recurrent_initializer, bias_initializer: of W, U and b; likewise regularizers, constraints.
        dropout: rate of the locked dropout of the inputs, one mask per sequence (Gal and Ghahramani 2016).
        recurrent_dropout: likewise of the hidden state where it meets U.
        seed: seeds the masks.

    Attributes:
        gates: how many blocks of units the kernels have.
        compiled: whether `recur` takes `axis`, the axis of the features, -1 or 0, as the compiled loop asks.
        additive: for the compiled loop, to how many blocks of the product of the inputs each product in `recur` is
            added, one after the other: `matmul` then adds them and the bias, and `projected` has the blocks that are
            left, None where none are.
    """

    gates = 1
    compiled = False
    additive = ()

    def __init__(
        self,
        units,
        use_bias=True,
        kernel_initializer="glorot_uniform",
        recurrent_initializer="orthogonal",
        bias_initializer="zeros",
        kernel_regularizer=None,
        recurrent_regularizer=None,
        bias_regularizer=None,
        kernel_constraint=None,
        recurrent_constraint=None,
        bias_constraint=None,
        dropout=0.0,
        recurrent_dropout=0.0,
        seed=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.units = check_units(units)
        self.use_bias = use_bias
        self.dropout = check_rate(dropout)
        self.recurrent_dropout = check_rate(recurrent_dropout, "recurrent_dropout")
        self.seed = seed
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.recurrent_initializer = keras.initializers.get(recurrent_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.recurrent_regularizer = keras.regularizers.get(recurrent_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.recurrent_constraint = keras.constraints.get(recurrent_constraint)
        self.bias_constraint = keras.constraints.get(bias_constraint)
        if dropout or recurrent_dropout:
            self.seed_generator = keras.random.SeedGenerator(seed)
        self.state_size = [self.units]
        self.output_size = self.units

    def build(self, input_shape):
        self._add_kernels(input_shape[-1], self.output_size)

    def _add_kernels(self, features, hidden):
        width = self.gates * self.units
        self.input_kernel = self._add("input_kernel", (features, width), "kernel")
        self.recurrent_kernel = self._add("recurrent_kernel", (hidden, width), "recurrent")
        self.bias = self._add("bias", (width,), "bias") if self.use_bias else None

    def _add(self, name, shape, family, initializer=None):
        return self.add_weight(
            shape,
            name=name,
            initializer=initializer or getattr(self, f"{family}_initializer"),
            regularizer=getattr(self, f"{family}_regularizer"),
            constraint=getattr(self, f"{family}_constraint"),
        )

    def project(self, inputs, masks=None):
        if masks and "inputs" in masks:
            inputs = inputs * masks["inputs"]
        return self.finish_projection(ops.matmul(inputs, self.input_kernel))

    def finish_projection(self, product, axis=-1, columns=slice(None)):
        """What is done to the product of the inputs with some columns of W: the bias is added."""
        return product if self.bias is None else product + self.along(self.bias[columns], axis)

    def draw_masks(self, batch_size):
        def draw(size, rate):
            ones = ops.ones((batch_size, size), dtype=self.compute_dtype)
            return keras.random.dropout(ones, rate, seed=self.seed_generator)

        masks = {}
        if self.dropout:
            masks["inputs"] = draw(self.input_kernel.shape[0], self.dropout)
        if self.recurrent_dropout:
            masks["hidden"] = draw(self.recurrent_kernel.shape[0], self.recurrent_dropout)
        return masks or None

    def hidden(self, state, masks):
        """The hidden state as it meets U."""
        return state * masks["hidden"] if masks and "hidden" in masks else state

    def along(self, vector, axis):
        """A vector of the features as it meets a step whose features are on `axis`, -1 or 0."""
        return vector if axis == -1 else ops.expand_dims(vector, -1)

    def get_config(self):
        config = {
            "units": self.units,
            "use_bias": self.use_bias,
            "dropout": self.dropout,
            "recurrent_dropout": self.recurrent_dropout,
            "seed": self.seed,
        }
        for family in ("kernel", "recurrent", "bias"):
            for kind in ("initializer", "regularizer", "constraint"):
                option = f"{family}_{kind}"
                config[option] = getattr(keras, f"{kind}s").serialize(getattr(self, option))
        return {**super().get_config(), **config}
