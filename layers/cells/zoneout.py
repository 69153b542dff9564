import keras
from keras import ops, tree

from .base import check_rate
from .dropout import WrapperCell
from .xlstm import SLSTMCell


def _sizes(size):
    """The sizes of the states one after the other; that of a state which is no vector is a tuple."""
    return [inner for part in size for inner in _sizes(part)] if isinstance(size, list) else [size]


@keras.saving.register_keras_serializable(package="elman")
class ZoneoutCell(WrapperCell):
    """Zoneout: in training each unit keeps its old state with some probability, drawn anew at every step.

        training:   s'ₖ = d ∘ sₖ + (1 − d) ∘ newₖ,  d Bernoulli(rateₖ)
        inference:  s'ₖ = rateₖ sₖ + (1 − rateₖ) newₖ

    with sₖ the k-th state, newₖ what the cell makes of it. Where the cell's output is one of its states
    (as h of an LSTM or a GRU), the output is that state after zoneout.

    Args:
        cell: a cell of this package whose states are vectors that may be averaged (LSTM, GRU, Elman, …; of an sLSTM
            h alone).
        rates: the rate in [0, 1) of every state, or a list with one rate per state (for an LSTM: h, c).
        seed: seeds the draws.

    Reference: Krueger et al. 2016, Zoneout (arXiv:1606.01305).
    """

    def __init__(self, cell, rates=0.1, seed=None, **kwargs):
        super().__init__(cell, **kwargs)
        sizes = _sizes(self.state_size)
        self.rates = [rates] * len(sizes) if isinstance(rates, int | float) else list(rates)
        if any(not isinstance(size, int) for size in sizes):
            raise ValueError(f"expected a cell whose states are vectors, received states of sizes {self.state_size}")
        if len(self.rates) != len(sizes):
            raise ValueError(f"expected one rate for each of the states {self.state_size}, received {rates!r}")
        if isinstance(cell, SLSTMCell) and any(self.rates[1:]):
            raise ValueError(f"expected rates [rate, 0, 0, 0], as c, n and m are of one scale, received {rates!r}")
        for rate in self.rates:
            check_rate(rate, "rates")
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def project(self, inputs, masks=None):
        if masks is None:
            return self.cell.project(inputs)
        lead = ops.shape(inputs)[:-1]
        drawn = [
            keras.random.uniform((*lead, size), dtype=self.compute_dtype, seed=self.seed_generator)
            for size in tree.flatten(self.state_size)
        ]
        return self.cell.project(inputs, masks[0]), drawn

    def draw_masks(self, batch_size):
        return [self.cell.draw_masks(batch_size)]

    def recur(self, projected, states, masks=None, matmul=ops.matmul):
        drawn = [None] * len(self.rates)
        if masks is not None:
            projected, drawn = projected
        output, new = self.cell.recur(projected, states, masks and masks[0], matmul)
        zoned = []
        for rate, draw, old, now in zip(self.rates, drawn, tree.flatten(states), tree.flatten(new), strict=True):
            kept = rate * old + (1.0 - rate) * now if draw is None else ops.where(draw < rate, old, now)
            output = kept if output is now else output
            zoned.append(kept)
        return output, tree.pack_sequence_as(new, zoned)

    def get_config(self):
        return {**super().get_config(), "rates": self.rates, "seed": self.seed}
