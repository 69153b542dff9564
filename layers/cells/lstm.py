"""The long short-term memory."""

import keras
from keras import ops

from .base import KernelCell, check_units


@keras.saving.register_keras_serializable(package="elman")
class LSTMCell(KernelCell):
    """The long short-term memory cell, with forget gates, and on demand peepholes and a projection.

        i = s(x Wi + h Ui + pi * c + bi)        input gate
        f = s(x Wf + h Uf + pf * c + bf)        forget gate
        g = activation(x Wc + h Uc + bc)        candidate
        c' = f * c + i * g                      new cell state
        o = s(x Wo + h Uo + po * c' + bo)       output gate
        h' = (o * activation(c')) V             new hidden state, also the output

    with x the input, h and c the states, s the recurrent activation, W the input kernel, U the recurrent kernel, b the
    bias (gates in the order i, f, c, o, as in Keras), p the peephole weights and V the output kernel of the projection;
    without peepholes p = 0, without a projection V is the identity.

    Args:
        units: size of c, and of h where there is no projection.
        activation: of the candidate and of the cell state.
        recurrent_activation: of the gates.
        forget_bias: start value of bf.
        peepholes: whether the gates see the cell state.
        projection: size of h where it is projected, None for no projection.
        The others: see `KernelCell`.

    Call arguments: inputs (batch, features), states [h, c]. Returns h' and [h', c'].

    Reference:
        Hochreiter and Schmidhuber 1997, Long short-term memory. Gers, Schmidhuber and Cummins 2000, Learning to forget.
        Gers and Schmidhuber 2000, Recurrent nets that time and count (peepholes). Sak, Senior and Beaufays 2014
        (projection).
    """

    gates = 4
    compiled = True
    additive = (4,)

    def __init__(
        self,
        units,
        activation="tanh",
        recurrent_activation="sigmoid",
        forget_bias=1.0,
        peepholes=False,
        projection=None,
        **kwargs,
    ):
        super().__init__(units, **kwargs)
        self.activation = keras.activations.get(activation)
        self.recurrent_activation = keras.activations.get(recurrent_activation)
        self.forget_bias = forget_bias
        self.peepholes = peepholes
        self.projection = None if projection is None else check_units(projection, "projection")
        self.output_size = self.projection or self.units
        self.state_size = [self.output_size, self.units]

    def build(self, input_shape):
        super().build(input_shape)
        if self.peepholes:
            self.peephole = self._add("peephole", (3, self.units), "recurrent", "zeros")
        if self.projection:
            self.output_kernel = self._add("output_kernel", (self.units, self.projection), "recurrent")

    def _add(self, name, shape, family, initializer=None):
        if name == "bias" and self.forget_bias:
            initializer = self._initial_bias
        return super()._add(name, shape, family, initializer)

    def _initial_bias(self, shape, dtype=None):
        bias = self.bias_initializer(shape, dtype=dtype)
        forget = ops.full((self.units,), self.forget_bias, dtype=bias.dtype)
        return ops.concatenate([bias[: self.units], forget, bias[2 * self.units :]])

    def recur(self, projected, states, masks=None, matmul=ops.matmul, axis=-1):
        hidden, cell = states
        product = matmul(self.hidden(hidden, masks), self.recurrent_kernel)
        i, f, g, o = ops.split(self._gates(projected, product, axis), 4, axis=axis)
        if self.peepholes:
            pi, pf, po = (self.along(self.peephole[k], axis) for k in range(3))
            i, f = i + pi * cell, f + pf * cell
        cell = self.recurrent_activation(f) * cell + self.recurrent_activation(i) * self.activation(g)
        if self.peepholes:
            o = o + po * cell
        hidden = self.recurrent_activation(o) * self.activation(self._normalize_cell(cell, axis))
        if self.projection:
            hidden = matmul(hidden, self.output_kernel)
        return hidden, [hidden, cell]

    def _gates(self, projected, product, axis):
        return product if projected is None else projected + product

    def _normalize_cell(self, cell, axis):
        return cell

    def get_config(self):
        return {
            **super().get_config(),
            "activation": keras.activations.serialize(self.activation),
            "recurrent_activation": keras.activations.serialize(self.recurrent_activation),
            "forget_bias": self.forget_bias,
            "peepholes": self.peepholes,
            "projection": self.projection,
        }
