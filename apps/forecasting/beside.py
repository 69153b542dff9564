"""Linear forecasts that stand beside a recurrent one: their errors differ from its own."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="elman")
class LinearMap(keras.layers.Layer):
    """x W, to which each series may add x W_s.

    Args: lookback: how many numbers x has. horizon: steps. series: how many series have a map of their own, 0 for none.

    Shapes: x (batch, lookback), the past less its last value, or levels; series (batch,), 0 an unknown one; to (batch,
    horizon).

    Reference: Zeng et al. 2023, NLinear (arXiv:2205.13504). Departure: the maps of single series.
    """

    def __init__(self, lookback, horizon, series=0, **kwargs):
        super().__init__(**kwargs)
        self.lookback, self.horizon, self.series = lookback, horizon, series

    def build(self, *_):
        self.kernel = self.add_weight((self.lookback, self.horizon), "zeros", name="kernel")
        if self.series:
            self.own = self.add_weight((self.series + 1, self.lookback, self.horizon), "zeros", name="own")
        self.built = True

    def call(self, x, series):
        found = ops.matmul(x, self.kernel)
        if not self.series:
            return found
        placed = ops.one_hot(series, self.series + 1, dtype=x.dtype)[:, :, None] * x[:, None]
        width = (self.series + 1) * self.lookback
        return found + ops.matmul(ops.reshape(placed, (-1, width)), ops.reshape(self.own, (width, self.horizon)))

    def compute_output_spec(self, x, series):
        return keras.KerasTensor((x.shape[0], self.horizon), dtype=self.compute_dtype)

    def get_config(self):
        own = {"lookback": self.lookback, "horizon": self.horizon, "series": self.series}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="elman")
class PeriodMap(keras.layers.Layer):
    """Each step of the horizon from the past steps at the same place of the period, smoothed over their neighbours:

        s = x + x * v          (v: 2 ⌊period / 2⌋ + 1 steps around each)
        ŷ at phase p = W (s at phase p), the same W for all phases

    Args: lookback, horizon, period: steps; what is left of the look-back by whole periods is passed over.

    Shapes: x (batch, lookback) to (batch, horizon).

    Reference: Lin et al. 2024, SparseTSF (arXiv:2405.00946). Departures: W begins as a mean, v as nothing.
    """

    def __init__(self, lookback, horizon, period, **kwargs):
        super().__init__(**kwargs)
        self.lookback, self.horizon, self.period = lookback, horizon, period
        self.before, self.ahead = lookback // period, -(-horizon // period)
        if not self.before:
            raise ValueError(f"period: expected at most the look-back of {lookback} steps, received {period}")
        width = 2 * (period // 2) + 1
        self.smooth = keras.layers.Conv1D(1, width, padding="same", use_bias=False, kernel_initializer="zeros")
        mean = keras.initializers.Constant(1.0 / self.before)
        self.dense = keras.layers.Dense(self.ahead, use_bias=False, kernel_initializer=mean)

    def build(self, *_):
        self.smooth.build((None, None, 1))
        self.dense.build((None, None, self.before))
        self.built = True

    def call(self, x):
        x = x + self.smooth(x[..., None])[..., 0]
        phases = ops.reshape(x[:, self.lookback - self.before * self.period :], (-1, self.before, self.period))
        found = ops.transpose(self.dense(ops.transpose(phases, (0, 2, 1))), (0, 2, 1))
        return ops.reshape(found, (-1, self.ahead * self.period))[:, : self.horizon]

    def compute_output_spec(self, x):
        return keras.KerasTensor((x.shape[0], self.horizon), dtype=self.compute_dtype)

    def get_config(self):
        own = {"lookback": self.lookback, "horizon": self.horizon, "period": self.period}
        return {**super().get_config(), **own}
