import keras
from keras import ops

from .. import kernels
from ..recurrent import Recurrent, _masked
from .cell import AttentionCell


@keras.saving.register_keras_serializable(package="elman")
class AttentionDecoder(Recurrent):
    """A cell that attends to a memory, over a whole sequence: the decoder of a sequence-to-sequence model.

        source, target = keras.Input((None,)), keras.Input((None,))
        memory = Recurrent(GRUCell(256), return_sequences=True)(Embedding(8000, 128, mask_zero=True)(source))
        decoded = AttentionDecoder(LSTMCell(256), BahdanauAttention(128))(Embedding(8000, 128)(target), memory)
        model = keras.Model([source, target], Dense(8000)(decoded))

    One step of it, for decoding and for export, is the pure function `decoder.cell.step`, from the states
    `decoder.cell.get_initial_state(memory=memory, mask=mask)`.

    Args:
        cell: the cell, of this package or of Keras.
        attention: an attention of this package.
        attention_units, activation, attend_first, input_feeding, gated: see `AttentionCell`.
        return_sequences: whether to return every output, or the last one.
        return_alignments: whether to return the weights (batch, time, positions) after the output.
        return_state: whether to return the final states too, after them.

    Call arguments:
        sequences: (batch, time, features).
        memory: (batch, positions, features).
        initial_state: the states of the inner cell, zeros by default.
        mask, memory_mask: boolean (batch, time) and (batch, positions); taken from the tensors where they carry one.
            A masked step changes no state; its output and weights are those of the step before.
    """

    def __init__(
        self,
        cell,
        attention,
        attention_units=None,
        activation="linear",
        attend_first=False,
        input_feeding=True,
        return_sequences=True,
        return_alignments=False,
        gated=False,
        **kwargs,
    ):
        cell = AttentionCell(cell, attention, attention_units, activation, attend_first, input_feeding, gated=gated)
        super().__init__(cell, return_sequences=return_sequences, **kwargs)
        self.return_alignments = return_alignments

    def build(self, sequences_shape, memory_shape):
        self.cell._build_attention(memory_shape[-1])
        super().build(sequences_shape)

    def call(
        self,
        sequences,
        memory,
        initial_state=None,
        mask=None,
        memory_mask=None,
        training=False,
        sequences_mask=None,
        initial_state_mask=None,
    ):
        states = self.cell.get_initial_state(memory=memory, mask=memory_mask, cell_state=initial_state)
        mask = sequences_mask if mask is None else mask
        if not self.return_alignments:
            return super().call(sequences, states, mask, training)
        return self._call_with_alignments(sequences, states, mask, training)

    def _call_with_alignments(self, sequences, states, mask, training):
        """As the driver, on a step that emits [output; weights]."""
        batch, size = ops.shape(sequences)[0], self.cell.output_size
        masks = self.cell.draw_masks(batch) if training else None
        states = self._check_states(states, self.get_initial_state(batch))
        xs, mask = self._time_major(sequences, mask)
        previous = ops.zeros((batch, size), dtype=self.compute_dtype)

        def step(x, states):
            output, states = self.cell.recur(x, states, masks)
            return ops.concatenate([output, self.cell.alignment(states)], -1), states

        xs = self.cell.project(xs, masks)
        if mask is None:
            both, _, states = kernels.scan(step, xs, states, True, training)
        else:
            carry = [ops.concatenate([previous, ops.zeros_like(self.cell.alignment(states))], -1), *states]
            both, _, (_, *states) = kernels.scan(_masked(step, False), (xs, mask), carry, True, training)
        both = ops.swapaxes(both, 0, 1)
        output, alignments = both[..., :size], both[..., size:]
        output = output if self.return_sequences else output[:, -1]
        return (output, alignments, *states) if self.return_state else (output, alignments)

    def compute_output_shape(self, sequences_shape, memory_shape, **kwargs):
        self.cell._build_attention(memory_shape[-1])
        shape = super().compute_output_shape(sequences_shape)
        if not self.return_alignments:
            return shape
        output, *states = shape if self.return_state else [shape]
        return (output, (sequences_shape[0], sequences_shape[1], memory_shape[1]), *states)

    def compute_mask(self, sequences, mask=None, **kwargs):
        masks = super().compute_mask(sequences, mask)
        if not self.return_alignments:
            return masks
        output, *states = masks if self.return_state else [masks]
        return [output, output, *states]

    def get_config(self):
        config = super().get_config()
        inner = config.pop("cell")["config"]
        shared = ("cell", "attention", "attention_units", "activation", "attend_first", "input_feeding", "gated")
        for name in ("go_backwards", "unroll", "zero_output_for_mask"):
            config.pop(name)
        return {**config, **{name: inner[name] for name in shared}, "return_alignments": self.return_alignments}

    @classmethod
    def from_config(cls, config):
        parts = [keras.saving.deserialize_keras_object(config.pop(name)) for name in ("cell", "attention")]
        return cls(*parts, **config)
