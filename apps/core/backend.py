"""Keras and its backend, imported without the page that TensorFlow writes on standard error."""

import contextlib
import ctypes
import os
import sys

from .errors import MissingExtra

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # malloc.h


@contextlib.contextmanager
def quiet_stderr():
    """Drops what native code writes on standard error; Python's own errors are raised as ever."""
    sys.stderr.flush()
    kept, sink = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
        os.close(sink)


def keep_memory() -> None:
    """Tells glibc to keep freed memory: a training step frees and takes the same large blocks again.

    Without it, a third of the time of a training on CPU went into the kernel's page faults (a SegRNN of 128 units on
    ETTh1: 18.8 s of system time in 54 s, 5.5 s of 37 s with it). Elsewhere than on glibc nothing happens.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        for option, value in ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 64 << 20)):
            mallopt(option, value)


def load(what: str) -> None:
    """Imports Keras on its backend; says which extra to install where it is missing."""
    keep_memory()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with needed(what), quiet_stderr():
        import keras

        keras.ops.zeros(1)  # the devices are looked for with the first tensor


@contextlib.contextmanager
def needed(what: str):
    """Names the extra that `what` needs, where a package of it is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name in ("keras", "tensorflow", "jax"):
            raise MissingExtra(what, "jax" if error.name == "jax" else "train") from None
        raise
