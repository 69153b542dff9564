"""Parallel against step form of minGRU, minLSTM and LRU: `python -m tests.benchmarks.parallel_scan [LENGTH …]`.

Forward and backward pass of one layer, median of paired runs, milliseconds; KERAS_BACKEND chooses the backend.
"""

import statistics
import sys
import time

import keras
import numpy as np
from keras import ops

from elman.layers import LRUCell, MinGRUCell, MinLSTMCell, kernels

CELLS = {"minGRU": MinGRUCell, "minLSTM": MinLSTMCell, "LRU": LRUCell}


def forms(cell):
    """The two forms as functions of time-major inputs to the outputs."""

    def step(x, states):
        return cell.recur(x, states)

    def start(x):
        return cell.get_initial_state(ops.shape(x)[1])

    return {
        "step": lambda x: kernels.scan(step, cell.project(x), start(x), True, True)[0],
        "parallel": lambda x: cell.parallel(cell.project(x), start(x))[0],
    }


def differentiated(function):
    """A compiled function of x that gives the gradient of a scalar of the outputs."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(jax.grad(lambda x: (function(x) ** 2).sum()))
    import tensorflow as tf

    @tf.function
    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = tf.reduce_sum(tf.square(function(x)))
        return tape.gradient(value, x)

    return gradient


def measure(name, batch, length, units, runs=5):
    """Median milliseconds of each form, the runs interleaved."""
    cell = CELLS[name](units)
    cell.build((None, units))
    x = ops.convert_to_tensor(np.random.default_rng(0).normal(size=(length, batch, units)).astype("float32"))
    functions = {form: differentiated(function) for form, function in forms(cell).items()}
    results = {form: ops.convert_to_numpy(function(x)) for form, function in functions.items()}
    difference = np.abs(results["step"] - results["parallel"]).max() / np.abs(results["step"]).max()
    assert difference < 1e-4, f"the forms differ by {difference}"
    times = {form: [] for form in functions}
    for _ in range(runs):
        for form, function in functions.items():
            begin = time.perf_counter()
            ops.convert_to_numpy(function(x)[0, 0, 0])
            times[form].append(1e3 * (time.perf_counter() - begin))
    return {form: statistics.median(values) for form, values in times.items()}


def main(lengths):
    print(f"{keras.backend.backend()}, 64 units; step and parallel in ms")
    print(f"{'cell':8} {'batch':>5} {'length':>6} {'step':>9} {'parallel':>9} {'ratio':>6}")
    for name in CELLS:
        for batch in (1, 32):
            for length in lengths:
                if batch * length <= 2**18:
                    times = measure(name, batch, length, 64)
                    ratio = times["step"] / times["parallel"]
                    row = f"{times['step']:9.1f} {times['parallel']:9.1f} {ratio:6.1f}"
                    print(f"{name:8} {batch:5} {length:6} {row}", flush=True)


if __name__ == "__main__":
    main([int(a) for a in sys.argv[1:]] or [128, 512, 2048, 8192, 16384])
