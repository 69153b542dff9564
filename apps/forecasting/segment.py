"""SegRNN: segments of the past through one recurrent cell, all segments of the horizon in parallel."""

import keras
import numpy as np
from keras import ops

from ...layers import GRUCell, LSTMCell, Recurrent
from .beside import LinearMap, PeriodMap

CELLS = {"gru": GRUCell, "lstm": LSTMCell}


def symlog(y):
    """sign(y) log(1 + |y|): equal ratios of large values become equal differences."""
    return ops.sign(y) * ops.log(1.0 + ops.abs(y))


def symexp(x):
    """The values of which `symlog` is x."""
    return ops.sign(x) * (ops.exp(ops.abs(x)) - 1.0)


def changes(x, observed, lag):
    """What x changed by in `lag` steps, and where both ends were observed: (batch, steps − lag) each."""
    both = observed[:, lag:] * observed[:, : x.shape[1] - lag]
    return (x[:, lag:] - x[:, : x.shape[1] - lag]) * both, both


def moving_mean(x, there, window):
    """The mean of each `window` steps of x, 0 where nothing was there: (batch, steps − window + 1)."""
    sums = [ops.pad(ops.cumsum(part, axis=1), ((0, 0), (1, 0))) for part in (x, there)]
    total, count = (s[:, window:] - s[:, : s.shape[1] - window] for s in sums)
    return total / ops.maximum(count, 1.0)


def mean_size(x, there):
    """The mean of |x| where it was there, in which a 1 counts too (all there is where nothing was): (batch,)."""
    return (ops.sum(ops.abs(x) * there, axis=1) + 1.0) / (ops.sum(there, axis=1) + 1.0)


def least_scale(floors, series, size):
    """The least scale of each window, (batch, 1): its series' floor, and what float32 resolves of its size."""
    known = ops.take(ops.convert_to_tensor(floors), ops.minimum(series, len(floors) - 1))[:, None]
    return ops.maximum(known, 1e-5 * ops.abs(size) + 1e-6)


