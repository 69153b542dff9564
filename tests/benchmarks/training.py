"""What stands around a training step: `python -m tests.benchmarks.training [--multi30k FOLDER] [--apps …]`.

Padding: the share of the steps of an epoch that are padding, over the English sentences of Multi30k (`train.en.gz`), in
batches of like length and in random ones. Checkpoints: seconds of one, as a share of the time between two at the
default `--checkpoint-seconds`. Pipeline: training steps a second on batches that the application's data make while it
trains, as a share of those on the same rows made before: arrays, of which the last batch lacks a row, as in an epoch of
any number of rows, or a list of batches where their shapes differ. The two take turns, each turn with another epoch's
order, and the medians are compared. What an application makes once (rendered scenes, written lines) is made.
Epochs: the same batches as training feeds them, and as a `PyDataset` that Keras feeds by itself.
"""

import argparse
import dataclasses
import gzip
import importlib
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from elman.apps.cli import APPS

CHANGES = {  # of the default preset, whose data take long to make
    "handwriting": {"lines": 640, "length": 12},
    "captioning": {"scenes": 400, "held_out_scenes": 50},
}


def padding(folder: Path, batch_size: int, epochs=3):
    """Shares of padding in batches of like length and in random ones, the mean of some epochs."""
    from elman.apps.core.batching import Batches
    from elman.apps.core.source import Source

    with gzip.open(folder / "train.en.gz", "rt", encoding="utf-8") as file:
        sizes = np.array([len(line.split()) for line in file])
    batches = Batches(Source(len(sizes), lambda rows: (rows,), lambda: sizes), batch_size, seed=0)
    found = []
    for epoch in range(epochs):
        batches.start_epoch(epoch)
        found.append(batches.padding())
    return len(sizes), sizes.mean(), {k: statistics.mean(f[k] for f in found) for k in ("share", "plain")}


def prepared(name: str):
    """Configuration, compiled model and batches of an application's default preset."""
    from elman.apps.core import training
    from elman.apps.core.batching import Batches

    app = importlib.import_module(f"elman.apps.{name}").APP
    config = dataclasses.replace(app.preset(app.default), **CHANGES.get(name, {}))
    data = app.stage("data").load(config)
    model = app.stage("model").build(config, data.codec)
    loss = app.stage("model").loss(model, config, data.codec)
    batches = Batches(data.train, config.batch_size, config.seed)
    model.compile(training.optimizer(config, training.schedule(config, len(batches))), loss, jit_compile=False)
    return config, model, batches


def checkpoints(model, every: float):
    """Seconds of a checkpoint, and as a share of the time between two."""
    from elman.apps.core import checkpoint

    model.optimizer.build(model.trainable_variables)
    with tempfile.TemporaryDirectory() as folder:
        taken = []
        for _ in range(7):
            began = time.perf_counter()
            checkpoint.save(Path(folder) / "last.npz", model, checkpoint.Position([]))
            taken.append(time.perf_counter() - began)
    return statistics.median(taken), statistics.median(taken) / every


def pipeline(model, batches, seconds: float, turns: int):
    """Seconds of a step with the pipeline and from memory, and how many steps a turn has."""
    import keras

    from elman.apps.core import batching

    class Some(keras.utils.PyDataset):
        """The first batches, those that vary most among them, made now or before."""

        def __init__(self, made=None):
            super().__init__()
            self.made = made

        def __len__(self):
            return count

        def __getitem__(self, step):
            return self.made[step] if self.made else batches[step]

    def timed(rows, **options):
        rows = batching.pipeline(rows) if isinstance(rows, Some) else rows
        began = time.perf_counter()
        model.fit(rows, verbose=0, shuffle=False, **options)
        return (time.perf_counter() - began) / count

    def from_memory(made):
        try:
            inputs, targets, *weights = keras.tree.map_structure(lambda *parts: np.concatenate(parts)[:-1], *made)
        except ValueError:  # of different shapes
            return timed(Some(made))
        return timed(inputs, y=targets, sample_weight=weights[0] if weights else None, batch_size=batches.batch_size)

    count = min(4, len(batches))
    timed(Some())  # compiles
    count = max(4, min(len(batches) - 1, round(seconds / timed(Some()))))
    taken = {"pipeline": [], "memory": []}
    for turn in range(-1, turns):  # the first warms up
        batches.start_epoch(turn + 1)
        made = [batches[step] for step in range(count)]
        for name in ("pipeline", "memory") if turn % 2 else ("memory", "pipeline"):
            taken[name].append(timed(Some()) if name == "pipeline" else from_memory(made))
    return statistics.median(taken["pipeline"][1:]), statistics.median(taken["memory"][1:]), count


def epochs(model, batches, turns: int):
    """Seconds of an epoch as training feeds it, and as Keras feeds a `PyDataset`: medians within one `fit` each."""
    import keras

    from elman.apps.core import batching

    class Clock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.began = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            taken.append(time.perf_counter() - self.began)

    found = []
    for rows in (batching.pipeline(batches), batches):
        taken = []
        model.fit(rows, epochs=turns + 1, verbose=0, shuffle=False, callbacks=[Clock()])
        found.append(statistics.median(taken[1:]))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--multi30k", type=Path, help="a folder with train.en.gz")
    parser.add_argument("--apps", nargs="*", default=APPS, choices=APPS)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each turn")
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    if options.multi30k:
        for batch_size in (32, 64, 128):
            count, mean, found = padding(options.multi30k, batch_size)
            print(
                f"Multi30k, {count:,} sentences of {mean:.1f} words, batches of {batch_size}: padding "
                f"{found['share']:.1%}, in random batches {found['plain']:.1%}"
            )
    for name in options.apps:
        config, model, batches = prepared(name)
        save, share = checkpoints(model, config.checkpoint_seconds)
        piped, fed, count = pipeline(model, batches, options.seconds, options.turns)
        print(
            f"{name}: {model.count_params():,} weights, a checkpoint takes {1e3 * save:.0f} ms, {share:.2%} of the "
            f"{config.checkpoint_seconds:.0f} s between two; a step {1e3 * piped:.1f} ms with its pipeline, "
            f"{1e3 * fed:.1f} ms from memory: {fed / piped:.1%} of the throughput ({count} steps a turn)",
            flush=True,
        )
        ours, theirs = epochs(model, batches, options.turns)
        print(
            f"{name}: an epoch of {len(batches)} steps {ours:.2f} s as training feeds it, {theirs:.2f} s as Keras "
            "feeds a PyDataset",
            flush=True,
        )


if __name__ == "__main__":
    main()
