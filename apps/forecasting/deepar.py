"""DeepAR: an autoregressive recurrent network whose output is the distribution of the next value."""

import keras
import numpy as np
from keras import ops, tree

from ...layers import GaussianHead, NegativeBinomialHead, Recurrent, StackedCells, StudentTHead
from .segment import CELLS, least_scale

HEADS = {"student_t": StudentTHead, "gaussian": GaussianHead, "negative_binomial": NegativeBinomialHead}


@keras.saving.register_keras_serializable(package="elman")
class AutoregressiveNetwork(keras.layers.Layer):
    """The distribution of every value of a window given those before it; `step` gives the next one from a state.

        m, s   = location and scale of the look-back
        x_t    = [(y_{t−l} − m) / s for each lag l, what is known of step t, log s, the series' embedding]
        h_t    = the cells' output after x_t
        y_t    ~ distribution(V dropout(h_t) + c), its location m and spread times s

    Args:
        lookback, horizon: steps of a window; `lags` are part of the look-back.
        lags: which past values each step sees.
        units, layers, cell, dropout: of the stack of cells; dropout before V.
        distribution: `student_t`, `gaussian` or `negative_binomial`.
        embedding, series: width of the series embedding, and how many series have one.
        centred: standardise by the mean and deviation of the look-back; otherwise m = 0 and s is the mean |y|, as
            counts want it.
        floors: the least scale of a window by series (`Codec.floors`).

    Shapes: a dict of y, observed (batch, lookback + horizon), series (batch,) and where the data have them since,
    future, static, to (batch, lookback − max(lags) + horizon, parameters + 2): the head's outputs, then m and s.
    Reference: Salinas et al. 2017, DeepAR (arXiv:1704.04110). Departures: centring, and all windows
    weigh the same.
    """

    def __init__(
        self, lookback, horizon, lags, units, layers=1, cell="lstm", dropout=0.0, distribution="student_t",
        embedding=0, series=0, centred=True, floors=(1e-6,), **kwargs,
    ):  # fmt: skip
        kwargs.setdefault("dtype", "float32")  # under mixed precision the cells and the head alone take 16 bits
        super().__init__(**kwargs)
        self.options = {
            "lookback": lookback, "horizon": horizon, "lags": lags, "units": units, "layers": layers, "cell": cell,
            "dropout": dropout, "distribution": distribution, "embedding": embedding, "series": series,
            "centred": centred, "floors": floors,
        }  # fmt: skip
        self.lookback, self.horizon, self.lags = lookback, horizon, tuple(lags)
        self.longest = max(self.lags)
        self.floors = np.array(floors, "float32")
        self.cell = StackedCells([CELLS[cell](units) for _ in range(layers)])
        self.over_time = Recurrent(self.cell, return_sequences=True)
        self.dropout = keras.layers.Dropout(dropout, dtype="float32")
        self.head = HEADS[distribution](1, name="distribution")

    def build(self, shapes):
        features = len(self.lags) + 2 + ("since" in shapes) + self.options["embedding"]
        features += sum(shapes[name][-1] for name in ("future", "static") if name in shapes)
        self.over_time.build((None, None, features))
        self.head.build((None, None, self.options["units"]))
        if self.options["embedding"]:
            shape = (self.options["series"] + 1, self.options["embedding"])
            self.identities = self.add_weight(shape, "random_normal", name="series")
        self.built = True

    def call(self, inputs, training=False):
        y, observed = inputs["y"], inputs["observed"]
        loc, scale = self.scaling(y[:, : self.lookback], observed[:, : self.lookback], inputs["series"])
        first, steps = self.longest, self.lookback - self.longest + self.horizon
        lagged = [(y[:, first - lag : first - lag + steps] - loc) / scale for lag in self.lags]
        before = [observed[:, first - 1 : first - 1 + steps]]
        if "since" in inputs:
            before.append(inputs["since"][:, first - 1 : first - 1 + steps])
        parts = [ops.stack([*lagged, *before], axis=-1)]
        if "future" in inputs:
            parts.append(inputs["future"][:, first:])
        constant = self.constant(inputs, scale)
        parts.append(ops.repeat(constant[:, None], steps, axis=1))
        hidden = self.over_time(ops.concatenate(parts, axis=-1))
        outputs = ops.cast(self.head(self.dropout(hidden, training=training)), self.compute_dtype)
        units = ops.repeat(ops.stack([loc, scale], axis=-1), steps, axis=1)
        return ops.concatenate([outputs, units], axis=-1)

    def step(self, inputs):
        """An observation and the state in; the distribution of the next value, in raw units, and the next state out."""
        loc, scale = inputs["window_loc"][:, None], inputs["window_scale"][:, None]
        history = ops.concatenate([inputs["history"][:, 1:], inputs["value"][:, None]], axis=1)
        lagged = [(history[:, self.longest - lag] - loc[:, 0]) / scale[:, 0] for lag in self.lags]
        before = [inputs["observed"], *([inputs["since"]] if "since" in inputs else [])]
        parts = [ops.stack([*lagged, *before], axis=-1)]
        if "future" in inputs:
            parts.append(inputs["future"])
        parts.append(self.constant(inputs, scale))
        names = self.state_names()
        states = tree.pack_sequence_as(self.cell.state_size, [inputs[name] for name in names])
        output, states = self.cell.step(ops.concatenate(parts, axis=-1), states)
        parameters = self.parameters(self.head(output), loc, scale)
        following = {f"next_{name}": state for name, state in zip(names, tree.flatten(states), strict=True)}
        flat = {name: value[:, 0] for name, value in parameters.items()}
        return {**flat, "next_history": history, **following}

    def state_names(self) -> list[str]:
        return [f"state_{i}" for i in range(len(tree.flatten(self.cell.state_size)))]

    def scaling(self, y, observed, series):
        """Location and scale of each window, (batch, 1) each; `predict.window_scaling` is the same in NumPy."""
        count = ops.maximum(ops.sum(observed, axis=1, keepdims=True), 1.0)
        size = ops.sum(ops.abs(y) * observed, axis=1, keepdims=True) / count
        least = least_scale(self.floors, series, size)
        if not self.options["centred"]:
            return ops.zeros_like(size), ops.maximum(ops.where(size > 1e-6, size, ops.ones_like(size)), least)
        loc = ops.sum(y * observed, axis=1, keepdims=True) / count
        scale = ops.sqrt(ops.sum(ops.square(y - loc) * observed, axis=1, keepdims=True) / count)
        return loc, ops.maximum(scale, least)

    def constant(self, inputs, scale):
        """What does not change over a window: (batch, features)."""
        parts = [ops.log(scale)]
        if "static" in inputs:
            parts.append(inputs["static"])
        if self.options["embedding"]:
            parts.append(ops.take(self.identities, inputs["series"], axis=0))
        return ops.concatenate(parts, axis=-1)

    def parameters(self, outputs, loc, scale):
        """The head's parameters in raw units."""
        parameters = self.head.params(outputs)
        for name in ("location", "scale", "mean"):
            if name in parameters:
                parameters[name] = parameters[name] * scale
        if "location" in parameters:
            parameters["location"] = parameters["location"] + loc
        if "dispersion" in parameters:
            parameters["dispersion"] = parameters["dispersion"] / ops.sqrt(scale)
        return parameters

    def compute_output_spec(self, inputs, training=False):
        steps = self.lookback - self.longest + self.horizon
        return keras.KerasTensor((inputs["y"].shape[0], steps, self.head.width + 2), dtype="float32")

    def get_config(self):
        return {**super().get_config(), **self.options}
