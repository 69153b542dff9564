"""One training on several devices, and on several machines: every device takes a share of each batch.

On one machine TensorFlow's MirroredStrategy or Keras's own DataParallel (JAX) does the work; on several machines
`jax.distributed` and DataParallel, since Keras 3 does not train under TensorFlow's MultiWorkerMirroredStrategy. What is
here sees to it that the result is that of one device with the same batch.
"""

import contextlib
import dataclasses
import os
import socket
import time
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops, tree

from . import devices
from .batching import pipeline
from .errors import ElmanError, UsageError


@dataclass(frozen=True)
class Share:
    """Over how many devices batches are spread, in how many processes, and which one this is."""

    replicas: int = 1
    processes: int = 1
    process: int = 0

    @property
    def chief(self) -> bool:
        """Whether this is the process that writes the run."""
        return self.process == 0


def current() -> Share:
    """How the training that runs now is spread."""
    if keras.backend.backend() == "jax":
        import jax

        found = keras.distribution.distribution()
        if found is None:
            return Share()
        return Share(found.num_model_replicas, jax.process_count(), jax.process_index())
    import tensorflow as tf

    return Share(tf.distribute.get_strategy().num_replicas_in_sync)


@contextlib.contextmanager
def spread(device: str = "", replicas: int = 1):
    """While this is entered, models that are built train on so many devices of a kind (0: all, of all hosts).

    Args:
        device: as `--device`; "" takes the accelerators where there are any, else the CPU.
    """
    if replicas == 1:
        with devices.on(device):
            yield
        return
    names = devices_of(device, replicas)
    if keras.backend.backend() == "jax":
        keras.distribution.set_distribution(
            keras.distribution.DataParallel(devices=names, auto_shard_dataset=False)  # each process cuts its own share
        )
        try:
            yield
        finally:
            keras.distribution.set_distribution(None)
        return
    import tensorflow as tf

    on_cpu = names[0].startswith("cpu")
    across = tf.distribute.ReductionToOneDevice() if on_cpu else None  # NCCL, the default, knows no CPU
    with tf.distribute.MirroredStrategy(names, cross_device_ops=across).scope():
        yield


def devices_of(device: str, replicas: int) -> list[str]:
    """The names of the devices that `spread` takes; refuses more than there are."""
    if device:
        found = devices.require(device)
    else:
        found = next(found for kind in ("tpu", "gpu", "cpu") if (found := devices.find(kind)))
    names = [one.name for one in found]
    if replicas > len(names):
        hint = "" if device else "; --device cpu makes so many out of the CPU, to try it"
        raise UsageError(f"--replicas {replicas}: expected as many devices, there is {', '.join(names)}{hint}")
    return names[:replicas] if replicas else names


def join(placement: devices.Placement) -> devices.Placement:
    """Makes this process one of several on JAX, before the backend is first used; returns which one it is."""
    if devices.backend_name() != "jax":
        raise UsageError("--coordinator: several processes take the JAX backend: set KERAS_BACKEND=jax")
    import jax

    where = placement.coordinator
    if placement.process:
        reach(where, _patience())
    given = () if where == "auto" else (where, placement.processes, placement.process)
    try:
        jax.distributed.initialize(*given, initialization_timeout=_patience())
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0][:200]
        raise ElmanError(f"--coordinator {where}: no connection to the other processes: {reason}") from None
    return dataclasses.replace(placement, processes=jax.process_count(), process=jax.process_index())


def _patience() -> int:
    """Seconds that a process waits for the others to come."""
    return int(os.environ.get("ELMAN_JOIN_SECONDS", "300"))


def reach(address: str, seconds: float) -> None:
    """Waits until the first process answers at HOST:PORT; JAX itself would end this process with a stack trace."""
    host, _, port = address.rpartition(":")
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
            return
        except OSError as error:
            if time.monotonic() > end:
                told = f"no answer for {seconds:.0f} s ({error}); does the first process run there?"
                raise ElmanError(f"--coordinator {address}: {told}") from None
        time.sleep(0.2)


def wait(name: str) -> None:
    """Waits for the other processes to come here."""
    if current().processes > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)


def leave() -> None:
    """Parts from the other processes: what follows is each one's own."""
    import jax

    jax.distributed.shutdown()


