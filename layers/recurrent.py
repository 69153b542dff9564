"""The driver: any cell over time."""

import keras
from keras import ops, tree

from . import kernels
from .cells import Cell, StackedCells, ZoneoutCell
from .cells.base import check_cell, check_units, forget_masks
from .kernels.native import native_layers, native_scan
from .nudges import active_nudges, nudged

_PARALLEL_FROM = 32  # steps, from which a cell's parallel form is the faster


@keras.saving.register_keras_serializable(package="elman")
class Recurrent(keras.layers.Layer):
    """Runs a cell over a sequence.

        output_t, states_t = cell.step(inputs_t, states_{t-1}),    t = 1 … time

    Args:
        cell: a cell of this package, any Keras cell, or a list of them (a stack).
        return_sequences: whether to return every output, or the last one.
        return_state: whether to return the final states too.
        go_backwards: whether to read the sequence from its end; outputs come in the order in which they are computed.
        unroll: whether to lay the steps out one by one, without a loop; the length must then be known. The unrolled
            form of a short sequence converts to LiteRT at any batch size.
        zero_output_for_mask: whether the output of a masked step is zero, or the output before it.
        recompute: for long sequences, a number of steps: in training only the states between segments of so many steps
            are kept, and the backward pass computes each segment again; None keeps every step. Each segment adds to the
            graph and so to the time before the first step: a tenth of the length is a good start. Zoneout, and dropout
            of Keras cells, draw within a step and cannot be recomputed.

    Call arguments:
        sequences: (batch, time, features).
        initial_state: the states before the first step, in the structure of `cell.state_size`, zeros by default. Pass
            the final states of the window before, through `keras.ops.stop_gradient`, for truncated back-propagation.
        mask: boolean (batch, time). A masked step changes no state, and what its input holds, NaN included, reaches
            neither outputs nor gradients.
        training: whether the dropout of the cell acts.

    Output: (batch, time, output_size) or (batch, output_size); with return_state followed by the states.
    """

    stateful = False  # asked for by keras.layers.Bidirectional
    features = None  # known once built

    def __init__(
        self,
        cell,
        return_sequences=False,
        return_state=False,
        go_backwards=False,
        unroll=False,
        zero_output_for_mask=False,
        recompute=None,
        **kwargs,
    ):
        if isinstance(cell, list | tuple):
            ours = all(isinstance(part, Cell) for part in cell)
            cell = StackedCells(cell) if ours else keras.layers.StackedRNNCells(list(cell))
        check_cell(cell)
        kwargs.setdefault("dtype", getattr(cell, "dtype_policy", None))
        super().__init__(**kwargs)
        self.cell = cell
        self.return_sequences = return_sequences
        self.return_state = return_state
        self.go_backwards = go_backwards
        self.unroll = unroll
        self.zero_output_for_mask = zero_output_for_mask
        if recompute and _draws_at_every_step(cell):
            raise ValueError(f"expected a cell that draws once a sequence, to recompute its steps, received {cell!r}")
        self.recompute = recompute if recompute is None else check_units(recompute, "recompute")
        self.supports_masking = True

    @property
    def state_size(self):
        size = self.cell.state_size
        return list(size) if isinstance(size, list | tuple) else [size]

    def build(self, sequences_shape):
        _check_rank(sequences_shape)
        if self.unroll and not sequences_shape[1]:
            raise ValueError(f"expected a known length to unroll, received sequences of shape {sequences_shape}")
        self.features = sequences_shape[2]
        if isinstance(self.cell, keras.layers.Layer) and not self.cell.built:
            self.cell.build((sequences_shape[0], sequences_shape[2]))
            self.cell.built = True

    def get_initial_state(self, batch_size=None):
        if not hasattr(self.cell, "get_initial_state"):
            return [ops.zeros((batch_size, size), dtype=self.compute_dtype) for size in self.state_size]
        states = self.cell.get_initial_state(batch_size=batch_size)
        return list(states) if isinstance(states, list | tuple) else [states]

    def call(self, sequences, initial_state=None, mask=None, training=False, sequences_mask=None):
        mask = sequences_mask if mask is None else mask  # Keras fills in the latter where there are states too
        states = self._check_states(initial_state, self.get_initial_state(ops.shape(sequences)[0]))
        sequences, mask = self._time_major(sequences, mask)
        if self.go_backwards:
            sequences, mask = ops.flip(sequences, 0), None if mask is None else ops.flip(mask, 0)
        last = ops.zeros((ops.shape(sequences)[1], self._output_size()), dtype=self.compute_dtype)
        if self.recompute and training:
            outputs, last, states = self._run_in_segments(sequences, last, states, mask, training)
        else:
            masks = self._draw_masks(sequences, training)
            outputs, last, states = self._run(
                self.cell, sequences, last, states, mask, masks, self.return_sequences, training
            )
        output = ops.swapaxes(outputs, 0, 1) if self.return_sequences else last
        return (output, *states) if self.return_state else output

    def _time_major(self, sequences, mask):
        """The sequences (time, batch, features), zero where they are masked, and the mask (time, batch, 1) or None."""
        _check_rank(sequences.shape)
        if not _agree(sequences.shape[2], self.features):
            raise ValueError(f"expected {self.features} features, as in the first call, received {sequences.shape[2]}")
        sequences = ops.swapaxes(ops.cast(sequences, self.compute_dtype), 0, 1)
        if mask is None:
            return sequences, None
        mask = ops.expand_dims(ops.transpose(ops.cast(_check_mask(mask, sequences), "bool")), -1)
        return ops.where(mask, sequences, ops.zeros_like(sequences)), mask

    def _draw_masks(self, sequences, training):
        return self.cell.draw_masks(ops.shape(sequences)[1]) if training and isinstance(self.cell, Cell) else None

    def _run_in_segments(self, sequences, last, states, mask, training):
        """`_run` on one segment after the other, each computed again in the backward pass."""
        if sequences.shape[0] is None:
            raise ValueError(f"expected a known length to recompute, received time-major shape {sequences.shape}")
        masks = self._draw_masks(sequences, training)
        if mask is not None:
            mask = ops.cast(mask, sequences.dtype)  # keras.remat takes no booleans

        @keras.remat
        def segment(tensors, last, states):
            x, *rest = tensors
            mask = ops.cast(rest[0], "bool") if rest else None
            outputs, last, states = self._run(self.cell, x, last, states, mask, masks, self.return_sequences, training)
            # The states first: keras.remat on TensorFlow waits for the gradient of the first result alone.
            return states, last, outputs if self.return_sequences else last

        gathered = []
        for start in range(0, sequences.shape[0], self.recompute):
            stop = start + self.recompute
            tensors = [x[start:stop] for x in (sequences, mask) if x is not None]
            states, last, outputs = segment(tensors, last, states)
            gathered.append(outputs)
        return ops.concatenate(gathered) if self.return_sequences else None, last, states

    def _run(self, cell, sequences, last, states, mask, masks, collect, training):
        """Time-major sequences to (outputs or None, last output, states); `last` is the output before them."""
        nudges = active_nudges()
        native = native_layers(cell) if mask is None else []
        if native:
            return native_scan(native, sequences, states)
        length = sequences.shape[0]
        looping = nudges is None and not self.unroll and length != 0
        fast = looping and kernels.compiles(cell, training)
        if isinstance(cell, StackedCells) and (fast or (looping and training)):
            return self._run_in_turn(cell.cells, sequences, last, states, mask, masks, collect, training)
        if fast and vars(type(cell)).get("compiled", False):  # not inherited: a subclass may change the step
            zero_output = self.zero_output_for_mask
            return kernels.compiled_scan(cell, sequences, last, states, mask, masks, zero_output, collect)
        if fast and hasattr(cell, "parallel") and (length is None or length >= _PARALLEL_FROM):
            outputs, states = cell.parallel(cell.project(sequences, masks), states, mask)
            if mask is not None:
                outputs = _hold(outputs, mask, last, self.zero_output_for_mask)
            return outputs if collect else None, outputs[-1], states
        return self._loop(cell, sequences, last, states, mask, masks, collect, training)

    def _run_in_turn(self, cells, sequences, last, states, mask, masks, collect, training):
        """A stack, one cell after the other over the whole sequence, so that each takes the fastest way it has.

        In training it also keeps what the cells draw out of the loop, where JAX allows no drawing.
        """
        final, top = [], len(cells) - 1
        for i, (cell, state) in enumerate(zip(cells, states, strict=True)):
            before = last if i == top else ops.zeros((ops.shape(last)[0], cell.output_size), dtype=self.compute_dtype)
            sequences, before, state = self._run(
                cell, sequences, before, state, mask, masks and masks[i], collect or i < top, training
            )
            final.append(state)
        return sequences, before, final

    def _loop(self, cell, sequences, last, states, mask, masks, collect, training):
        """As `_run`, step by step."""
        nudges = active_nudges()
        project, step, finish = _parts(cell, sequences, states, masks, training)
        xs = project(sequences)
        scan = _unrolled if self.unroll else kernels.scan
        if nudges is not None:
            step, xs, training = (
                nudged(cell, step, masks),
                (xs, nudges.take(self, ops.shape(sequences)[0], states)),
                True,
            )
        if mask is None:
            outputs, last, states = scan(step, xs, states, collect, training)
        else:
            # Beside the states goes the output before, which a masked step repeats.
            step = _masked(step, self.zero_output_for_mask)
            outputs, _, (last, *states) = scan(step, (xs, mask), [last, *states], collect, training)
        finish()
        return outputs, last, states

    def _output_size(self):
        size = getattr(self.cell, "output_size", None)
        return self.state_size[0] if size is None else size

    def _check_states(self, received, expected):
        if received is None:
            return expected
        received = list(received) if isinstance(received, list | tuple) else [received]
        shapes = [
            tree.map_structure(lambda s: tuple(getattr(s, "shape", ())), states) for states in (expected, received)
        ]
        try:
            tree.assert_same_structure(expected, received)
            matching = all(
                len(e.shape) == len(r.shape) and all(_agree(m, n) for m, n in zip(e.shape, r.shape, strict=True))
                for e, r in zip(tree.flatten(expected), tree.flatten(received), strict=True)
            )
        except (ValueError, TypeError, AttributeError):
            matching = False
        if not matching:
            raise ValueError(f"expected initial states of shapes {shapes[0]}, received {shapes[1]}")
        return tree.map_structure(lambda e, r: ops.cast(r, e.dtype), expected, received)

    def compute_output_shape(self, sequences_shape, initial_state_shape=None):
        _check_rank(sequences_shape)
        batch, length = sequences_shape[:2]
        time = (length,) if self.return_sequences else ()
        output = (batch, *time, self._output_size())
        return (output, *_state_shapes(self.state_size, batch)) if self.return_state else output

    def compute_mask(self, sequences, mask=None, **kwargs):
        mask = tree.flatten(mask)[0] if mask is not None else None
        if not self.return_sequences:
            mask = None
        elif mask is not None and self.go_backwards:
            mask = ops.flip(mask, 1)
        return [mask, *[None for _ in tree.flatten(self.state_size)]] if self.return_state else mask

    def get_config(self):
        return {
            **super().get_config(),
            "cell": keras.saving.serialize_keras_object(self.cell),
            "return_sequences": self.return_sequences,
            "return_state": self.return_state,
            "go_backwards": self.go_backwards,
            "unroll": self.unroll,
            "zero_output_for_mask": self.zero_output_for_mask,
            "recompute": self.recompute,
        }

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config.pop("cell")), **config)


