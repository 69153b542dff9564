"""Latency of every signature on every engine, one row at a time, on the bundle's own test vectors."""

import functools
import os
import resource
import sys
import time
from pathlib import Path

import numpy as np

from .app import App
from .engines import ENGINES
from .errors import ElmanError, UsageError
from .export.bundle import read_bundle, read_samples
from .opened import open_model
from .run import Run


def measure(app: App, path: Path, engines=(), *, threads=(1,), seconds: float = 0.5) -> list[dict]:
    """Median and 95th percentile per signature, engine and number of threads; what is not installed is left out.

    Args:
        path: a run or a bundle. A run adds Keras: the compiled function, and `model.predict` where the model takes just
            the inputs of the signature.
        engines: names; all that the path offers when empty.
        seconds: time spent on each row of the table.
    """
    bundle = path if (path / "bundle.json").exists() else path / "bundle"
    read_bundle(bundle, app.name)  # refuses what was changed, before engines that are not there are passed over
    samples = read_samples(bundle / "samples.npz")
    rows = []
    for name in engines or [n for n in ENGINES if n != "keras" or path != bundle]:
        for count in threads:
            try:
                opened = open_model(app, path, name, threads=count)
            except ElmanError as error:
                if engines or isinstance(error, UsageError):
                    raise
                continue
            label = name if count == 1 else f"{name}, {count} threads"
            for signature, (inputs, outputs) in samples.items():
                times = _times(functools.partial(opened.engine, signature, **inputs), seconds)
                answer = opened.engine(signature, **inputs)
                row = _row(signature, label, times, _bytes(bundle, name, signature))
                row["difference"] = max(float(np.max(np.abs(answer[k] - v), initial=0)) for k, v in outputs.items())
                rows.append(row)
    if path != bundle and (not engines or "keras" in engines):
        rows += _keras_predict(app, Run(path), samples, seconds)
    return rows


def _keras_predict(app: App, run: Run, samples: dict, seconds: float) -> list[dict]:
    """What users of plain Keras call: `model.predict` on one row."""
    model = run.model(app)
    names = set(model.input) if isinstance(model.input, dict) else set()
    same = [(s, inputs) for s, (inputs, _) in samples.items() if set(inputs) == names]
    size = os.path.getsize(run.path / "model.keras")
    return [
        _row(s, "keras model.predict", _times(functools.partial(model.predict, inputs, verbose=0), seconds), size)
        for s, inputs in same
    ]


def _row(signature: str, engine: str, times: list[float], size: int) -> dict:
    median, p95 = 1e3 * float(np.median(times)), 1e3 * float(np.percentile(times, 95))
    return {
        "signature": signature,
        "engine": engine,
        "median_ms": median,
        "p95_ms": p95,
        "bytes": size,
        "calls": len(times),
    }


def peak_megabytes() -> float:
    """Peak resident memory of this process; on Linux without what the process that started it once held."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) / 1024 for line in status.open() if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 2**20)


def _times(call, seconds: float) -> list[float]:
    for _ in range(3):
        call()
    times, end = [], time.perf_counter() + seconds
    while len(times) < 10 or time.perf_counter() < end:
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return times


def _bytes(bundle: Path, engine: str, signature: str) -> int:
    pattern = ENGINES[engine][1]
    if not pattern:
        return os.path.getsize(bundle.parent / "model.keras")
    path = bundle / pattern.format(signature)
    return sum(f.stat().st_size for f in path.rglob("*") if f.is_file()) if path.is_dir() else path.stat().st_size
