"""Captions of pictures on any engine: a file, or all pictures of a folder."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.errors import DataError, UsageError
from ..core.files import replacing, write_text
from . import describe, images
from .codec import Codec
from .config import PredictOptions
from .describe import Caption, Search


@dataclass(frozen=True)
class Described:
    """A picture with its captions, best first. `sure`: whether the best one's confidence is high enough."""

    name: str
    captions: list[Caption]
    sure: bool

    @property
    def text(self) -> str:
        return self.captions[0].text if self.sure else f"not sure: {self.captions[0].text}"


@dataclass(frozen=True)
class Captions:
    """What was made of each picture, what could not be read, and how to draw it."""

    pictures: list[Described]
    unreadable: list[str]
    codec: Codec
    source: Path


def predict(engine, config, codec: Codec, source: Path, options: PredictOptions) -> Captions:
    """Captions of a picture, or of every picture of a folder; of those that cannot be read, the reasons."""
    search = _search(config, codec, options)
    files = _files(source)
    described, unreadable = [], []
    for start in range(0, len(files), describe.BATCH):
        names, pixels = [], []
        for file in files[start : start + describe.BATCH]:
            try:
                pixels.append(images.read(file, codec.image_size))
                names.append(file.name if source.is_dir() else str(file))
            except DataError as error:
                unreadable.append(str(error))
        if pixels:
            found = describe.describe(engine, codec, np.stack(pixels), search)
            least = codec.sure if options.least_confidence is None else options.least_confidence
            described += [_described(name, best, least) for name, best in zip(names, found, strict=True)]
    if not described:
        raise DataError(unreadable[0])
    return Captions(described, unreadable, codec, source)


def _files(source: Path) -> list[Path]:
    if not source.is_dir():
        return [source]
    files = sorted(f for f in source.rglob("*") if f.suffix.lower() in images.SUFFIXES)
    if not files:
        raise DataError(f"{source}: no picture in this folder ({', '.join(images.SUFFIXES)})")
    return files


def _search(config, codec: Codec, options: PredictOptions) -> Search:
    """The search that the options ask for; what they leave open is as in the configuration."""
    if min(options.beam, options.no_repeat, options.longest) < 0 or options.n_best < 1:
        raise UsageError("expected --beam, --no-repeat and --longest 0 or more, and --n-best 1 or more")
    if not 0 <= (options.least_confidence or 0) <= 1:
        raise UsageError(f"--least-confidence: expected 0 to 1, received {options.least_confidence}")
    alpha = config.length_penalty if options.length_penalty is None else options.length_penalty
    if not alpha >= 0:
        raise UsageError(f"--length-penalty: expected 0 or more, received {alpha}")
    beam = options.beam or max(config.beam, options.n_best)
    if options.n_best > beam:
        raise UsageError(f"--n-best {options.n_best}: expected at most --beam, {beam}")
    return Search(
        beam, options.n_best, alpha, options.no_repeat, options.longest + 1 if options.longest else codec.longest
    )


def _described(name: str, captions: list[Caption], least: float) -> Described:
    return Described(name, captions, not captions[0].confidence < least)


def write(result: Captions, path: Path) -> None:
    """Writes `.json`, `.csv`, `.txt` (a line a picture), or `.png`: where the model looked, word by word."""
    if path.suffix == ".json":
        write_text(path, json.dumps([_row(one) for one in result.pictures], indent=1, ensure_ascii=False) + "\n")
    elif path.suffix == ".csv":
        with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["image", "caption", "confidence", "sure"])
            for one in result.pictures:
                for caption in one.captions:
                    writer.writerow([one.name, caption.text, f"{caption.confidence:.4f}", int(one.sure)])
    elif path.suffix == ".txt":
        write_text(path, "".join(f"{one.text}\n" for one in result.pictures))
    elif path.suffix == ".png":
        _draw(result, path)
    else:
        raise UsageError(f"--out {path}: expected .json, .csv, .txt or .png")


def _row(one: Described) -> dict:
    captions = [
        {"caption": c.text, "confidence": _number(c.confidence), "log_prob": round(c.log_prob, 4)} for c in one.captions
    ]
    return {"image": one.name, "sure": one.sure, "captions": captions}


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 4)


def _draw(result: Captions, path: Path) -> None:
    if len(result.pictures) > 1:
        raise UsageError(f"--out {path}: expected one picture to draw, received {len(result.pictures)}; use .json")
    caption = result.pictures[0].captions[0]
    if caption.looks is None:
        raise UsageError(f"--out {path}: this model has no attention to draw (--no-attention)")
    from .plots import plot_looks

    file = _files(result.source)[0]
    plot_looks(images.preview(file), caption, result.codec, path)


def summary(result: Captions) -> str:
    """Every caption with its confidence, and what could not be read, for a terminal."""
    lines = []
    for one in result.pictures:
        for caption in one.captions:
            sure = "" if np.isnan(caption.confidence) else f"  ({100 * caption.confidence:.0f} %)"
            text = caption.text if one.sure else f"not sure: {caption.text}"
            lines.append(f"{one.name}: {text}{sure}")
    return "\n".join([*lines, *(f"left out: {reason}" for reason in result.unreadable)])


def example(config, data, path: Path) -> None:
    """Writes the first test picture as the encoder sees it."""
    album = data.parts["test"] or data.parts["train"]
    images.write(album.pixels([0])[0], path)
