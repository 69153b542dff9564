"""Where captioned pictures come from, how they are split, and the rows that training draws from them."""

import dataclasses
import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from ..core.errors import DataError
from ..core.progress import track
from ..core.source import Source
from . import images, reading, scenes
from .codec import UNKNOWN, Codec, fit_words
from .reading import Captioned

PARTS = ("train", "validation", "test")
SHOWN = 5  # left-out rows that are named one by one
KEPT = 512 << 20  # bytes of decoded pictures that are kept in memory
SCENE_CAPTIONS = 4  # of a rendered scene


@dataclass(frozen=True)
class Picture:
    """A picture with its captions; `scene` where it is rendered, else its file or its bytes."""

    name: str
    captions: tuple[str, ...]
    scene: scenes.Scene | None = None
    file: Captioned | None = None

    def read(self, side: int) -> np.ndarray:
        """uint8 (side, side, 3)."""
        if self.scene is not None:
            return scenes.render(self.scene, side)
        return images.read(self.file.content or self.file.path, side, self.name)


class Album(Sequence):
    """Pictures that are read when they are looked at; the first `KEPT` bytes of them stay in memory."""

    def __init__(self, pictures: Sequence[Picture], side: int):
        self.pictures, self.side = tuple(pictures), side
        self._kept: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index):
        return Album(self.pictures[index], self.side) if isinstance(index, slice) else self.pictures[index]

    def pixels(self, indices) -> np.ndarray:
        """uint8 (len(indices), side, side, 3)."""
        return np.stack([self._one(int(i)) for i in indices])

    def _one(self, index: int) -> np.ndarray:
        found = self._kept.get(index)
        if found is None:
            found = self.pictures[index].read(self.side)
            if (len(self._kept) + 1) * found.nbytes <= KEPT:
                self._kept[index] = found
        return found

    def captions(self) -> list[list[str]]:
        return [list(picture.captions) for picture in self.pictures]


@dataclass(frozen=True)
class Data:
    """Captioned pictures, split: `parts` has an `Album` for each of train, validation and test."""

    config: object
    codec: Codec
    parts: dict[str, Album]
    train: Source
    validation: Source
    rows_per_epoch: int
    warnings: tuple[str, ...]
    description: str
    license: str

    @property
    def sizes(self) -> dict[str, int]:
        """Pictures, and captions, in each split."""
        captions = {f"{name} captions": sum(map(len, part.captions())) for name, part in self.parts.items()}
        return {**{name: len(part) for name, part in self.parts.items()}, **captions}


def load(config, codec: Codec | None = None) -> Data:
    """Reads and checks `config.data`, splits it, and fits a vocabulary on the training captions.

    With a `codec`, the data may be others than those of training: the test part is then what the data call so, and
    where they do not say, every picture that neither training nor validation saw.
    """
    side = codec.image_size if codec else config.image_size
    if config.data == "scenes":
        parts, skipped = _scenes(config), []
    else:
        found = reading.read(config.data)
        pictures, damaged = _readable(found.pictures, side)
        skipped = [*found.skipped, *damaged]
        parts = _split(pictures, config, codec)
    if codec is None:
        _require(config, parts, skipped)
        codec = _fit_codec(config, parts)
        if config.data != "scenes":
            seen = (digest(p) for name in ("train", "validation") for p in parts[name])
            codec = dataclasses.replace(codec, seen=tuple(sorted(seen)))
    albums = {name: Album(parts[name], side) for name in PARTS}
    return Data(
        config,
        codec,
        albums,
        source(config, codec, albums["train"]),
        source(config, codec, albums["validation"]),
        config.rows,
        tuple(skipped[:SHOWN] + [f"… and {len(skipped) - SHOWN} more left out"] * (len(skipped) > SHOWN)),
        _describe(config, parts, skipped),
        "made here: Apache-2.0" if config.data == "scenes" else "that of the data",
    )


def _scenes(config) -> dict[str, list[Picture]]:
    counts = {"train": config.scenes, "validation": config.held_out_scenes, "test": config.held_out_scenes}
    return {split: [_scene(split, n) for n in range(count)] for split, count in counts.items()}


def _scene(split: str, number: int) -> Picture:
    scene = scenes.make_scene(split, number)
    return Picture(f"{split} {number}", tuple(scenes.captions(scene, SCENE_CAPTIONS)), scene)


