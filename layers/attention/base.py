"""The attention protocol: the memory is prepared once, then a pure step attends to it."""

import keras
from keras import ops


class Attention(keras.layers.Layer):
    """Where to look in a memory, given a query.

        memory = attention.prepare(values, mask)                                once per sequence
        context, weights, state = attention.attend(query, memory, state)        a pure step

    `prepare` returns the list [values, keys, mask]: the keys are the projected values, the mask is 1 where memory is.
    What an attention remembers from step to step (the last weights, a coverage) is the list `state`, which starts as
    `initial_state(memory)`. A subclass implements `score`, or `attend` as a whole.

    Called as a layer, `attention(query, memory, memory_mask)` makes one step from the initial state and returns
    (context, weights).

    Attributes:
        state_size: a list with one shape per state, without the batch: (None,) for one number per memory position.

    Shapes: values (batch, positions, features), query (batch, units), context (batch, features),
    weights (batch, positions).
    Masking: a masked position gets weight 0, and what it holds, NaN included, reaches nothing. Where every position is
    masked, so is every weight 0.
    """

    state_size = ()
    noise = 0.0  # where it is not, `attend` takes uniform numbers (batch, 2) in training as a fourth argument

    def build(self, query_shape, memory_shape):
        """Create the weights for queries (…, units) and memories (…, features)."""
        self.built = True

    def get_build_config(self):
        """None: see `Cell.get_build_config`."""
        return None

    def key_size(self, memory_size):
        """The size of the keys of a memory of `memory_size` features."""
        return memory_size

    def keys(self, values):
        """The values as `score` sees them."""
        return values

    def prepare(self, values, mask=None):
        """The memory [values, keys, mask] of `values`, with `mask` (batch, positions) boolean or None."""
        values = ops.cast(values, self.compute_dtype)
        if len(values.shape) != 3:
            raise ValueError(f"expected a memory of shape (batch, positions, features), received {tuple(values.shape)}")
        if mask is None:
            return [values, self.keys(values), ops.ones_like(values[..., 0])]
        if len(mask.shape) != 2 or any(
            None not in (m, n) and m != n for m, n in zip(mask.shape, values.shape, strict=False)
        ):
            raise ValueError(f"expected a mask of shape {tuple(values.shape[:2])}, received {tuple(mask.shape)}")
        mask = ops.cast(mask, "bool")
        values = ops.where(mask[..., None], values, ops.zeros_like(values))
        return [values, self.keys(values), ops.cast(mask, self.compute_dtype)]

    def initial_state(self, memory):
        """The state before the first step."""
        return [ops.zeros_like(memory[2]) for _ in self.state_size]

    def score(self, query, keys, state):
        """The scores (batch, positions) of the keys, before the softmax."""
        raise NotImplementedError(f"{type(self).__name__} does not implement score")

    def update(self, state, weights):
        """The state after a step that gave `weights`."""
        return list(state)

    def attend(self, query, memory, state):
        """One step: (context, weights, new state)."""
        values, keys, mask = memory
        weights = masked_softmax(self.score(query, keys, state), mask)
        return read(weights, values), weights, self.update(state, weights)

    def call(self, query, memory, memory_mask=None):
        if len(query.shape) != 2:
            raise ValueError(f"expected a query of shape (batch, units), received {tuple(query.shape)}")
        memory = self.prepare(memory, memory_mask)
        context, weights, _ = self.attend(query, memory, self.initial_state(memory))
        return context, weights


def masked_softmax(scores, mask):
    """Softmax over the positions where the mask is 1."""
    scores = ops.where(mask > 0, scores, ops.full_like(scores, -1e4 if scores.dtype == "float16" else -1e9))
    return ops.softmax(scores, axis=-1) * mask


def read(weights, values):
    """The values, weighted and summed: (batch, features)."""
    return ops.squeeze(ops.matmul(ops.expand_dims(weights, 1), values), 1)
