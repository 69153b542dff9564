"""The networks that read: recurrent layers over frames of strokes, in both directions or in one."""

import keras
from keras import ops, tree

from ...layers import GRUCell, LSTMCell, Recurrent

CELLS = {"lstm": LSTMCell, "gru": GRUCell}
_NEVER = -30.0  # the logit of what a padded frame is not


@keras.saving.register_keras_serializable(package="elman")
class RecurrentStack(keras.layers.Layer):
    """Recurrent layers one upon the other, each in both directions or in one, dropout after each.

    Args:
        cell: `lstm` or `gru`. units: of a layer and direction. layers: how many. bidirectional: whether each layer also
            reads from the end. dropout: of each layer's outputs.

    Shapes: (batch, time, features), mask (batch, time) or None, to (batch, time, units or 2 × units).
    """

    def __init__(self, cell, units, layers, bidirectional=True, dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        self.options = {
            "cell": cell, "units": units, "layers": layers, "bidirectional": bidirectional, "dropout": dropout,
        }  # fmt: skip
        self.width = units * (2 if bidirectional else 1)
        self.ahead = [Recurrent(CELLS[cell](units), return_sequences=True) for _ in range(layers)]
        self.back = [
            Recurrent(CELLS[cell](units), return_sequences=True, go_backwards=True)
            for _ in range(layers if bidirectional else 0)
        ]
        self.drops = [keras.layers.Dropout(dropout) for _ in range(layers)]

    def build(self, shape):
        for index, layer in enumerate(self.ahead):
            inputs = (*shape[:-1], shape[-1] if index == 0 else self.width)
            layer.build(inputs)
            if self.back:
                self.back[index].build(inputs)
        self.built = True

    def call(self, x, mask=None, training=False):
        for index, layer in enumerate(self.ahead):
            found = layer(x, mask=mask, training=training)
            if self.back:
                backward = ops.flip(self.back[index](x, mask=mask, training=training), 1)
                found = ops.concatenate([found, backward], axis=-1)
            x = self.drops[index](found, training=training)
        return x

    def state_sizes(self) -> list[int]:
        """Sizes of the states of a step, layer by layer (one direction only)."""
        return [size for layer in self.ahead for size in tree.flatten(layer.cell.state_size)]

    def step(self, x, states: list):
        """One frame (batch, features) on from states; the output and the next states."""
        after, taken = [], 0
        for layer in self.ahead:
            size = layer.cell.state_size
            count = len(tree.flatten(size))
            mine = tree.pack_sequence_as(size, states[taken : taken + count]) if count > 1 else [states[taken]]
            taken += count
            x, new = layer.cell.step(x, mine)
            after += tree.flatten(new)
        return x, after

    def compute_output_shape(self, shape):
        return (*shape[:-1], self.width)

    def get_config(self):
        return {**super().get_config(), **self.options}


@keras.saving.register_keras_serializable(package="elman")
class CTCHead(keras.layers.Layer):
    """Logits of the blank and the characters in every frame; a padded frame says blank.

    Shapes: (batch, time, features), mask (batch, time) or None, to (batch, time, classes).
    """

    def __init__(self, classes, **kwargs):
        super().__init__(**kwargs)
        self.classes = classes
        self.dense = keras.layers.Dense(classes)
        self.supports_masking = True

    def build(self, shape):
        self.dense.build(shape)
        self.built = True

    def call(self, x, mask=None):
        logits = self.dense(x)
        if mask is None:
            return logits
        silent = ops.where(ops.arange(self.classes) == 0, 0.0, _NEVER)
        return ops.where(ops.expand_dims(mask, -1), logits, silent)

    def compute_mask(self, x, mask=None):
        return None  # padded frames say blank, which the loss may see

    def compute_output_shape(self, shape):
        return (*shape[:-1], self.classes)

    def get_config(self):
        return {**super().get_config(), "classes": self.classes}


@keras.saving.register_keras_serializable(package="elman")
class LineReader(keras.layers.Layer):
    """Frames of a line to the logits of every frame.

    Args: classes, blank included; the rest as `RecurrentStack`.

    Shapes: frames (batch, time, features), those of zeros are padding; to (batch, time, classes).
    """

    def __init__(self, classes, cell, units, layers, bidirectional=True, dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        self.options = {
            "classes": classes, "cell": cell, "units": units, "layers": layers, "bidirectional": bidirectional,
            "dropout": dropout,
        }  # fmt: skip
        self.stack = RecurrentStack(cell, units, layers, bidirectional, dropout)
        self.head = CTCHead(classes)

    def build(self, shape):
        self.stack.build(shape)
        self.head.build((*shape[:-1], self.stack.width))
        self.built = True

    def call(self, frames, training=False):
        mask = ops.any(ops.not_equal(frames, 0.0), axis=-1)
        return self.head(self.stack(frames, mask, training=training), mask)

    def recognise(self, inputs):
        """Log-probabilities of a whole line without padding."""
        return {"log_probs": ops.log_softmax(self.head(self.stack(inputs["frames"])), axis=-1)}

    def step(self, inputs):
        """Log-probabilities of one more frame, and the states after it."""
        names = self.state_names()
        output, states = self.stack.step(inputs["frame"], [inputs[name] for name in names])
        named = {f"next_{name}": state for name, state in zip(names, states, strict=True)}
        return {"log_probs": ops.log_softmax(self.head(output), axis=-1), **named}

    def state_names(self) -> list[str]:
        return [f"state_{index}" for index in range(len(self.stack.state_sizes()))]

    def compute_output_shape(self, shape):
        return (*shape[:-1], self.options["classes"])

    def get_config(self):
        return {**super().get_config(), **self.options}


@keras.saving.register_keras_serializable(package="elman")
class SymbolReader(keras.layers.Layer):
    """Frames of a drawing to the logits of what it is: the mean and the ends of a recurrent stack, then dense.

    Args: classes: symbols; the rest as `RecurrentStack`.

    Shapes: frames (batch, time, features), those of zeros are padding; to (batch, classes).
    """

    def __init__(self, classes, cell, units, layers, dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        self.options = {"classes": classes, "cell": cell, "units": units, "layers": layers, "dropout": dropout}
        self.stack = RecurrentStack(cell, units, layers, True, dropout)
        self.dropout = keras.layers.Dropout(dropout)
        self.dense = keras.layers.Dense(classes)

    def build(self, shape):
        self.stack.build(shape)
        self.dense.build((shape[0], 2 * self.stack.width))
        self.built = True

    def call(self, frames, training=False):
        mask = ops.any(ops.not_equal(frames, 0.0), axis=-1)
        there = ops.expand_dims(ops.cast(mask, frames.dtype), -1)
        found = self.stack(frames, mask, training=training)
        mean = ops.sum(found * there, axis=1) / ops.maximum(ops.sum(there, axis=1), 1.0)
        most = ops.max(ops.where(there > 0, found, -1.0), axis=1)
        return self.dense(self.dropout(ops.concatenate([mean, most], -1), training=training))

    def classify(self, inputs):
        """Probabilities of a drawing without padding."""
        found = self.stack(inputs["frames"])
        pooled = ops.concatenate([ops.mean(found, axis=1), ops.max(found, axis=1)], -1)
        return {"probabilities": ops.softmax(self.dense(pooled))}

    def compute_output_shape(self, shape):
        return (shape[0], self.options["classes"])

    def get_config(self):
        return {**super().get_config(), **self.options}


@keras.saving.register_keras_serializable(package="elman")
class Columns(keras.layers.Layer):
    """A picture of a line to features of its columns, `stride` of them a frame: three convolutions, batch-normalised,
    that take every `stride`-th row and column, then every second row twice.

    Args: channels: of the first convolution; the next two have twice as many. stride: columns in a frame.

    Shapes: (batch, columns, height), a multiple of `stride` columns and of `4 * stride` rows, and optionally 1 where
    there is no padding (batch, columns / stride); to (batch, columns / stride, height / stride / 4 × 2 channels).
    """

    def __init__(self, channels=24, stride=2, **kwargs):
        super().__init__(**kwargs)
        self.channels, self.stride = channels, stride
        sizes = [(2 * stride + 1, channels, stride), (3, 2 * channels, (1, 2)), (3, 2 * channels, (1, 2))]
        self.convolutions = [
            keras.layers.Conv2D(count, size, strides, padding="same", use_bias=False, kernel_initializer="he_normal")
            for size, count, strides in sizes
        ]
        self.norms = [keras.layers.BatchNormalization(momentum=0.98) for _ in sizes]

    def build(self, shape):
        inputs, height = 1, shape[2]
        for convolve, norm in zip(self.convolutions, self.norms, strict=True):
            convolve.build((None, None, height, inputs))
            inputs, height = convolve.filters, height // convolve.strides[1]
            norm.build((None, None, height, inputs))
        self.width = inputs * height
        self.built = True

    def call(self, pictures, there=None, training=False):
        x = ops.expand_dims(pictures, -1)
        mask = None if there is None else there[:, :, None] > 0
        for convolve, norm in zip(self.convolutions, self.norms, strict=True):
            x = ops.relu(norm(convolve(x), training=training, mask=mask))
            if there is not None:  # beyond the end all is zero, as it is beyond the end of a picture without padding
                x = x * there[:, :, None, None]
        return ops.reshape(x, (*ops.shape(x)[:2], self.width))

    def compute_output_shape(self, shape):
        return (shape[0], shape[1] and shape[1] // self.stride, shape[2] // (4 * self.stride) * 2 * self.channels)

    def get_config(self):
        return {**super().get_config(), "channels": self.channels, "stride": self.stride}


@keras.saving.register_keras_serializable(package="elman")
class PictureReader(keras.layers.Layer):
    """Pictures of lines to the logits of every `stride` columns: convolutions, then as a `LineReader`.

    Args: classes, blank included; channels, stride: see `Columns`; the rest as `RecurrentStack`.

    Shapes: frames (batch, columns, height) of ink in [0, 1], columns of zeros at the end are padding; to (batch,
    columns / stride, classes). The number of columns is a multiple of `stride`.
    """

    def __init__(self, classes, cell, units, layers, dropout=0.0, channels=24, stride=2, **kwargs):
        super().__init__(**kwargs)
        self.options = {
            "classes": classes, "cell": cell, "units": units, "layers": layers, "dropout": dropout,
            "channels": channels, "stride": stride,
        }  # fmt: skip
        self.columns = Columns(channels, stride)
        self.stack = RecurrentStack(cell, units, layers, True, dropout)
        self.head = CTCHead(classes)

    def build(self, shape):
        self.columns.build(shape)
        self.stack.build((shape[0], None, self.columns.width))
        self.head.build((shape[0], None, self.stack.width))
        self.built = True

    def call(self, frames, training=False):
        some = ops.cast(ops.any(ops.not_equal(frames, 0.0), axis=-1), "float32")
        follows = ops.flip(ops.cumsum(ops.flip(some, 1), axis=1), 1) > 0  # this column or a later one has ink
        there = follows[:, :: self.columns.stride]
        features = self.columns(frames, ops.cast(there, frames.dtype), training=training)
        return self.head(self.stack(features, there, training=training), there)

    def recognise(self, inputs):
        """Log-probabilities of a whole line without padding."""
        logits = self.head(self.stack(self.columns(inputs["frames"])))
        return {"log_probs": ops.log_softmax(logits, axis=-1)}

    def compute_output_shape(self, shape):
        return (shape[0], shape[1] and shape[1] // self.columns.stride, self.options["classes"])

    def get_config(self):
        return {**super().get_config(), **self.options}
