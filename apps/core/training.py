"""fit with what recurrent training needs around it: schedule, clipping, checkpoints, resume, early stopping."""

import json
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from keras import ops

from .batching import Batches
from .errors import ElmanError
from .files import replacing, write_csv
from .progress import bar
from .source import Source

CHECKPOINT = "checkpoints/last.npz"
BEST = "checkpoints/best.npz"


@keras.saving.register_keras_serializable(package="elman")
class Rate(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate at a step: a linear warm-up, then constant, cosine to zero, or a factor every epoch.

    Args:
        peak: the rate after the warm-up.
        kind: `constant`, `cosine` or `decay`.
        epoch_steps: steps in an epoch.
        epochs: epochs until the cosine reaches zero.
        warmup_steps: steps of the linear rise.
        decay: factor per epoch of `decay`.
        decay_after: epochs before `decay` sets in.
    """

    def __init__(self, peak, kind="constant", epoch_steps=1, epochs=1, warmup_steps=0, decay=0.8, decay_after=0):
        self.peak, self.kind, self.epoch_steps, self.epochs = peak, kind, epoch_steps, epochs
        self.warmup_steps, self.decay, self.decay_after = warmup_steps, decay, decay_after

    def __call__(self, step):
        step = ops.cast(step, "float32")
        rate = ops.convert_to_tensor(self.peak, dtype="float32")
        if self.kind == "cosine":
            share = ops.clip(step / (self.epoch_steps * self.epochs), 0.0, 1.0)
            rate = rate * 0.5 * (1.0 + ops.cos(math.pi * share))
        elif self.kind == "decay":
            past = ops.maximum(ops.floor(step / self.epoch_steps) - (self.decay_after - 1), 0.0)
            rate = rate * self.decay**past
        return rate * ops.minimum(1.0, (step + 1.0) / max(self.warmup_steps, 1))

    def get_config(self):
        return dict(vars(self))


def optimizer(config, epoch_steps: int) -> keras.optimizers.Optimizer:
    """Adam (AdamW with weight decay) as a TrainingConfig says."""
    rate = Rate(
        config.learning_rate,
        config.schedule,
        epoch_steps,
        config.epochs,
        config.warmup_steps,
        config.decay,
        config.decay_after,
    )
    average = {"use_ema": True, "ema_momentum": config.average} if config.average else {}
    options = {"global_clipnorm": config.clip_norm or None, **average}
    if config.weight_decay:
        return keras.optimizers.AdamW(rate, weight_decay=config.weight_decay, **options)
    return keras.optimizers.Adam(rate, **options)


@dataclass(frozen=True)
class Fitted:
    """What training leaves behind beside the weights: a row per epoch, the best epoch, why it ended."""

    history: list[dict]
    best_epoch: int
    reason: str


def fit(
    model,
    config,
    loss,
    train: Source,
    validation: Source,
    directory: Path,
    *,
    rows=0,
    resume=False,
    quiet=False,
    on_epoch=None,
):
    """Trains `model` in place and leaves the weights of the best epoch in it.

    A checkpoint (weights, optimizer, seeds, history) is written after every epoch into `directory/checkpoints`;
    with `resume`, training goes on after the last one and gives the history that an unbroken run gives.

    Args:
        model: an uncompiled Keras model.
        config: a TrainingConfig.
        loss: what `compile` takes; the validation loss decides which epoch is best.
        train, validation: rows to learn from and to judge by.
        directory: the run directory.
        rows: rows per epoch (0: all).
        on_epoch: called with the history after each epoch; a reason that it returns ends the training.
    """
    keras.utils.set_random_seed(config.seed)
    batches = Batches(train, config.batch_size, config.seed, rows)
    held_out = Batches(validation, config.batch_size, rows=rows)
    model.compile(optimizer(config, len(batches)), loss, jit_compile=False)
    keeper = _Keeper(directory, config, batches, len(batches), on_epoch)
    model.optimizer.build(model.trainable_variables)
    resume = resume and (directory / CHECKPOINT).exists()  # else it was stopped in its first epoch
    history = _restore(model, directory / CHECKPOINT) if resume else []
    keeper.history = history
    first = len(history)
    if first < config.epochs and not keeper.finished():
        with bar("training", config.epochs * len(batches), quiet=quiet) as keeper.update:
            model.fit(
                batches,
                validation_data=held_out,
                epochs=config.epochs,
                initial_epoch=first,
                shuffle=False,
                verbose=0,
                callbacks=[keeper],
            )
    if keeper.fault and not (directory / BEST).exists():
        raise ElmanError(keeper.fault)
    _restore(model, directory / BEST)
    return Fitted(keeper.history, keeper.best()[0], keeper.reason())


class _Keeper(keras.callbacks.Callback):
    """Writes the checkpoint and the history after each epoch and decides when to stop, from the history alone."""

    def __init__(self, directory: Path, config, batches: Batches, epoch_steps: int, on_epoch=None):
        super().__init__()
        self.directory, self.config, self.batches, self.epoch_steps = directory, config, batches, epoch_steps
        self.history: list[dict] = []
        self.update = lambda *args, **kwargs: None
        self.fault = self.ended = ""
        self.on_epoch = on_epoch or (lambda history: "")

    def on_epoch_begin(self, epoch, logs=None):
        self.batches.start_epoch(epoch)
        self._began = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        loss = (logs or {}).get("loss", 0.0)
        done = len(self.history) * self.epoch_steps + batch + 1
        self.update(completed=done, description=f"epoch {len(self.history) + 1} loss {loss:.4f}")
        if not math.isfinite(loss):
            where = f"epoch {len(self.history) + 1}, step {batch + 1}"
            self.fault = f"the loss became {loss} in {where}: lower the learning rate or clip"
            self.model.stop_training = True

    def on_epoch_end(self, epoch, logs=None):
        if self.fault:
            return
        logs = {name: float(value) for name, value in (logs or {}).items()}
        rate = float(ops.convert_to_numpy(self.model.optimizer.learning_rate))
        row = {"epoch": epoch + 1, **logs, "learning_rate": rate}
        self.history.append({**row, "seconds": round(time.perf_counter() - self._began, 2)})
        averaged = self.config.average > 0
        if self.best()[0] == epoch + 1:
            self._save(BEST, averaged)
        self._save(CHECKPOINT, averaged=False)
        write_csv(self.directory / "history.csv", self.history)
        self.ended = self.on_epoch(self.history)
        if self.finished() or self.ended:
            self.model.stop_training = True

    def best(self) -> tuple[int, float]:
        """Epoch (from 1) and score of the best epoch so far."""
        scores = [row["val_loss"] for row in self.history]
        index = int(np.nanargmin(scores)) if np.isfinite(scores).any() else len(scores) - 1
        return index + 1, scores[index]

    def finished(self) -> bool:
        return bool(self.history and 0 < self.config.patience <= len(self.history) - self.best()[0])

    def reason(self) -> str:
        if self.fault:
            return self.fault
        if self.ended:
            return self.ended
        if self.finished():
            return f"no better validation loss for {self.config.patience} epochs"
        return f"all {self.config.epochs} epochs done"

    def on_test_begin(self, logs=None):
        if self.config.average:  # the averaged weights are what is judged and kept
            self._raw = [ops.convert_to_numpy(v) for v in self.model.trainable_variables]
            self.model.optimizer.finalize_variable_values(self.model.trainable_variables)

    def on_test_end(self, logs=None):
        if self.config.average:
            self._averaged = [ops.convert_to_numpy(v) for v in self.model.trainable_variables]
            _assign(self.model.trainable_variables, self._raw)

    def _save(self, name: str, averaged: bool) -> None:
        if averaged:
            _assign(self.model.trainable_variables, self._averaged)
        values = [ops.convert_to_numpy(v) for v in _state(self.model)]
        if averaged:
            _assign(self.model.trainable_variables, self._raw)
        with replacing(self.directory / name) as path:
            np.savez(path, *values, history=np.array(json.dumps(self.history)))


def _state(model) -> list:
    return [*model.variables, *model.optimizer.variables]


def _restore(model, path: Path) -> list[dict]:
    """Loads a checkpoint into the model and its optimizer; returns its history."""
    with np.load(path, allow_pickle=False) as file:
        history = json.loads(file["history"].item())
        values = [file[f"arr_{i}"] for i in range(len(file.files) - 1)]
    state = _state(model)
    if len(values) != len(state) or any(tuple(v.shape) != a.shape for v, a in zip(state, values, strict=True)):
        raise ElmanError(f"{path}: the checkpoint is of another model; its config differs from this one")
    _assign(state, values)
    return history


def _assign(variables, values) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def describe_machine() -> str:
    """Backend and cores, for the record of a run."""
    return f"{keras.backend.backend()} backend, keras {keras.__version__}, {os.cpu_count()} cores"
