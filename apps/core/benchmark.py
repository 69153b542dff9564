"""Latency and memory of every signature on every engine, one row at a time, on the bundle's own test vectors."""

import functools
import importlib
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from .app import App
from .engines import ENGINES, Engine
from .errors import ElmanError, UsageError
from .export.bundle import Bundle, read_bundle, read_samples
from .opened import open_model
from .run import Run

_TENSORFLOW = ("keras", "saved_model")  # its threads are set once for a process: they are measured as they are
_BLOCK = 2**24  # numbers copied to measure the memory's bandwidth: 64 MB, more than the caches hold


def measure(
    app: App, path: Path, engines: Sequence[str] = (), *, threads=(1,), seconds: float = 0.5, memory: bool = False
) -> list[dict]:
    """A row per signature, engine and number of threads; what is not installed is left out.

    A row has `signature`, `engine`, `threads` (0: TensorFlow's own choice), `median_ms`, `p95_ms`, `bytes` (of the
    file), `limit_ms` (the weights over the bandwidth of the memory; a model that fits the cache may be faster),
    `calls`, `difference` (to Keras) and, with `memory`, `peak_mb`: of a process that does nothing else.

    Args:
        path: a run or a bundle. A run adds Keras: the compiled function, and `model.predict` where the model takes just
            the inputs of the signature.
        engines: names; all that the path offers when empty.
        seconds: time spent on each row of the table.
    """
    if min(threads, default=1) < 1:
        raise UsageError(f"--threads: expected 1 or more, received {min(threads)}")
    if not seconds > 0:
        raise UsageError(f"--seconds: expected a positive number, received {seconds}")
    place = path if (path / "bundle.json").exists() else path / "bundle"
    if not (place / "bundle.json").exists():
        raise ElmanError(f"{path}: no bundle; make one with: elman {app.name} export {path}")
    bundle = read_bundle(place, app.name)  # refuses what was changed, before engines that are not there are passed over
    samples = read_samples(place / "samples.npz")
    rows, rate = [], bandwidth()
    for name in engines or [n for n in ENGINES if n != "keras" or path != place]:
        for count in threads if name not in _TENSORFLOW else (1,):
            try:
                opened = open_model(app, path, name, threads=count)
            except ElmanError as error:
                if engines or isinstance(error, UsageError):
                    raise
                break
            timed = latency(opened.engine, {name: [inputs] for name, (inputs, _) in samples.items()}, seconds)
            for row in timed:
                row |= _facts(opened.engine, bundle, samples[row["signature"]], row["signature"], rate)
                row["threads"] = 0 if name in _TENSORFLOW else count
                if memory:
                    row["peak_mb"] = _peak_of_a_process(app, path, name, row["signature"], count)
            rows += timed
    if path != place and (not engines or "keras" in engines):
        rows += _keras_predict(app, Run(path), samples, seconds)
    return rows


def latency(engine: Engine, samples: Mapping[str, Sequence[dict]], seconds: float) -> list[dict]:
    """Median and 95th percentile of a call of each signature with the first row of its first sample."""
    rows = []
    for signature, inputs in samples.items():
        one = {name: array[:1] for name, array in inputs[0].items()}
        times = _times(functools.partial(engine, signature, **one), seconds)
        rows.append({"signature": signature, "engine": engine.name, **_quantiles(times)})
    return rows


def bandwidth() -> float:
    """Bytes a second that one core reads and writes of memory, the best of some copies of 64 MB."""
    source = np.ones(_BLOCK, np.float32)
    target = np.zeros_like(source)
    return 2 * source.nbytes / min(_times(functools.partial(np.copyto, target, source), 0.1))


def _facts(engine: Engine, bundle: Bundle, sample: tuple[dict, dict], signature: str, rate: float) -> dict:
    inputs, outputs = sample
    answer = engine(signature, **inputs)
    weights = bundle.manifest.get("weight_bytes", {})
    read = weights.get("litert" if engine.name in _TENSORFLOW else engine.name, {})
    declared = bundle.signatures[signature]
    return {
        "bytes": _bytes(bundle.path, engine.name, signature),
        "limit_ms": 1e3 * read.get(signature, read.get(declared.steps, 0)) / rate,
        "difference": max(float(np.max(np.abs(answer[k] - v), initial=0)) for k, v in outputs.items()),
    }


def _keras_predict(app: App, run: Run, samples: dict, seconds: float) -> list[dict]:
    """What users of plain Keras call: `model.predict` on one row."""
    model = run.model(app)
    names = {tensor.name for tensor in model.inputs}
    lone = not isinstance(model.input, dict)
    same = [
        (s, inputs[model.input.name] if lone else inputs) for s, (inputs, _) in samples.items() if set(inputs) == names
    ]
    size = os.path.getsize(run.path / "model.keras")
    return [
        {"signature": s, "engine": "keras model.predict", "threads": 0, "bytes": size}
        | _quantiles(_times(functools.partial(model.predict, inputs, verbose=0), seconds))
        for s, inputs in same
    ]


def _quantiles(times: Sequence[float]) -> dict:
    median, p95 = 1e3 * float(np.median(times)), 1e3 * float(np.percentile(times, 95))
    return {"median_ms": median, "p95_ms": p95, "calls": len(times)}


def peak_megabytes() -> float:
    """Peak resident memory of this process; on Linux without what the process that started it once held."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) / 1024 for line in status.open() if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 2**20)


def _peak_of_a_process(app: App, path: Path, engine: str, signature: str, threads: int) -> float:
    """Peak memory in MB of a fresh process that opens an engine and calls one signature."""
    words = [app.package, str(path), engine, signature, str(threads)]
    code = f"from {__name__} import _call_once; import sys; _call_once(*sys.argv[1:])"
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    if done.returncode:
        raise ElmanError(f"{path}: {engine}, '{signature}': {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
    return float(done.stdout.splitlines()[-1])


def _call_once(package: str, path: str, engine: str, signature: str, threads: str) -> None:
    app = importlib.import_module(package).APP
    place = Path(path) / "bundle" if (Path(path) / "bundle").exists() else Path(path)
    inputs, _ = read_samples(place / "samples.npz")[signature]
    opened = open_model(app, path, engine, int(threads))
    for _ in range(3):
        opened.engine(signature, **inputs)
    print(peak_megabytes())


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
    files: Iterable[Path] = path.rglob("*") if path.is_dir() else [path]
    return sum(f.stat().st_size for f in files if f.is_file())
