import pytest

from elman.apps.core import devices
from elman.apps.core.devices import Device
from elman.apps.core.errors import UsageError


@pytest.fixture
def machine(monkeypatch):
    """A machine with those devices, on that backend."""

    def make(backend="tensorflow", libraries=(), **counts):
        monkeypatch.setenv("KERAS_BACKEND", backend)
        named = {kind: [Device(f"{kind}:{i}", kind.upper()) for i in range(n)] for kind, n in counts.items()}
        monkeypatch.setattr(devices, "find", lambda kind: named.get(kind, []))
        monkeypatch.setattr(devices.importlib.util, "find_spec", lambda name: name if name in libraries else None)

    return make


@pytest.mark.parametrize(("text", "expected"), [("cpu", ("cpu", None)), ("gpu:0", ("gpu", 0)), ("tpu:12", ("tpu", 12))])
def test_names(text, expected):
    assert devices.parse(text) == expected


@pytest.mark.parametrize("text", ["", "cuda", "gpu:", "gpu:x", "gpu:-1", "GPU", "cpu:0:1"])
def test_what_is_no_name(text):
    with pytest.raises(UsageError, match="expected cpu, gpu or tpu, or one of them by number"):
        devices.parse(text)


def test_what_is_there_is_found(machine):
    machine(cpu=1, gpu=2)
    assert [d.name for d in devices.require("gpu")] == ["gpu:0", "gpu:1"]
    assert [d.name for d in devices.require("gpu:1")] == ["gpu:1"]
    with pytest.raises(UsageError, match="--device gpu:2: not here; there is gpu:0, gpu:1"):
        devices.require("gpu:2")


@pytest.mark.parametrize(
    ("backend", "libraries", "device", "message"),
    [
        ("tensorflow", (), "gpu", "TensorFlow sees no GPU .*tensorflow\\[and-cuda\\]"),
        ("tensorflow", (), "tpu:0", "TPUs take the JAX backend: set KERAS_BACKEND=jax"),
        ("jax", (), "tpu", "the TPU library libtpu is not installed \\(pip install 'jax\\[tpu\\]'\\)"),
        ("jax", ("libtpu",), "tpu", "libtpu is installed, but JAX sees no TPU"),
        ("jax", (), "gpu", "JAX has no GPU plugin"),
        ("jax", ("jax_plugins",), "gpu", "JAX has a GPU plugin, but sees no GPU"),
    ],
)
def test_why_a_device_is_not_there(machine, backend, libraries, device, message):
    machine(backend, libraries, cpu=1)
    with pytest.raises(UsageError, match=message):
        devices.require(device)


def test_the_command_line_lists_them(elman):
    answer = elman("devices")
    assert answer.status == 0
    lines = answer.out.splitlines()
    assert lines[0].startswith("cores: ")
    assert any(line.startswith("memory: ") and line.endswith("GiB") for line in lines)
    here = lines[next(i for i, line in enumerate(lines) if line.startswith("tensorflow ")) :]
    assert any(line.startswith("  cpu:0: ") and line.endswith(", default") for line in here)


def test_a_device_that_is_not_there_ends_the_command_before_anything_is_made(elman, tmp_path):
    for verb in ("train", "run"):
        answer = elman("forecasting", verb, "--device", "tpu", "--out", tmp_path / "run")
        assert answer.status == 2
        assert answer.err.startswith("elman: --device tpu: TPUs take the JAX backend")
        assert answer.err.count("\n") == 1
    assert not (tmp_path / "run").exists()
