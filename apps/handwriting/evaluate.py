"""Error rates of characters and words on any engine, confusions, calibration; accuracy for single drawings."""

import dataclasses
import string
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.errors import DataError
from ..core.progress import track
from . import attending, decode, generated
from .codec import Codec, logit
from .config import PredictOptions
from .data import Data
from .lines import Line
from .predict import Reading, made

INTENDED_USE = (
    "Reading one line of Latin handwriting at a time: notes, forms, labels. `adapt` fits a model to one writer; a "
    "person checks what is marked as not sure."
)
LIMITS = (
    "Trained on generated writing unless the data line says otherwise: real hands are read less well, joined ones "
    "least. Lines must be cut apart before; letters outside the alphabet are never written. Not for "
    "signatures, and not for deciding about people."
)
SHOWN = 12  # worst lines that are drawn
BINS = 10  # of the calibration curve


@dataclass(frozen=True)
class Evaluation:
    """Scores, and what the plots show."""

    model: dict
    baselines: dict
    notes: tuple[str, ...]
    readings: list[Reading]
    confusions: list[tuple[str, str, int]]
    calibration: np.ndarray
    """(bins, 3): mean confidence, share right, characters."""

    def to_json(self) -> dict:
        confusions = [{"written": a, "read": b, "times": n} for a, b, n in self.confusions[:40]]
        return {
            "model": self.model,
            "baselines": self.baselines,
            "notes": list(self.notes),
            "confusions": confusions,
            "calibration": [[round(float(v), 4) for v in row] for row in self.calibration],
        }


def evaluate(engine, config, data: Data, *, quiet: bool = True, options: PredictOptions | None = None) -> Evaluation:
    """Reads every test line: best path; with what `options` ask for (a beam of 10 by default); and, where the alphabet
    is ours, with the built-in language model, for generated lines also with one that knows none of their words."""
    lines = _with_text(data.parts["test"].rows, config)
    if data.codec.kind == "symbol":
        from .symbols import evaluate_symbols

        return evaluate_symbols(engine, config, data, lines, quiet)
    greedy = decode.Decoder(data.codec, PredictOptions())
    searches = {"beam": decode.Decoder(data.codec, options or PredictOptions(beam=10))}
    if knows_english(engine, data.codec):
        searches["lm"] = with_language_model(data.codec)
        if config.data == generated.NAME:
            searches["lm_new"] = with_language_model(data.codec, "train")
    readings, seconds = [], []
    found: dict[str, list[str]] = {name: [] for name in searches}
    for line in track(lines, "reading", quiet=quiet):
        began = time.perf_counter()
        seen = decode.look(engine, line.frames)
        readings.append(made(line.ink, data.codec, seen, line.places, greedy))
        seconds.append(time.perf_counter() - began)
        for name, search in searches.items():
            found[name].append(search(seen)[0].text)
    truths = [line.ink.text for line in lines]
    pairs = aligned(truths, [r.text for r in readings])
    model = {**rates(truths, [r.text for r in readings])}
    for name, texts in found.items():
        model |= {f"{key}_{name}": value for key, value in rates(truths, texts).items() if key != "lines_right"}
    model["ms_a_line"] = 1e3 * float(np.median(seconds))
    curve = calibration_curve(readings, truths)
    model["calibration_error"] = calibration_error(curve)
    confusions = Counter((a, b) for a, b in pairs if a != b).most_common()
    notes = (*_notes(model, readings, truths), *data.warnings)
    return Evaluation(model, {}, notes, readings, [(a, b, n) for (a, b), n in confusions], curve)


def knows_english(engine, codec: Codec) -> bool:
    """Whether a language model of English is of use: for models of CTC that write our letters."""
    return "encode" not in engine.signatures and set(string.ascii_lowercase) <= set(codec.alphabet)


def with_language_model(codec: Codec, split: str = "") -> decode.Decoder:
    """A reader that knows English, or only the words of one split."""
    options = PredictOptions(beam=20, language_model=decode.BUILT_IN)
    return decode.Decoder(codec, options, decode.built_in(codec.alphabet, split))


def _with_text(lines: list[Line], config) -> list[Line]:
    known = [line for line in lines if line.ink is not None and line.ink.text]
    if not known:
        raise DataError(f"{config.data}: no test line with a text; give texts, or lines that training did not see")
    return known


def rates(truths: list[str], texts: list[str]) -> dict:
    """Character and word error rate over all lines, and the share of lines without an error."""
    import jiwer

    found = {"cer": float(jiwer.cer(truths, texts)), "wer": float(jiwer.wer(truths, texts))}
    return {**found, "lines_right": float(np.mean([a == b for a, b in zip(truths, texts, strict=True)]))}