class Shared(keras.utils.PyDataset):
    """Batches as the devices of this process take them: rows of no weight fill them up to a multiple of the devices,
    and of several processes each takes its part.

    Weights come with every batch, larger by as much as rows were added: a loss that divides by the number of rows is
    then what it is without them, as is one that divides by the weights.
    """

    def __init__(self, batches: keras.utils.PyDataset, share: Share):
        super().__init__()
        self.batches, self.share = batches, share

    def __len__(self) -> int:
        return len(self.batches)

    def on_epoch_begin(self) -> None:
        """Told by Keras, and told on."""
        self.batches.on_epoch_begin()

    def on_epoch_end(self) -> None:
        """Likewise."""
        self.batches.on_epoch_end()

    def __getitem__(self, step: int) -> tuple:
        inputs, targets, *weights = self.batches[step]
        rows = len(tree.flatten(targets)[0])
        filled = -(-rows // self.share.replicas) * self.share.replicas
        weights = weights[0] if weights else np.ones(rows, np.float32)
        weights = np.asarray(weights, np.float32) * np.float32(filled / rows)
        part = filled // self.share.processes
        mine = slice(self.share.process * part, (self.share.process + 1) * part)

        def cut(array):
            last = np.repeat(array[-1:], filled - rows, axis=0)
            return np.concatenate([array, last])[mine]

        empty = np.zeros((filled - rows, *weights.shape[1:]), np.float32)
        return *tree.map_structure(cut, (inputs, targets)), np.concatenate([weights, empty])[mine]


def shared(batches: keras.utils.PyDataset):
    """What `fit` is to read: on one device the batches, else their `Shared`."""
    share = current()
    return pipeline(batches) if share.replicas == 1 else Shared(batches, share)


class Global(keras.losses.Loss):
    """A loss whose mean is over the rows of all replicas, under MirroredStrategy; as it is where there is none.

    Each replica would take the mean over its own rows and weights, and the mean of those is another number where
    weights differ.

    Args:
        inner: a loss that reduces by `sum_over_batch_size` or `mean_with_sample_weight`.
    """

    def __init__(self, inner: keras.losses.Loss):
        super().__init__(name=inner.name, reduction=inner.reduction)
        self.inner = inner

    def __call__(self, y_true, y_pred, sample_weight=None):
        import tensorflow as tf

        mean, context = self.inner(y_true, y_pred, sample_weight), tf.distribute.get_replica_context()
        if self.reduction != "mean_with_sample_weight" or context is None:
            return mean  # the replicas have as many rows each; or Keras only asks for the shape
        mine = tf.reduce_sum(tf.cast(sample_weight, mean.dtype))
        total = context.all_reduce(tf.distribute.ReduceOp.SUM, mine)
        return mean * context.num_replicas_in_sync * tf.math.divide_no_nan(mine, total)

    def call(self, y_true, y_pred):
        return self.inner.call(y_true, y_pred)


def mirrored() -> bool:
    """Whether the training that runs now is spread by MirroredStrategy."""
    return keras.backend.backend() == "tensorflow" and current().replicas > 1


def global_loss(loss):
    """The loss as `compile` is to take it on the devices in use."""
    return Global(loss) if mirrored() and isinstance(loss, keras.losses.Loss) else loss


def clip(gradients: list, clipped) -> list:
    """Gradients as `clipped(gradients)` leaves their sum over the replicas; each replica puts in its share again.

    Keras clips what each replica has before it sums: another number.
    """
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return clipped(gradients)
    dense = [tf.convert_to_tensor(g) for g in gradients]
    total = clipped(context.all_reduce(tf.distribute.ReduceOp.SUM, dense))
    return [g / context.num_replicas_in_sync for g in total]


def require_one(what: str) -> None:
    """Refuses what works on one device alone."""
    if current().replicas > 1:
        raise UsageError(f"{what}: trains on one device; leave out --replicas and --coordinator")


def weights(model: keras.Model) -> list[np.ndarray]:
    """The weights of a model, wherever they lie."""
    return [ops.convert_to_numpy(variable) for variable in model.weights]


def assign(model: keras.Model, values: list[np.ndarray]) -> None:
    """Gives a model the weights of another one of its architecture."""
    for variable, value in zip(model.weights, values, strict=True):
        variable.assign(value)
