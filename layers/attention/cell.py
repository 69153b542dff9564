import keras
from keras import ops

from ..cells.base import Cell, check_cell, check_units, forget_masks
from .base import Attention


@keras.saving.register_keras_serializable(package="elman")
class AttentionCell(Cell):
    """Any cell with any attention and input feeding, as a cell: the place of `tfa.seq2seq.AttentionWrapper`.

        h, s' = cell([x; a], s)                                   x: input, a: fed from the step before
        c, weights, r' = attention.attend(h, memory, r)
        a' = A [h; c]  with attention_units, else a' = c
        output = a'    with attention_units, else [h; c]

    With `attend_first`, as in Bahdanau et al. and Xu et al., the query is the cell's output of the step before and the
    context is read before the cell steps: c, weights, r' = attention.attend(h₋₁, memory, r); h, s' = cell([x; c], s).
    With `gated` too, the context is scaled by how much the cell wants to see: c is replaced by σ(g · h₋₁ + b) c.

    The memory travels with the states and comes back untouched, so that one step is a pure function: it trains in
    `Recurrent`, `AttentionDecoder` or `keras.layers.RNN`, exports as one step, and a beam search can reorder it.

        states = cell.get_initial_state(memory=encoded, mask=mask)          the memory is projected here, once
        output, states = cell.step(inputs, states)
        weights = cell.alignment(states)                                    (batch, positions), of the last step

    Args:
        cell: the cell, of this package or of Keras.
        attention: an attention of this package.
        attention_units: size of the attention vector A [h; c], None for none.
        activation: of the attention vector, "tanh" in Luong et al.
        attend_first: whether the context is read before the cell steps.
        input_feeding: whether a is an input of the cell; always so with `attend_first`.
        gated: whether the context is scaled by a gate of the query; needs `attend_first`.
        memory_size: number of features of the memory; needed only where the cell is built before it has seen a memory.

    States: [states of the cell, a (or h with `attend_first`), weights, *states of the attention, values, keys, mask].
    Masking: the memory's mask is part of the states; see `Attention`.
    Reference: Luong et al. 2015 (arXiv:1508.04025), input feeding; Bahdanau et al. 2014 (arXiv:1409.0473); Xu et al.
        2015 (arXiv:1502.03044), the gate.
    """

    def __init__(
        self,
        cell,
        attention,
        attention_units=None,
        activation="linear",
        attend_first=False,
        input_feeding=True,
        memory_size=None,
        gated=False,
        **kwargs,
    ):
        check_cell(cell)
        if not isinstance(attention, Attention):
            raise ValueError(f"expected an attention of elman.layers, received {attention!r}")
        if gated and not attend_first:
            raise ValueError("expected attend_first=True with gated=True, received attend_first=False")
        kwargs.setdefault("dtype", cell.dtype_policy)
        super().__init__(**kwargs)
        self.cell = cell
        self.attention = attention
        self.gated = gated
        self.attention_units = None if attention_units is None else check_units(attention_units, "attention_units")
        self.activation = keras.activations.get(activation)
        self.attend_first = attend_first
        self.input_feeding = input_feeding or attend_first
        self.memory_size = None if memory_size is None else check_units(memory_size, "memory_size")

    @property
    def output_size(self):
        if self.attention_units or self.memory_size is None:
            return self.attention_units
        return self.cell.output_size + self.memory_size

    @property
    def state_size(self):
        memory = self.memory_size
        fed = self.cell.output_size if self.attend_first else self.attention_units or memory
        inner = self.cell.state_size
        attention = [(None, self.attention.key_size(memory)), (None,)]
        return [
            list(inner) if isinstance(inner, list | tuple) else [inner],
            fed,
            (None,),
            *self.attention.state_size,
            (None, memory),
            *attention,
        ]

    def build(self, input_shape):
        if self.memory_size is None:
            raise ValueError(
                "AttentionCell: expected get_initial_state(memory=…) first, or memory_size=… in the constructor, "
                "received no memory"
            )
        self._build_attention(self.memory_size)
        fed = (self.attention_units or self.memory_size) if not self.attend_first else self.memory_size
        self.inner_features = input_shape[-1] + (fed if self.input_feeding else 0)
        if not self.cell.built:
            self.cell.build((*input_shape[:-1], self.inner_features))
            self.cell.built = True
        if self.attention_units:
            width = self.cell.output_size + self.memory_size
            self.attention_kernel = self.add_weight(
                shape=(width, self.attention_units), initializer="glorot_uniform", name="attention_kernel"
            )
        if self.gated:
            self.gate_kernel = self.add_weight((self.cell.output_size, 1), "glorot_uniform", name="gate_kernel")
            self.gate_bias = self.add_weight((1,), "zeros", name="gate_bias")
        self.built = True

    def _build_attention(self, memory_size):
        if self.memory_size not in (None, memory_size):
            raise ValueError(f"expected a memory of {self.memory_size} features, received {memory_size}")
        self.memory_size = memory_size
        if not self.attention.built:
            self.attention.build((None, self.cell.output_size), (None, None, memory_size))

    def get_initial_state(self, batch_size=None, memory=None, mask=None, cell_state=None):
        """The states before the first step over a memory (batch, positions, features) with a mask (batch, positions).

        `cell_state`: the states of the inner cell, zeros by default. Without a memory, its parts are placeholders that
        only say their shapes.
        """
        if memory is None:
            return self._placeholders(batch_size)
        self._build_attention(memory.shape[-1])
        memory = self.attention.prepare(memory, mask)
        zeros = ops.zeros_like(memory[0][:, 0, :1])
        if cell_state is None:
            cell_state = self.cell.get_initial_state(batch_size=ops.shape(zeros)[0])
        cell_state = list(cell_state) if isinstance(cell_state, list | tuple) else [cell_state]
        fed = ops.tile(zeros, (1, self.state_size[1]))
        if self.attend_first:
            # The query of the first step is the hidden state of the (last) cell, where it has the size of an output.
            last = cell_state[-1] if isinstance(cell_state[-1], list | tuple) else cell_state
            fed = ops.cast(last[0], fed.dtype) if last[0].shape[-1] == self.cell.output_size else fed
        return [cell_state, fed, ops.zeros_like(memory[2]), *self.attention.initial_state(memory), *memory]

    def _placeholders(self, batch_size):
        if not isinstance(batch_size, int):
            batch_size = None

        def placeholder(size):
            if isinstance(size, list):
                return [placeholder(s) for s in size]
            shape = size if isinstance(size, tuple) else (size,)
            return keras.KerasTensor((batch_size, *shape), dtype=self.compute_dtype)

        return placeholder(self.state_size)

    def alignment(self, states):
        """The weights (batch, positions) of the step that gave these states."""
        return states[2]

    def project(self, inputs, masks=None):
        if masks is None or not self.attention.noise:
            return inputs
        shape = (*ops.shape(inputs)[:-1], 2)
        return inputs, keras.random.uniform(shape, dtype=self.compute_dtype, seed=self.attention.seed_generator)

    def draw_masks(self, batch_size):
        if isinstance(self.cell, Cell):
            masks = self.cell.draw_masks(batch_size)
            return None if masks is None and not self.attention.noise else [masks]
        forget_masks(self.cell)  # and let it draw others here, not in the loop
        states = self.cell.get_initial_state(batch_size=batch_size)
        inputs = ops.zeros((batch_size, self.inner_features), dtype=self.compute_dtype)
        self._inner_step(inputs, list(states) if isinstance(states, list | tuple) else [states], [None])
        return [None]

    def recur(self, projected, states, masks=None, matmul=ops.matmul):
        inputs, *uniform = projected if isinstance(projected, tuple) else (projected,)
        inner, fed, _, *rest = states
        recalled, memory = rest[:-3], rest[-3:]
        if any(isinstance(part, keras.KerasTensor) for part in memory):
            raise ValueError("expected initial states from AttentionCell.get_initial_state(memory=…), received none")
        if self.attend_first:
            context, weights, recalled = self.attention.attend(fed, memory, recalled, *uniform)
            if self.gated:
                context = context * ops.sigmoid(ops.matmul(fed, self.gate_kernel) + self.gate_bias)
            output, inner = self._inner_step(ops.concatenate([inputs, context], -1), inner, masks)
            fed, vector = output, self._vector(output, context, matmul)
        else:
            fed = [fed] if self.input_feeding else []
            output, inner = self._inner_step(ops.concatenate([inputs, *fed], -1), inner, masks)
            context, weights, recalled = self.attention.attend(output, memory, recalled, *uniform)
            vector = self._vector(output, context, matmul)
            fed = vector if self.attention_units else context
        return vector, [inner, fed, weights, *recalled, *memory]

    def _vector(self, output, context, matmul):
        both = ops.concatenate([output, context], axis=-1)
        return self.activation(matmul(both, self.attention_kernel)) if self.attention_units else both

    def _inner_step(self, inputs, states, masks):
        if isinstance(self.cell, Cell):
            return self.cell.step(inputs, states, masks and masks[0])
        training = {"training": masks is not None} if getattr(self.cell, "_call_has_training_arg", False) else {}
        states = states if isinstance(self.cell.state_size, list | tuple) else states[0]
        output, states = self.cell(inputs, states, **training)
        return output, list(states) if isinstance(states, list | tuple) else [states]

    def get_config(self):
        return {
            **super().get_config(),
            "cell": keras.saving.serialize_keras_object(self.cell),
            "attention": keras.saving.serialize_keras_object(self.attention),
            "attention_units": self.attention_units,
            "activation": keras.activations.serialize(self.activation),
            "attend_first": self.attend_first,
            "input_feeding": self.input_feeding,
            "memory_size": self.memory_size,
            "gated": self.gated,
        }

    @classmethod
    def from_config(cls, config):
        parts = [keras.saving.deserialize_keras_object(config.pop(name)) for name in ("cell", "attention")]
        return cls(*parts, **config)
