"""Training in 16 bits in every application: what is saved, evaluated and exported is float32."""

import importlib
import json

import keras
import pytest

from elman.apps.core import precision
from elman.apps.core.run import Run
from tests.conftest import SMALLEST, smallest


def policies(model):
    return {layer.dtype_policy.name for layer in model._flatten_layers()}


def test_the_policy_is_that_of_before_afterwards():
    before = keras.config.dtype_policy().name
    with precision.policy("mixed_bfloat16"):
        inner = keras.layers.Dense(2)
    assert (inner.compute_dtype, inner.variable_dtype) == ("bfloat16", "float32")
    assert keras.config.dtype_policy().name == before == "float32"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("app", SMALLEST)
def test_a_model_trained_in_16_bits_is_exported_in_32(app, name, elman, tmp_path):
    words = [*smallest(app, tmp_path), "--precision", name, "--quiet", "--out", tmp_path / "run"]
    answer = elman(app, "run", *words)
    assert answer.status == 0, answer.err
    run = Run(tmp_path / "run")
    application = importlib.import_module(f"elman.apps.{app}").APP
    assert run.config(application).precision == name
    assert policies(run.model(application)) == {"float32"}
    parity = json.loads((run.path / "bundle" / "parity.json").read_text())
    for engine in ("saved_model", "litert", "onnx"):
        assert all(s["max_relative"] <= 1e-5 for s in parity["containers"][engine].values())
    resumed = elman(app, "train", *words, "--resume")
    assert resumed.status == 0, resumed.err
