"""The forecasters as Keras models, their losses, and the signatures that they export."""

import keras
from keras import ops

from ...layers import pinball_loss
from ..core.errors import UsageError
from ..core.signature import Signature, Spec
from .codec import Codec
from .config import centred
from .deepar import HEADS, AutoregressiveNetwork
from .segment import SegmentNetwork, symexp, symlog

# Laid out step by step up to this many segments: no loop, so LiteRT takes any batch, and each step costs less.
LONGEST_UNROLLED = 128
MOST_MAPPED = 64  # series with a linear map of their own


def build(config, codec: Codec) -> keras.Model:
    """The model of a configuration: a dict of raw windows in, scaled forecasts or distributions out."""
    steps = codec.lookback + (codec.horizon if config.model == "deepar" else 0)
    inputs = {s.name: keras.Input(s.shape[1:], dtype=s.dtype, name=s.name) for s in _inputs(codec, steps)}
    network = _deepar(config, codec) if config.model == "deepar" else _segment(config, codec)
    return keras.Model(inputs, network(inputs), name=config.model)


def _segment(config, codec: Codec) -> SegmentNetwork:
    quantiles = config.loss == "quantile"
    season = config.anchor_season or codec.season
    seasonal = config.anchor != "last" and 1 < season <= codec.lookback
    cycles = [(k * length, length) for length in sorted({codec.season, season} - {1}) for k in (1, 2, 3)]
    longest = codec.lookback - (config.anchor == "fit")  # which is to see a change over the cycle
    if "series" in config.beside and len(codec.ids) > MOST_MAPPED:
        found = f"the data have {len(codec.ids)}; linear has one map for all"
        raise UsageError(f"--beside series: expected at most {MOST_MAPPED} series, {found}")
    periodic = [kind for kind in config.beside if kind in ("period", "reverting")]
    if periodic and not 1 < codec.season <= codec.lookback:
        raise UsageError(f"--beside {periodic[0]}: expected a season within the look-back of {codec.lookback} steps")
    return SegmentNetwork(
        codec.lookback,
        codec.horizon,
        min(config.segment, codec.horizon),
        config.units,
        _embedding(config, codec),
        len(codec.ids),
        len(codec.levels) if quantiles else 1,
        centre=codec.levels.index(0.5) if quantiles else 0,
        season=season if seasonal else 0,
        cycles=[c for c in cycles if c[0] <= longest] if config.anchor in ("mix", "fit") else (),
        fit=config.anchor == "fit",
        log=config.values == "symlog",
        tables=[codec.loc, codec.scale] if config.scaling == "series" else [(), ()],
        floors=codec.floors,
        cell=config.cell,
        dropout=config.dropout,
        beside=config.beside,
        period=codec.season,
        spans=_spans(codec),
        name="network",
    )


