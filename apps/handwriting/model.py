"""The models of handwriting in Keras, their loss, and the signatures that they export."""

import keras
from keras import ops

from ..core.signature import Signature, Spec
from .attentive import AttentiveReader, TextLoss
from .codec import BLANK, Codec
from .network import LineReader, PictureReader, SymbolReader


def build(config, codec: Codec) -> keras.Model:
    """The model of a configuration: frames in, logits out."""
    frames = keras.Input((None, codec.features), name="frames")
    classes = len(codec.alphabet) + 1
    size = {"cell": config.cell, "units": config.units, "layers": config.layers, "dropout": config.dropout}
    if config.model == "attention":
        inputs = {"frames": frames, "previous": keras.Input((None,), dtype="int32", name="previous")}
        return keras.Model(inputs, AttentiveReader(classes, **size, name="reader")(inputs), name=config.model)
    if codec.kind == "symbol":
        reader = SymbolReader(len(codec.alphabet), **size, name="reader")
    elif codec.kind == "image":
        reader = PictureReader(classes, **size, channels=config.channels, stride=codec.stride, name="reader")
    else:
        reader = LineReader(classes, **size, bidirectional=not codec.causal, name="reader")
    return keras.Model(frames, reader(frames), name=config.model)


def rows(config, codec: Codec) -> dict[str, tuple[int, list[str]]]:
    """Weights with a row for each character: (axis, names of the rows); for `--init-from`."""
    letters = list(codec.alphabet) if codec.kind == "symbol" else ["", *codec.alphabet]
    dense = "reader/dense" if config.model == "attention" or codec.kind == "symbol" else "reader/ctc_head/dense"
    return {f"{dense}/kernel": (1, letters), f"{dense}/bias": (0, letters), "reader/embedding/embeddings": (0, letters)}


@keras.saving.register_keras_serializable(package="elman")
class CTCLoss(keras.losses.Loss):
    """−log p(text) of connectionist temporal classification, in nats a character.

    Shapes: y_true (batch, characters) of classes, 0 after the end; y_pred (batch, frames, classes) of logits, of which
    padded frames say blank. A text for which there are too few frames, counting one between equal neighbours, has no
    alignment and counts nothing.

    Reference: Graves et al. 2006.
    """

    def call(self, y_true, y_pred):
        y_true = ops.cast(y_true, "int32")
        characters = ops.sum(ops.cast(y_true != BLANK, "int32"), axis=-1)
        frames = ops.full_like(characters, 0) + ops.shape(y_pred)[1]
        alike = ops.logical_and(y_true[:, 1:] == y_true[:, :-1], y_true[:, 1:] != BLANK)
        enough = characters + ops.sum(ops.cast(alike, "int32"), axis=-1) <= frames
        count = _native_nats if keras.backend.backend() == "tensorflow" else _nats
        nats = count(y_true, y_pred, characters, frames)
        return ops.where(enough, nats, 0.0) / ops.cast(ops.maximum(characters, 1), nats.dtype)


def _nats(classes, logits, characters, frames):
    return ops.ctc_loss(classes, logits, characters, frames, mask_index=BLANK)


def _native_nats(classes, logits, characters, frames):
    """The same by TensorFlow's own kernel, many times as fast on a CPU as the loop of `ops.ctc_loss`. The kernel
    takes the logarithm of a float32 softmax, in which what is less probable than e^-88 would cost infinitely much:
    logits further down count as 80 below the largest."""
    import tensorflow as tf

    there = tf.not_equal(classes, BLANK)
    sparse = tf.SparseTensor(tf.where(there), tf.boolean_mask(classes, there) - 1, tf.shape(classes, tf.int64))
    floor = tf.reduce_max(logits, axis=-1, keepdims=True) - 80.0
    logits = logits + tf.stop_gradient(tf.maximum(logits, floor) - logits)  # the gradient still reaches those raised
    last = tf.roll(logits, -1, axis=-1)  # the kernel wants the blank last
    options = {"time_major": False, "ignore_longer_outputs_than_inputs": True}
    return tf.compat.v1.nn.ctc_loss(sparse, last, frames, **options)


@keras.saving.register_keras_serializable(package="elman")
class SymbolLoss(keras.losses.Loss):
    """−log p(symbol), in nats. Shapes: y_true (batch, 1) of classes from 1, y_pred (batch, symbols) of logits."""

    def call(self, y_true, y_pred):
        one_hot = ops.one_hot(ops.cast(y_true[:, 0], "int32") - 1, y_pred.shape[-1])
        return -ops.sum(one_hot * ops.log_softmax(y_pred, axis=-1), axis=-1)


def loss(model: keras.Model, config, codec: Codec) -> keras.losses.Loss:
    """What training minimises."""
    if config.model == "attention":
        return TextLoss(name="text")
    return SymbolLoss(name="symbol") if codec.kind == "symbol" else CTCLoss(name="ctc")


def signatures(model: keras.Model, config, codec: Codec) -> list[Signature]:
    """`recognise`, a whole line; of a streaming model also `step`, one frame; of an attention decoder `encode` and
    `step`, one character; of single drawings `classify`."""
    reader = model.get_layer("reader")
    classes = len(codec.alphabet) + 1
    frames = Spec("frames", (None, None, codec.features))
    if config.model == "attention":
        return _attention_signatures(reader, config, codec)
    if codec.kind == "symbol":
        told = {"probabilities": f"(batch, {len(codec.alphabet)}) of the codec's alphabet"}
        return [Signature("classify", (frames,), told, {}, reader.classify, fixed_batch=True)]
    told = {"log_probs": f"(batch, frames, {classes}); class 0 is the blank"}
    streams = {"steps": "step", "collects": True} if config.model == "streaming" else {}
    found = [Signature("recognise", (frames,), told, {}, reader.recognise, fixed_batch=True, **streams)]
    if streams:
        states = [Spec(n, (None, s)) for n, s in zip(reader.state_names(), reader.stack.state_sizes(), strict=True)]
        outputs = {"log_probs": f"(batch, {classes})", **{f"next_{s.name}": f"(batch, {s.shape[1]})" for s in states}}
        feeds = {f"next_{s.name}": s.name for s in states}
        frame = Spec("frame", (None, codec.features))
        found.append(Signature("step", (frame, *states), outputs, feeds, reader.step))
    return found


def _attention_signatures(reader: AttentiveReader, config, codec: Codec) -> list[Signature]:
    units, width, classes = config.units, reader.stack.width, len(codec.alphabet) + 1
    frames = Spec("frames", (None, None, codec.features))
    told = {"values": f"(batch, frames, {width})", "keys": f"(batch, frames, {units})"}
    names = reader.state_names()
    states = [*(Spec(name, (None, units)) for name in names), Spec("fed", (None, units)), Spec("looked", (None, None))]
    memory = [Spec("memory_values", (None, None, width)), Spec("memory_keys", (None, None, units))]
    outputs = {"log_probs": f"(batch, {classes}); class 0 ends the text", "looks": "(batch, frames), sums to 1"}
    outputs |= {f"next_{s.name}": f"(batch, {'frames' if s.shape[1] is None else s.shape[1]})" for s in states}
    feeds = {f"next_{s.name}": s.name for s in states}
    previous = Spec("previous", (None,), "int32")
    return [
        Signature("encode", (frames,), told, {}, reader.encode, fixed_batch=True),
        Signature("step", (previous, *states, *memory), outputs, feeds, reader.step),
    ]