def _draws_at_every_step(cell):
    """Whether a step computed again would draw anew, and give the gradient of another step."""
    if isinstance(cell, ZoneoutCell) or getattr(getattr(cell, "attention", None), "noise", 0):
        return True
    inner = [*getattr(cell, "cells", ()), *([cell.cell] if hasattr(cell, "cell") else ())]
    foreign = not isinstance(cell, Cell) and (getattr(cell, "dropout", 0) or getattr(cell, "recurrent_dropout", 0))
    return bool(foreign) or any(_draws_at_every_step(part) for part in inner)


def _parts(cell, sequences, states, masks, training):
    """The cell as (project, step, finish): what is hoisted, what is looped, and what is done at the end."""
    if isinstance(cell, Cell):

        def step(projected, states, **kwargs):
            return cell.recur(projected, states, masks, **kwargs)

        return lambda x: cell.project(x, masks), step, lambda: None
    return _foreign_parts(cell, sequences, states, training)


def _foreign_parts(cell, sequences, states, training):
    """Likewise for a Keras cell, whose dropout masks are drawn before the loop and forgotten after it."""
    single = not isinstance(cell.state_size, list | tuple)
    kwargs = {"training": training} if getattr(cell, "_call_has_training_arg", False) else {}
    if training:
        cell(sequences[0], states[0] if single else states, **kwargs)

    def step(x, states):
        output, new = cell(x, states[0] if single else states, **kwargs)
        return output, list(new) if isinstance(new, list | tuple) else [new]

    return lambda x: x, step, lambda: forget_masks(cell)


