"""The models of music in Keras, their loss, and the signatures that they export."""

import keras
from keras import ops

from ..core.signature import Signature, Spec
from ..core.streams import Carrying
from .codec import KEYS, Codec, condition_width
from .network import MusicNetwork


def build(config, codec: Codec) -> keras.Model:
    """The model of a configuration: sequences in, the logits of every step out."""
    steps = config.window
    inputs = {"sequence": keras.Input((steps + 1, *_shape(codec)), dtype="int32", name="sequence")}
    if codec.bar:
        inputs["place"] = keras.Input((steps,), dtype="int32", name="place")
    if codec.conditions:
        inputs["condition"] = keras.Input((steps, condition_width(codec)), name="condition")
    network = MusicNetwork(
        codec.kind,
        KEYS if codec.kind == "frames" else codec.symbols,
        codec.voices,
        codec.bar,
        config.cell,
        config.units,
        config.layers,
        config.head,
        config.head_units,
        config.embedding,
        condition_width(codec),
        config.input_dropout,
        config.recurrent_dropout,
        config.dropout,
        config.context,
        config.count_keys,
        config.attention,
        config.attention_heads,
        config.placed,
        name="network",
    )
    return keras.Model(inputs, network(inputs), name=codec.kind)


def rows(config, codec: Codec) -> dict[str, tuple[int, list[str]]]:
    """Weights with a row for each symbol, pitch or place in the bar: (axis, names of the rows); for `--init-from`."""
    places = [f"place {i} of {codec.bar}" for i in range(codec.bar)]
    places += [f"{codec.conditions} {i}" for i in range(condition_width(codec))]
    cell = {"lstm": "lstm_cell", "gru": "gru_cell", "layernorm_lstm": "layer_norm_lstm_cell"}[config.cell]
    kernel = f"network/recurrent/stacked_cells/{cell}/input_kernel"
    if codec.kind == "frames":
        return {kernel: (0, [*map(str, range(KEYS)), *places])}
    inputs = {
        kernel: (0, [*map(str, range(config.embedding * (codec.voices if codec.kind == "voices" else 1))), *places])
    }
    if codec.kind == "performance":
        return inputs
    symbols = ["hold", "rest", *map(str, range(codec.low, codec.high + 1))]
    each = [f"voice {voice} of {codec.voices}: {symbol}" for voice in range(codec.voices) for symbol in symbols]
    head = {"output_kernel": (2, symbols), "bias": (1, symbols), "kernel": (1, symbols)}
    return inputs | {"network/symbols": (0, each)} | {f"network/voices_head/{name}": row for name, row in head.items()}


def _shape(codec: Codec) -> tuple[int, ...]:
    return {"frames": (KEYS,), "voices": (codec.voices,), "performance": ()}[codec.kind]


def carried(model: keras.Model, config, codec: Codec) -> Carrying:
    """What is trained in the model's place where `config.carry`: each window begins where the one before ended."""
    network = model.get_layer("network")
    return Carrying(model, network.window, network.beginning(config.batch_size))


@keras.saving.register_keras_serializable(package="elman")
class StepLoss(keras.losses.Loss):
    """−log p of a whole step in nats: the sum over its keys (`frames`) or its voices; the mean over the steps.

    Shapes: y_true as the codec gives it, y_pred the logits; the sample weight (batch, steps) is 0 past the end.
    """

    def __init__(self, kind, name="step_loss", reduction="mean_with_sample_weight", **kwargs):
        super().__init__(name=name, reduction=reduction, **kwargs)
        self.kind = kind

    def call(self, y_true, y_pred):
        if self.kind == "frames":
            y = ops.cast(y_true, y_pred.dtype)
            return ops.sum(ops.softplus(y_pred) - y * y_pred, axis=-1)
        chosen = ops.take_along_axis(y_pred, ops.expand_dims(ops.cast(y_true, "int32"), -1), axis=-1)[..., 0]
        loss = ops.logsumexp(y_pred, axis=-1) - chosen
        return ops.sum(loss, axis=-1) if self.kind == "voices" else loss

    def get_config(self):
        return {**super().get_config(), "kind": self.kind}


def loss(model: keras.Model, config, codec: Codec) -> keras.losses.Loss:
    """What training minimises."""
    return StepLoss(codec.kind)


def signatures(model: keras.Model, config, codec: Codec) -> list[Signature]:
    """`step` and `prime`, and where a step is drawn part by part `conditional`."""
    network = model.get_layer("network")
    states = [Spec(name, (None, *shape)) for name, shape in network.state_shapes().items()]
    told = [Spec("place", (None,), "int32")] if codec.bar else []
    told += [Spec("condition", (None, condition_width(codec)))] if codec.conditions else []
    previous = Spec("previous", (None, *_shape(codec)), "float32" if codec.kind == "frames" else "int32")
    drawn_from = _drawn_from(network, codec)
    outputs = {**drawn_from, **{f"next_{s.name}": f"({', '.join(map(str, ('batch', *s.shape[1:])))})" for s in states}}
    feeds = {f"next_{s.name}": s.name for s in states}
    primer = [Spec(s.name, (None, None, *s.shape[1:]), s.dtype) for s in (previous, *told)]
    found = [
        # biases of NADE and states go from one to the other: in 256 values each they lost most of the likelihood
        Signature("step", (previous, *told, *states), outputs, feeds, network.step, raw=True),
        Signature("prime", tuple(primer), outputs, {}, network.prime, fixed_batch=True, steps="step"),
    ]
    if "logits" not in drawn_from:
        found.append(_conditional(network, codec))
    return found


def _drawn_from(network: MusicNetwork, codec: Codec) -> dict[str, str]:
    if codec.kind == "frames" and network.joint:
        return {
            "visible_bias": f"(batch, {KEYS}) for `conditional`",
            "hidden_bias": f"(batch, {network.head.hidden}) for `conditional`",
        }
    if codec.kind == "voices" and network.joint:
        return {"context": f"(batch, {network.head.hidden}) for `conditional`"}
    shape = ", ".join(map(str, ("batch", *_shape(codec)[: codec.kind == "voices"], network.symbols)))
    return {"logits": f"({shape}) of the next step"}


def _conditional(network: MusicNetwork, codec: Codec) -> Signature:
    if codec.kind == "frames":
        specs = [
            Spec("visible_bias", (None, KEYS)),
            Spec("hidden_bias", (None, network.head.hidden)),
            Spec("drawn", (None, KEYS)),
        ]
        outputs = {"logits": f"(batch, {KEYS}) of each key after the last of `drawn`, given those"}
    else:
        size = (None, codec.voices, codec.symbols)
        specs = [Spec("context", (None, network.head.hidden)), Spec("drawn", size)]
        outputs = {"logits": f"(batch, {size[1]}, {size[2]}) of each voice given the `drawn` of those before it"}
    return Signature("conditional", tuple(specs), outputs, {}, network.conditional, raw=True)
