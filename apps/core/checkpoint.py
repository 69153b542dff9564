"""Checkpoints: all that training needs to go on as if nothing had happened, in one file without pickles."""

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from keras import ops

from . import distribution
from .errors import ElmanError
from .files import replacing

LAST = "checkpoints/last.npz"
BEST = "checkpoints/best.npz"


@dataclass(frozen=True)
class Position:
    """Where a training stands: the finished epochs' history, and inside the next one the steps done.

    metrics: sums of the running epoch, from which its loss is made. seconds: what the running epoch has taken so far.
    """

    history: list[dict]
    step: int = 0
    metrics: tuple[np.ndarray, ...] = ()
    seconds: float = 0.0


def state(model) -> list:
    """Weights, seeds and the optimizer's variables."""
    return [*model.variables, *model.optimizer.variables]


def save(path: Path, model, position: Position) -> None:
    """Writes the state of a compiled model, whole or not at all; of several processes the first does."""
    if not distribution.current().chief:
        return
    values = [ops.convert_to_numpy(v) for v in state(model)]
    # NumPy's files know no bfloat16, which float32 holds exactly
    values = [v.astype(np.float32) if v.dtype.name == "bfloat16" else v for v in values]
    where = {"history": position.history, "step": position.step, "seconds": position.seconds}
    metrics = {f"metric_{i}": value for i, value in enumerate(position.metrics)}
    with replacing(path) as temporary:
        np.savez(temporary, *values, **metrics, history=np.array(json.dumps(where)))


def restore(path: Path, model) -> Position:
    """Loads a checkpoint into a compiled model and its optimizer."""
    where = read(path)
    with np.load(path, allow_pickle=False) as file:
        values = [file[f"arr_{i}"] for i in range(sum(name.startswith("arr_") for name in file.files))]
        metrics = tuple(file[f"metric_{i}"] for i in range(sum(name.startswith("metric_") for name in file.files)))
    expected = state(model)
    if len(values) != len(expected) or any(tuple(v.shape) != a.shape for v, a in zip(expected, values, strict=True)):
        raise ElmanError(f"{path}: the checkpoint is of another model; its config differs from this one")
    assign(expected, values)
    return Position(where["history"], where["step"], metrics, where["seconds"])


def read(path: Path) -> dict:
    """`history`, `step` and `seconds` of a checkpoint, without its weights."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return json.loads(file["history"].item())
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile):
        raise ElmanError(f"{path}: not a checkpoint, or damaged; take it away to begin anew") from None


def assign(variables, values) -> None:
    """Sets each variable."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
