"""Reading ink on any engine: best path or beam, with confidences and the strokes of every character."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.errors import DataError, UsageError
from ..core.files import write_text
from . import decode, reading
from .codec import Codec
from .config import PredictOptions
from .ink import Ink


@dataclass(frozen=True)
class Reading:
    """What a line was read as.

    Attributes:
        ink: the line. text: the best reading. confidence: expected share of its characters that are right.
        sure: whether that is as much as was asked for.
        characters: for each character its confidence and the stroke and point where it was written.
        others: further readings with their scores, best first.
    """

    ink: Ink
    text: str
    confidence: float
    sure: bool
    characters: tuple[dict, ...]
    others: tuple[dict, ...]

    def to_json(self) -> dict:
        return {
            "name": self.ink.name,
            "text": self.text,
            "confidence": round(self.confidence, 4),
            "sure": self.sure,
            "characters": list(self.characters),
            "n_best": list(self.others),
        }


def predict(engine, config, codec: Codec, source: Path, options: PredictOptions) -> list[Reading]:
    """Reads every line of a file."""
    decoder = decode.Decoder(codec, options)
    return [read(engine, codec, ink, decoder) for ink in reading.read_file(source)]


def read(engine, codec: Codec, ink: Ink, decoder: decode.Decoder) -> Reading:
    """Reads one line."""
    frames, places = codec.encode_traced(ink)
    return made(ink, codec, engine("recognise", frames=frames[None])["log_probs"][0], places, decoder)


def made(ink: Ink, codec: Codec, log_probs: np.ndarray, places: np.ndarray, decoder: decode.Decoder) -> Reading:
    """The reading of a line's log-probabilities (frames, classes), whose frames begin at `places` in the ink."""
    found = decoder(log_probs)
    best = found[0]
    confidences = codec.calibrated(best.confidences)
    owner = np.repeat(np.arange(len(ink.strokes)), [len(stroke) for stroke in ink.strokes])
    first = np.cumsum([0, *[len(stroke) for stroke in ink.strokes]])
    characters = []
    for letter, confidence, frame in zip(best.text, confidences, best.frames, strict=True):
        point = round(float(places[frame]))
        stroke = int(owner[point])
        place = {"stroke": stroke, "point": point - int(first[stroke])}
        characters.append({"character": letter, "confidence": round(float(confidence), 4), **place})
    confidence = float(np.mean(confidences)) if len(confidences) else 0.0
    others = [{"text": t.text, "score": round(t.score, 3)} for t in found]
    return Reading(ink, best.text, confidence, confidence >= decoder.sure, tuple(characters), tuple(others))


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
    return "\n".join(f"{r.text}    [{r.confidence:.0%}{'' if r.sure else ', not sure'}]" for r in result)


def example(config, data, path: Path) -> None:
    """Writes the first test line as JSON."""
    lines = [line for line in data.parts["test"].rows if line.ink is not None]
    if not lines:
        raise DataError("no line to make an example of")
    ink = lines[0].ink
    strokes = [np.round(stroke, 3).tolist() for stroke in ink.strokes]
    write_text(path, json.dumps({"text": ink.text, "strokes": strokes}, ensure_ascii=False) + "\n")
