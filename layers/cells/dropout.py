import keras
from keras import ops

from .base import Cell, check_rate


class WrapperCell(Cell):
    """A cell around a cell of this package: it passes everything on."""

    def __init__(self, cell, **kwargs):
        if not isinstance(cell, Cell):
            raise ValueError(f"{type(self).__name__}: expected a cell of elman.layers, received {cell!r}")
        kwargs.setdefault("dtype", cell.dtype_policy)
        super().__init__(**kwargs)
        self.cell = cell
        self.state_size = cell.state_size
        self.output_size = cell.output_size

    def build(self, input_shape):
        self.features = input_shape[-1]
        if not self.cell.built:
            self.cell.build(input_shape)
            self.cell.built = True

    def get_initial_state(self, batch_size=None):
        return self.cell.get_initial_state(batch_size)

    def get_config(self):
        return {**super().get_config(), "cell": keras.saving.serialize_keras_object(self.cell)}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config.pop("cell")), **config)


@keras.saving.register_keras_serializable(package="elman")
class DropoutCell(WrapperCell):
    """Locked (variational) dropout of the inputs and outputs of any cell: one mask a sequence, the same at every step.

        h, s' = cell(m ∘ x, s),  output = n ∘ h

    with masks m and n that are 0 with the probability given and 1 / (1 − rate) otherwise; in inference both are 1.
    Cells with a recurrent kernel have `dropout` (of the inputs) and `recurrent_dropout` of their own.

    Args:
        cell: a cell of this package.
        inputs, outputs: rates in [0, 1).
        seed: seeds the masks.

    Reference: Gal & Ghahramani 2015, A Theoretically Grounded Application of Dropout in RNNs (arXiv:1512.05287).
    """

    def __init__(self, cell, inputs=0.0, outputs=0.0, seed=None, **kwargs):
        super().__init__(cell, **kwargs)
        self.rates = check_rate(inputs, "inputs"), check_rate(outputs, "outputs")
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def project(self, inputs, masks=None):
        if masks is None:
            return self.cell.project(inputs)
        return self.cell.project(inputs * masks[0], masks[2])

    def recur(self, projected, states, masks=None, matmul=ops.matmul):
        if masks is None:
            return self.cell.recur(projected, states, None, matmul)
        output, states = self.cell.recur(projected, states, masks[2], matmul)
        return output * masks[1], states

    def draw_masks(self, batch_size):
        def draw(size, rate):
            ones = ops.ones((batch_size, size), dtype=self.compute_dtype)
            return keras.random.dropout(ones, rate, seed=self.seed_generator) if rate else ones

        inputs, outputs = self.rates
        return draw(self.features, inputs), draw(self.output_size, outputs), self.cell.draw_masks(batch_size)

    def get_config(self):
        inputs, outputs = self.rates
        return {**super().get_config(), "inputs": inputs, "outputs": outputs, "seed": self.seed}
