"""`elman handwriting adapt RUN --lines DIR`: a trained reader fitted to one hand, scored before and after."""

import dataclasses
import time
from pathlib import Path

import numpy as np

from ..core import backend
from ..core.app import App
from ..core.errors import DataError, UsageError
from ..core.files import replacing, write_json
from ..core.opened import open_run
from ..core.report import table
from ..core.run import Run, refuse_existing, start
from . import generated, pictures, reading
from .augment import vary
from .codec import Codec
from .data import digest, fitting
from .ink import Ink
from .lines import Line, Lines, encode

LEAST = 4  # lines that one can adapt to and score with
ROWS = 300  # of an epoch, about


def adapt(
    app: App, path: Path, options, *, out: Path | None = None, overwrite: bool = False, quiet: bool = False
) -> str:
    """Fine-tunes a run on the lines of one hand into a run of its own; returns its scores before and after.

    The lines that score are never trained on; the number of epochs is fixed before, so nothing is chosen by them.
    """
    backend.load(f"elman {app.name} adapt")
    if not (path / "config.json").exists():
        raise UsageError(f"{path}: expected a run directory (a bundle holds no Keras model to train on)")
    if out is not None and not overwrite:
        refuse_existing(Path(out))
    source = Run(path)
    config, codec = source.config(app), source.codec(app)
    if codec.kind == "symbol":
        raise UsageError(f"{path}: a model of single drawings; adapt takes one that reads lines")
    mine, held_out, warnings = _lines(codec, options)
    model = source.model(app)
    began = time.perf_counter()
    before = _scores(open_run(app, source, model), codec, held_out)
    run = start(app, config, out, overwrite=overwrite)
    fitted = _fit(model, config, codec, mine, options, run.path, quiet)
    with replacing(run.path / "model.keras") as file:
        model.save(file)
    codec = codec.remember([*codec.seen, *(digest(ink) for ink in mine)])
    write_json(run.path / "codec.json", codec.to_json())
    after = _scores(open_run(app, run, model), codec, held_out)
    run.write_metrics(
        application=app.name,
        data=f"{Path(options.lines).name}: {len(mine)} lines of one hand, on top of {path.name}",
        license="that of the data",
        sizes={"train": len(mine), "test": len(held_out)},
        seed=options.seed,
        epochs=len(fitted.history),
        best_epoch=fitted.best_epoch,
        stopped=fitted.reason,
        parameters=model.count_params(),
        machine=_machine(),
        seconds={"training": round(time.perf_counter() - began, 1)},
        model=after,
        baselines={"before": before},
        notes=[*warnings, f"scores on {len(held_out)} held-out lines that training did not see"],
    )
    shown = [key for key in ("cer", "wer", "cer_lm") if key in after]
    rows = [[name, *(f"{100 * scores[k]:.1f} %" for k in shown)] for name, scores in _named(before, after)]
    return f"{table(['', *shown], rows)}\n{len(mine)} lines to adapt, {len(held_out)} held out: {run.path}"


def _named(before: dict, after: dict) -> list[tuple[str, dict]]:
    return [("before", before), ("after", after)]


def _machine() -> str:
    from ..core.training import describe_machine

    return describe_machine()


def _lines(codec: Codec, options) -> tuple[list[Ink], list[Ink], list[str]]:
    """Lines to adapt to, lines to score, and a warning for each line that could not be used."""
    mine, warnings = _read(codec, options.lines)
    if options.test:
        held_out, more = _read(codec, options.test)
        known = {digest(ink) for ink in mine}
        held_out = [ink for ink in held_out if digest(ink) not in known]
        warnings += more
    else:
        order = np.random.default_rng(options.seed).permutation(len(mine))
        count = min(max(1, round(options.held_out * len(mine))), len(mine) - 1)
        held_out, mine = [mine[i] for i in sorted(order[:count])], [mine[i] for i in sorted(order[count:])]
    if len(mine) + len(held_out) < LEAST or not held_out:
        raise DataError(
            f"{options.lines}: {len(mine)} lines to adapt to and {len(held_out)} to score; expected {LEAST} or more "
            "together; write 10 to 50 lines"
        )
    return mine, held_out, warnings


def _read(codec: Codec, place: str) -> tuple[list[Ink], list[str]]:
    inks, skipped = (pictures if codec.kind == "image" else reading).read(Path(place))
    known, found = set(codec.alphabet), []
    for ink in inks:
        if not ink.text:
            skipped.append(f"{ink.name}: no text; skipped")
        elif set(ink.text) - known:
            foreign = " ".join(sorted(set(ink.text) - known))
            skipped.append(f"{ink.name}: characters outside the model's alphabet: {foreign}; skipped")
        else:
            found.append(ink)
    found = [line.ink for line in fitting(codec, found, skipped)]
    if not found:
        raise DataError(f"{place}: no line that could be used, out of {len(inks)}; the first: {skipped[0]}")
    return found, skipped


def _scores(opened, codec: Codec, inks: list[Ink]) -> dict:
    from . import decode
    from .config import PredictOptions
    from .evaluate import knows_english, rates, with_language_model

    seen = [decode.look(opened.engine, codec.encode(ink)) for ink in inks]
    truths = [ink.text for ink in inks]
    greedy = decode.Decoder(codec, PredictOptions())
    found = rates(truths, [greedy(looked)[0].text for looked in seen])
    if knows_english(opened.engine, codec):
        helped = with_language_model(codec)
        found["cer_lm"] = rates(truths, [helped(looked)[0].text for looked in seen])["cer"]
    return found


def _fit(model, config, codec: Codec, inks: list[Ink], options, directory: Path, quiet: bool):
    from ..core import training
    from .model import loss

    rng = np.random.default_rng((options.seed, 11))
    copies = options.copies or int(np.clip(ROWS // len(inks), 2, 16))
    plain = [encode(codec, ink) for ink in inks]
    rows = list(plain)
    for _ in range(copies - 1):
        rows += [_varied(codec, ink, rng, options.vary) for ink in inks]
    if set(generated.codec(config).alphabet) <= set(codec.alphabet):
        other = dataclasses.replace(config, seed=config.seed + 1 + options.seed)
        count = int(options.rehearse * len(rows))
        rows += [encode(codec, ink) for ink in generated.write(other, codec, "train", range(count))]
    tuned = dataclasses.replace(
        config,
        seed=options.seed,
        epochs=options.epochs,
        batch_size=8,
        optimizer="adam",
        learning_rate=options.learning_rate,
        schedule="cosine",
        warmup_steps=20,
        average=0.0,  # a few hundred steps are too few for the average of a long training
        patience=0,
    )
    attention = config.model == "attention"
    train, seen = (Lines(lambda lines=lines: lines).source(len(lines), attention) for lines in (rows, plain))
    return training.fit(model, tuned, loss(model, config, codec), train, seen, directory, quiet=quiet)


def _varied(codec: Codec, ink: Ink, rng: np.random.Generator, strength: float) -> Line:
    return encode(codec, vary(ink, rng, strength), 1 + 0.1 * rng.uniform(-1, 1))
