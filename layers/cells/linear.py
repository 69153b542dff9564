"""Recurrences that are linear in the state: their time axis can be cut in chunks that run side by side."""

import math

import keras
from keras import ops

from .. import kernels
from .base import Cell, KernelCell, check_units


def linear_scan(a, b, start):
    """All h_t = a_t h_{t−1} + b_t, t = 1 … T, from h₀ = start: the list of the tensors of h, time first.

    On TensorFlow the sequence is cut into about √T chunks, which advance together, step by step from zero, keeping the
    products of their a; a second loop then carries the state from chunk to chunk. That is 2 √T steps on large tensors
    in place of T on small ones. Nothing is divided and no logarithm taken, so it is as exact as the loop. On JAX, whose
    compiled loop has no cost per step, it is the plain loop. The gradient is the same recurrence, backwards, and keeps
    nothing but a and h.

    Args:
        a, b, start: numbers, each a tuple (real,) or (real, imaginary) of tensors: a and b (T, batch, units), start
            (batch, units). The batch of a may be 1.
    """
    parts = len(a)

    @ops.custom_gradient
    def run(*flat):
        a, b, start = flat[:parts], flat[parts : 2 * parts], flat[2 * parts :]
        states = _scan(a, b, start)

        def gradient(*upstream):
            after = _conjugate([ops.concatenate([x[1:], ops.zeros_like(x[:1])]) for x in a])
            zeros = [ops.zeros_like(x) for x in start]
            db = _scan([ops.flip(x, 0) for x in after], [ops.flip(x, 0) for x in upstream], zeros)
            db = [ops.flip(x, 0) for x in db]
            before = [ops.concatenate([s[None], x[:-1]]) for s, x in zip(start, states, strict=True)]
            da = _times(_conjugate(before), db)
            if a[0].shape[1] == 1:
                da = [ops.sum(x, axis=1, keepdims=True) for x in da]
            dstart = _times(_conjugate([x[0] for x in a]), [x[0] for x in db])
            return (*da, *db, *dstart)

        return tuple(states), gradient

    states = run(*a, *b, *start)
    return list(states) if isinstance(states, list | tuple) else [states]


def _times(a, b):
    """The product of two numbers, each (real,) or (real, imaginary)."""
    if len(a) == 1:
        return [a[0] * b[0]]
    return [a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]]


def _conjugate(a):
    return [a[0], *(-x for x in a[1:])]


def _plus(a, b):
    return [x + y for x, y in zip(a, b, strict=True)]


def _loop(a, b, start):
    def step(now, state):
        state = _plus(_times(now[0], state), now[1])
        return ops.concatenate(state, axis=-1), state

    # Not `ops.scan`, which on TensorFlow wants to know the length.
    states = kernels.scan(step, (list(a), list(b)), list(start), True, True)[0]
    return ops.split(states, len(a), axis=-1)