def aligned(truths: list[str], texts: list[str]) -> list[tuple[str, str]]:
    """Pairs of the character written and the one read; "" where there is none."""
    import jiwer

    pairs = []
    as_they_are = jiwer.ReduceToListOfListOfChars()  # by default jiwer strips spaces
    output = jiwer.process_characters(truths, texts, as_they_are, as_they_are)
    for truth, text, chunks in zip(output.references, output.hypotheses, output.alignments, strict=True):
        for chunk in chunks:
            written = truth[chunk.ref_start_idx : chunk.ref_end_idx]
            read = text[chunk.hyp_start_idx : chunk.hyp_end_idx]
            size = max(len(written), len(read))
            pairs += zip([*written, *[""] * (size - len(written))], [*read, *[""] * (size - len(read))], strict=True)
    return pairs


def right_characters(truth: str, text: str) -> np.ndarray:
    """(characters read,) whether each is right, by the best alignment."""
    return np.array([a == b for a, b in aligned([truth], [text]) if b], bool)


def calibration_curve(readings: list[Reading], truths: list[str]) -> np.ndarray:
    """(bins, 3): mean confidence, share right, and number of the characters read, by confidence."""
    confidences, right = _confidences(readings, truths)
    index = np.minimum((confidences * BINS).astype(int), BINS - 1)
    rows = [(confidences[index == i].mean(), right[index == i].mean(), (index == i).sum()) for i in np.unique(index)]
    return np.array(rows, float).reshape(-1, 3)


def calibration_error(curve: np.ndarray) -> float:
    """Mean distance of confidence and share right, over characters."""
    return float((curve[:, 2] * np.abs(curve[:, 0] - curve[:, 1])).sum() / max(curve[:, 2].sum(), 1))


def _confidences(readings: list[Reading], truths: list[str]) -> tuple[np.ndarray, np.ndarray]:
    pairs = [(r, t) for r, t in zip(readings, truths, strict=True) if r.text]
    confidences = [c["confidence"] for r, _ in pairs for c in r.characters]
    right = [right_characters(truth, r.text) for r, truth in pairs]
    return np.array(confidences, float), np.concatenate([*right, np.zeros(0, bool)])


def _notes(model: dict, readings: list[Reading], truths: list[str]) -> tuple[str, ...]:
    sure = [i for i, r in enumerate(readings) if r.sure]
    notes = [
        f"cer, wer: characters, words wrong, of {sum(map(len, truths)):,} characters in {len(truths)} lines (best "
        "path); _beam: prefix beam of 10 without a language model; _lm: of 20 with the built-in one"
    ]
    if "cer_lm_new" in model:
        notes.append("_lm_new: with a language model that was counted without the words of these lines")
    if sure:
        found = rates([truths[i] for i in sure], [readings[i].text for i in sure])
        notes.append(f"{len(sure)} of {len(readings)} lines are marked as sure; their cer is {found['cer']:.4f}")
    return tuple(notes)


def score(engine, config, data: Data) -> tuple[str, float]:
    """The error rate of some test lines or drawings, best path: what quantisation must not lose."""
    return ("error" if data.codec.kind == "symbol" else "cer"), error_rate(engine, data, "test", 40, 400)


def error_rate(engine, data: Data, split: str, most_lines: int = 100, most_drawings: int = 10_000) -> float:
    """Characters read wrongly of some lines of a split, or drawings named wrongly."""
    if data.codec.kind == "symbol":
        from .symbols import error_rate

        return error_rate(engine, data.codec, _some(data, split, most_drawings))
    lines = [line for line in _some(data, split, most_lines) if line.ink.text]
    greedy = decode.Decoder(data.codec, PredictOptions())
    texts = [greedy(decode.look(engine, line.frames))[0].text for line in lines]
    return rates([line.ink.text for line in lines], texts)["cer"]


def _some(data: Data, split: str, count: int) -> list[Line]:
    lines = data.parts[split].rows or data.parts["train"].rows
    return [lines[i] for i in np.unique(np.linspace(0, len(lines) - 1, min(count, len(lines))).astype(int))]


