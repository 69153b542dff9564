import math

import keras
from keras import ops

from .additive import BahdanauAttention
from .base import read
from .dot_product import LuongAttention

MODES = ("parallel", "hard")


class Monotonic:
    """Monotonic alignment on top of a score e: it stops at one position, and never goes back.

        pᵢ = σ(eᵢ + r)                                              the probability to stop at i
        parallel:  αᵢ = pᵢ qᵢ,  qᵢ = (1 − pᵢ₋₁) qᵢ₋₁ + α'ᵢ           the expected alignment, α' that of the step before
        hard:      αᵢ = 1 at the first i from the position before on where eᵢ + r > 0, and 0 elsewhere
        context = Σ αᵢ mᵢ

    with r a trained offset. α' is 1 at position 0 before the first step. Train in parallel mode; decode in hard mode,
    which is the one to export. The weights may sum to less than one: nothing is read where the search runs off the end.

    In training, normal noise of the standard deviation `noise` is added to the scores, so that p learns to saturate.

    State: α' (batch, positions). Shapes, masking: see `Attention`.
    Reference: Raffel et al. 2017, Online and Linear-Time Attention by Enforcing Monotonic
    Alignments (arXiv:1704.00784). qᵢ is computed as a linear recurrence in log₂(positions) products, not as the paper's
    quotient of cumulative products, which has to be clipped.
    """

    state_size = ((None,),)

    def _set_monotonic(self, mode, offset, noise):
        if mode not in MODES:
            raise ValueError(f"{type(self).__name__}: expected mode to be one of {MODES}, received {mode!r}")
        self.mode = mode
        if noise < 0:
            raise ValueError(f"{type(self).__name__}: expected noise of 0 or more, received {noise!r}")
        self.offset_start = offset
        self.noise = noise
        if noise:
            self.seed_generator = keras.random.SeedGenerator()

    def build(self, query_shape, memory_shape):
        self.offset = self.add("offset", (), keras.initializers.Constant(self.offset_start))
        super().build(query_shape, memory_shape)

    def initial_state(self, memory):
        mask = memory[2]
        return [ops.one_hot(ops.zeros_like(mask[:, 0], dtype="int32"), ops.shape(mask)[1], dtype=mask.dtype)]

    def attend(self, query, memory, state, uniform=None):
        values, keys, mask = memory
        scores = self.score(query, keys, state) + self.offset
        if uniform is not None:
            scores = scores + self.noise * normal_noise(uniform, mask)
        align = expected_alignment if self.mode == "parallel" else hard_alignment
        weights = align(scores, mask, state[0])
        return read(weights, values), weights, [weights]

    def get_config(self):
        return {**super().get_config(), "mode": self.mode, "offset": self.offset_start, "noise": self.noise}


def expected_alignment(scores, mask, previous):
    """αᵢ = pᵢ qᵢ, qᵢ = (1 − pᵢ₋₁) qᵢ₋₁ + α'ᵢ."""
    stop = ops.sigmoid(scores) * mask
    go = ops.pad((1.0 - stop)[:, :-1], ((0, 0), (1, 0)))
    return stop * linear_recurrence(go, previous)


def hard_alignment(scores, mask, previous):
    """One at the first position, not before the one of `previous`, whose score is positive."""
    reached = ops.cumsum(previous, axis=-1)
    chosen = ops.cast(scores > 0, mask.dtype) * mask * reached
    return chosen * ops.cast(ops.equal(ops.cumsum(chosen, axis=-1), 1.0), mask.dtype)


def normal_noise(uniform, like):
    """Normal noise (batch, positions) from uniform numbers (u, v) (batch, 2), for a step of unknown positions.

    u + i v mod 1 is uniform, and pairwise independent over the positions i.
    """
    position = ops.cast(ops.arange(ops.shape(like)[1]), like.dtype)
    level = ops.mod(uniform[:, :1] + uniform[:, 1:] * position, 1.0)
    return math.sqrt(2.0) * ops.erfinv(ops.clip(2.0 * level - 1.0, -0.9999, 0.9999))


def linear_recurrence(a, b):
    """hᵢ = aᵢ hᵢ₋₁ + bᵢ along the last axis, from h₋₁ = 0: each round doubles how far back hᵢ sees."""
    size = a.shape[-1]
    position = ops.arange(ops.shape(a)[-1])

    def double(k, a, b):
        seen = ops.cast(position >= k, a.dtype)
        return 2 * k, a * ops.roll(a, k, axis=-1) * seen, b + a * ops.roll(b, k, axis=-1) * seen

    if size is None:
        return ops.while_loop(lambda k, a, b: k < ops.shape(a)[-1], double, (1, a, b))[2]
    k = 1
    while k < size:
        k, a, b = double(k, a, b)
    return b


@keras.saving.register_keras_serializable(package="elman")
class BahdanauMonotonicAttention(Monotonic, BahdanauAttention):
    """Monotonic attention with the additive score, by default normalised.

    Args:
        units: size of the score vector.
        mode: "parallel" (training) or "hard" (decoding).
        offset: start value of r; below 0, so that the search does not stop at once.
        noise: standard deviation of the noise on the scores in training.
        The others: see `BahdanauAttention`.
    """

    __doc__ += Monotonic.__doc__

    def __init__(self, units, mode="parallel", offset=-4.0, noise=0.0, normalize=True, **kwargs):
        super().__init__(units, normalize=normalize, **kwargs)
        self._set_monotonic(mode, offset, noise)


@keras.saving.register_keras_serializable(package="elman")
class LuongMonotonicAttention(Monotonic, LuongAttention):
    """Monotonic attention with a multiplicative score, by default scaled.

    Args:
        score: "dot", "general" or "concat".
        mode: "parallel" (training) or "hard" (decoding).
        offset: start value of r; below 0, so that the search does not stop at once.
        noise: standard deviation of the noise on the scores in training.
        The others: see `LuongAttention`.
    """

    __doc__ += Monotonic.__doc__

    def __init__(self, score="general", mode="parallel", offset=-4.0, noise=0.0, use_scale=True, **kwargs):
        super().__init__(score, use_scale=use_scale, **kwargs)
        self._set_monotonic(mode, offset, noise)
