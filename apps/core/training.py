"""fit with what recurrent training needs around it: schedule, clipping, checkpoints, resume, early stopping."""

import math
import os
import time
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from keras import ops

from . import checkpoint, distribution, transfer
from .batching import Batches, Rest
from .checkpoint import BEST, LAST, Position
from .errors import ElmanError, UsageError
from .files import write_csv
from .progress import bar
from .source import Source
from .streams import Streams

PLATEAU = 2  # epochs without a better validation loss after which `plateau` lowers the rate
EXPLODED = 1e6  # times the first loss (or 1): what is above has no way back


@keras.saving.register_keras_serializable(package="elman")
class Rate(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate at a step: a linear warm-up, then constant, cosine to zero, or by a factor now and then.

    Args:
        peak: the rate after the warm-up.
        kind: `constant`, `cosine`, `decay` (the factor every epoch) or `plateau` (the factor when `lower` says so).
        epoch_steps: steps in an epoch.
        epochs: epochs until the cosine reaches zero.
        warmup_steps: steps of the linear rise.
        decay: the factor.
        decay_after: epochs before `decay` sets in.
    """

    def __init__(self, peak, kind="constant", epoch_steps=1, epochs=1, warmup_steps=0, decay=0.8, decay_after=0):
        self.peak, self.kind, self.epoch_steps, self.epochs = peak, kind, epoch_steps, epochs
        self.warmup_steps, self.decay, self.decay_after = warmup_steps, decay, decay_after
        self._lowered = keras.Variable(1.0, trainable=False, name="lowered")

    def attach(self, optimizer) -> None:
        """Makes the factor of `plateau` a variable of the optimizer: what JAX compiles takes others for constants."""
        self._lowered = optimizer.add_variable((), initializer="ones", name="lowered")

    def lower(self, times: int) -> None:
        """Sets how often `plateau` has lowered the rate."""
        self._lowered.assign(self.decay**times)

    def __call__(self, step):
        step = ops.cast(step, "float32")
        rate = ops.convert_to_tensor(self.peak, dtype="float32")
        if self.kind == "cosine":
            share = ops.clip(step / (self.epoch_steps * self.epochs), 0.0, 1.0)
            rate = rate * 0.5 * (1.0 + ops.cos(math.pi * share))
        elif self.kind == "decay":
            past = ops.maximum(ops.floor(step / self.epoch_steps) - (self.decay_after - 1), 0.0)
            rate = rate * self.decay**past
        elif self.kind == "plateau":
            rate = rate * self._lowered
        return rate * ops.minimum(1.0, (step + 1.0) / max(self.warmup_steps, 1))

    def get_config(self):
        return {name: value for name, value in vars(self).items() if name != "_lowered"}


def plateaus(scores: list[float]) -> int:
    """How often the best of a list of losses stood for another `PLATEAU` epochs."""
    best, waited, count = math.inf, 0, 0
    for score in scores:
        best, waited = (score, 0) if score < best else (best, waited + 1)
        if waited == PLATEAU:
            count, waited = count + 1, 0
    return count


def schedule(config, epoch_steps: int) -> Rate:
    """The learning rate as a TrainingConfig says."""
    return Rate(
        config.learning_rate,
        config.schedule,
        epoch_steps,
        config.epochs,
        config.warmup_steps,
        config.decay,
        config.decay_after,
    )


def optimizer(config, rate) -> keras.optimizers.Optimizer:
    """Adam (AdamW with weight decay) or Muon as a TrainingConfig says, with its `schedule`.

    Muon's are the matrices whose layer is not `Dense`, which is mostly the last one, and no embedding. The root mean
    square of its steps is 0.4 of the learning rate, twice as much as Liu et al. 2025 take to match Adam's: readers of
    handwriting learnt faster so (the README of that application).

    References: Jordan et al. 2024, Muon: An optimizer for hidden layers in neural networks; Liu et al. 2025, Muon is
    scalable for LLM training.
    """
    average = {"use_ema": True, "ema_momentum": config.average} if config.average else {}
    options = {"global_clipnorm": config.clip_norm or None, "clipvalue": config.clip_value or None, **average}
    if config.optimizer == "muon":
        decay = config.weight_decay or None
        options |= {"weight_decay": decay, "adam_weight_decay": decay}
        return keras.optimizers.Muon(rate, exclude_layers=["dense"], rms_rate=0.4, **options)
    if config.layerwise or distribution.mirrored():
        return transfer.LayerwiseAdam(rate, config.weight_decay, **options)
    if config.weight_decay:
        return keras.optimizers.AdamW(rate, weight_decay=config.weight_decay, **options)
    return keras.optimizers.Adam(rate, **options)


@dataclass(frozen=True)
class Fitted:
    """What training leaves behind beside the weights: a row per epoch, the best epoch, why it ended, and the share of
    steps that were padding (see `Batches.padding`)."""

    history: list[dict]
    best_epoch: int
    reason: str
    padding: dict[str, float] | None = None


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

    A checkpoint (weights, optimizer, seeds, history, place in the epoch) is written into `directory/checkpoints` after
    every epoch and every `config.checkpoint_seconds`; with `resume`, training goes on after the last one and gives the
    history that an unbroken run gives.

    Args:
        model: an uncompiled Keras model; `streams.Carrying` where the source has chains.
        config: a TrainingConfig.
        loss: what `compile` takes; the validation loss decides which epoch is best.
        train, validation: rows to learn from and to judge by.
        directory: the run directory.
        rows: rows per epoch (0: all).
        on_epoch: called with the history after each epoch; a reason that it returns ends the training.
    """
    _check(config, train)
    keras.utils.set_random_seed(config.seed)
    resume = resume and (directory / LAST).exists()  # else it was stopped before its first checkpoint
    first = len(checkpoint.read(directory / LAST)["history"]) if resume else 0
    batches = _batches(train, config.batch_size, config.seed, rows, min(first, config.epochs - 1))
    padding = batches.padding()
    held_out = _batches(validation, config.batch_size, rows=rows)
    rate = schedule(config, len(batches))
    made = optimizer(config, rate)
    if config.schedule == "plateau":
        rate.attach(made)
    model.compile(made, distribution.global_loss(loss), jit_compile=False)
    keeper = _Keeper(directory, config, batches, rate, on_epoch)
    model.optimizer.build(model.trainable_variables)
    if resume:
        keeper.resume(checkpoint.restore(directory / LAST, model))
    callbacks = [keeper, *_watchers(config, directory, batches, loss)]

    def epochs(first, last, rows_of_epoch):
        model.fit(
            distribution.shared(rows_of_epoch),
            validation_data=distribution.shared(held_out),
            epochs=last,
            initial_epoch=first,
            shuffle=False,
            verbose=0,
            callbacks=callbacks,
        )

    if first < config.epochs and not keeper.finished():
        with bar("training", config.epochs * len(batches), quiet=quiet) as keeper.update:
            if keeper.skipped:
                batches.start_epoch(first)
                epochs(first, first + 1, Rest(batches, keeper.skipped))
                keeper.undo_average()  # with which Keras ends a fit
                first += 1
            if first < config.epochs and not keeper.stopped():
                epochs(first, config.epochs, batches)
    if keeper.fault and not (directory / BEST).exists():
        raise ElmanError(keeper.fault)
    distribution.wait("trained")  # until the first process has written it
    checkpoint.restore(directory / BEST, model)
    return Fitted(keeper.history, keeper.best()[0], keeper.reason(), padding)


def _check(config, train: Source) -> None:
    """Refuses what does not go together."""
    if config.watch_gradients:
        distribution.require_one("--watch-gradients")
    if config.optimizer == "muon":
        distribution.require_one("--optimizer muon (unlike adam)")
    if train.chains:
        distribution.require_one("windows that carry their states over")
        if config.precision == "mixed_float16":
            raise UsageError("--precision mixed_float16: not where windows carry their states; take mixed_bfloat16")


def _batches(source: Source, *options, **more) -> Batches:
    return (Streams if source.chains else Batches)(source, *options, **more)


def _watchers(config, directory: Path, batches: Batches, loss) -> list[keras.callbacks.Callback]:
    """What looks on, as the configuration asks."""
    watchers = []
    if config.watch_gradients:
        from .gradients import Watch

        watchers.append(Watch(directory, batches, loss))
    if config.tensorboard:
        watchers.append(keras.callbacks.TensorBoard(directory / "tensorboard", write_graph=False))
    return watchers


class _Keeper(keras.callbacks.Callback):
    """Writes checkpoints and the history, and decides when to stop, from the history alone."""

    def __init__(self, directory: Path, config, batches: Batches, rate: Rate, on_epoch=None):
        super().__init__()
        self.directory, self.config, self.batches, self.epoch_steps = directory, config, batches, len(batches)
        self.rate = rate
        self.history: list[dict] = []
        self.skipped, self._sums, self._before = 0, (), 0.0
        self._first: float | None = None  # the first loss
        self.update = lambda *args, **kwargs: None
        self.fault = self.ended = ""
        self.on_epoch = on_epoch or (lambda history: "")

    def resume(self, position: Position) -> None:
        """Goes on where a checkpoint stands."""
        self.history, self.skipped, self._sums = position.history, position.step, position.metrics
        self._before = position.seconds
        self._first = self.history[0]["loss"] if self.history else None
        self._lower()

    def on_epoch_begin(self, epoch, logs=None):
        transfer.set_rates(self.model, self.config, epoch)
        self._offset = self.skipped
        if self.skipped:  # Keras has just set its sums to zero
            checkpoint.assign(self.model.metrics_variables, self._sums)
        else:
            self.batches.start_epoch(epoch)
        self._began = self._saved = time.perf_counter()
        self._began -= self._before
        self.skipped, self._before = 0, 0.0

    def on_train_batch_end(self, batch, logs=None):
        loss = (logs or {}).get("loss", 0.0)
        step = self._offset + batch + 1
        done = len(self.history) * self.epoch_steps + step
        self.update(completed=done, description=f"epoch {len(self.history) + 1} loss {loss:.4f}")
        self._first = loss if self._first is None else self._first
        if not loss <= EXPLODED * max(abs(self._first), 1.0):
            where = f"epoch {len(self.history) + 1}, step {step}"
            self.fault = f"the loss became {loss:.4g} in {where}: lower the learning rate or clip"
            self.model.stop_training = True
            return
        now = time.perf_counter()
        if 0 < self.config.checkpoint_seconds <= now - self._saved and step < self.epoch_steps:
            sums = tuple(ops.convert_to_numpy(v) for v in self.model.metrics_variables)
            position = Position(self.history, step, sums, now - self._began)
            checkpoint.save(self.directory / LAST, self.model, position)
            self._saved = time.perf_counter()

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
        self._save(LAST, averaged=False)
        if distribution.current().chief:
            write_csv(self.directory / "history.csv", self.history)
        self._lower()
        self.ended = self.on_epoch(self.history)
        if self.stopped():
            self.model.stop_training = True

    def _lower(self) -> None:
        if self.config.schedule == "plateau":
            self.rate.lower(plateaus([row["val_loss"] for row in self.history]))

    def best(self) -> tuple[int, float]:
        """Epoch (from 1) and score of the best epoch so far."""
        scores = [row["val_loss"] for row in self.history]
        index = int(np.nanargmin(scores)) if np.isfinite(scores).any() else len(scores) - 1
        return index + 1, scores[index]

    def finished(self) -> bool:
        """Whether patience is at its end."""
        return bool(self.history and 0 < self.config.patience <= len(self.history) - self.best()[0])

    def stopped(self) -> bool:
        """Whether training is to end before its last epoch."""
        return bool(self.finished() or self.ended or self.fault)

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
        self.undo_average()

    def undo_average(self) -> None:
        """Sets the weights as the last epoch's steps left them."""
        if self.config.average:
            checkpoint.assign(self.model.trainable_variables, self._raw)

    def _save(self, name: str, averaged: bool) -> None:
        if averaged:
            checkpoint.assign(self.model.trainable_variables, self._averaged)
        checkpoint.save(self.directory / name, self.model, Position(self.history))
        if averaged:
            checkpoint.assign(self.model.trainable_variables, self._raw)


def describe_machine() -> str:
    """Backend and cores, for the record of a run."""
    return f"{keras.backend.backend()} backend, keras {keras.__version__}, {os.cpu_count()} cores"
