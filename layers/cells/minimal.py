"""Gated cells reduced to what can run in parallel over time."""

import keras
from keras import ops

from .linear import InputGatedCell


def positive_candidate(x):
    """x + ½ where x ≥ 0, σ(x) elsewhere: continuous, and above 0."""
    return ops.where(x >= 0, x + 0.5, ops.sigmoid(x))


class MinimalCell(InputGatedCell):
    """What minGRU and minLSTM share: `units`, and whether candidates are kept positive."""

    def __init__(self, units, positive=True, **kwargs):
        super().__init__(units, **kwargs)
        self.positive = positive

    def candidate(self, x):
        return positive_candidate(x) if self.positive else x

    def get_config(self):
        return {**super().get_config(), "positive": self.positive}


@keras.saving.register_keras_serializable(package="elman")
class MinGRUCell(MinimalCell):
    """The minimal gated recurrent unit.

        z = σ(x Wz + bz)                 update gate
        g = candidate(x Wh + bh)
        h' = (1 − z) ∘ h + z ∘ g         also the output

    with x the input, h the hidden state, W the input kernel and b the bias (order z, h). candidate(x) = x + ½ where
    x ≥ 0 and σ(x) elsewhere, as the paper's log-space form has it, so h stays positive; with positive=False it is x.

    Args:
        units: size of h.
        positive: see above.
        The others: see `KernelCell`; what concerns a recurrent kernel has no effect, there is none.

    Call arguments: inputs (batch, features), states [h]. Returns h' and [h']. Runs in parallel over time.
    Reference: Feng et al. 2024, Were RNNs All We Needed? (arXiv:2410.01201). The parallel form is `linear_scan`, which
    needs no log space to be stable.
    """

    gates = 2

    def project(self, inputs, masks=None):
        gate, candidate = ops.split(super().project(inputs, masks), 2, axis=-1)
        return ops.sigmoid(-gate), ops.sigmoid(gate) * self.candidate(candidate)


@keras.saving.register_keras_serializable(package="elman")
class MinLSTMCell(MinimalCell):
    """The minimal long short-term memory, its gates normalised.

        f = σ(x Wf + bf),  i = σ(x Wi + bi)                 forget and input gate
        g = candidate(x Wh + bh)
        h' = f / (f + i) ∘ h + i / (f + i) ∘ g              also the output

    with x the input, h the hidden state, W the input kernel and b the bias (order f, i, h); candidate as in
    `MinGRUCell`.

    Args: see `MinGRUCell`.

    Call arguments: inputs (batch, features), states [h]. Returns h' and [h']. Runs in parallel over time.
    Reference: Feng et al. 2024, Were RNNs All We Needed? (arXiv:2410.01201).
    """

    gates = 3

    def project(self, inputs, masks=None):
        forget, gate, candidate = ops.split(super().project(inputs, masks), 3, axis=-1)
        # f / (f + i) = σ(log f − log i), and log σ(x) = −softplus(−x).
        keep = ops.softplus(-gate) - ops.softplus(-forget)
        return ops.sigmoid(keep), ops.sigmoid(-keep) * self.candidate(candidate)