def samples(engine, config, data: Data) -> dict[str, list[dict]]:
    """Training inputs of every signature; states come from running along real lines."""
    lines = [np.asarray(line.frames, np.float32) for line in _some(data, "train", 8)]
    short = min(len(frames) for frames in lines)
    whole = "classify" if data.codec.kind == "symbol" else "recognise"
    if "encode" in engine.signatures:
        return _attention_samples(engine, lines)
    found = {whole: [{"frames": frames[None]} for frames in lines]}
    found[whole].append({"frames": np.stack([frames[:short] for frames in lines[:3]])})
    if "step" in engine.signatures:
        found["step"] = []
        states = engine.signatures["step"].first_states(3)
        for frame in np.stack([frames[: min(short, 20)] for frames in lines[:3]], 1):
            found["step"].append({"frame": frame, **states})
            outputs = engine("step", **found["step"][-1])
            states = {into: outputs[out] for out, into in engine.signatures["step"].states.items()}
    return found


def _attention_samples(engine, lines: list[np.ndarray]) -> dict[str, list[dict]]:
    """Inputs of `encode`, and of `step` while each line is written."""
    recorded: dict[str, list[dict]] = {"encode": [], "step": []}

    def recording(signature, **arrays):
        recorded[signature].append({k: v.copy() for k, v in arrays.items()})
        return engine(signature, **arrays)

    recording.signatures = engine.signatures
    for frames in lines:
        seen = attending.encode(recording, frames[:60])
        states, tokens = seen.states(), np.zeros(1, np.int64)
        for _ in range(8):
            log_probs, states, _ = seen.step(tokens, states)
            tokens = log_probs.argmax(-1)
    return recorded


def calibrate(engine, config, data: Data) -> Codec:
    """Fits on validation lines what a confidence means, and the threshold below which a reading is not sure."""
    lines = [line for line in data.parts["validation"].rows if line.ink is not None and line.ink.text][:200]
    if data.codec.kind == "symbol" or not lines:
        return data.codec
    greedy = decode.Decoder(data.codec, PredictOptions())
    codec = dataclasses.replace(data.codec, calibration=(1.0, 0.0))
    readings = [_read(engine, codec, line, greedy) for line in lines]
    truths = [line.ink.text for line in lines]
    confidences, right = _confidences(readings, truths)
    if len(right) < 50 or right.all() or not right.any():
        return data.codec
    codec = dataclasses.replace(codec, calibration=platt(confidences, right))
    readings = [_read(engine, codec, line, greedy) for line in lines]
    return dataclasses.replace(codec, sure=_threshold(readings, truths))


def _read(engine, codec: Codec, line: Line, decoder) -> Reading:
    return made(line.ink, codec, decode.look(engine, line.frames), line.places, decoder)


def platt(confidences: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """a, b of p(right) = 1 / (1 + exp(−a logit(confidence) − b)), by Newton's method on the likelihood.

    Reference: Platt 1999, "Probabilistic outputs for support vector machines".
    """
    x = np.stack([logit(confidences), np.ones(len(confidences))], 1)
    target = np.where(right, (right.sum() + 1) / (right.sum() + 2), 1 / ((~right).sum() + 2))
    weights = np.array([1.0, 0.0])
    for _ in range(50):
        p = 1 / (1 + np.exp(-x @ weights))
        gradient = x.T @ (p - target)
        curvature = (x * (p * (1 - p))[:, None]).T @ x + 1e-3 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        weights = weights - np.clip(step, -1, 1)
        if np.abs(step).max() < 1e-6:
            break
    return float(weights[0]), float(weights[1])


def _threshold(readings: list[Reading], truths: list[str]) -> float:
    """The lowest confidence from which on the lines read have at most half the errors of all lines."""
    import jiwer

    errors = np.array([jiwer.cer(t, r.text) * len(t) for t, r in zip(truths, readings, strict=True)])
    lengths = np.array([len(t) for t in truths])
    confidences = np.array([r.confidence for r in readings])
    order = np.argsort(-confidences)
    share = np.cumsum(errors[order]) / np.cumsum(lengths[order])
    good = np.flatnonzero(share <= 0.5 * errors.sum() / lengths.sum())
    return float(confidences[order[good[-1]]]) if len(good) else float(confidences.max())


def plots(evaluation: Evaluation, directory: Path) -> None:
    """The worst lines, confusions and the calibration curve."""
    from . import plots as draw

    if evaluation.readings:
        wrong = [r for r in evaluation.readings if r.text != r.ink.text] or evaluation.readings
        import jiwer

        worst = sorted(wrong, key=lambda r: -jiwer.cer(r.ink.text, r.text))[:SHOWN]
        draw.plot_readings(worst, directory / "worst.png")
        draw.plot_calibration(evaluation.calibration, directory / "calibration.png")
    if evaluation.confusions:
        draw.plot_confusions(evaluation.confusions, directory / "confusions.png")
