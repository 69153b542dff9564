"""Truncated back-propagation through time: streams read window by window, the states carried over, the gradient not."""

import keras
import numpy as np
from keras import ops, tree

from .batching import Batches


class Streams(Batches):
    """The chains of a source in batches: each row of a batch goes on where that row of the batch before ended.

    The chains of an epoch are laid end to end and cut into as many lanes as a batch has rows. Inputs are
    `{"inputs": …, "begins": (batch,)}`, true where a chain begins (or a lane within one): nothing is carried into it.
    All batches have `batch_size` rows; a row for which nothing is left weighs nothing.

    Args:
        source: rows with `chains`, and with weights.
        batch_size: rows of a batch, the lanes.
        seed: orders the chains of each epoch; None keeps their order.
        rows: at most this many rows an epoch (all of them when 0).
    """

    def start_epoch(self, epoch: int) -> None:
        """Orders the chains for `epoch`."""
        chains = self.source.chains()
        if self.seed is not None:
            chains = [chains[i] for i in np.random.default_rng((self.seed, epoch)).permutation(len(chains))]
        order = np.concatenate(chains)[: self.rows]
        first = np.concatenate([np.arange(len(chain)) == 0 for chain in chains])[: self.rows]
        self._rows = np.full((len(self), self.batch_size), -1)
        self._begins = np.ones((len(self), self.batch_size), bool)
        for lane, places in enumerate(np.array_split(np.arange(self.rows), self.batch_size)):
            self._rows[: len(places), lane] = order[places]
            self._begins[1 : len(places), lane] = first[places[1:]]

    def padding(self) -> dict[str, float] | None:
        """The share of an epoch's steps that are padding, lanes without a row included."""
        if self.source.sizes is None or not self.rows:
            return None
        sizes = self.source.sizes()[self._rows[self._rows >= 0]]
        steps = self._rows.size * self.source.padded(int(sizes.max()))
        return {"share": 1.0 - int(sizes.sum()) / steps}

    def __getitem__(self, step: int) -> tuple:
        there = self._rows[step] >= 0
        inputs, targets, *weights = self.source.gather(np.where(there, self._rows[step], self._rows[0, 0]))
        if not weights:
            raise ValueError("expected inputs, targets and weights of a source with chains, received no weights")
        weights = weights[0] * there.reshape(-1, *[1] * (weights[0].ndim - 1))
        return {"inputs": inputs, "begins": self._begins[step]}, targets, weights


class Carrying(keras.Model):
    """A model for `fit` on `Streams`: each window begins from the states in which the one before ended, and the
    gradient ends at its edge.

    The states are variables, and so part of a checkpoint: a resumed training goes on with them.

    Args:
        model: whose weights are trained.
        window: `window(inputs, states, training) -> (outputs, states)`, pure.
        start: the states at the beginning of a stream, a tree of (batch, …), one row for each row of a batch.
    """

    def __init__(self, model: keras.Model, window, start):
        super().__init__(dtype="float32")  # what a layer computes in, each says by itself
        self.model, self.window = model, window
        self.starts, self.pack = tuple(tree.flatten(start)), lambda flat: tree.pack_sequence_as(start, flat)
        self.carried = [
            self.add_weight(tuple(s.shape), "zeros", s.dtype, trainable=False, name=f"state_{i}")
            for i, s in enumerate(self.starts)
        ]
        self.built = True

    def call(self, inputs, training=False):
        begins, states = inputs["begins"], []
        for start, carried in zip(self.starts, self.carried, strict=True):
            anew = ops.reshape(begins, (-1, *[1] * (len(start.shape) - 1)))
            states.append(ops.where(anew, start, ops.stop_gradient(carried.value)))
        outputs, states = self.window(inputs["inputs"], self.pack(states), training)
        for carried, state in zip(self.carried, tree.flatten(states), strict=True):
            carried.assign(ops.stop_gradient(state))
        return outputs
