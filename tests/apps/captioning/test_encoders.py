"""Encoders: weights by layer names, keras.applications by name, features kept on disk."""

import dataclasses
import json
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from elman.apps.captioning import encoders, features
from elman.apps.captioning.config import Config
from elman.apps.captioning.data import Album, Picture
from elman.apps.captioning.scenes import make_scene
from elman.apps.core.errors import DataError, UsageError

REAL = Path(__file__).parents[4] / "shared/data/captioning/squeezenet1.1_notop.h5"
SIDE = 67


def write_named(path, network, change=lambda name, arrays: arrays):
    """A weights file as Keras 1 and 2 wrote it, with `/` in the names of the fire modules."""
    with h5py.File(path, "w") as file:
        names = []
        for layer in network.layers:
            name = layer.name.replace("_", "/", 1) if layer.name.startswith("fire") else layer.name
            arrays = change(name, layer.get_weights())
            if arrays is None:
                continue
            names.append(name.encode())
            group = file.create_group(name)
            group.attrs["weight_names"] = [f"w{i}".encode() for i in range(len(arrays))]
            for i, array in enumerate(arrays):
                group[f"w{i}"] = array
        file.attrs["layer_names"] = names


def test_squeezenet_loads_by_layer_names(tmp_path):
    keras.utils.set_random_seed(0)
    one, other = encoders.make_encoder("squeezenet", SIDE), encoders.make_encoder("squeezenet", SIDE)
    assert one.count_params() == 722_496  # of SqueezeNet 1.1 without its classifier
    picture = np.random.default_rng(0).uniform(0, 255, (1, SIDE, SIDE, 3)).astype(np.float32)
    write_named(tmp_path / "w.h5", one)
    assert not np.allclose(one(picture), other(picture))
    encoders.load_weights(other, str(tmp_path / "w.h5"))
    np.testing.assert_array_equal(one(picture), other(picture))


def test_squeezenet_sees_blue_green_red_less_the_means():
    network = encoders.make_encoder("squeezenet", SIDE)
    caffe = network.get_layer("caffe")
    np.testing.assert_allclose(
        np.asarray(caffe(np.array([[[[1.0, 2.0, 3.0]]]]))).ravel(), [3 - 103.939, 2 - 116.779, 1 - 123.68]
    )


@pytest.mark.skipif(not REAL.exists(), reason="the weights file of the real data is not there (../shared)")
def test_the_real_weights_file_fits():
    network = encoders.make_encoder("squeezenet", 227)
    assert network.output_shape == (None, 13, 13, 512)
    before = [w.copy() for w in network.get_weights()]
    encoders.load_weights(network, str(REAL))
    changed = [not np.array_equal(a, b) for a, b in zip(before, network.get_weights(), strict=True)]
    assert all(changed)
    with h5py.File(REAL) as file:
        stored = np.asarray(file["fire9/expand3x3"]["uniform25"])
    np.testing.assert_array_equal(network.get_layer("fire9_expand3x3").get_weights()[0], stored)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda n, a: None if n == "fire4/expand1x1" else a, "fire4_expand1x1: expected .* no such layer"),
        (lambda n, a: [a[0][..., :3], a[1]] if n == "conv1" else a, r"layer conv1: expected .* found shapes"),
    ],
)
def test_weights_of_another_network_are_named(tmp_path, change, message):
    write_named(tmp_path / "w.h5", encoders.make_encoder("squeezenet", SIDE), change)
    with pytest.raises(DataError, match=message):
        encoders.load_weights(encoders.make_encoder("squeezenet", SIDE), str(tmp_path / "w.h5"))


def test_what_is_no_weights_file_is_named(tmp_path):
    network = encoders.make_encoder("squeezenet", SIDE)
    (tmp_path / "x.h5").write_text("no")
    (tmp_path / "x.weights.h5").write_text("no")
    for name, message in (
        ("x.h5", "not a Keras weights file"),
        ("x.weights.h5", "not weights of"),
        ("a.h5", "no such"),
    ):
        with pytest.raises(DataError, match=message):
            encoders.load_weights(network, str(tmp_path / name))
    with pytest.raises(UsageError, match="no such network; give a file"):
        encoders.load_weights(network, "imagenet")


