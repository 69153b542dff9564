"""Training in 16 bits in every application: what is saved, evaluated and exported is float32."""

import importlib
import json

import keras
import pytest

from elman.apps.core import precision
from elman.apps.core.run import Run
from elman.apps.music import midi
from elman.apps.music.score import Piece, make_notes
from tests.conftest import TINY

OPTIONS = {
    "forecasting": " ".join(TINY),
    "music": "--codec frames --context 4 --head-units 8 --units 12 --window 16 --epochs 2 --batch-size 8",
    "handwriting": "--lines 64 --length 8 --units 8 --layers 1 --epochs 1 --lines-per-epoch 32",
    "captioning": (
        "--scenes 60 --held-out-scenes 8 --longest 9 --captions 2 --units 16 --embedding 8 --memory-units 12 "
        "--attention-units 8 --epochs 2 --batch-size 16 --image-size 32"
    ),
}


def policies(model):
    return {layer.dtype_policy.name for layer in model._flatten_layers()}


def tunes(folder):
    folder.mkdir()
    for number in range(20):
        notes = [(beat / 2, 0.5, 60 + (beat * number) % 7 + number // 7, 80, 0) for beat in range(32)]
        midi.write(Piece(str(number), make_notes(notes), 16.0), folder / f"{number}.mid")
    return folder


def test_the_policy_is_that_of_before_afterwards():
    before = keras.config.dtype_policy().name
    with precision.policy("mixed_bfloat16"):
        inner = keras.layers.Dense(2)
    assert (inner.compute_dtype, inner.variable_dtype) == ("bfloat16", "float32")
    assert keras.config.dtype_policy().name == before == "float32"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("app", OPTIONS)
def test_a_model_trained_in_16_bits_is_exported_in_32(app, name, elman, tmp_path):
    words = [*OPTIONS[app].split(), "--precision", name, "--quiet", "--out", tmp_path / "run"]
    if app == "music":
        words += ["--data", tunes(tmp_path / "tunes")]
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