@keras.saving.register_keras_serializable(package="elman")
class SegmentNetwork(keras.layers.Layer):
    """Raw windows in; forecasts in the units of each window's own scale out, with that scale.

        x_t    = (y_t − loc) / scale − anchor
        s_i    = ReLU(W [x of segment i, what is known of it] + b)
        h      = the cell's state after the segments of the look-back
        d_j    = the cell's output after one step from h, on a position embedding of segment j and a series embedding
        ŷ_j    = V dropout(d_j) + c + anchor                 for all segments j of the horizon at once

    With `cycles` the anchor of a segment is an average: softmax(A d_j + a) weighs the last value and the same step of
    each cycle. With `fit` those steps at the present level (plus what the last cycle changed by since) are there too,
    and the weights are softmax(A d_j + a − γ log e), e being how far each was off within the look-back and γ learnt
    (Bates and Granger 1969). With `log` all of it is of symlog(y).

    With `beside` there are other forecasts of the same scaled values too, most of them linear. `combined` moves the
    recurrent one to the mean of its median and theirs; `ScaledLoss` trains each apart, so that their errors differ (see
    above). One of them also goes back towards the usual level of its series, which is x = 0 where `tables` is given:

        l_k    = the mean of what was observed in the last spans[k] steps of x
        ŷ      = the forecast of `period` + l W + l W_s          W_s: a map for each series

    Args:
        lookback, horizon, segment: steps. units: hidden units. embedding: width of the series embedding.
        series: how many series have an embedding (and, where `tables` is given, a scale) of their own.
        outputs: numbers per step, 1 or as many as there are quantile levels; `centre` is the median's place.
        season: 0 anchors at the last value, otherwise at the same step of the last season.
        cycles: pairs (steps back, length) of the cycles of a learnt anchor; none for a fixed one.
        fit: whether the look-back weighs the anchors. log: whether the values are y or symlog(y).
        beside: forecasts beside the recurrent one: `linear`, `series` (a `LinearMap`, in `series` with a map for each),
            `period` (a `PeriodMap` of `period` steps), `reverting` (the same, with the levels of `spans`), `recurrent`
            (the median of such a network with weights of its own, whose segments are twice as long).
        spans: numbers of steps whose mean levels `reverting` looks at.
        tables: location and scale of each series; empty lists standardise by the window.
        floors: the least scale of a window by series (`Codec.floors`).
        cell, dropout: `gru` or `lstm`; the share of units dropped before V.

    Shapes: a dict of y, observed (batch, lookback), series (batch,), and where the data have them since, past, future,
    static, to (batch, horizon, outputs + beside + 2): forecasts in scaled units, those beside last, then loc and
    scale.
    Masking: a segment in which nothing was observed changes no state.
    Reference: Lin et al. 2023, SegRNN (arXiv:2308.11200). Departures: covariates, gaps, the seasonal anchor, quantiles.
    """

    def __init__(
        self,
        lookback,
        horizon,
        segment,
        units,
        embedding,
        series,
        outputs,
        centre=0,
        season=0,
        cycles=(),
        fit=False,
        log=False,
        tables=((), ()),
        floors=(1e-6,),
        cell="gru",
        dropout=0.0,
        beside=(),
        period=0,
        spans=(),
        **kwargs,
    ):
        kwargs.setdefault("dtype", "float32")  # under mixed precision the cell and dense layers alone take 16 bits
        super().__init__(**kwargs)
        self.options = {
            "lookback": lookback, "horizon": horizon, "segment": segment, "units": units, "embedding": embedding,
            "series": series, "outputs": outputs, "centre": centre, "season": season, "cycles": cycles,
            "fit": fit, "log": log, "tables": tables, "floors": floors, "cell": cell, "dropout": dropout,
            "beside": beside, "period": period, "spans": spans,
        }  # fmt: skip
        self.lookback, self.horizon, self.segment, self.season = lookback, horizon, segment, season
        self.outputs, self.centre, self.series = outputs, centre, series
        self.fit, self.log = fit, log
        self.cycles = [tuple(cycle) for cycle in cycles]
        self.ahead = -(-horizon // segment)
        self.tables = [np.array([0.0, *t], "float32") for t in tables] if len(tables[0]) else None
        self.floors = np.array(floors, "float32")
        self.cell = CELLS[cell](units)
        self.over_time = Recurrent(self.cell)
        self.unrolled = Recurrent(self.cell, unroll=True)
        self.segment_in = keras.layers.Dense(units, activation="relu", name="segment_in")
        self.known_in = keras.layers.Dense(units, name="known_in")
        self.dropout = keras.layers.Dropout(dropout, dtype="float32")
        self.segment_out = keras.layers.Dense(segment * outputs, name="segment_out")
        self.gap = -(-horizon // 2)  # steps ahead at which anchors are compared
        self.beside = [self._beside(kind, series, period) for kind in beside]
        self.spans = spans
        if "reverting" in beside:
            self.levels = LinearMap(len(spans), horizon, series, dtype="float32", name="levels")
        self.mixing = keras.layers.Dense(1 + (1 + fit) * len(self.cycles), kernel_initializer="zeros", name="mixing")

    def _beside(self, kind, series, period):
        options = {"dtype": "float32", "name": kind}
        if kind == "recurrent":
            longer = {"segment": min(2 * self.segment, self.horizon), "outputs": 1, "centre": 0, "beside": ()}
            return SegmentNetwork(**(self.options | longer), **options)
        if kind in ("period", "reverting"):
            return PeriodMap(self.lookback, self.horizon, period, **options)
        return LinearMap(self.lookback, self.horizon, series if kind == "series" else 0, **options)

    def build(self, shapes):
        units, embedding = self.options["units"], self.options["embedding"]
        features = 1 + bool(self.season) + 2 * ("since" in shapes)
        features += sum(shapes[name][-1] for name in ("past", "future") if name in shapes)
        self.segment_in.build((None, None, self.segment * features))
        self.over_time.build((None, None, units))
        self.unrolled.build((None, -(-self.lookback // self.segment), units))
        known = self.segment * shapes["future"][-1] if "future" in shapes else 0
        known += shapes["static"][-1] if "static" in shapes else 0
        if known:
            self.known_in.build((None, None, known))
        self.segment_out.build((None, None, units))
        for layer in self.beside:
            layer.build(shapes)
        if "reverting" in self.options["beside"]:
            self.levels.build(None)
        if self.cycles:
            self.mixing.build((None, None, units))
        if self.fit:
            self.trust = self.add_weight((), keras.initializers.Constant(0.4), name="trust")  # γ / 10: Adam moves it so
        self.positions = self.add_weight((self.ahead, units - embedding), "random_normal", name="positions")
        if embedding:
            self.identities = self.add_weight((self.series + 1, embedding), "random_normal", name="series")
        self.built = True

    def call(self, inputs, training=False, unroll=False):
        y, observed, series = inputs["y"], inputs["observed"], inputs["series"]
        y = symlog(y) if self.log else y
        loc, scale = self.scaling(y, observed, series)
        scaled = (y - loc) / scale
        anchor, differences = self.anchored(scaled)
        steps = [ops.stack(differences, axis=-1)]
        if "since" in inputs:
            steps.append(ops.stack([observed, inputs["since"]], axis=-1))
        steps += [inputs[name][:, : self.lookback] for name in ("past", "future") if name in inputs]
        segments = self.segment_in(self.segments(ops.concatenate(steps, axis=-1), left=True))
        there = ops.any(self.segments(observed[..., None], left=True) > 0, axis=-1)
        state = (self.unrolled if unroll else self.over_time)(segments, mask=there)
        decoded = self.decode(ops.cast(state, self.compute_dtype), inputs)
        if self.cycles:
            anchor = self.mixed(scaled, observed, decoded)
        outputs = ops.cast(self.segment_out(self.dropout(decoded, training=training)), self.compute_dtype)
        outputs = ops.reshape(outputs, (-1, self.ahead * self.segment, self.outputs))[:, : self.horizon]
        forecasts = [self.spread(outputs) + anchor[..., None]]
        last = scaled[:, -1:]
        for layer in self.beside:
            if isinstance(layer, SegmentNetwork):
                forecasts.append(layer(inputs, training=training, unroll=unroll)[..., :1])
                continue
            more = layer(scaled - last, series) if isinstance(layer, LinearMap) else layer(scaled - last)
            if layer.name == "reverting":
                more = more + self.levels(self.means(scaled, observed), series)
            forecasts.append((more + last)[..., None])
        tail = ops.broadcast_to(ops.stack([loc, scale], axis=-1), (ops.shape(y)[0], self.horizon, 2))
        return ops.concatenate([*forecasts, tail], axis=-1)

    def combined(self, outputs):
        """The forecasts of what `call` gave, (batch, horizon, outputs), moved to the mean of the medians."""
        forecasts = outputs[..., : self.outputs]
        if not self.beside:
            return forecasts
        median = forecasts[..., self.centre : self.centre + 1]
        medians = ops.concatenate([median, outputs[..., self.outputs : -2]], axis=-1)
        return forecasts + ops.mean(medians, axis=-1, keepdims=True) - median

    def scaling(self, y, observed, series):
        """Location and scale of each window, (batch, 1): its own, or its series' where that has one."""
        count = ops.maximum(ops.sum(observed, axis=1, keepdims=True), 1.0)
        loc = ops.sum(y * observed, axis=1, keepdims=True) / count
        scale = ops.sqrt(ops.sum(ops.square(y - loc) * observed, axis=1, keepdims=True) / count)
        scale = ops.maximum(scale, least_scale(self.floors, series, loc))
        if self.tables is not None:
            known = ops.cast(series > 0, y.dtype)[:, None]
            table_loc, table_scale = (ops.take(ops.convert_to_tensor(t), series)[:, None] for t in self.tables)
            loc = known * table_loc + (1.0 - known) * loc
            scale = known * table_scale + (1.0 - known) * scale
        return loc, scale

    def anchored(self, scaled):
        """What the horizon is measured from, (batch, horizon), and the look-back as differences."""
        last = scaled[:, -1:]
        if not self.season:
            return ops.repeat(last, self.horizon, axis=1), [scaled - last]
        cycles = -(-self.horizon // self.season)
        anchor = ops.tile(scaled[:, self.lookback - self.season :], (1, cycles))[:, : self.horizon]
        year = scaled[:, self.season :] - scaled[:, : self.lookback - self.season]
        return anchor, [scaled - last, ops.pad(year, ((0, 0), (self.season, 0)))]

    def means(self, scaled, observed):
        """The mean of each span, the last value where nothing in it was observed: (batch, spans)."""
        last = scaled[:, -1:]
        moved = (scaled - last) * observed
        parts = [(moved[:, self.lookback - span :], observed[:, self.lookback - span :]) for span in self.spans]
        means = [ops.sum(change, axis=1) / ops.maximum(ops.sum(there, axis=1), 1.0) for change, there in parts]
        return last + ops.stack(means, axis=-1)

    def mixed(self, scaled, observed, decoded):
        """An average of what past values say of the horizon, weighted by segment: (batch, horizon)."""
        past = [ops.repeat(scaled[:, -1:], self.horizon, axis=1)]
        for lag, cycle in self.cycles:
            block = scaled[:, self.lookback - lag : self.lookback - lag + cycle]
            past.append(ops.tile(block, (1, -(-self.horizon // cycle)))[:, : self.horizon])
        logits = ops.cast(self.mixing(decoded), self.compute_dtype)
        if self.fit:
            levels, errors = self.judged(scaled, observed)
            past += [block + level for block, level in zip(past[1:], levels, strict=True)]
            logits = logits - (10.0 * self.trust * ops.log(ops.stack(errors, axis=-1)))[:, None]
        weights = ops.repeat(ops.softmax(logits), self.segment, axis=1)[:, : self.horizon]
        return ops.sum(ops.stack(past, axis=-1) * weights, axis=-1)

    def judged(self, scaled, observed):
        """How much each cycle's level has changed, (batch, 1), and how far each anchor was off, (batch,)."""
        last = mean_size(*changes(scaled, observed, min(self.gap, self.lookback - 1)))
        plain, moved, levels = [], [], []
        for lag, _ in self.cycles:
            off, both = changes(scaled, observed, lag)
            level = moving_mean(off, both, min(self.cycles[0][1], self.lookback - lag))
            levels.append(level[:, -1:])
            plain.append(mean_size(off, both))
            moved.append(self.moved(off, both, level))
        return levels, [last, *plain, *moved]

    def moved(self, off, both, level):
        """The mean size of changes less the level of `gap` steps before; 1 where the look-back is too short to tell."""
        known, first = level.shape[1] - self.gap, off.shape[1] - level.shape[1] + self.gap
        if known < 1:
            return ops.ones_like(off[:, 0])
        return mean_size(off[:, first:] - level[:, :known], both[:, first:])

    def segments(self, steps, left):
        """(batch, steps, features) to (batch, segments, segment · features), filled up at the far end of time."""
        length, features = steps.shape[1], steps.shape[2]
        count = -(-length // self.segment)
        missing = count * self.segment - length
        if missing:
            steps = ops.pad(steps, ((0, 0), (missing, 0) if left else (0, missing), (0, 0)))
        return ops.reshape(steps, (-1, count, self.segment * features))

    def decode(self, state, inputs):
        """One step of the cell for every segment of the horizon at once: (batch, ahead, units)."""
        units, batch = self.options["units"], ops.shape(state)[0]
        queries = ops.broadcast_to(self.positions, (batch, *self.positions.shape))
        if self.options["embedding"]:
            identity = ops.take(self.identities, inputs["series"], axis=0)[:, None]
            queries = ops.concatenate([queries, ops.repeat(identity, self.ahead, axis=1)], axis=-1)
        known = [self.segments(inputs["future"][:, self.lookback :], left=False)] if "future" in inputs else []
        if "static" in inputs:
            known.append(ops.repeat(inputs["static"][:, None], self.ahead, axis=1))
        if known:
            queries = queries + ops.cast(self.known_in(ops.concatenate(known, axis=-1)), self.compute_dtype)
        rows = ops.reshape(ops.repeat(state[:, None], self.ahead, axis=1), (-1, units))
        states = [rows, *(ops.zeros_like(rows) for _ in self.cell.state_size[1:])]
        output, _ = self.cell.step(ops.reshape(queries, (-1, units)), states)
        return ops.reshape(output, (-1, self.ahead, units))

    def spread(self, outputs):
        """Quantiles that never cross: the median, and softplus increments away from it on both sides."""
        if self.outputs == 1:
            return outputs
        level = np.arange(self.outputs)
        mixing = np.zeros((self.outputs, self.outputs), "float32")
        mixing[self.centre] = 1.0
        mixing[(level[:, None] > self.centre) & (level[None] >= level[:, None])] = 1.0
        mixing[(level[:, None] < self.centre) & (level[None] <= level[:, None])] = -1.0
        widths = ops.where(level == self.centre, outputs, ops.softplus(outputs - 2.0))
        return ops.matmul(widths, mixing)

    def compute_output_spec(self, inputs, training=False, unroll=False):
        width = self.outputs + len(self.beside) + 2
        return keras.KerasTensor((inputs["y"].shape[0], self.horizon, width), dtype="float32")

    def get_config(self):
        return {**super().get_config(), **self.options}
