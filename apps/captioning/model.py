"""The captioning model in Keras, its loss, and the signatures that it exports."""

import dataclasses
from pathlib import Path

import keras

from ...layers import sequence_loss
from ..core import distribution, transfer
from ..core.errors import UsageError
from ..core.signature import Signature, Spec
from .codec import Codec
from .encoders import load_weights
from .network import Captioner

_DECODER = ("pool", "attention", "look", "attention_units", "memory_units", "cell", "units", "embedding", "dropout",
            "word_dropout", "word_swap", "coverage", "concepts", "scheduled_sampling", "sampling_steps")  # fmt: skip


def build(config, codec: Codec) -> keras.Model:
    """The model of a configuration: pictures (features of them, where the encoder is frozen) and captions to logits."""
    if config.self_critical_epochs:
        distribution.require_one("--self-critical-epochs")
    options = {name: getattr(config, name) for name in _DECODER}
    network = Captioner(config.encoder, codec.image_size, codec.size, name="network", **options)
    model = over(network, codec.longest, config.captions, features=config.frozen)
    fill_encoder(network.encoder, config)
    network.encoder.trainable = not config.frozen
    return model


def fill_encoder(encoder: keras.Model, config) -> None:
    """The encoder's weights: those of `--encoder-weights`, else those of the run to begin with, else as they are."""
    if config.encoder_weights:
        load_weights(encoder, config.encoder_weights)
    elif config.init_from and config.frozen:
        from . import APP

        weights, mine = transfer.open_start(APP, config.init_from).weights, transfer.named(encoder.weights)
        if any(name not in weights or weights[name].shape != tuple(v.shape) for name, v in mine.items()):
            raise UsageError(f"--init-from {config.init_from}: it has no encoder '{encoder.name}' to keep frozen")
        for name, variable in mine.items():
            variable.assign(weights[name])


def rows(config, codec: Codec) -> dict[str, tuple[int, list[str]]]:
    """Weights with a row for each word: (axis, names of the rows); for `--init-from`."""
    return {
        "network/words/embeddings": (0, list(codec.tokens)),
        "network/logits/kernel": (1, list(codec.tokens)),
        "network/logits/bias": (0, list(codec.tokens)),
        "network/told/kernel": (0, list(codec.tokens)),
        "network/rarity": (0, list(codec.tokens)),
    }


def over(network: Captioner, longest: int, captions: int, *, features: bool) -> keras.Model:
    """A trainable model over a network, that takes features or pictures."""
    side = network.options["image_size"]
    name, shape = ("features", network.features) if features else ("image", (side, side, 3))
    inputs = {
        name: keras.Input(shape, name=name, dtype="float32" if features else "uint8"),
        "captions": keras.Input((captions, longest + 1), dtype="int32", name="captions"),
    }
    return keras.Model(inputs, network(inputs), name="captioning")


def refine(model: keras.Model, config, data, directory: Path, *, resume: bool = False, quiet: bool = True) -> None:
    """What comes after training: the encoder learns too (`--finetune-epochs`), then self-critical training."""
    network = model.get_layer("network")
    if config.finetune_epochs:
        _finetune(network, config, data, directory / "finetune", resume, quiet)
    if config.self_critical_epochs:
        from . import self_critical

        self_critical.train(network, dataclasses.replace(config, frozen=not network.encoder.trainable), data, directory)


def _finetune(network: Captioner, config, data, directory: Path, resume: bool, quiet: bool) -> None:
    """Trains encoder and decoder together on pictures; batch normalisation keeps its statistics."""
    from ..core import training
    from .data import source

    network.encoder.trainable = True
    for layer in network.encoder._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
    changed = {"frozen": False, "pool": 1, "finetune_epochs": 0, "warmup_steps": 0, "schedule": "cosine"}
    changed |= {"unfreeze_after": 0, "unfreeze_every": 0}  # what is frozen for good stays so
    config = dataclasses.replace(config, epochs=config.finetune_epochs, learning_rate=config.finetune_rate, **changed)
    rows = (source(config, data.codec, data.parts[name]) for name in ("train", "validation"))
    model = over(network, data.codec.longest, config.captions, features=False)
    training.fit(
        model, config, WordLoss(config.label_smoothing), *rows, directory, rows=data.rows_per_epoch, resume=resume,
        quiet=quiet,
    )  # fmt: skip


@keras.saving.register_keras_serializable(package="elman")
class WordLoss(keras.losses.Loss):
    """−log p of every word; the mean over the words that weigh anything.

    Shapes: y_true (batch, captions, longest), y_pred the logits (batch, captions, longest, vocabulary).
    """

    def __init__(self, label_smoothing=0.0, name="word_loss", reduction="mean_with_sample_weight", **kwargs):
        super().__init__(name=name, reduction=reduction, **kwargs)
        self.label_smoothing = label_smoothing

    def call(self, y_true, y_pred):
        return sequence_loss(y_pred, y_true, reduction=None, label_smoothing=self.label_smoothing)

    def get_config(self):
        return {**super().get_config(), "label_smoothing": self.label_smoothing}


def loss(model: keras.Model, config, codec: Codec) -> keras.losses.Loss:
    """What training minimises."""
    return WordLoss(config.label_smoothing)


def signatures(model: keras.Model, config, codec: Codec) -> list[Signature]:
    """`encode`, once a picture, and `step`, once a word."""
    network = model.get_layer("network")
    o, places = network.options, network.features[0]
    states = [f"state_{i}" for i in range(network.state_count)]
    memory = {"values": o["memory_units"], "keys": o["attention_units"]} if network.attends else {}
    seen = {name: f"(batch, {places}, {size}) input `memory_{name}` of every step" for name, size in memory.items()}
    seen |= {f"first_{i}": f"(batch, {o['units']}) `{state}` of the first step" for i, state in enumerate(states)}
    image = Spec("image", (None, codec.image_size, codec.image_size, 3))
    inputs = [Spec("tokens", (None,), "int32"), *(Spec(state, (None, o["units"])) for state in states)]
    inputs += [Spec(f"memory_{name}", (None, places, size)) for name, size in memory.items()]
    outputs = {"logits": f"(batch, {codec.size}) of the next word"}
    outputs |= {f"next_{i}": f"(batch, {o['units']})" for i in range(len(states))}
    if network.attends:
        outputs["looks"] = f"(batch, {places}) weights of the places of the grid, rows from the top"
    feeds = {f"next_{i}": state for i, state in enumerate(states)}
    return [
        Signature("encode", (image,), seen, {}, network.encode),
        Signature("step", tuple(inputs), outputs, feeds, network.step),
    ]