def _spans(codec: Codec) -> tuple[int, ...]:
    """Steps over which levels are means: from the last one to the whole look-back."""
    steps = (1, codec.season // 4, codec.season, 3 * codec.season, 7 * codec.season, codec.lookback)
    return tuple(sorted({span for span in steps if 0 < span <= codec.lookback}))


def _deepar(config, codec: Codec) -> AutoregressiveNetwork:
    return AutoregressiveNetwork(
        codec.lookback,
        codec.horizon,
        codec.lags,
        config.units,
        config.layers,
        config.cell,
        config.dropout,
        config.distribution,
        _embedding(config, codec),
        len(codec.ids),
        centred(config),
        codec.floors,
        name="network",
    )


def _embedding(config, codec: Codec) -> int:
    return min(config.embedding, config.units // 2) if len(codec.ids) > 1 else 0


def _inputs(codec: Codec, steps: int) -> list[Spec]:
    """The inputs of a window of so many steps, in the order of `Codec.windows`."""
    widths = codec.widths
    specs = [Spec("y", (None, steps)), Spec("observed", (None, steps)), Spec("series", (None,), "int32")]
    if codec.missing:
        specs.append(Spec("since", (None, steps)))
    if widths["past"]:
        specs.append(Spec("past", (None, steps, widths["past"])))
    if widths["future"]:
        specs.append(Spec("future", (None, codec.lookback + codec.horizon, widths["future"])))
    if widths["static"]:
        specs.append(Spec("static", (None, widths["static"])))
    return specs


def rows(config, codec: Codec) -> dict[str, tuple[int, list[str]]]:
    """Weights with a row for each series: (axis, names of the rows); for `--init-from`."""
    names = ["", *codec.ids]
    weights = ("series", "series/own", "levels/own", "recurrent/series")
    return {f"network/{weight}": (0, names) for weight in weights}


@keras.saving.register_keras_serializable(package="elman")
class ScaledLoss(keras.losses.Loss):
    """A loss of raw values against forecasts in the units of each window's scale.

    Args:
        kind: `mse`, `mae` or `quantile`.
        levels: of the quantiles.
        log: whether the forecasts are of y or of symlog(y).
        beside: how many forecasts stand beside, last; the loss is the mean of theirs and of the recurrent one's.

    Shapes: y_true (batch, horizon) raw, y_pred (batch, horizon, outputs + beside + 2) with loc and scale last; the
    sample weight (batch, horizon) is 0 where nothing was observed, and the mean is over what was.
    """

    def __init__(
        self,
        kind,
        levels=(),
        log=False,
        beside=0,
        name="scaled_loss",
        reduction="mean_with_sample_weight",
        **kwargs,
    ):
        super().__init__(name=name, reduction=reduction, **kwargs)
        self.kind, self.levels, self.log, self.beside = kind, tuple(levels), log, beside

    def call(self, y_true, y_pred):
        forecasts, loc, scale = y_pred[..., :-2], y_pred[..., -2], y_pred[..., -1]
        truth = ops.cast(y_true, y_pred.dtype)
        truth = ((symlog(truth) if self.log else truth) - loc) / scale
        outputs = forecasts.shape[-1] - self.beside
        losses = [self.between(truth, forecasts[..., :outputs], self.levels)]
        losses += [self.between(truth, forecasts[..., k : k + 1], (0.5,)) for k in range(outputs, forecasts.shape[-1])]
        return sum(losses) / len(losses)

    def between(self, truth, forecasts, levels):
        if self.kind == "quantile":
            return ops.mean(pinball_loss(truth, forecasts, levels), axis=-1)
        error = forecasts[..., 0] - truth
        return ops.square(error) if self.kind == "mse" else ops.abs(error)

    def get_config(self):
        own = {"kind": self.kind, "levels": list(self.levels), "log": self.log, "beside": self.beside}
        return {**super().get_config(), **own}


class Likelihood(keras.losses.Loss):
    """−log p(y) of raw values under an AutoregressiveNetwork's outputs.

    Shapes: y_true (batch, steps), y_pred (batch, steps, parameters + 2), loc and scale last; weights as in ScaledLoss.
    """

    def __init__(self, network: AutoregressiveNetwork):
        super().__init__(name="likelihood", reduction="mean_with_sample_weight")
        self.network = network

    def call(self, y_true, y_pred):
        parameters = self.network.parameters(y_pred[..., :-2], y_pred[..., -2:-1], y_pred[..., -1:])
        return -ops.squeeze(self.network.head.log_prob(ops.expand_dims(y_true, -1), **parameters), -1)


def loss(model: keras.Model, config, codec: Codec) -> keras.losses.Loss:
    """What training minimises."""
    if config.model == "deepar":
        return Likelihood(model.get_layer("network"))
    return ScaledLoss(config.loss, codec.levels, config.values == "symlog", len(config.beside))


def signatures(model: keras.Model, config, codec: Codec) -> list[Signature]:
    """`forecast` of a segment model; `step` of an autoregressive one."""
    network = model.get_layer("network")
    return [_step(network, config, codec) if config.model == "deepar" else _forecast(network, codec)]


def _forecast(network: SegmentNetwork, codec: Codec) -> Signature:
    unroll = -(-codec.lookback // network.segment) <= LONGEST_UNROLLED

    def forecast(inputs):
        outputs = network(inputs, unroll=unroll)
        loc, scale = outputs[:, :1, -2:-1], outputs[:, :1, -1:]
        quantiles = network.combined(outputs) * scale + loc
        if network.log:  # there a step of `scale` is one of scale · (1 + |y|) in y
            quantiles, scale = symexp(quantiles), scale * ops.exp(ops.abs(loc))
        return {"quantiles": quantiles, "scale": scale[:, 0, 0]}

    levels = "the median alone" if network.outputs == 1 else f"the quantiles {', '.join(map(str, codec.levels))}"
    outputs = {
        "quantiles": f"(batch, {codec.horizon}, {network.outputs}) {levels}, in the units of y",
        "scale": "(batch,) the unit of the calibration, codec.offsets in bundle.json: quantiles + offsets × scale",
    }
    return Signature(
        "forecast", tuple(_inputs(codec, codec.lookback)), outputs, {}, forecast, fixed_batch=not unroll, raw=True
    )


def _step(network: AutoregressiveNetwork, config, codec: Codec) -> Signature:
    widths = codec.widths
    specs = [Spec("value", (None,)), Spec("observed", (None,)), Spec("series", (None,), "int32")]
    specs += [Spec("since", (None,))] if codec.missing else []
    specs += [Spec("future", (None, widths["future"]))] if widths["future"] else []
    specs += [Spec("static", (None, widths["static"]))] if widths["static"] else []
    specs += [Spec("window_loc", (None,)), Spec("window_scale", (None,)), Spec("history", (None, network.longest))]
    names = network.state_names()
    specs += [Spec(name, (None, config.units)) for name in names]
    parameters = {
        name: f"(batch,) {name} of the next value's distribution" for name, _ in HEADS[config.distribution].links
    }
    history = f"(batch, {network.longest}) the last values"
    outputs = {**parameters, "next_history": history, **{f"next_{n}": f"(batch, {config.units})" for n in names}}
    states = {"next_history": "history", **{f"next_{name}": name for name in names}}
    return Signature("step", tuple(specs), outputs, states, network.step, raw=True)
