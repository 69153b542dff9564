"""Exports a trained model to a bundle: every container written, run, and compared with Keras before it is kept."""

import functools
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from .. import benchmark
from ..app import App
from ..config import to_json
from ..engines import ENGINES, Engine, open_bundle_engine
from ..files import replacing_directory, write_json
from ..opened import Opened
from ..progress import bar
from ..signature import Signature
from . import litert, onnx, parity, saved_model
from .bundle import write_manifest
from .card import model_card, readme

# A quantised model that loses more than this share of the application's metric is not recommended.
AGREED_LOSS = 0.02
EXACT = ("saved_model", "litert", "onnx")
NUMBERS = {
    "litert": "float32",
    "onnx": "float32",
    "litert-float16": "float16 weights",
    "litert-dynamic": "int8 weights",
    "litert-int8": "int8 weights and activations",
    "onnx-int8": "int8 weights",
}


def build(app: App, opened: Opened, model, data, path: Path, *, quiet: bool = False) -> dict:
    """Writes the bundle of a trained model to `path` and returns its parity record; a failed parity leaves no bundle.

    Args:
        opened: the run on the Keras engine, the reference.
        model: the Keras model whose weights are exported.
        data: the application's data; parity and quantisation use real rows of its training part.
    """
    evaluate, keras = app.stage("evaluate"), opened.engine
    signatures = list(keras.signatures.values())
    samples = evaluate.samples(keras, opened.config, data)
    with replacing_directory(path) as directory, bar("export", 6 + len(signatures), quiet=quiet) as update:
        weights = _write_containers(model, signatures, samples, directory, update)
        update(description="export: parity")
        engines = {
            name: open_bundle_engine(directory, keras.signatures, name)
            for name in (*EXACT, *NUMBERS)
            if (directory / ENGINES[name][1].format(signatures[0].name)).exists()
        }
        record = {name: parity.compare(keras, engine, samples) for name, engine in engines.items()}
        signatures = _routes(directory, keras, samples, record)
        for name in EXACT:
            parity.require_equal(name, record[name])
        update(description="export: metric after quantisation")
        named = {s.name: s for s in signatures}
        engines = {name: open_bundle_engine(directory, named, name) for name in engines}
        score = functools.partial(evaluate.score, config=opened.config, data=data)
        report = {"tolerance": parity.TOLERANCE, "containers": record}
        report["quantisation"] = quantisation(score, keras, engines, directory)
        write_json(directory / "parity.json", report)
        _write_samples(directory / "samples.npz", keras, samples)
        app.stage("predict").example(opened.config, data, directory / app.example_name)
        latency = [row for engine in engines.values() for row in benchmark.latency(engine, samples, 0.1)]
        card = model_card(app, opened, _read_metrics(opened.path), report, latency)
        (directory / "MODEL_CARD.md").write_text(card, encoding="utf-8")
        (directory / "README.md").write_text(readme(app, signatures, report), encoding="utf-8")
        codec = opened.codec.to_json()
        write_manifest(
            directory, app.name, to_json(opened.config), codec, signatures, data.license, onnx.OPSET, weights
        )
    return report


def _write_containers(model, signatures, samples, directory: Path, update) -> dict:
    """Writes every container; returns engine -> signature -> bytes of weights."""
    weights = {}
    update(description="export: SavedModel", advance=0)
    saved_model.write(model, signatures, directory / "saved_model")
    with tempfile.TemporaryDirectory() as scratch:
        fixed = Path(scratch) / "litert"
        saved_model.write(model, signatures, fixed, for_litert=True)
        for variant, name in litert.VARIANTS.items():
            update(description=f"export: {variant}")
            covered = litert.in_full_int8(signatures) if variant == "litert-int8" else signatures
            if covered:
                litert.write(fixed, covered, directory / name, variant, litert.calibration(samples, covered))
                weights[variant] = litert.weight_bytes((directory / name).read_bytes())
    weights["onnx"], weights["onnx-int8"] = {}, {}
    for s in signatures:
        update(description=f"export: onnx {s.name}")
        weights["onnx"][s.name] = onnx.write(s, directory / f"{s.name}.onnx")
        weights["onnx-int8"][s.name] = onnx.write_int8(
            s, directory / f"{s.name}.onnx", directory / f"{s.name}_int8.onnx"
        )
    return weights