def test_networks_of_keras_applications_by_name(tmp_path):
    network = encoders.make_encoder("mobilenetv3small", 64)
    picture = np.random.default_rng(0).uniform(0, 255, (1, 64, 64, 3)).astype(np.float32)
    assert network(picture).shape[1:3] == (2, 2)
    inner = encoders._network(network)
    inner.save_weights(tmp_path / "m.weights.h5")
    other = encoders.make_encoder("MobileNetV3Small", 64)
    encoders.load_weights(other, str(tmp_path / "m.weights.h5"))
    np.testing.assert_allclose(network(picture), other(picture), rtol=1e-4, atol=1e-5)
    with pytest.raises(UsageError, match="unknown network 'resnet51'; did you mean 'resnet50'"):
        encoders.make_encoder("resnet51", 64)


@pytest.fixture
def album():
    return Album([Picture(f"train {n}", ("x",), make_scene("train", n)) for n in range(5)], SIDE)


@pytest.fixture
def config(tmp_path):
    keras.utils.set_random_seed(3)
    write_named(tmp_path / "w.h5", encoders.make_encoder("squeezenet", SIDE))
    weights, cache = str(tmp_path / "w.h5"), str(tmp_path / "cache")
    return Config(encoder="squeezenet", encoder_weights=weights, frozen=True, cache=cache, image_size=SIDE)


def test_features_are_computed_once_and_kept(config, album, monkeypatch):
    first = features.cached(config, album)
    assert first.shape == (5, 9, 512)
    network = encoders.make_encoder("squeezenet", SIDE)
    encoders.load_weights(network, config.encoder_weights)
    grid = np.asarray(network(album.pixels(range(5)).astype(np.float32))).reshape(5, 9, 512)
    np.testing.assert_allclose(first, grid, rtol=2e-3, atol=1e-2)
    monkeypatch.setattr(features, "compute", lambda *_: pytest.fail("computed again"))
    np.testing.assert_array_equal(features.cached(config, album), first)
    np.testing.assert_array_equal(features.Features(config, album)([3, 1]), first[[3, 1]].astype(np.float32))


def test_a_damaged_cache_is_computed_again(config, album):
    first = features.cached(config, album)
    path = next(Path(config.cache).glob("*.npy"))
    record = json.loads(path.with_suffix(".json").read_text())
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    np.testing.assert_array_equal(features.cached(config, album), first)
    assert json.loads(path.with_suffix(".json").read_text()) == record


def test_other_pictures_weights_or_pools_have_another_cache(config, album, tmp_path):
    keys = {features.key(config, album), features.key(config, album[:4])}
    keys.add(features.key(dataclasses.replace(config, pool=3), album))
    keys.add(features.key(config, Album(album.pictures, SIDE + 1)))
    keras.utils.set_random_seed(4)
    write_named(tmp_path / "w.h5", encoders.make_encoder("squeezenet", SIDE))
    keys.add(features.key(config, album))
    assert len(keys) == 5
    pooled = features.compute(dataclasses.replace(config, pool=3), album)
    np.testing.assert_allclose(pooled[:, 0], features.compute(config, album).mean(axis=1), rtol=5e-3, atol=1e-2)


def test_the_small_cnn_keeps_forms_and_colours_apart():
    """Other colours of the same contrast leave the forms; other places of the same pixels leave the colours."""
    rng = np.random.default_rng(0)
    assert encoders.make_encoder("small", 20).output_shape == (None, 3, 3, 104)  # sides need not be multiples of 8
    network = encoders.make_encoder("small", 32)
    picture = rng.integers(0, 256, (1, 32, 32, 3)).astype(np.float32)
    grid = network(picture, training=False).numpy()
    turned = network(picture[..., ::-1].copy(), training=False).numpy()
    np.testing.assert_allclose(grid[..., :80], turned[..., :80], atol=1e-4)
    assert not np.allclose(grid[..., 80:], turned[..., 80:], atol=1e-3)
    tiles = picture.reshape(4, 4, 2, 4, 4, 2, 3)  # a place is 4 by 4 tiles of 2 by 2 pixels
    moved = tiles[:, ::-1, :, :, ::-1].reshape(picture.shape)
    again = network(moved, training=False).numpy()
    np.testing.assert_allclose(grid[..., 80:], again[..., 80:], atol=1e-4)
    assert not np.allclose(grid[..., :80], again[..., :80], atol=1e-3)
