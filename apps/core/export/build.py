"""Exports a trained model to a bundle: every container written, run, and compared with Keras before it is kept."""

import functools
import tempfile
from pathlib import Path

import numpy as np

from ..app import App
from ..config import to_json
from ..engines import Engine, open_bundle_engine
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
QUANTIZED = ("litert-float16", "litert-dynamic", "litert-int8", "onnx-int8")


def build(app: App, opened: Opened, model, data, path: Path, *, quiet: bool = False) -> dict:
    """Writes the bundle of a trained model to `path` and returns its parity record; a failed parity leaves no bundle.

    Args:
        opened: the run on the Keras engine, the reference.
        model: the Keras model whose weights are exported.
        data: the application's data; parity and quantisation use real rows of it.
    """
    evaluate = app.stage("evaluate")
    signatures = list(opened.engine.signatures.values())
    samples = evaluate.samples(opened.engine, opened.config, data)
    with replacing_directory(path) as directory, bar("export", 10, quiet=quiet) as update:
        update(description="export: SavedModel", advance=0)
        saved_model.write(model, signatures, directory / "saved_model")
        with tempfile.TemporaryDirectory() as scratch:
            fixed = Path(scratch) / "litert"
            saved_model.write(model, signatures, fixed, for_litert=True)
            rows = litert.calibration(samples, signatures)
            for variant, name in litert.VARIANTS.items():
                update(description=f"export: {variant}")
                litert.write(fixed, signatures, directory / name, variant, rows)
        for signature in signatures:
            update(description=f"export: onnx {signature.name}")
            onnx.write(signature, directory / f"{signature.name}.onnx")
            onnx.quantize(directory / f"{signature.name}.onnx", directory / f"{signature.name}_int8.onnx")
        update(description="export: parity")
        named = opened.engine.signatures
        engines = {name: open_bundle_engine(directory, named, name) for name in (*EXACT, *QUANTIZED)}
        record = {name: parity.compare(opened.engine, engine, samples) for name, engine in engines.items()}
        for name in EXACT:
            parity.require_equal(name, record[name])
        score = functools.partial(evaluate.score, config=opened.config, data=data)
        update(description="export: metric after quantisation")
        report = {"tolerance": parity.TOLERANCE, "containers": record}
        report["quantisation"] = _quantisation(score, opened.engine, engines, directory, signatures)
        write_json(directory / "parity.json", report)
        _write_samples(directory / "samples.npz", opened.engine, samples)
        app.stage("predict").example(opened.config, data, directory / app.example_name)
        metrics = _read_metrics(opened.path)
        (directory / "MODEL_CARD.md").write_text(model_card(app, opened, metrics, report), encoding="utf-8")
        (directory / "README.md").write_text(readme(app, signatures), encoding="utf-8")
        codec = opened.codec.to_json()
        write_manifest(directory, app.name, to_json(opened.config), codec, signatures, data.license)
    return report


def _quantisation(score, reference: Engine, engines, directory: Path, signatures: list[Signature]) -> dict:
    """Size and the application's own metric of each variant, and the smallest that keeps the metric."""
    metric, before = score(reference)
    rows = {}
    for name, engine in engines.items():
        if name in ("saved_model",):
            continue
        after = score(engine)[1]
        rows[name] = {"metric": after, "change": (after - before) / abs(before) if before else 0.0}
        rows[name]["bytes"] = _size(name, directory, signatures)
    kept = [n for n in rows if n.startswith("litert") and rows[n]["change"] <= AGREED_LOSS]
    best = min(kept, key=lambda n: rows[n]["bytes"], default="litert")
    return {"metric": metric, "keras": before, "agreed_loss": AGREED_LOSS, "recommended": best, "engines": rows}


def _size(engine: str, directory: Path, signatures: list[Signature]) -> int:
    if engine.startswith("litert"):
        return (directory / litert.VARIANTS[engine]).stat().st_size
    suffix = "_int8.onnx" if engine.endswith("int8") else ".onnx"
    return sum((directory / f"{s.name}{suffix}").stat().st_size for s in signatures)


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
