"""Zeros added to the states of every step, for the gradient that arrives there."""

import contextvars

from keras import ops, tree

from .cells import StackedCells

_ACTIVE = contextvars.ContextVar("nudges", default=None)


class Nudges:
    """While entered, every `Recurrent` adds tensors to the states s of each step: s_t + e_t.

    At e = 0 nothing changes, and ∂L/∂e_t is the whole gradient ∂L/∂s_t, later steps included, of which
    back-propagation through time is made. Where the output of a step is no state but computed from them (LRU, an
    attention), its own part is missing. Of an `AttentionCell` the states are the inner cell's.

        with Nudges() as found:
            model(inputs)               # found.tensors: zeros, for each cell a list of (time, batch, …), one a state
        with Nudges(found.tensors):
            loss(model(inputs))         # to be differentiated with respect to them

    Args:
        tensors: what to add, in the order in which the cells run; zeros when None.

    Attributes: `names` of the layer of each cell, and `backwards`, whether it reads from the end of its sequence.
    """

    def __init__(self, tensors=None):
        self.given = None if tensors is None else list(tensors)
        self.tensors, self.names, self.backwards = [], [], []

    def __enter__(self):
        self._token = _ACTIVE.set(self)
        return self

    def __exit__(self, *error):
        _ACTIVE.reset(self._token)

    def take(self, layer, length, states):
        """The tensors of each cell of a layer for `length` steps."""
        stacked = isinstance(layer.cell, StackedCells)
        taken = []
        for part in states if stacked else [states]:
            zeros = [ops.zeros((length, *ops.shape(s)), dtype=s.dtype) for s in _moving(part)]
            taken.append(zeros if self.given is None else self.given[len(self.tensors)])
            self.tensors.append(taken[-1])
            self.names.append(layer.name)
            self.backwards.append(layer.go_backwards)
        return taken


def active_nudges():
    """The `Nudges` entered last, or None."""
    return _ACTIVE.get()


def nudged(cell, step, masks):
    """`step` of a cell on ((x, tensors), states), the tensors of each cell in it added to its new states."""

    def single(x, states):
        x, (tensors,) = x
        return _add(*step(x, states), tensors)

    def stacked(x, states):
        output, tensors = x
        new = []
        for inner, state, mask, more in zip(cell.cells, states, masks or [None] * len(states), tensors, strict=True):
            projected = output if not new else inner.project(output, mask)
            output, state = _add(*inner.recur(projected, state, mask), more)
            new.append(state)
        return output, new

    return stacked if isinstance(cell, StackedCells) else single


def _add(output, states, tensors):
    moved = [s + t for s, t in zip(_moving(states), tensors, strict=True)]
    for old, new in zip(_moving(states), moved, strict=True):
        output = new if output is old else output
    if isinstance(states[0], list | tuple):
        return output, [tree.pack_sequence_as(states[0], moved), *states[1:]]
    return output, moved


def _moving(states):
    """The states of the recurrence: those of the inner cell where there is one, as in an `AttentionCell`."""
    return tree.flatten(states[0]) if isinstance(states[0], list | tuple) else list(states)
