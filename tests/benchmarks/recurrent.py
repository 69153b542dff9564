"""Training steps of the recurrent layers and of their peers, in one table: `python -m tests.benchmarks.recurrent`.

Every contender is a process that has its model compiled and warm; they take turns, so that a disturbance hits all, and
the medians are compared. Ours and Keras's steps are timed inside `fit` (SGD, mean squared error, one Dense unit on
top), from one loss to the next, without the start of an epoch, torch's as forward, backward and update. The limit is
what the matrix products of a step take at the rate of a large product in TensorFlow. `--memory` adds the peak of
back-propagation through 10,000 steps.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time

SHAPES = {"lstm": ((32, 200, 64, 512), (64, 100, 128, 256), (1, 100, 32, 64)), "gru": ((64, 100, 128, 256),)}
SHAPES["norm"] = SHAPES["gru"]
PEERS = {
    "lstm": ("keras tf", "elman tf", "keras tf xla", "keras jax", "elman jax", "torch"),
    "gru": ("keras tf", "elman tf", "keras jax", "elman jax", "torch"),
    "norm": ("keras.layers.RNN tf", "elman tf", "keras.layers.RNN jax", "elman jax"),
}
GATES = {"lstm": 4, "gru": 3, "norm": 4}


def keras_step(contender, cell, shape, recompute=None):
    """A function that trains for `n` steps inside one call of fit and gives the median of their seconds."""
    import keras
    import numpy as np

    import elman.layers as el

    batch, steps, features, units = shape
    cells = {"lstm": el.LSTMCell, "gru": el.GRUCell, "norm": el.LayerNormLSTMCell}
    peers = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU, "norm": lambda n: keras.layers.RNN(cells["norm"](n))}
    ours = contender.startswith("elman")
    layer = el.Recurrent(cells[cell](units), recompute=recompute) if ours else peers[cell](units)
    model = keras.Sequential([keras.Input((steps, features)), layer, keras.layers.Dense(1)])
    model.compile("sgd", "mse", **({"jit_compile": True} if contender.endswith("xla") else {}))

    def run(n):
        ends = []

        def note(_, logs):
            float(logs["loss"])  # waits for it
            ends.append(time.perf_counter())

        x = np.random.default_rng(0).normal(size=((n + 1) * batch, steps, features)).astype("float32")
        callback = keras.callbacks.LambdaCallback(on_train_batch_end=note)
        model.fit(x, x[:, 0, :1], batch_size=batch, verbose=0, shuffle=False, callbacks=[callback])
        return statistics.median(b - a for a, b in itertools.pairwise(ends))

    return run


def torch_step(cell, shape):
    import torch

    batch, steps, features, units = shape
    layer = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell](features, units, batch_first=True)
    head = torch.nn.Linear(units, 1)
    optimizer = torch.optim.SGD([*layer.parameters(), *head.parameters()], 0.01)
    x = torch.randn(batch, steps, features)

    def run(n):
        ends = [time.perf_counter()]
        for _ in range(n):
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(head(layer(x)[0][:, -1]), x[:, 0, :1]).backward()
            optimizer.step()
            ends.append(time.perf_counter())
        return statistics.median(b - a for a, b in itertools.pairwise(ends))

    return run


def product_rate():
    """FLOP/s of a large product in TensorFlow."""
    import tensorflow as tf

    a, b = tf.random.normal((2048, 1024)), tf.random.normal((1024, 2048))

    def run(n):
        start = time.perf_counter()
        for _ in range(n):
            tf.matmul(a, b).numpy()
        return 2 * 2048 * 1024 * 2048 * n / (time.perf_counter() - start)

    return run


def worker(contender, cell, shape):
    """Say how long the first step took, compilation included, then time as many steps as each line asks for."""
    if contender == "rate":
        run = product_rate()
    else:
        run = torch_step(cell, shape) if contender == "torch" else keras_step(contender, cell, shape)
    start = time.perf_counter()
    step = run(1)
    print(json.dumps(time.perf_counter() - start - (0 if contender == "rate" else step)), flush=True)
    for line in sys.stdin:
        print(json.dumps(run(int(line))), flush=True)


def start(python, *arguments):
    backend = "jax" if arguments[0].endswith("jax") else "tensorflow"
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": backend}
    command = [python, "-m", "tests.benchmarks.recurrent", "--worker", *arguments]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    return subprocess.Popen(command, env=environment, **pipes)


def compare(cell, shape, turns, torch_python):
    """Rows (contender, ms per step, times as fast as the first, seconds to compile, limit in ms)."""
    names = ["rate", *PEERS[cell]]
    size = ",".join(map(str, shape))
    workers = {n: start(torch_python if n == "torch" else sys.executable, n, cell, size) for n in names}
    compile_s = {n: w.stdout.readline() for n, w in workers.items()}
    alive = [n for n in names if compile_s[n]]  # torch and JAX may be missing
    times = {n: [] for n in alive}
    for turn in range(turns + 1):
        for n in alive if turn % 2 else alive[::-1]:
            workers[n].stdin.write("5\n" if shape[0] > 1 else "100\n")
            workers[n].stdin.flush()
            times[n].append(json.loads(workers[n].stdout.readline()))
    for w in workers.values():
        w.stdin.close()
        w.wait()
    medians = {n: statistics.median(t[1:]) for n, t in times.items()}
    batch, steps, features, units = shape
    flops = 3 * 2 * batch * steps * (features + units) * GATES[cell] * units
    limit = 1e3 * flops / medians.pop("rate")
    first = medians[PEERS[cell][0]]
    return [(n, 1e3 * m, first / m, json.loads(compile_s[n]), limit) for n, m in medians.items()]


def memory(recompute):
    """Peak MB of one training step through 10,000 steps of an LSTM with 128 units, batch 32."""
    code = (
        "import resource, sys; from tests.benchmarks.recurrent import keras_step;"
        f"keras_step('elman tf', 'lstm', (32, 10_000, 16, 128), {recompute})(2);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    )
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", nargs="*", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--shapes", nargs="*", type=int, default=[0, 1, 2], help="which of a cell's shapes")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--torch-python", default=sys.executable, help="an interpreter that has torch")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        contender, cell, shape = options.worker
        return worker(contender, cell, tuple(map(int, shape.split(","))))
    print("| cell | batch×steps×inputs×units | layer | ms a step | times the first | compile s | limit ms |")
    print("|---|---|---|---|---|---|---|")
    for cell in options.cells:
        for shape in [shape for number, shape in enumerate(SHAPES[cell]) if number in options.shapes]:
            for name, ms, ratio, seconds, limit in compare(cell, shape, options.turns, options.torch_python):
                size = "×".join(map(str, shape))
                print(
                    f"| {cell} | {size} | {name} | {ms:.1f} | {ratio:.2f} | {seconds:.1f} | {limit:.1f} |", flush=True
                )
    if options.memory:
        print(f"10,000 steps, MB: every step kept {memory(None):.0f}, segments of 1,000 recomputed {memory(1000):.0f}")


if __name__ == "__main__":
    main()
