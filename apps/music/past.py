"""Attention over the steps that were heard, within a window that bounds its cost."""

import keras
from keras import ops

NEVER = -1e9
SHARP = 12.0  # Adam moves a weight by the learning rate at most: one place among hundreds is to stand out soon
NOWHERE = 0.75  # the cosine that a place must exceed at first, to be looked at


@keras.saving.register_keras_serializable(package="elman")
class PastAttention(keras.layers.Layer):
    """What followed when the network was in a similar state: a look at the last steps, each head by itself.

        e_ti = S (a cos(Q h_t, K h_i) + b_{t−i})                for 1 ≤ t − i ≤ steps
        w_t  = softmax over i of (e_t, S s)                     the weight of s, of looking nowhere, is dropped
        c_t  = Σ_i w_ti x_{i+1}

    with the hidden state h_t that predicts step t, x_{i+1} what sounded in step i (the input after h_i), a scale a, a
    bias b for every distance and a threshold s, all trained, and a constant S. A theme that returns is found by its
    state or by its distance, and what followed it then is c_t. K begins as Q: like finds like before it has learnt.

    Args:
        steps: of the past that are seen. heads: how many. key_size: d.

    State: keys (batch, steps, heads · d + 1), the last number 1 where a step was heard; values
    (batch, steps, features); zeros at first.
    Shapes: hidden states (batch, time, units), values (batch, time, features); c (batch, time, heads · features).
    References: Vaswani et al. 2017 (arXiv:1706.03762), attention; Merity et al. 2016 (arXiv:1609.07843), a
    sentinel to look at where the past holds nothing.
    """

    def __init__(self, steps, heads=2, key_size=24, **kwargs):
        super().__init__(**kwargs)
        for name, value in (("steps", steps), ("heads", heads), ("key_size", key_size)):
            if value < 1:
                raise ValueError(f"PastAttention: expected {name} of 1 or more, received {value!r}")
        self.steps, self.heads, self.key_size = steps, heads, key_size

    def build(self, hidden_shape, values_shape=None):
        width = self.heads * self.key_size
        self.query_kernel = self.add_weight((hidden_shape[-1], width), "glorot_uniform", name="query_kernel")
        self.key_kernel = self.add_weight((hidden_shape[-1], width), "glorot_uniform", name="key_kernel")
        self.key_kernel.assign(self.query_kernel)
        self.scale = self.add_weight((self.heads, 1, 1), "ones", name="scale")
        self.distance_bias = self.add_weight((self.heads, self.steps), "zeros", name="distance_bias")
        self.nowhere = self.add_weight((self.heads, 1), keras.initializers.Constant(NOWHERE), name="nowhere")
        self.built = True

    def state_shapes(self, features: int) -> dict[str, tuple[int, int]]:
        """Name and shape, without the batch, of each state for values of so many features."""
        return {
            "past_keys": (self.steps, self.heads * self.key_size + 1),
            "past_values": (self.steps, features),
        }

    def call(self, hidden, values):
        """c_t of every step; `values` are the inputs x_t, of which none after x_t is seen."""
        time = ops.shape(hidden)[1]
        place = ops.arange(time)
        ago = ops.expand_dims(place, 1) - ops.expand_dims(place, 0)
        seen = ops.logical_and(ago >= 1, ago <= self.steps)
        bias = SHARP * ops.take(self.distance_bias, ops.clip(ago, 1, self.steps) - 1, axis=1)
        bias = ops.where(seen, bias, NEVER)
        key = self._split(self.keys(hidden)[..., :-1])
        scores = ops.matmul(self.queries(hidden), ops.swapaxes(key, -1, -2)) + bias
        following = ops.concatenate([values[:, 1:], ops.zeros_like(values[:, :1])], axis=1)
        return self._read(scores, following)

    def step(self, hidden, value, keys, values):
        """c_t (batch, heads · features) and the states after step t."""
        values = ops.concatenate([values[:, 1:], ops.expand_dims(value, 1)], axis=1)
        hidden = ops.expand_dims(hidden, 1)
        query = self.queries(hidden)
        scores = ops.matmul(query, ops.swapaxes(self._split(keys[..., :-1]), -1, -2))
        heard = ops.expand_dims(ops.expand_dims(keys[..., -1], 1), 1)
        scores = scores + SHARP * ops.expand_dims(ops.flip(self.distance_bias, axis=1), 1) + (1.0 - heard) * NEVER
        keys = ops.concatenate([keys[:, 1:], self.keys(hidden)], axis=1)
        return ops.squeeze(self._read(scores, values), 1), keys, values

    def last_states(self, hidden, values):
        """The states after the last step of hidden states and values (batch, time, …) from nothing."""
        found = []
        for sequence in (self.keys(hidden), values):
            blank = ops.tile(ops.zeros_like(sequence[:, :1]), (1, self.steps, 1))
            found.append(ops.concatenate([blank, sequence], axis=1)[:, -self.steps :])
        return found

    def queries(self, hidden):
        """S a Q h, Q h of length 1: (batch, heads, time, d)."""
        return SHARP * self.scale * self._unit(ops.matmul(hidden, self.query_kernel))

    def keys(self, hidden):
        """K h of length 1 in every head, and a 1 that says that it was heard: (batch, time, heads · d + 1)."""
        found = self._unit(ops.matmul(hidden, self.key_kernel))
        key = ops.reshape(ops.transpose(found, (0, 2, 1, 3)), (-1, ops.shape(hidden)[1], self.heads * self.key_size))
        return ops.concatenate([key, ops.ones_like(key[..., :1])], axis=-1)

    def _split(self, x):
        """(batch, time, heads · d) to (batch, heads, time, d)."""
        return ops.transpose(ops.reshape(x, (-1, ops.shape(x)[1], self.heads, self.key_size)), (0, 2, 1, 3))

    def _unit(self, x):
        """(batch, time, heads · d) to (batch, heads, time, d) of length 1, or shorter where it is all but 0: a
        float32 has no direction there."""
        x = self._split(x)
        return x * ops.rsqrt(ops.sum(ops.square(x), axis=-1, keepdims=True) + 1e-3)

    def _read(self, scores, values):
        """The weighted values (batch, time, heads · features) of scores (batch, heads, time, steps)."""
        nowhere = SHARP * ops.expand_dims(self.nowhere, 1) + ops.zeros_like(scores[..., :1])
        scores = ops.concatenate([scores, nowhere], axis=-1)
        weights = ops.softmax(scores, axis=-1)[..., :-1]
        read = ops.transpose(ops.matmul(weights, ops.expand_dims(values, 1)), (0, 2, 1, 3))
        return ops.reshape(read, (-1, ops.shape(scores)[2], self.heads * values.shape[-1]))

    def compute_output_spec(self, hidden, values):
        return keras.KerasTensor((*hidden.shape[:-1], self.heads * values.shape[-1]), dtype=hidden.dtype)

    def get_config(self):
        return {**super().get_config(), "steps": self.steps, "heads": self.heads, "key_size": self.key_size}
