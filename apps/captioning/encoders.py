"""Pictures to grids of features: a small CNN, SqueezeNet 1.1, and the networks of keras.applications."""

from pathlib import Path

import keras
import numpy as np
from keras import ops

from ..core.config import did_you_mean
from ..core.errors import DataError, UsageError

CAFFE = (103.939, 116.779, 123.68)  # means of blue, green, red in ImageNet


def make_encoder(name: str, side: int) -> keras.Model:
    """A network from pictures (batch, side, side, 3), red green blue 0 to 255, to a grid (batch, h, w, features).

    Its weights are random: `load_weights` fills them. What the network wants done to the pictures is part of it.
    """
    image = keras.Input((side, side, 3), name="image")
    if name == "small":
        return keras.Model(image, _small(image), name="small")
    if name == "squeezenet":
        return keras.Model(image, _squeezenet(Caffe(name="caffe")(image)), name="squeezenet")
    make, module = _application(name)
    scaled = Scaling(module, name="scaling")(image)
    inner = make(include_top=False, weights=None, input_shape=(side, side, 3))
    grid = inner(scaled)
    return keras.Model(image, grid, name=name)


def _small(x):
    """Two ways to a grid of places of 8 × 8 pixels: forms from edges, and colours; joined at the end.

    Forms never see a colour, and colours, made of single pixels and of the most in a place, no form and no size: so a
    star is known in colours in which no star was seen. The last two convolutions of forms are added to what comes in
    and reach further (dilated): what a place holds, and what lies around it.
    """

    def layer(x, filters, size=3, stride=1, spread=1):
        x = keras.layers.Conv2D(filters, size, stride, padding="same", dilation_rate=spread, use_bias=False)(x)
        x = keras.layers.BatchNormalization(momentum=0.9)(x)
        return keras.layers.Activation("relu")(x)

    colours = keras.layers.Rescaling(1 / 128.0, -1.0)(x)
    forms = Edges(name="edges")(colours)
    for filters, stride in ((24, 2), (48, 2), (64, 1), (80, 2)):
        forms = layer(forms, filters, stride=stride)
    for spread in (1, 3):
        forms = keras.layers.Add()([forms, layer(forms, 80, spread=spread)])
    colours = keras.layers.AveragePooling2D(2, padding="same")(colours)  # less noise
    colours = layer(layer(colours, 16, size=1), 24, size=1)
    colours = keras.layers.MaxPooling2D(4, padding="same")(colours)
    return keras.layers.Concatenate()([forms, colours])


@keras.saving.register_keras_serializable(package="elman")
class Edges(keras.layers.Layer):
    """How much a picture (batch, height, width, 3) changes at each pixel, whatever its colours: (…, 1), 0 to 1.

    e = tanh(2 √(Σ over colours of Δx² + Δy²)), Δ the difference of the two neighbours, 0 at the border.
    """

    def call(self, picture):
        across = ops.pad(picture[:, :, 2:] - picture[:, :, :-2], ((0, 0), (0, 0), (1, 1), (0, 0)))
        down = ops.pad(picture[:, 2:] - picture[:, :-2], ((0, 0), (1, 1), (0, 0), (0, 0)))
        squares = ops.sum(ops.square(across) + ops.square(down), axis=-1, keepdims=True)
        return ops.tanh(2.0 * ops.sqrt(squares + 1e-6))

    def compute_output_shape(self, shape):
        return (*shape[:-1], 1)


def _squeezenet(x):
    """SqueezeNet 1.1 up to fire9, layer names as in its weights files. Reference: Iandola et al. 2016 (1602.07360)."""

    def fire(x, number, squeeze, expand):
        x = keras.layers.Conv2D(squeeze, 1, activation="relu", name=f"fire{number}_squeeze1x1")(x)
        left = keras.layers.Conv2D(expand, 1, activation="relu", name=f"fire{number}_expand1x1")(x)
        right = keras.layers.Conv2D(expand, 3, padding="same", activation="relu", name=f"fire{number}_expand3x3")(x)
        return keras.layers.Concatenate(name=f"fire{number}_concat")([left, right])

    x = keras.layers.Conv2D(64, 3, 2, activation="relu", name="conv1")(x)
    x = keras.layers.MaxPooling2D(3, 2, name="pool1")(x)
    for number, squeeze, expand in ((2, 16, 64), (3, 16, 64)):
        x = fire(x, number, squeeze, expand)
    x = keras.layers.MaxPooling2D(3, 2, name="pool3")(x)
    for number, squeeze, expand in ((4, 32, 128), (5, 32, 128)):
        x = fire(x, number, squeeze, expand)
    x = keras.layers.MaxPooling2D(3, 2, name="pool5")(x)
    for number, squeeze, expand in ((6, 48, 192), (7, 48, 192), (8, 64, 256), (9, 64, 256)):
        x = fire(x, number, squeeze, expand)
    return x