def _masked(step, zero_output):
    """`step` on (x, keep), where keep (batch, 1) says which sequences take the step."""

    def masked_step(x, carry):
        (x, keep), (previous, *states) = x, carry
        output, new = step(x, states)

        def choose(new, old):
            return old if new is old else ops.where(ops.reshape(keep, (-1,) + (1,) * (len(new.shape) - 1)), new, old)

        held = ops.where(keep, output, previous)
        emitted = ops.where(keep, output, ops.zeros_like(output)) if zero_output else held
        return emitted, [held, *tree.map_structure(choose, new, states)]

    return masked_step


def _hold(outputs, keep, last, zero_output):
    """`outputs` (time, batch, size) where a masked step puts out what the step before it does, or zero."""
    if zero_output:
        return ops.where(keep, outputs, ops.zeros_like(outputs))
    time, batch, size = ops.shape(outputs)
    keep, now = keep[..., 0], ops.arange(time)[:, None]
    taken = ops.argsort(ops.where(keep, now, now + time), axis=0)  # the steps that are taken, in order, come first
    count = ops.cumsum(ops.cast(keep, "int32"), axis=0)
    step = ops.take_along_axis(taken, ops.maximum(count - 1, 0), axis=0)
    rows = ops.take(ops.reshape(outputs, (-1, size)), step * batch + ops.arange(batch), axis=0)
    return ops.where(ops.expand_dims(count > 0, -1), rows, last)


