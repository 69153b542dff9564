"""The two cells of the extended LSTM: exponential gates, kept in range by a running maximum of their logarithms."""

import keras
from keras import ops

from .base import KernelCell, check_units


def _check_heads(units, heads):
    if units % check_units(heads, "heads"):
        raise ValueError(f"expected heads to divide units={units}, received heads={heads}")
    return int(heads)


@keras.saving.register_keras_serializable(package="elman")
class SLSTMCell(KernelCell):
    """The sLSTM cell of xLSTM: an LSTM with exponential gates and a normaliser.

        i~ = x Wi + h Ui + bi,  f~ = x Wf + h Uf + bf               logarithms of the input and the forget gate
        z = tanh(x Wz + h Uz + bz),  o = σ(x Wo + h Uo + bo)         cell input, output gate
        m' = max(f~ + m, i~),  i = exp(i~ − m'),  f = exp(f~ + m − m')
        c' = f ∘ c + i ∘ z,  n' = f ∘ n + i,  h' = o ∘ c' / n'       also the output

    with x the input, h, c, n, m the states (hidden, cell, normaliser, stabiliser), W the input kernel, U the recurrent
    kernel and b the bias (order i, f, z, o). With `heads`, U connects units of the same head only: its
    rows are those of h, its columns the gates of one head.

    Args:
        units: size of each state.
        heads: number of heads, a divisor of units.
        sigmoid_forget: whether the forget gate is a sigmoid: log σ(f~) takes the place of f~.
        The others: see `KernelCell`. bf starts at 3 … 6, evenly spaced, plus what bias_initializer gives.

    Call arguments: inputs (batch, features), states [h, c, n, m]; m starts at −1e4, for log 0. Returns h' and the
    new states.
    Reference: Beck et al. 2024, xLSTM: Extended Long Short-Term Memory (arXiv:2405.04517), §2.2; the cell, without
    the block's convolution, normalisation and projections.
    """

    gates = 4

    def __init__(self, units, heads=1, sigmoid_forget=False, **kwargs):
        super().__init__(units, **kwargs)
        self.heads = _check_heads(self.units, heads)
        self.sigmoid_forget = sigmoid_forget
        self.state_size = [self.units] * 4

    def _add_kernels(self, features, hidden):
        size = self.units // self.heads
        self.input_kernel = self._add("input_kernel", (features, 4 * self.units), "kernel")
        self.recurrent_kernel = self._add("recurrent_kernel", (self.units, 4 * size), "recurrent")
        self.bias = self._add("bias", (4 * self.units,), "bias", self._initial_bias) if self.use_bias else None

    def _initial_bias(self, shape, dtype=None):
        forget = ops.linspace(3.0, 6.0, self.units, dtype=dtype)
        start = ops.concatenate([ops.zeros_like(forget), forget, ops.zeros_like(forget), ops.zeros_like(forget)])
        return start + self.bias_initializer(shape, dtype=dtype)

    def get_initial_state(self, batch_size=None):
        *states, stabiliser = super().get_initial_state(batch_size)
        return [*states, stabiliser - 1e4]

    def _recurrent(self, hidden, matmul):
        """h U, gate by gate: (batch, units) each."""
        if self.heads == 1:
            return ops.split(matmul(hidden, self.recurrent_kernel), 4, axis=-1)
        parts = zip(ops.split(hidden, self.heads, axis=-1), ops.split(self.recurrent_kernel, self.heads), strict=True)
        heads = [ops.split(ops.matmul(part, kernel), 4, axis=-1) for part, kernel in parts]
        return [ops.concatenate(gate, axis=-1) for gate in zip(*heads, strict=True)]

    def recur(self, projected, states, masks=None, matmul=ops.matmul):
        hidden, cell, normaliser, stabiliser = states
        recurrent = self._recurrent(self.hidden(hidden, masks), matmul)
        i, f, z, o = (p + q for p, q in zip(ops.split(projected, 4, axis=-1), recurrent, strict=True))
        if self.sigmoid_forget:
            f = -ops.softplus(-f)
        kept = f + stabiliser
        stabiliser = ops.maximum(kept, i)
        i, f = ops.exp(i - stabiliser), ops.exp(kept - stabiliser)
        cell, normaliser = f * cell + i * ops.tanh(z), f * normaliser + i
        hidden = ops.sigmoid(o) * cell / normaliser
        return hidden, [hidden, cell, normaliser, stabiliser]

    def get_config(self):
        return {**super().get_config(), "heads": self.heads, "sigmoid_forget": self.sigmoid_forget}


