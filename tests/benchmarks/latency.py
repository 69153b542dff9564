"""One step and a whole sequence on every runtime, one thread: `python -m tests.benchmarks.latency`.

An LSTM (32 features in, 96 steps) of 64 and of 256 units, a row at a time. Steps are called one by one from Python,
the states fed back; a whole sequence goes by those steps, by the `WHILE` that LiteRT has for a loop, by an unrolled
graph of 8 steps a call, or by ONNX Runtime's own LSTM. The contenders take turns, and the median over the rounds of
each one's median is shown, in microseconds a step.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

STEPS, FEATURES, SEVERAL = 96, 32, 8
FLOAT, INT8 = "litert", "litert-dynamic"
TRUTH = "elman LSTM, tf.function"


def signatures(units: int):
    """The Keras model and its signatures: a step, a whole sequence, and some steps laid out without a loop."""
    import keras

    from elman.apps.core.signature import Signature, Spec
    from elman.layers import LSTMCell, Recurrent

    keras.utils.set_random_seed(0)
    cell = LSTMCell(units)
    inputs = keras.Input((STEPS, FEATURES), name="x")
    model = keras.Model(inputs, Recurrent(cell, return_sequences=True)(inputs))
    states = (Spec("h", (None, units)), Spec("c", (None, units)))
    outputs, feeds = dict.fromkeys(("y", "next_h", "next_c"), ""), {"next_h": "h", "next_c": "c"}

    def step(given):
        y, (h, c) = cell.step(given["x"], [given["h"], given["c"]])
        return {"y": y, "next_h": h, "next_c": c}

    def sequence(given):
        driver = Recurrent(cell, return_sequences=True)
        driver.built = True
        return {"y": driver(given["x"])}

    def several(given):
        driver = Recurrent(cell, return_sequences=True, return_state=True, unroll=True)
        driver.built = True
        return dict(zip(outputs, driver(given["x"], initial_state=[given["h"], given["c"]]), strict=True))

    whole = {"fixed_batch": True, "steps": "step", "collects": True}
    return model, [
        Signature("step", (Spec("x", (None, FEATURES)), *states), outputs, feeds, step),
        Signature("sequence", (Spec("x", (None, None, FEATURES)),), {"y": ""}, {}, sequence, **whole),
        Signature("several", (Spec("x", (None, SEVERAL, FEATURES)), *states), outputs, feeds, several),
    ]


def export(model, declared, folder: Path) -> None:
    """LiteRT files of step and sequence, as a bundle has them, one with the unrolled steps beside; ONNX files."""
    from elman.apps.core.export import litert, onnx, saved_model

    for name, chosen in (("", declared[:2]), ("several_", [declared[2]])):
        saved_model.write(model, chosen, folder / f"{name}fixed", for_litert=True)
        for variant in (FLOAT, INT8):
            litert.write(folder / f"{name}fixed", chosen, folder / f"{name}{variant}.tflite", variant, None)
    for signature in declared[:2]:
        onnx.write(signature, folder / f"{signature.name}.onnx")
        onnx.write_int8(signature, folder / f"{signature.name}.onnx", folder / f"{signature.name}_int8.onnx")


def run_along(engine, name: str, x: np.ndarray, units: int, count: int) -> np.ndarray:
    """Calls a signature along x, so many steps a call, the states fed back; the last output."""
    h = c = np.zeros((1, units), np.float32)
    for t in range(0, x.shape[1], count):
        piece = x[:, t] if name == "step" else x[:, t : t + count]
        answer = engine(name, x=piece, h=h, c=c)
        h, c = answer["next_h"], answer["next_c"]
    return h


def contenders(model, declared, folder: Path, x: np.ndarray, units: int) -> dict[str, Callable]:
    """Label -> a call that goes over the whole of x and gives its last output."""
    import keras
    import tensorflow as tf

    from elman.apps.core.engines import Engine, litert, onnx

    step, sequence, several = declared
    known = {"step": step, "sequence": sequence}
    found = {}

    def add(label, engine, name, count):
        along = name != "sequence"
        found[label] = (
            (lambda: run_along(engine, name, x, units, count)) if along else (lambda: engine(name, x=x)["y"][:, -1])
        )

    for kind, variant, pattern in (("float", FLOAT, "{}.onnx"), ("int8", INT8, "{}_int8.onnx")):
        file = f"{variant}.tflite"
        by_steps = known | {"sequence": replace(sequence, by_steps=True)}
        lite, stepping = (Engine(variant, k, litert.load(folder, file, k)) for k in (known, by_steps))
        laid_out = Engine(variant, {"several": several}, litert.load(folder, f"several_{file}", {"several": several}))
        runtime = Engine(variant, known, onnx.load(folder, pattern, known))
        add(f"LiteRT, one step, {kind}", lite, "step", 1)
        add(f"LiteRT, whole by steps, {kind}", stepping, "sequence", STEPS)
        add(f"LiteRT, whole by WHILE, {kind}", lite, "sequence", STEPS)
        add(f"LiteRT, whole by {SEVERAL} steps, {kind}", laid_out, "several", SEVERAL)
        add(f"ONNX Runtime, one step, {kind}", runtime, "step", 1)
        add(f"ONNX Runtime, whole, {kind}", runtime, "sequence", STEPS)
    compiled = tf.function(model, input_signature=[tf.TensorSpec((1, STEPS, FEATURES))])
    layer = keras.Sequential([keras.Input((STEPS, FEATURES)), keras.layers.LSTM(units, return_sequences=True)])
    layer.set_weights(model.get_weights())
    plain = tf.function(layer, input_signature=[tf.TensorSpec((1, STEPS, FEATURES))])
    found["Keras LSTM, model.predict"] = lambda: layer.predict(x, verbose=0)[:, -1]
    found["Keras LSTM, tf.function"] = lambda: plain(x).numpy()[:, -1]
    found[TRUTH] = lambda: compiled(x).numpy()[:, -1]
    return found


def measure(calls: dict[str, Callable], rounds: int, seconds: float) -> dict[str, float]:
    """Microseconds a step of each; an answer that is not that of the others ends it."""
    answers = {label: call() for label, call in calls.items()}
    truth = answers[TRUTH]
    for label, answer in answers.items():
        difference = np.abs(answer - truth).max()
        if not difference < (0.02 if "int8" in label else 1e-5):
            raise SystemExit(f"{label}: differs by {difference:.1e}")
    times: dict[str, list[float]] = {label: [] for label in calls}
    for _ in range(rounds):
        for label, call in calls.items():
            call()
            taken, end = [], time.perf_counter() + seconds
            while len(taken) < 3 or time.perf_counter() < end:
                began = time.perf_counter()
                call()
                taken.append(time.perf_counter() - began)
            times[label].append(float(np.median(taken)))
    return {label: 1e6 * float(np.median(t)) / STEPS for label, t in times.items()}


def ratios(micro: dict[str, float], sizes: dict[str, int]) -> list[str]:
    """What the figures have to be held against, a line each."""
    onnx = micro["ONNX Runtime, whole, float"]
    lines = [
        "int8 step / float step: "
        f"{micro['LiteRT, one step, int8'] / micro['LiteRT, one step, float']:.2f} (aim at 256 units: 0.7)"
    ]
    for kind, aim in (("float", "1.6"), ("int8", "1")):
        routes = {label: t for label, t in micro.items() if label.startswith("LiteRT, whole") and label.endswith(kind)}
        best = min(routes, key=routes.get)
        named = ", ".join(f"{label.split(' by ')[1].split(',')[0]} {t / onnx:.2f}" for label, t in routes.items())
        lines.append(f"whole sequence, {kind}, over ONNX Runtime's float: {named} (aim: {aim}; fastest: {best})")
    lines.append(f"file with int8 weights / float: {sizes[INT8] / sizes[FLOAT]:.3f} (aim at 256 units: 0.32)")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.1, help="of each contender in each round")
    parser.add_argument("--keep", type=Path, help="a folder for the files, which are made again only where missing")
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    x = np.random.default_rng(0).normal(size=(1, STEPS, FEATURES)).astype("float32")
    with tempfile.TemporaryDirectory() as scratch:
        for units in options.units:
            folder = (options.keep or Path(scratch)) / str(units)
            model, declared = signatures(units)
            if not folder.exists():
                folder.mkdir(parents=True)
                export(model, declared, folder)
            micro = measure(contenders(model, declared, folder, x, units), options.rounds, options.seconds)
            sizes = {f.stem: f.stat().st_size for f in folder.glob("*.tflite")}
            print(f"\n{units} units, microseconds a step")
            print("\n".join(f"  {label:42}{value:10.2f}" for label, value in micro.items()))
            print("\n".join(ratios(micro, sizes)), flush=True)


if __name__ == "__main__":
    main()
