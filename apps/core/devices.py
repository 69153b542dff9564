"""What the installed backends can compute on, and the choice of one of them."""

import contextlib
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

from .backend import quiet_stderr
from .config import require as expect
from .config import require_least
from .errors import UsageError

KINDS = ("cpu", "gpu", "tpu")


@dataclass(frozen=True)
class Device:
    """A device as a backend sees it: `cpu:0`, what it is, its memory in bytes (0: not known), and whether 16-bit
    numbers make it faster."""

    name: str
    model: str = ""
    memory: int = 0
    half: str = ""


@dataclass(frozen=True)
class Placement:
    """Where a training runs; no part of its configuration, so that it may be resumed elsewhere."""

    device: str = ""
    """Train on cpu, gpu or tpu, or on one of them by number (gpu:1); by default the backend takes the first GPU or
    TPU, else the CPU."""
    replicas: int = 1
    """Devices that share each batch; 0 for all of a kind. With --device cpu the CPU is divided into so many."""
    coordinator: str = ""
    """HOST:PORT of the first of several processes that train one model (JAX), or auto on a TPU pod or under Slurm."""
    processes: int = 1
    """How many processes there are (with --coordinator)."""
    process: int = 0
    """Which of them this is, from 0; the first one writes the run."""

    def __post_init__(self):
        if self.device:
            parse(self.device)
        require_least(self, "replicas", 0)
        require_least(self, "processes", 1)
        last, numbered = self.processes - 1, self.device.partition(":")[2]
        expect(0 <= self.process <= last, f"--process: expected 0 to {last} (--processes), received {self.process}")
        expect(not numbered or self.alone, f"--device {self.device}: one device alone; leave out its number")
        if not self.coordinator:
            expect(self.processes == 1, "--processes: give --coordinator HOST:PORT too")
            return
        expect(self.replicas in (0, 1), "--replicas: several processes take all the devices that they have")
        host, _, port = self.coordinator.rpartition(":")
        fitting = self.coordinator == "auto" or (host and port.isdecimal())
        expect(bool(fitting), f"--coordinator: expected HOST:PORT or auto, received '{self.coordinator}'")

    @property
    def alone(self) -> bool:
        """Whether one device does all."""
        return self.replicas == 1 and not self.coordinator

    @property
    def chief(self) -> bool:
        """Whether this process writes the run."""
        return self.process == 0

    @property
    def described(self) -> str:
        """For the record of a run."""
        spread = f"{self.processes} processes" if self.coordinator else f"{self.replicas or 'all'} replicas"
        return "".join(f", {part}" for part in (self.device, "" if self.alone else spread) if part)


def parse(text: str) -> tuple[str, int | None]:
    """Kind and number of `cpu`, `gpu`, `tpu`, `gpu:1`, …"""
    kind, colon, number = text.partition(":")
    if kind not in KINDS or (colon and not number.isdecimal()):
        raise UsageError(f"--device: expected cpu, gpu or tpu, or one of them by number (gpu:1), received '{text}'")
    return kind, int(number) if colon else None


def backend_name() -> str:
    """The backend that Keras has or will have."""
    return os.environ.get("KERAS_BACKEND", "tensorflow")


def find(kind: str) -> list[Device]:
    """The devices of a kind that the backend in use sees; those of all hosts of a JAX cluster."""
    return _jax_devices(kind) if backend_name() == "jax" else _tensorflow_devices(kind)


def require(text: str) -> list[Device]:
    """The devices that `--device` names, all of its kind where it has no number; an error says why there are none."""
    kind, number = parse(text)
    found = find(kind)
    if not found:
        raise UsageError(f"--device {text}: {_why_none(kind)}; `elman devices` lists what is there")
    if number is None:
        return found
    chosen = [device for device in found if device.name == f"{kind}:{number}"]
    if not chosen:
        raise UsageError(f"--device {text}: not here; there is {', '.join(device.name for device in found)}")
    return chosen


def _why_none(kind: str) -> str:
    if kind == "tpu" and backend_name() != "jax":
        return "TPUs take the JAX backend: set KERAS_BACKEND=jax (pip install 'elman[jax]' 'jax[tpu]')"
    if kind == "tpu":
        if importlib.util.find_spec("libtpu") is None:
            return "the TPU library libtpu is not installed (pip install 'jax[tpu]')"
        return "libtpu is installed, but JAX sees no TPU"
    if backend_name() == "jax":
        plugins = importlib.util.find_spec("jax_plugins")
        if plugins is None:
            return "JAX has no GPU plugin (pip install 'jax[cuda13]' or 'jax[cuda12]')"
        return "JAX has a GPU plugin, but sees no GPU"
    return "TensorFlow sees no GPU (is its CUDA build installed, pip install 'tensorflow[and-cuda]', and a driver?)"