def _readable(found: list[Captioned], side: int) -> tuple[list[Picture], list[str]]:
    """The pictures that can be read, each read once, and a line for each that cannot."""

    def fault(one: Captioned) -> str:
        try:
            images.read(one.content or one.path, side, one.name)
        except DataError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(4) as pool:
        faults = list(track(pool.map(fault, found), "checking pictures", total=len(found), quiet=len(found) < 500))
    good = [Picture(c.name, tuple(c.captions), None, c) for c, bad in zip(found, faults, strict=True) if not bad]
    return good, [bad for bad in faults if bad]


def digest(picture: Picture) -> str:
    """A short name of a picture's content."""
    content = picture.file.content or picture.file.path.read_bytes()
    return hashlib.sha256(content).hexdigest()[:16]


def _split(pictures: list[Picture], config, codec: Codec | None) -> dict[str, list[Picture]]:
    """By what the data say; else by the shares of `config.split`, in an order that no seed changes.

    Data that name a training part but no validation part give the second share of the training part for it; those
    that name no test part, as COCO's, half of the validation part.
    """
    parts: dict[str, list[Picture]] = {name: [] for name in PARTS}
    named = any(p.file.split for p in pictures)
    if codec is not None and not named:
        seen = set(codec.seen)
        known = [digest(p) in seen for p in pictures]
        if not any(known):
            return {**parts, "test": pictures}
    order = sorted(pictures, key=lambda p: hashlib.sha256(p.name.encode()).digest())
    if named:
        for picture in order:
            parts[picture.file.split or "train"].append(picture)
        if not parts["validation"]:
            count = max(1, round(len(parts["train"]) * config.split[1]))
            parts["validation"], parts["train"] = parts["train"][:count], parts["train"][count:]
        elif not parts["test"]:
            parts["test"], parts["validation"] = parts["validation"][::2], parts["validation"][1::2]
        return parts
    borders = np.rint(np.cumsum([0.0, *config.split]) * len(order)).astype(int)
    return {name: order[borders[i] : borders[i + 1]] for i, name in enumerate(PARTS)}


def _require(config, parts, skipped) -> None:
    for name, part in parts.items():
        if not part and name != "test":
            raise DataError(
                f"{config.data}: no picture for {name}, out of {sum(map(len, parts.values()))} that could be used; "
                f"give more pictures or change --split{'; left out: ' + skipped[0] if skipped else ''}"
            )


def _fit_codec(config, parts) -> Codec:
    sentences = [caption for picture in parts["train"] for caption in picture.captions]
    rest = {"image_size": config.image_size, "longest": config.longest}
    if config.vocabulary == "subwords":
        from .subwords import fit_pieces

        return fit_pieces(sentences, config.pieces, **rest)
    codec = fit_words(sentences, config.least_count, **rest)
    if codec.size <= UNKNOWN + 1:
        raise DataError(f"{config.data}: no word comes {config.least_count} times; lower --least-count")
    return codec


def source(config, codec: Codec, album: Album) -> Source:
    """Rows of a picture and `config.captions` of its captions; what a picture lacks of them weighs nothing."""
    group = config.captions
    rows = [(i, g) for i, p in enumerate(album.pictures) for g in range(0, len(p.captions), group)]
    if config.frozen:
        from .features import Features

        features = Features(config, album)
    encoded = [np.stack([codec.row(c) for c in p.captions]) for p in album.pictures]

    def gather(indices):
        chosen = [rows[i] for i in indices]
        captions = np.zeros((len(chosen), group, codec.longest + 1), np.int32)
        for row, (i, g) in zip(captions, chosen, strict=True):
            some = encoded[i][g : g + group]
            row[: len(some)] = some
        pictures = [i for i, _ in chosen]
        name, seen = ("features", features(pictures)) if config.frozen else ("image", album.pixels(pictures))
        targets = captions[:, :, 1:]
        return {name: seen, "captions": captions}, targets, (targets > 0).astype(np.float32)

    def sizes():
        return np.array([(encoded[i][g : g + group, 1:] > 0).sum() for i, g in rows])

    return Source(len(rows), gather, sizes, alike=False, padded=lambda longest: group * codec.longest)


def _describe(config, parts: dict, skipped) -> str:
    name = "rendered scenes, unseen combinations in test" if config.data == "scenes" else config.data
    return f"{name}: {sum(map(len, parts.values())):,} pictures, {len(skipped)} rows or pictures left out"