def _unrolled(step, xs, states, collect, training=False):
    """As `kernels.scan`, without a loop."""
    length = tree.flatten(xs)[0].shape[0]
    columns = [ops.unstack(x, length, axis=0) for x in tree.flatten(xs)]
    outputs = []
    for now in zip(*columns, strict=True):
        output, states = step(tree.pack_sequence_as(xs, list(now)), states)
        outputs.append(output)
    return ops.stack(outputs) if collect else None, output, states


def _state_shapes(size, batch):
    if isinstance(size, list):
        return [_state_shapes(s, batch) for s in size]
    return (batch, *size) if isinstance(size, tuple) else (batch, size)


def _check_rank(shape):
    if len(shape) != 3:
        raise ValueError(f"expected sequences of shape (batch, time, features), received shape {tuple(shape)}")


def _check_mask(mask, sequences):
    """The mask (batch, time), held against sequences (time, batch, features)."""
    mask = ops.convert_to_tensor(mask)
    expected = (sequences.shape[1], sequences.shape[0])
    if len(mask.shape) != 2 or not all(_agree(m, n) for m, n in zip(mask.shape, expected, strict=True)):
        raise ValueError(f"expected a mask of shape (batch, time) = {expected}, received shape {tuple(mask.shape)}")
    return mask


def _agree(m, n):
    """Whether two sizes can be the same, where None is unknown."""
    return m is None or n is None or m == n