@keras.saving.register_keras_serializable(package="elman")
class MLSTMCell(KernelCell):
    """The mLSTM cell of xLSTM: a matrix memory of keys and values, whose gates see the input alone.

        q = x Wq + bq,  k = (x Wk + bk) / √d,  v = x Wv + bv,  o = σ(x Wo + bo)       vectors, d a head
        i~ = x wi + bi,  f~ = x wf + bf                                                one number a head
        m' = max(log σ(f~) + m, i~),  i = exp(i~ − m'),  f = exp(log σ(f~) + m − m')
        C' = f C + i k vᵀ,  n' = f n + i k
        h' = o ∘ (qᵀ C') / max(|qᵀ n'|, exp(−m'))                                      also the output

    with x the input, C, n, m the states (matrix memory, normaliser, stabiliser), per head, W, w the parts of the input
    kernel and b those of the bias (order q, k, v, o, i, f). Every product with x is hoisted out of the loop.

    Args:
        units: size of the output, heads · d.
        heads: number of heads, a divisor of units.
        The others: see `KernelCell`; what concerns a recurrent kernel has no effect, there is none. bf starts at 3 … 6,
            plus what bias_initializer gives.

    Call arguments: inputs (batch, features), states [C (batch, heads, d, d), n (batch, heads, d), m (batch, heads)].
    Reference: Beck et al. 2024, xLSTM: Extended Long Short-Term Memory (arXiv:2405.04517), §2.3; the cell alone.
    """

    def __init__(self, units, heads=1, **kwargs):
        super().__init__(units, **kwargs)
        if self.recurrent_dropout:
            raise ValueError(f"MLSTMCell: expected recurrent_dropout=0, received {self.recurrent_dropout}")
        self.heads = _check_heads(self.units, heads)
        self.size = self.units // heads
        self.state_size = [(heads, self.size, self.size), (heads, self.size), self.heads]

    def _add_kernels(self, features, hidden):
        width = 4 * self.units + 2 * self.heads
        self.input_kernel = self._add("input_kernel", (features, width), "kernel")
        self.bias = self._add("bias", (width,), "bias", self._initial_bias) if self.use_bias else None

    def _initial_bias(self, shape, dtype=None):
        start = [ops.zeros((shape[0] - self.heads,), dtype=dtype), ops.linspace(3.0, 6.0, self.heads, dtype=dtype)]
        return ops.concatenate(start) + self.bias_initializer(shape, dtype=dtype)

    def project(self, inputs, masks=None):
        projected = super().project(inputs, masks)
        units, heads = self.units, self.heads
        vectors = ops.reshape(projected[..., : 3 * units], (*ops.shape(inputs)[:-1], 3, heads, self.size))
        q, k, v = vectors[..., 0, :, :], vectors[..., 1, :, :] * self.size**-0.5, vectors[..., 2, :, :]
        o = ops.sigmoid(projected[..., 3 * units : 4 * units])
        i, f = projected[..., 4 * units : 4 * units + heads], -ops.softplus(-projected[..., 4 * units + heads :])
        return q, k, v, o, i, f

    def recur(self, projected, states, masks=None, matmul=ops.matmul):
        q, k, v, o, i, f = projected
        memory, normaliser, stabiliser = states
        kept = f + stabiliser
        stabiliser = ops.maximum(kept, i)
        i, f = ops.exp(i - stabiliser)[..., None], ops.exp(kept - stabiliser)[..., None]
        normaliser = f * normaliser + i * k
        memory = f[..., None] * memory + ops.expand_dims(i * k, -1) * ops.expand_dims(v, -2)
        read = ops.squeeze(ops.matmul(ops.expand_dims(q, -2), memory), -2)
        scale = ops.maximum(ops.abs(ops.sum(q * normaliser, axis=-1)), ops.exp(-stabiliser))
        hidden = o * ops.reshape(read / scale[..., None], (-1, self.units))
        return hidden, [memory, normaliser, stabiliser]

    def get_config(self):
        return {**super().get_config(), "heads": self.heads}