def _routes(directory: Path, keras: Engine, samples: dict, record: dict) -> list[Signature]:
    """The signatures, each by the route that is the faster on LiteRT; what goes by steps is compared with Keras too."""
    by_steps = {name: replace(s, by_steps=True) for name, s in keras.signatures.items() if s.steps}
    if not by_steps:
        return list(keras.signatures.values())
    some = {name: samples[name] for name in by_steps}
    engines = {
        flag: open_bundle_engine(directory, keras.signatures | (by_steps if flag else {}), "litert")
        for flag in (False, True)
    }
    for name, found in parity.compare(keras, engines[True], some).items():
        record["litert"][f"{name} by steps"] = found
    times = {flag: benchmark.latency(engine, some, 0.2) for flag, engine in engines.items()}
    faster = {
        loop["signature"]
        for loop, steps in zip(times[False], times[True], strict=True)
        if steps["median_ms"] < loop["median_ms"]
    }
    return [by_steps[s.name] if s.name in faster else s for s in keras.signatures.values()]


def quantisation(score, reference: Engine, engines: Mapping[str, Engine], directory: Path) -> dict:
    """Size and the application's own metric of each variant, and the smallest LiteRT file that keeps the metric."""
    metric, before = score(reference)
    rows = {}
    for name, engine in engines.items():
        if name not in NUMBERS:
            continue
        after = score(engine)[1]
        products = name == "litert-int8" and any(s.raw for s in reference.signatures.values())
        rows[name] = {"numbers": "int8 products, float32 between" if products else NUMBERS[name], "metric": after}
        rows[name]["change"] = (after - before) / abs(before) if before else after - before
        rows[name]["bytes"] = _size(name, directory, list(engine.signatures))
    kept = [n for n in rows if n.startswith("litert") and rows[n]["change"] <= AGREED_LOSS]
    best = min(kept, key=lambda n: rows[n]["bytes"], default="litert")
    loops = [s.name for s in reference.signatures.values() if s.fixed_batch and not s.steps]
    notes = [
        f"{name} loses {100 * row['change']:.2f} %, more than the agreed {100 * AGREED_LOSS:.0f} %: not recommended"
        for name, row in rows.items()
        if row["change"] > AGREED_LOSS
    ]
    if loops:
        notes.append(
            f"no full int8 (model_int8.tflite): `{'`, `'.join(loops)}` keeps a loop over time, whose ranges "
            "TensorFlow's calibrator cannot measure; the next safer one is int8 weights (model_dynamic.tflite)"
        )
    return {
        "metric": metric, "keras": before, "agreed_loss": AGREED_LOSS, "recommended": best, "engines": rows,
        "notes": notes,
    }  # fmt: skip


def _size(engine: str, directory: Path, signatures: Sequence[str]) -> int:
    return sum((directory / f).stat().st_size for f in {ENGINES[engine][1].format(name) for name in signatures})


def _write_samples(path: Path, engine: Engine, samples: dict[str, list[dict]]) -> None:
    """One input per signature and Keras's answer to it: test vectors for whoever calls the bundle."""
    arrays = {}
    for name, inputs in samples.items():
        one = {k: v[:1] for k, v in inputs[0].items()}
        arrays.update({f"{name}/in/{k}": v for k, v in one.items()})
        arrays.update({f"{name}/out/{k}": v for k, v in engine(name, **one).items()})
    np.savez(path, **arrays)


def _read_metrics(run: Path) -> dict:
    from ..run import Run

    return Run(run).metrics if (run / "metrics.json").exists() else {}
