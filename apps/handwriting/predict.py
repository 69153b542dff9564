"""Reading ink on any engine: best path or beam, with confidences and the strokes of every character."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.errors import DataError, UsageError
from ..core.files import write_text
from . import decode, pictures, reading
from .codec import Codec
from .config import PredictOptions
from .ink import Ink
from .pictures import Picture
from .stream import follow


@dataclass(frozen=True)
class Reading:
    """What a line was read as.

    Attributes:
        ink: the line. text: the best reading. confidence: expected share of its characters that are right.
        sure: whether that is as much as was asked for.
        characters: for each character its confidence and where it is: stroke and point, or column of the picture.
        others: the readings with their scores, best first. after: text and milliseconds after each stroke (--stream).
    """

    ink: Ink | Picture
    text: str
    confidence: float
    sure: bool
    characters: tuple[dict, ...]
    others: tuple[dict, ...]
    after: tuple[dict, ...] = ()

    def to_json(self) -> dict:
        streamed = {"after_each_stroke": list(self.after)} if self.after else {}
        return {
            "name": self.ink.name,
            "text": self.text,
            "confidence": round(self.confidence, 4),
            "sure": self.sure,
            "characters": list(self.characters),
            "n_best": list(self.others),
            **streamed,
        }


def predict(engine, config, codec: Codec, source: Path, options: PredictOptions) -> list[Reading]:
    """Reads every line of a file."""
    decoder = decode.Decoder(codec, options)
    inks, skipped = (pictures if codec.kind == "image" else reading).read(source)
    if skipped and source.is_file():
        raise DataError(skipped[0])
    if codec.kind == "symbol":
        from .symbols import name_drawings

        return name_drawings(engine, codec, inks, decoder.sure)
    if options.stream:
        return [_streamed(engine, codec, ink, decoder) for ink in inks]
    return [read(engine, codec, ink, decoder) for ink in inks]


def _streamed(engine, codec: Codec, ink: Ink, decoder: decode.Decoder) -> Reading:
    stream, after = follow(engine, codec, ink, decoder)
    return dataclasses.replace(made(ink, codec, stream.log_probs, stream.places, decoder), after=tuple(after))


def read(engine, codec: Codec, ink: Ink, decoder: decode.Decoder) -> Reading:
    """Reads one line."""
    frames, places = codec.encode_traced(ink)
    return made(ink, codec, decode.look(engine, frames), places, decoder)


def made(ink: Ink | Picture, codec: Codec, seen, places: np.ndarray, decoder: decode.Decoder) -> Reading:
    """The reading of what `decode.look` saw of a line whose frames begin at `places` in the ink."""
    found = decoder(seen)
    best = found[0]
    confidences = codec.calibrated(best.confidences)
    characters = [
        {"character": letter, "confidence": round(float(confidence), 4), **_place(ink, float(places[frame]))}
        for letter, confidence, frame in zip(best.text, confidences, best.frames, strict=True)
    ]
    confidence = float(np.mean(confidences)) if len(confidences) else 0.0
    others = [{"text": t.text, "score": round(t.score, 3)} for t in found]
    return Reading(ink, best.text, confidence, confidence >= decoder.sure, tuple(characters), tuple(others))


def _place(ink: Ink | Picture, place: float) -> dict:
    """The stroke and its point that is the ink's point `place`; of a picture, the column as prepared."""
    if isinstance(ink, Picture):
        return {"column": round(place)}
    point = round(place)
    for number, stroke in enumerate(ink.strokes):
        if point < len(stroke):
            return {"stroke": number, "point": point}
        point -= len(stroke)
    return {"stroke": len(ink.strokes) - 1, "point": len(ink.strokes[-1]) - 1}


def write(result: list[Reading], path: Path) -> None:
    """Writes `.json` (all that is known), `.txt` (a line of text each) or `.png` (the ink, what was read under it)."""
    if path.suffix == ".json":
        write_text(path, json.dumps([r.to_json() for r in result], indent=1, ensure_ascii=False) + "\n")
    elif path.suffix == ".txt":
        write_text(path, "".join(r.text + "\n" for r in result))
    elif path.suffix == ".png":
        from .plots import plot_readings

        plot_readings(result, path)
    else:
        raise UsageError(f"--out {path}: expected .json, .txt or .png")


def summary(result: list[Reading]) -> str:
    """A line for each reading; those that are not sure say so."""
    lines = [f"{r.text}    [{r.confidence:.0%}{'' if r.sure else ', not sure'}]" for r in result]
    times = [step["ms"] for r in result for step in r.after]
    if times:
        lines += [f"  {step['text']}" for r in result for step in r.after]
        lines.append(f"{np.median(times):.2f} ms a stroke (95 % under {np.percentile(times, 95):.2f} ms)")
    return "\n".join(lines)


def example(config, data, path: Path) -> None:
    """Writes the first test line as JSON."""
    lines = [line for line in data.parts["test"].rows if line.ink is not None]
    if not lines:
        raise DataError("no line to make an example of")
    ink = lines[0].ink
    if isinstance(ink, Picture):
        value = {"text": ink.text, "picture": np.round(ink.pixels, 3).tolist()}
    else:
        value = {"text": ink.text, "strokes": [np.round(stroke, 4).tolist() for stroke in ink.strokes]}
    write_text(path, json.dumps(value, ensure_ascii=False) + "\n")