@keras.saving.register_keras_serializable(package="elman")
class Caffe(keras.layers.Layer):
    """Red, green, blue to blue, green, red, less the means of ImageNet."""

    def call(self, image):
        return image[..., ::-1] - ops.convert_to_tensor(CAFFE, image.dtype)


@keras.saving.register_keras_serializable(package="elman")
class Scaling(keras.layers.Layer):
    """What `keras.applications.<module>.preprocess_input` does."""

    def __init__(self, module, **kwargs):
        super().__init__(**kwargs)
        self.module = module

    def call(self, image):
        return getattr(keras.applications, self.module).preprocess_input(image, data_format="channels_last")

    def get_config(self):
        return {**super().get_config(), "module": self.module}


def application_names() -> dict[str, str]:
    """The networks of keras.applications by their names in lower case."""
    return {n.lower(): n for n, v in vars(keras.applications).items() if callable(v) and n[:1].isupper()}


def _application(name: str):
    """The function that makes a network, and the module that has its `preprocess_input`."""
    known = application_names()
    if name.lower() not in known:
        raise UsageError(f"--encoder: unknown network '{name}'{did_you_mean(name, ['small', 'squeezenet', *known])}")
    make = getattr(keras.applications, known[name.lower()])
    return make, make.__module__.rpartition(".")[2]


def load_weights(encoder: keras.Model, source: str) -> None:
    """Fills an encoder from a weights file, or from `imagenet` where keras.applications can fetch it."""
    if source == "imagenet":
        _fetch(encoder)
        return
    path = Path(source)
    if not path.is_file():
        raise DataError(f"--encoder-weights: {path}: no such file")
    if path.suffix == ".h5" and not path.name.endswith(".weights.h5"):
        _load_named(_network(encoder), path)
        return
    try:
        _network(encoder).load_weights(str(path))
    except (ValueError, OSError, KeyError) as error:
        raise DataError(f"{path}: not weights of {encoder.name}: {str(error).splitlines()[0][:120]}") from None


def _network(encoder: keras.Model) -> keras.Model:
    """The network of keras.applications within an encoder; the encoder itself for our own."""
    inner = [layer for layer in encoder.layers if isinstance(layer, keras.Model)]
    return inner[0] if inner else encoder


def _fetch(encoder: keras.Model) -> None:
    if encoder.name in ("small", "squeezenet"):
        raise UsageError("--encoder-weights imagenet: keras.applications has no such network; give a file")
    make, _ = _application(encoder.name)
    network = _network(encoder)
    try:
        fetched = make(include_top=False, weights="imagenet", input_shape=network.input_shape[1:])
    except Exception as error:  # urllib's errors, a checksum, a server's answer
        reason = (str(error).strip().splitlines() or ["?"])[0][:120]
        raise DataError(f"--encoder-weights imagenet: could not be fetched ({reason}); give a file") from None
    network.set_weights(fetched.get_weights())


def _load_named(network: keras.Model, path: Path) -> None:
    """Loads a Keras 1 or 2 weights file by layer names (`/` and `_` are the same); every layer must be there."""
    stored = read_named(path)
    for layer in network.layers:
        if not layer.weights:
            continue
        arrays = stored.get(_plain(layer.name))
        shapes = [tuple(v.shape) for v in layer.weights]
        if arrays is None or [a.shape for a in arrays] != shapes:
            found = "no such layer" if arrays is None else f"shapes {[a.shape for a in arrays]}"
            raise DataError(f"{path}: layer {layer.name}: expected weights of shapes {shapes}, found {found}")
        layer.set_weights(arrays)


def read_named(path: Path) -> dict[str, list[np.ndarray]]:
    """Layer name (with `_` for `/`) -> its arrays, of a weights file of Keras 1 or 2."""
    import h5py

    try:
        with h5py.File(path) as file:
            group = file.get("model_weights", file)
            names = [_text(name) for name in group.attrs["layer_names"]]
            return {_plain(n): [np.asarray(group[n][_text(w)]) for w in group[n].attrs["weight_names"]] for n in names}
    except (OSError, KeyError) as error:
        raise DataError(f"{path}: not a Keras weights file ({str(error).splitlines()[0][:100]})") from None


def _text(name) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _plain(name: str) -> str:
    return name.replace("/", "_")
