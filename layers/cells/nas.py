import keras
from keras import ops

from .base import KernelCell


@keras.saving.register_keras_serializable(package="elman")
class NASCell(KernelCell):
    """The cell that neural architecture search found, with eight gates.

        pₖ = x Wₖ + bₖ,  qₖ = h Uₖ,   k = 0 … 7
        s = σ(p₀ + q₀),  r = relu(p₁ + q₁),  t = σ(p₂ + q₂),  v = relu(p₃ ∘ q₃)
        w = tanh(p₄ + q₄),  y = σ(p₅ + q₅),  z = tanh(p₆ + q₆),  o = σ(p₇ + q₇)
        c' = tanh(tanh(s ∘ r) + c) ∘ tanh(t + v)
        h' = tanh(c' ∘ tanh(tanh(w ∘ y) + σ(z + o)))              also the output

    with x the input, h and c the states, W the input kernel, U the recurrent kernel and b the bias.

    Args:
        units: size of h and c.
        The others: see `KernelCell`.

    Call arguments: inputs (batch, features), states [h, c]. Returns h' and [h', c'].
    Reference: Zoph & Le 2016, Neural Architecture Search with Reinforcement Learning (arXiv:1611.01578), as in
    TensorFlow Addons' NASCell, except that the bias is on the side of the inputs, which matters to p₃ ∘ q₃ alone.
    """

    gates = 8

    def __init__(self, units, **kwargs):
        super().__init__(units, **kwargs)
        self.state_size = [self.units, self.units]

    def recur(self, projected, states, masks=None, matmul=ops.matmul):
        hidden, cell = states
        p = ops.split(projected, 8, axis=-1)
        q = ops.split(matmul(self.hidden(hidden, masks), self.recurrent_kernel), 8, axis=-1)
        s, t, y, o = (ops.sigmoid(p[k] + q[k]) for k in (0, 2, 5, 7))
        w, z = (ops.tanh(p[k] + q[k]) for k in (4, 6))
        r, v = ops.relu(p[1] + q[1]), ops.relu(p[3] * q[3])
        cell = ops.tanh(ops.tanh(s * r) + cell) * ops.tanh(t + v)
        hidden = ops.tanh(cell * ops.tanh(ops.tanh(w * y) + ops.sigmoid(z + o)))
        return hidden, [hidden, cell]
