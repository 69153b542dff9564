"""A study of long memory: which cells learn to carry something over how many steps, and which do not.

`python -m elman.apps.core.long_memory --out FILE.csv` trains every trial of the plan and writes a row for each; rows
that the file has already are kept. `published()` reads the table that is part of the package.
"""

import argparse
import csv
import dataclasses
import math
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from ... import layers
from . import training
from .config import TrainingConfig
from .errors import ElmanError
from .files import write_csv
from .source import Source

SYMBOLS, KEPT = 8, 5  # of copy memory: how many there are, and how many are to be remembered
TABLE = Path(__file__).with_suffix(".csv")
_BATCH, _EVERY, _HELD_OUT = 32, 100, 256  # sequences of a step, steps between two looks, sequences looked at


def adding(count: int, length: int, seed) -> tuple[np.ndarray, np.ndarray]:
    """The adding problem: two of `length` random numbers are marked, one in each half; the answer is their sum.

    Returns (count, length, 2) of numbers and marks, and (count, 1). Who always answers 1 is off by 1/6 (squared).
    Reference: Hochreiter and Schmidhuber 1997; in this form Le, Jaitly and Hinton 2015.
    """
    random, rows = np.random.default_rng(seed), np.arange(count)
    values, marks = random.random((count, length), "float32"), np.zeros((count, length), "float32")
    first, second = random.integers(0, length // 2, count), random.integers(length // 2, length, count)
    marks[rows, first] = marks[rows, second] = 1
    return np.stack([values, marks], axis=-1), (values[rows, first] + values[rows, second])[:, None]


def copy_memory(count: int, length: int, seed) -> tuple[np.ndarray, np.ndarray]:
    """Copy memory: five symbols out of eight, `length` blanks, then a mark, on which the five are to be repeated.

    Returns (count, length + 10, 10), one-hot (eight symbols, blank, mark), and (count, 5) of symbols. Who remembers
    nothing is off by ln 8 nats a symbol.
    Reference: Hochreiter and Schmidhuber 1997; in this form Arjovsky, Shah and Bengio 2016, with five symbols for ten.
    """
    symbols = np.random.default_rng(seed).integers(0, SYMBOLS, (count, KEPT))
    steps = np.full((count, length + 2 * KEPT), SYMBOLS)
    steps[:, :KEPT] = symbols
    steps[:, length + KEPT] = SYMBOLS + 1
    return np.eye(SYMBOLS + 2, dtype="float32")[steps], symbols.astype("int32")


@dataclass(frozen=True)
class Task:
    """What is learnt: its sequences, the steps that are answered, the loss, that of chance, and when it is learnt."""

    make: callable
    answers: int
    outputs: int
    loss: str
    chance: float
    learnt: float


TASKS = {
    "adding": Task(adding, 1, 1, "mean_squared_error", 1 / 6, 0.01),
    "copy": Task(copy_memory, KEPT, SYMBOLS, "sparse_categorical_crossentropy", math.log(SYMBOLS), 0.1),
}


def _recurrent(name: str):
    """How the recurrent kernel starts."""
    return {"glorot": "glorot_uniform", "he": "he_normal", "identity": "identity"}.get(name, "orthogonal")


def _chrono(length: int, blocks: tuple[int, ...], share=1.0):
    """Biases of gates that start open for 1 to `length` steps (Tallec and Ollivier 2018): blocks of 1, −1 and 0 times
    log U(1, length)."""

    def start(shape, dtype=None):
        open_for = np.log(np.random.default_rng(0).uniform(1, max(length - 1, 2), shape[0] // len(blocks)))
        return keras.ops.convert_to_tensor(np.concatenate([share * b * open_for for b in blocks]), dtype)

    return start


def make_cell(name: str, start: str, units: int, length: int):
    """A cell of the study. `start`: how the recurrent kernel begins (glorot, he, orthogonal), or `chrono`, orthogonal
    with gates that are open for up to the length of the task."""
    options = {"recurrent_initializer": _recurrent(start)}
    if name == "irnn":
        small = keras.initializers.RandomNormal(stddev=0.03)
        return layers.ElmanCell(units, "relu", kernel_initializer=small, recurrent_initializer="identity")
    if name in ("elman_tanh", "elman_relu"):
        return layers.ElmanCell(units, name.removeprefix("elman_"), **options)
    if name == "lstm":
        bias = {"bias_initializer": _chrono(length, (-1, 1, 0, 0)), "forget_bias": 0.0} if start == "chrono" else {}
        return layers.LSTMCell(units, **options, **bias)
    if name == "gru":  # its two biases add up
        bias = {"bias_initializer": _chrono(length, (1, 0, 0), 0.5)} if start == "chrono" else {}
        return layers.GRUCell(units, **options, **bias)
    return layers.LRUCell(units, min_radius=0.9, max_radius=0.999, max_phase=math.pi / 10)


CELLS = ("elman_tanh", "elman_relu", "irnn", "lstm", "gru", "lru")
STARTS = dict(zip(CELLS, ("orthogonal", "orthogonal", "identity", "chrono", "chrono", "ring"), strict=True))
RATES = {"elman_tanh": 1e-3, "elman_relu": 1e-3, "irnn": 2e-4, "lstm": 1e-2, "gru": 1e-2, "lru": 1e-2}


@dataclass(frozen=True)
class Trial:
    """One training of the study; `clip` is the global norm of the gradient at most, 0 for no clipping, and a
    `learning_rate` of 0 that of the cell."""

    task: str
    cell: str
    start: str
    clip: float
    length: int
    seed: int = 0
    units: int = 64
    steps: int = 1500
    learning_rate: float = 0.0

    @property
    def rate(self) -> float:
        """The learning rate."""
        return self.learning_rate or RATES[self.cell]


def model(trial: Trial) -> keras.Model:
    """The cell and a dense layer on the steps that are answered. The LRU, linear in its inputs, stands between two
    dense layers more, as in its paper."""
    task = TASKS[trial.task]
    inputs = x = keras.Input(task.make(1, trial.length, 0)[0].shape[1:])
    if trial.cell == "lru":
        x = keras.layers.Dense(trial.units, "relu")(x)
    cell = make_cell(trial.cell, trial.start, trial.units, trial.length)
    x = layers.Recurrent(cell, return_sequences=task.answers > 1)(x)
    x = x[:, -task.answers :] if task.answers > 1 else x
    if trial.cell == "lru":
        x = keras.layers.Dense(trial.units, "relu")(x)
    return keras.Model(inputs, keras.layers.Dense(task.outputs, "softmax" if task.outputs > 1 else None)(x))


def study(trial: Trial, *, quiet=True) -> dict:
    """Trains until the task is learnt or the steps are over, and returns the row of the table.

    Every step has new sequences. The error is the loss on 256 sequences of their own, the best seen at every hundredth
    step. A loss that is no number ends the training, and says so under `ended`.
    """
    task, began = TASKS[trial.task], time.perf_counter()
    keras.utils.set_random_seed(trial.seed)
    config = TrainingConfig(
        seed=trial.seed, epochs=-(-trial.steps // _EVERY), batch_size=_BATCH, learning_rate=trial.rate,
        clip_norm=trial.clip, patience=0, checkpoint_seconds=0,
    )  # fmt: skip
    train = Source(
        trial.steps * _BATCH, lambda rows: task.make(len(rows), trial.length, (trial.seed, 1, *map(int, rows[:4])))
    )
    held_out = task.make(_HELD_OUT, trial.length, (trial.seed, 2))
    judge = Source(_HELD_OUT, lambda rows: tuple(part[rows] for part in held_out))

    def learnt(history) -> str:
        return "learnt" if history[-1]["val_loss"] < task.learnt else ""

    with tempfile.TemporaryDirectory() as folder:
        try:
            fitted = training.fit(
                model(trial), config, keras.losses.get(task.loss), train, judge, Path(folder), rows=_EVERY * _BATCH,
                quiet=quiet, on_epoch=learnt,
            )  # fmt: skip
            history, ended = fitted.history, fitted.reason
        except ElmanError as fault:  # before anything was learnt
            history, ended = [], str(fault)
    errors = [row["val_loss"] for row in history if math.isfinite(row["val_loss"])]
    best = min(errors, default=math.nan)
    return {
        **dataclasses.asdict(trial),
        "learning_rate": trial.rate,
        "steps": len(history) * _EVERY,
        "seconds": round(time.perf_counter() - began, 1),
        "error": round(best, 5),
        "chance": round(task.chance, 4),
        "learnt": int(best < task.learnt),
        "ended": ended,
    }


def plan() -> list[Trial]:
    """The trials of the published table, the most telling first."""
    trials = [Trial("adding", cell, STARTS[cell], 1.0, length) for length in (150, 400, 50, 200, 300) for cell in CELLS]
    trials += [
        Trial("adding", cell, start, clip, 100, steps=800)
        for cell in ("elman_tanh", "elman_relu", "lstm", "gru")
        for start in ("glorot", "he", "orthogonal")
        for clip in (1.0, 0.0)
    ]
    own = ("irnn", "lstm", "gru", "lru")
    trials += [Trial("adding", cell, STARTS[cell], clip, 100, steps=800) for cell in own for clip in (1.0, 0.0)]
    trials += [
        Trial("adding", "irnn", "identity", 1.0, length, learning_rate=1e-3) for length in (50, 150, 200, 300, 400)
    ]
    trials += [
        Trial("copy", cell, STARTS[cell], 1.0, length, steps=800) for length in (50, 100, 200, 400) for cell in CELLS
    ]
    return trials


def published() -> list[dict]:
    """The rows of the table that is part of the package, numbers as numbers."""
    return _read(TABLE)


def _read(path: Path) -> list[dict]:
    words = ("task", "cell", "start", "ended")
    with path.open(newline="", encoding="utf-8") as file:
        return [{k: v if k in words else float(v) for k, v in row.items()} for row in csv.DictReader(file)]


def key(row: dict | Trial) -> tuple:
    """What tells a row of the table, or a trial of the plan, from the others."""
    if isinstance(row, Trial):
        row = {**dataclasses.asdict(row), "learning_rate": row.rate}
    names = ("task", "cell", "start", "clip", "length", "seed", "units", "learning_rate")
    return tuple(row[name] for name in names)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the table; its rows are kept")
    parser.add_argument("--task", choices=list(TASKS), help="this task alone")
    parser.add_argument("--cells", nargs="*", default=CELLS, choices=CELLS)
    parser.add_argument("--lengths", nargs="*", type=int, help="these lengths alone")
    options = parser.parse_args()
    rows = _read(options.out) if options.out.exists() else []
    for trial in plan():
        wanted = trial.cell in options.cells and options.task in (None, trial.task)
        wanted = wanted and (not options.lengths or trial.length in options.lengths)
        if wanted and key(trial) not in map(key, rows):
            rows.append(study(trial))
            write_csv(options.out, rows)
            print(", ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True)


if __name__ == "__main__":
    main()