def _scan(a, b, start):
    if keras.backend.backend() == "jax":
        return _loop(a, b, start)
    known, length = b[0].shape[0], ops.shape(b[0])[0]
    size = 32 if known is None else 2 ** round(math.log2(max(known, 1)) / 2)
    chunks = -(-length // size)

    def fold(x):
        """(T, …) to (steps of a chunk, chunks, …), zeros after the end."""
        rest = ops.shape(x)[1:]
        x = ops.concatenate([x, ops.zeros((chunks * size - length, *rest), dtype=x.dtype)])
        return ops.swapaxes(ops.reshape(x, (chunks, size, *rest)), 0, 1)

    def step(carry, now):
        carry = _times(now[0], carry[0]), _plus(_times(now[0], carry[1]), now[1])
        return carry, carry

    a, b = [fold(x) for x in a], [fold(x) for x in b]
    one = [ops.ones_like(a[0][0]), *(ops.zeros_like(x[0]) for x in a[1:])]
    last, (products, states) = ops.scan(step, (one, [ops.zeros_like(x[0]) for x in b]), (a, b))
    ends = _loop(*last, start)
    before = [ops.concatenate([s[None], end[:-1]])[None] for s, end in zip(start, ends, strict=True)]
    states = _plus(_times(products, before), states)
    return [ops.reshape(ops.swapaxes(x, 0, 1), (-1, *ops.shape(x)[2:]))[:length] for x in states]


class InputGatedCell(KernelCell):
    """A cell whose gates see the input alone: an input kernel W and a bias b, no recurrent kernel.

    It can then run in parallel over time: `parallel(projected, states, keep) -> (outputs, states)`, time first, equals
    the loop of `recur` over what `project` returns for a whole sequence; where keep (time, batch, 1) is false, the
    states stay as they are.
    """

    def __init__(self, units, **kwargs):
        super().__init__(units, **kwargs)
        if self.recurrent_dropout:
            raise ValueError(
                f"{type(self).__name__} has no recurrent kernel: expected recurrent_dropout=0, received "
                f"{self.recurrent_dropout}"
            )

    def _add_kernels(self, features, hidden):
        width = self.gates * self.units
        self.input_kernel = self._add("input_kernel", (features, width), "kernel")
        self.bias = self._add("bias", (width,), "bias") if self.use_bias else None

    def recur(self, projected, states, masks=None, matmul=ops.matmul):
        a, b = projected
        hidden = a * states[0] + b
        return hidden, [hidden]

    def parallel(self, projected, states, keep=None):
        """The outputs (time, batch, units) and the final states."""
        a, b = projected
        if keep is not None:
            a, b = ops.where(keep, a, ops.ones_like(a)), ops.where(keep, b, ops.zeros_like(b))
        (hidden,) = linear_scan((a,), (b,), (states[0],))
        return hidden, [hidden[-1]]


@keras.saving.register_keras_serializable(package="elman")
class LRUCell(Cell):
    """The linear recurrent unit: a diagonal linear recurrence of complex states, in real arithmetic.

        s' = λ ∘ s + γ ∘ (x B),   λ = exp(−exp ν + i exp θ)
        y = Re(s' C) + x D

    with x the input, s the complex state (two real tensors), λ its decay and rotation (|λ| < 1 for any ν), γ the input
    gain, B the input kernel, C the output kernel, D the skip kernel and y the output.

    Args:
        units: size of y.
        state_units: number N of complex states, `units` by default.
        min_radius, max_radius: |λ| is drawn from this ring, evenly over its area.
        max_phase: the angle of λ is drawn from [0, max_phase].
        seed: seeds ν, θ, B, C and D.

    Call arguments: inputs (batch, features), states [real, imaginary], each (batch, N). Returns y and the new states.
    Runs in parallel over time: see `linear_scan`.
    Reference: Orvieto et al. 2023, Resurrecting Recurrent Neural Networks for Long Sequences (arXiv:2303.06349).
    """

    def __init__(self, units, state_units=None, min_radius=0.4, max_radius=0.99, max_phase=6.28, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.units = check_units(units)
        self.state_units = self.units if state_units is None else check_units(state_units, "state_units")
        if not 0 <= min_radius < max_radius < 1:
            raise ValueError(f"expected 0 <= min_radius < max_radius < 1, received {min_radius} and {max_radius}")
        if not max_phase > 0:
            raise ValueError(f"expected max_phase above 0, received {max_phase}")
        self.min_radius, self.max_radius, self.max_phase, self.seed = min_radius, max_radius, max_phase, seed
        self.state_size = [self.state_units, self.state_units]
        self.output_size = self.units

    def build(self, input_shape):
        features, states = input_shape[-1], self.state_units
        seeds = keras.random.SeedGenerator(self.seed)

        def uniform(shape, dtype=None):
            return keras.random.uniform(shape, minval=1e-4, dtype=dtype, seed=seeds)

        def log_decay(shape, dtype=None):
            low, high = self.min_radius**2, self.max_radius**2
            return ops.log(-0.5 * ops.log(low + (high - low) * uniform(shape, dtype)))

        def normal(deviation):
            return lambda shape, dtype=None: deviation * keras.random.normal(shape, dtype=dtype, seed=seeds)

        def add(name, shape, initializer):
            return self.add_weight(shape=shape, initializer=initializer, name=name)

        self.log_decay = add("log_decay", (states,), log_decay)
        self.log_phase = add("log_phase", (states,), lambda s, dtype=None: ops.log(self.max_phase * uniform(s, dtype)))
        self.log_gain = add("log_gain", (states,), self._initial_gain)
        self.input_kernel = add("input_kernel", (features, 2 * states), normal((2 * features) ** -0.5))
        self.output_kernel = add("output_kernel", (2 * states, self.units), normal(states**-0.5))
        self.skip_kernel = add("skip_kernel", (features, self.units), normal(features**-0.5))

    def _initial_gain(self, shape, dtype=None):
        """γ = √(1 − |λ|²): the state keeps the variance of a white input."""
        return 0.5 * ops.log(-ops.expm1(-2.0 * ops.exp(ops.convert_to_tensor(self.log_decay.value))))

    def _eigenvalues(self):
        radius, phase = ops.exp(-ops.exp(self.log_decay)), ops.exp(self.log_phase)
        return [ops.cast(x, self.compute_dtype) for x in (radius * ops.cos(phase), radius * ops.sin(phase))]

    def project(self, inputs, masks=None):
        gain = ops.exp(self.log_gain)
        driven = ops.matmul(inputs, self.input_kernel * ops.concatenate([gain, gain]))
        return driven, ops.matmul(inputs, self.skip_kernel)

    def recur(self, projected, states, masks=None, matmul=ops.matmul):
        driven, skip = projected
        states = _plus(_times(self._eigenvalues(), states), ops.split(driven, 2, axis=-1))
        return self._read(states, matmul) + skip, states

    def _read(self, states, matmul):
        # Re(s C) of complex s and C: the lower half of the kernel holds minus the imaginary part of C.
        return matmul(ops.concatenate(states, axis=-1), self.output_kernel)

    def parallel(self, projected, states, keep=None):
        """The outputs (time, batch, units) and the final states."""
        driven, skip = projected
        shape = (ops.shape(driven)[0], 1, self.state_units)
        a = [ops.broadcast_to(x, shape) for x in self._eigenvalues()]
        a = [ops.reshape(x, (driven.shape[0] or -1, 1, self.state_units)) for x in a]
        if keep is not None:
            driven = ops.where(keep, driven, ops.zeros_like(driven))
            a = [ops.where(keep, x, y) for x, y in zip(a, (ops.ones_like(a[0]), ops.zeros_like(a[1])), strict=True)]
        all_states = linear_scan(a, ops.split(driven, 2, axis=-1), states)
        return self._read(all_states, ops.matmul) + skip, [s[-1] for s in all_states]

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "state_units": self.state_units,
            "min_radius": self.min_radius,
            "max_radius": self.max_radius,
            "max_phase": self.max_phase,
            "seed": self.seed,
        }