def split_cpu(count: int) -> None:
    """Makes so many devices out of the CPU, before the backend is first used: to try replicas without accelerators."""
    try:
        if backend_name() == "jax":
            import jax

            jax.config.update("jax_num_cpu_devices", count)
        else:
            with quiet_stderr():
                import tensorflow as tf

                cpu = tf.config.list_physical_devices("CPU")[0]
                one = tf.config.LogicalDeviceConfiguration()
                tf.config.set_logical_device_configuration(cpu, [one] * count)
    except RuntimeError:
        pass  # the backend is in use: what is there is what there is


@contextlib.contextmanager
def on(text: str):
    """While this is entered, Keras computes on the device of that name; "" leaves the choice to the backend."""
    if not text:
        yield
        return
    import keras

    with keras.device(require(text)[0].name):
        yield


def describe_devices() -> str:
    """Cores and memory of this machine, and a line for each device of each backend."""
    lines = [f"cores: {_cores()}", f"memory: {_gigabytes(_host_memory())}"]
    used = backend_name()
    for name, extra, listing in (("tensorflow", "train", _tensorflow_devices), ("jax", "jax", _jax_devices)):
        if importlib.util.find_spec(name) is None:
            lines.append(f"{name}: not installed (pip install 'elman[{extra}]')")
            continue
        version = importlib.import_module(name).__version__
        chosen = ", in use" if name == used else f" (KERAS_BACKEND={name} chooses it)"
        lines.append(f"{name} {version}{chosen}")
        found = {kind: listing(kind) for kind in KINDS}
        first = next((kind for kind in ("tpu", "gpu", "cpu") if found[kind]), "")
        for kind, devices in found.items():
            for number, device in enumerate(devices):
                default = ", default" if kind == first and number == 0 else ""
                memory = f", {_gigabytes(device.memory)}" if device.memory else ""
                lines.append(f"  {device.name}: {device.model}{memory}, mixed precision: {device.half}{default}")
            if not devices:
                lines.append(f"  {kind}: none")
    if importlib.util.find_spec("libtpu") is None:
        lines.append("TPU library (libtpu): not installed (pip install 'jax[tpu]')")
    return "\n".join(lines)


def _cores() -> str:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{os.cpu_count()}" + (f" ({usable} for this process)" if usable != os.cpu_count() else "")


def _host_memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0


def _gigabytes(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size else "unknown"


def _cpu(name: str) -> Device:
    file = Path("/proc/cpuinfo")
    told = file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""
    named = [line.partition(":")[2].strip() for line in told.splitlines() if line.startswith("model name")]
    fast = any(flag in told for flag in ("avx512_bf16", "amx_bf16", " bf16"))
    half = "mixed_bfloat16" if fast else "works, but no faster (no 16-bit arithmetic)"
    return Device(name, named[0] if named else "CPU", half=half)


def _tensorflow_devices(kind: str) -> list[Device]:
    with quiet_stderr():
        import tensorflow as tf

        found = tf.config.list_logical_devices(kind.upper())
        physical = tf.config.list_physical_devices(kind.upper())
    if kind == "cpu":
        return [_cpu(f"cpu:{number}") for number in range(len(found))]
    devices = []
    for number in range(len(found)):
        told = tf.config.experimental.get_device_details(physical[min(number, len(physical) - 1)])
        devices.append(Device(f"{kind}:{number}", told.get("device_name", kind.upper()), half=_half(told)))
    return devices


def _half(details: dict) -> str:
    """What a GPU of that compute capability gains from."""
    capability = details.get("compute_capability", (0, 0))
    if capability >= (8, 0):
        return "mixed_bfloat16, mixed_float16"
    return "mixed_float16" if capability >= (7, 0) else "works, but no faster"


def _jax_devices(kind: str) -> list[Device]:
    with quiet_stderr():
        import jax

        try:
            found = jax.devices(kind)
        except RuntimeError:  # there is none
            return []
    if kind == "cpu":
        return [_cpu(f"cpu:{device.id}") for device in found]
    devices = []
    for device in found:
        memory = (
            (device.memory_stats() or {}).get("bytes_limit", 0) if device.process_index == jax.process_index() else 0
        )
        numbers = [int(n) for n in str(getattr(device, "compute_capability", "0")).split(".")]
        half = "mixed_bfloat16" if kind == "tpu" else _half({"compute_capability": tuple(numbers)})
        devices.append(Device(f"{kind}:{device.id}", device.device_kind, memory, half))
    return devices
