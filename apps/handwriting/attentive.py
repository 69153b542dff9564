"""The sequence-to-sequence reader: an encoder of frames, and a decoder that writes one character after the other."""

import keras
from keras import ops

from ...layers import AttentionDecoder, LocationSensitiveAttention
from .codec import BLANK
from .network import CELLS, RecurrentStack

END = BLANK  # the class that ends a text, and that stands before its first character


@keras.saving.register_keras_serializable(package="elman")
class AttentiveReader(keras.layers.Layer):
    """Frames of a line and the characters so far to the logits of the next character.

        m = stack(frames),  a_t, c_t = attention(h_t, m, Σ a before t),  logits_t = V (A [h_t; c_t])

    The attention is location-sensitive: it sees how much it has looked at each frame, and so moves along the line.

    Args: classes, the end included; the rest as `RecurrentStack`, whose units the decoder has too.

    Shapes: {"frames": (batch, time, features), zeros are padding; "previous": (batch, characters) of classes, the first
    one END}; to (batch, characters, classes).
    Reference: Chorowski et al. 2015, "Attention-based models for speech recognition".
    """

    def __init__(self, classes, cell, units, layers, dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        self.options = {"classes": classes, "cell": cell, "units": units, "layers": layers, "dropout": dropout}
        self.stack = RecurrentStack(cell, units, layers, True, dropout)
        attention = LocationSensitiveAttention(units, filters=8, kernel_size=15, cumulative=True)
        self.decoder = AttentionDecoder(CELLS[cell](units), attention, attention_units=units, activation="tanh")
        self.letters = keras.layers.Embedding(classes, 32)
        self.dense = keras.layers.Dense(classes)

    def build(self, shapes):
        units = self.options["units"]
        self.stack.build(shapes["frames"])
        self.letters.build(None)
        self.decoder.build((None, None, 32), (None, None, self.stack.width))
        self.decoder.built = True
        self.dense.build((None, None, units))
        self.built = True

    def call(self, inputs, training=False):
        mask = ops.any(ops.not_equal(inputs["frames"], 0.0), axis=-1)
        memory = self.stack(inputs["frames"], mask, training=training)
        decoded = self.decoder(self.letters(inputs["previous"]), memory, memory_mask=mask, training=training)
        return self.dense(decoded)

    def encode(self, inputs):
        """The signature `encode`: what the decoder looks at, of a whole line without padding."""
        values = self.stack(inputs["frames"])
        return {"values": values, "keys": self.decoder.cell.attention.keys(values)}

    def step(self, inputs):
        """The signature `step`: a character and the states in; what comes next, and where the decoder looked, out."""
        cell = self.decoder.cell
        names = self.state_names()
        inner = [inputs[name] for name in names]
        ones = ops.ones_like(inputs["looked"])
        memory = [inputs["memory_values"], inputs["memory_keys"], ones]
        states = [inner, inputs["fed"], inputs["looked"], inputs["looked"], *memory]
        output, (inner, fed, weights, looked, *_) = cell.step(self.letters(inputs["previous"]), states)
        found = {"log_probs": ops.log_softmax(self.dense(output), axis=-1), "looks": weights}
        named = {f"next_{name}": state for name, state in zip(names, inner, strict=True)}
        return {**found, **named, "next_fed": fed, "next_looked": looked}

    def state_names(self) -> list[str]:
        return [f"state_{index}" for index in range(2 if self.options["cell"] == "lstm" else 1)]

    def compute_output_spec(self, inputs, training=False):
        shape = inputs["previous"].shape
        return keras.KerasTensor((*shape, self.options["classes"]), dtype="float32")

    def get_config(self):
        return {**super().get_config(), **self.options}


@keras.saving.register_keras_serializable(package="elman")
class TextLoss(keras.losses.Loss):
    """−log p(text and its end), in nats a character. Shapes: y_true (batch, characters) of classes, END after the end;
    y_pred (batch, characters, classes) of logits."""

    def call(self, y_true, y_pred):
        y_true = ops.cast(y_true, "int32")
        ended = ops.cumsum(ops.cast(y_true == END, "int32"), axis=1)
        counts = ops.cast(ended - ops.cast(y_true == END, "int32") == 0, y_pred.dtype)  # the first end counts
        chosen = ops.take_along_axis(ops.log_softmax(y_pred, axis=-1), y_true[..., None], axis=-1)[..., 0]
        return -ops.sum(chosen * counts, axis=1) / ops.sum(counts, axis=1)
