"""What the installed backends can compute on."""

import importlib.util
import os

from .backend import quiet_stderr


def describe_devices() -> str:
    """A line per backend, with its devices or the reason why there are none."""
    lines = [f"cores: {os.cpu_count()}"]
    if importlib.util.find_spec("tensorflow"):
        with quiet_stderr():
            import tensorflow as tf

            tf.config.list_logical_devices()
        found = [device.name.removeprefix("/physical_device:") for device in tf.config.list_physical_devices()]
        lines.append(f"tensorflow {tf.__version__}: {', '.join(found)}")
    else:
        lines.append("tensorflow: not installed (pip install 'elman[train]')")
    if importlib.util.find_spec("jax"):
        import jax

        lines.append(f"jax {jax.__version__}: {', '.join(str(device) for device in jax.devices())}")
    else:
        lines.append("jax: not installed (pip install 'elman[jax]')")
    return "\n".join(lines)
