"""Features of frozen encoders, kept on disk: computed once for the same pictures and weights, checked when read."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np

from ..core.errors import ElmanError
from ..core.files import read_json, replacing, sha256, write_json
from ..core.progress import track

BATCH = 16


class Features:
    """The features of an album's pictures, from the cache; computed, and kept there, when first asked for.

    A cache file is named after the encoder with its weights, the pool, and the content of every picture: another
    picture, another order or other weights make another file. Its own checksum lies beside it; a file that was cut
    short or changed is computed again.
    """

    def __init__(self, config, album):
        self.config, self.album = config, album
        self._rows: np.ndarray | None = None

    def __call__(self, indices) -> np.ndarray:
        """(len(indices), places, features) float32."""
        if self._rows is None:
            self._rows = cached(self.config, self.album)
        return self._rows[np.asarray(indices)].astype(np.float32)


def folder(config) -> Path:
    """Where features are kept: `--cache`, else the user's cache folder."""
    if config.cache:
        return Path(config.cache)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "elman" / "captioning"


def cached(config, album) -> np.ndarray:
    """(pictures, places, features) float16, read from the cache, or computed and written there."""
    path = folder(config) / f"features-{key(config, album)}.npy"
    if path.exists() and _whole(path):
        return np.load(path, mmap_mode="r", allow_pickle=False)
    rows = compute(config, album)
    try:
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.save(file, rows)
    except OSError as error:
        raise ElmanError(f"{path}: features cannot be kept ({error.strerror}); choose another --cache") from None
    write_json(path.with_suffix(".json"), {"sha256": sha256(path), "encoder": config.encoder, "pictures": len(album)})
    return rows


def _whole(path: Path) -> bool:
    """Whether a cache file is as it was written."""
    record = path.with_suffix(".json")
    return record.exists() and read_json(record).get("sha256") == sha256(path)


def key(config, album) -> str:
    """A short name of all that the features depend on."""
    from .data import digest

    weights = _weights(config)
    total = hashlib.sha256(json.dumps([config.encoder, weights, album.side, config.pool]).encode())
    for picture in album.pictures:
        total.update((picture.name if picture.scene is not None else digest(picture)).encode())
    return total.hexdigest()[:20]


def _weights(config) -> str:
    path = Path(config.encoder_weights or config.init_from)
    file = next((f for f in (path / "model.keras", path / "bundle.json") if f.is_file()), path)
    return sha256(file) if file.is_file() else str(config.encoder_weights)


def compute(config, album) -> np.ndarray:
    """(pictures, places, features) float16 of every picture."""
    import keras

    from .encoders import make_encoder
    from .model import fill_encoder

    encoder = make_encoder(config.encoder, album.side)
    fill_encoder(encoder, config)
    grids = []
    for start in track(range(0, len(album), BATCH), "features", quiet=len(album) < 500):
        pixels = album.pixels(range(start, min(start + BATCH, len(album)))).astype(np.float32)
        grid = encoder(pixels, training=False)
        if config.pool > 1:
            grid = keras.ops.average_pool(grid, config.pool, padding="valid")
        grid = keras.ops.convert_to_numpy(grid)
        grids.append(grid.reshape(len(grid), -1, grid.shape[-1]).astype(np.float16))
    return np.concatenate(grids)
