"""The table of tests/descriptors.py holds every public layer."""

import inspect

import keras

import elman.layers as el
from tests import descriptors

BASES = {"Attention", "Cell", "KernelCell", "Recurrent"}  # what the entries are made of, and what drives them


def inside(layer):
    """The layer and what it holds."""
    return {type(layer).__name__}.union(*(inside(part) for part in layer._flatten_layers(include_self=False)))


def test_every_public_layer_is_in_the_table():
    public = {name for name, value in vars(el).items() if inspect.isclass(value) and issubclass(value, keras.Layer)}
    found = {"AttentionDecoder"}.union(
        *(inside(entry.make()) for entry in [*descriptors.TABLE, *descriptors.HEADS])
    )  # the decoder is what `everything` puts each attention in
    assert public - BASES - found == set()
    assert public >= {"LSTMCell", "LRUCell", "LuongAttention", "MixtureDensityHead"}
