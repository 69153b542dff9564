"""A tiny model with two signatures over the same weights, through every container, and the bundle around it."""

import dataclasses
import json
import shutil
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from elman.apps.core.engines import ENGINES, Engine, open_bundle_engine
from elman.apps.core.engines import keras as keras_engine
from elman.apps.core.engines import litert as litert_engine
from elman.apps.core.errors import ElmanError, UsageError
from elman.apps.core.export import build, bundle, litert, onnx, parity, saved_model
from elman.apps.core.opened import Opened
from elman.apps.core.run import Run
from elman.apps.core.signature import Signature, Spec
from elman.layers import GRUCell, Recurrent

STEPS, FEATURES, UNITS = 6, 3, 4


@keras.saving.register_keras_serializable(package="elman-tests")
class Tiny(keras.layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.cell = GRUCell(UNITS)
        self.recurrent = Recurrent(self.cell)
        self.out = keras.layers.Dense(2)

    def build(self, shape):
        self.recurrent.build(shape)
        self.out.build((None, UNITS))
        self.built = True

    def call(self, x):
        return self.out(self.recurrent(x))

    def step(self, x, state):
        hidden, states = self.cell.step(x, [state])
        return self.out(hidden), states[0]


def make():
    keras.utils.set_random_seed(1)
    layer = Tiny()
    inputs = keras.Input((STEPS, FEATURES), name="x")
    return keras.Model(inputs, layer(inputs)), layer


def declare(layer):
    def step(inputs):
        y, state = layer.step(inputs["x"], inputs["state"])
        return {"y": y, "next_state": state}

    return [
        Signature(
            "sequence",
            (Spec("x", (None, STEPS, FEATURES)),),
            {"y": "(batch, 2)"},
            {},
            lambda inputs: {"y": layer(inputs["x"])},
            fixed_batch=True,
            steps="step",
        ),
        Signature(
            "step",
            (Spec("x", (None, FEATURES)), Spec("state", (None, UNITS))),
            {"y": "(batch, 2)", "next_state": "(batch, 4)"},
            {"next_state": "state"},
            step,
        ),
    ]


@dataclasses.dataclass(frozen=True)
class TinyConfig:
    size: int = 1


def stages():
    """An application's stages, as small as they can be."""
    return {
        "evaluate": SimpleNamespace(
            samples=lambda engine, config, data: data.samples,
            score=lambda engine, config, data: (
                "mae",
                float(np.abs(engine("step", **data.samples["step"][0])["y"]).mean()),
            ),
            INTENDED_USE="Tests.",
            LIMITS="All.",
        ),
        "predict": SimpleNamespace(example=lambda config, data, path: path.write_text("a\n1\n")),
    }


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The model, its Keras engine, samples, and the bundle that `build` writes of it."""
    model, layer = make()
    signatures = {s.name: s for s in declare(layer)}
    engine = Engine("keras", signatures, keras_engine.load(signatures))
    rng = np.random.default_rng(0)

    def normal(*shape):
        return rng.normal(size=shape).astype("float32")

    samples = {
        "sequence": [{"x": normal(n, STEPS, FEATURES)} for n in (1, 3, 5)],
        "step": [{"x": normal(n, FEATURES), "state": normal(n, UNITS)} for n in (1, 3, 5)],
    }
    data = SimpleNamespace(samples=samples, license="none")
    known = stages()
    app = SimpleNamespace(
        name="tiny",
        summary="Tiny.",
        stage=known.__getitem__,
        example_name="example.csv",
        output_name="out.csv",
        output_suffixes=(".csv",),
    )
    root = tmp_path_factory.mktemp("tiny")
    codec = SimpleNamespace(to_json=lambda: {"words": ["a"]})
    opened = Opened(app, root, TinyConfig(), codec, engine)
    report = build.build(app, opened, model, data, root / "bundle", quiet=True)
    return SimpleNamespace(**locals())


@pytest.fixture
def copy(tiny, tmp_path):
    shutil.copytree(tiny.root / "bundle", tmp_path / "bundle")
    return tmp_path / "bundle"


# Signatures


def test_signatures_survive_json(tiny):
    for signature in tiny.signatures.values():
        again = Signature.from_json(signature.name, json.loads(json.dumps(signature.to_json())))
        assert again == dataclasses.replace(signature, function=None)


def test_first_states_are_what_a_signature_takes(tiny):
    states = tiny.signatures["step"].first_states(2)
    assert list(states) == ["state"]
    tiny.engine("step", x=np.zeros((2, 3), "float32"), **states)
    looked = Spec("looked", (None, None), "int32")
    free = Signature("s", (Spec("x", (None, 3)), looked), {"next": ""}, {"next": "looked"})
    assert (free.first_states(2, size=7)["looked"].shape, free.first_states(2, 7)["looked"].dtype) == ((2, 7), "int32")
    assert tiny.signatures["sequence"].first_states(2) == {}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"x": np.zeros((2, 3))}, r"input 'x': expected float32 \('any', 3\), received float64"),
        ({"x": np.zeros((2, 4), "float32")}, r"received float32 \(2, 4\)"),
        ({"x": np.zeros((2, 3, 1), "float32")}, r"received float32 \(2, 3, 1\)"),
        ({"x": np.zeros(3, "float32")}, r"received float32 \(3,\)"),
        ({"state": np.zeros((5, 4), "float32")}, r"input 'state': expected float32 \('any', 4\) with batch 2"),
        ({"extra": np.zeros(2, "float32")}, r"expected inputs \['x', 'state'\], received \['extra', 'state', 'x'\]"),
    ],
)
def test_wrong_arrays_are_refused(tiny, change, words):
    arrays = {"x": np.zeros((2, 3), "float32"), "state": np.zeros((2, 4), "float32"), **change}
    with pytest.raises(ElmanError, match=words):
        tiny.engine("step", **arrays)


def test_a_missing_input_and_an_unknown_signature_are_named(tiny):
    with pytest.raises(ElmanError, match=r"received \['x'\]"):
        tiny.engine("step", x=np.zeros((2, 3), "float32"))
    with pytest.raises(ElmanError, match="no signature 'stepp'; did you mean 'step'"):
        tiny.engine("stepp")


# Engines


@pytest.mark.parametrize("name", ["saved_model", "litert", "onnx"])
def test_containers_agree_with_keras(tiny, name):
    engine = open_bundle_engine(tiny.root / "bundle", tiny.signatures, name)
    for signature, batches in tiny.samples.items():
        for arrays in [*batches, *batches[::-1]]:
            expected, found = tiny.engine(signature, **arrays), engine(signature, **arrays)
            assert set(found) == set(expected)
            for output, values in expected.items():
                assert found[output].shape == values.shape
                np.testing.assert_allclose(found[output], values, atol=2e-6)


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [("litert-float16", 3e-3), ("litert-dynamic", 0.1), ("litert-int8", 0.2), ("onnx-int8", 0.1)],
)
def test_quantised_containers_are_near(tiny, name, tolerance):
    engine = open_bundle_engine(tiny.root / "bundle", tiny.signatures, name)
    for signature, batches in tiny.samples.items():
        for arrays in batches:
            expected, found = tiny.engine(signature, **arrays), engine(signature, **arrays)
            np.testing.assert_allclose(found["y"], expected["y"], atol=tolerance)


def test_a_sequence_goes_by_steps_on_litert(tiny, monkeypatch):
    """Where the export found that faster, and where the file has no loop: full int8."""
    by_steps = {n: dataclasses.replace(s, by_steps=bool(s.steps)) for n, s in tiny.signatures.items()}
    folder = tiny.root / "bundle"
    whole, steps = (open_bundle_engine(folder, known, "litert") for known in (tiny.signatures, by_steps))
    for arrays in tiny.samples["sequence"]:
        np.testing.assert_allclose(steps("sequence", **arrays)["y"], whole("sequence", **arrays)["y"], atol=2e-6)
    with pytest.raises(ElmanError, match="'sequence': expected one step or more, received none"):
        litert_engine._by_steps(None, tiny.signatures["sequence"], tiny.signatures["step"], {"x": np.zeros((1, 0, 3))})
    content = (folder / "model_int8.tflite").read_bytes()
    assert "WHILE" not in {name for name, _, _ in litert.operators(content)}
    assert b"sequence" not in content
    collected = dataclasses.replace(by_steps["sequence"], collects=True)
    every = open_bundle_engine(folder, {**by_steps, "sequence": collected}, "litert")("sequence", **arrays)["y"]
    assert every.shape == (5, STEPS, 2)
    np.testing.assert_array_equal(every[:, -1], steps("sequence", **arrays)["y"])

    def without_inner_call(self, runner):
        self.runner, self.shapes, self.core = runner, None, None

    monkeypatch.setattr(litert_engine._Call, "__init__", without_inner_call)
    plain = open_bundle_engine(folder, {**by_steps, "sequence": collected}, "litert")
    np.testing.assert_array_equal(every, plain("sequence", **arrays)["y"])


def test_full_int8_is_for_what_goes_without_a_loop(tiny, tmp_path):
    sequence, step = tiny.signatures["sequence"], tiny.signatures["step"]
    assert litert.in_full_int8([sequence, step]) == [step]
    alone = dataclasses.replace(sequence, steps="")
    assert litert.in_full_int8([alone, step]) == []

    def score(engine):
        return "mae", {"keras": 1.0, "litert": 1.0, "litert-dynamic": 1.01, "litert-float16": 1.5}[engine.name]

    keras = Engine("keras", {"sequence": alone, "step": step}, None)
    engines = {name: Engine(name, keras.signatures, None) for name in ("litert", "litert-float16", "litert-dynamic")}
    for size, name in ((9, "model.tflite"), (3, "model_float16.tflite"), (5, "model_dynamic.tflite")):
        (tmp_path / name).write_bytes(bytes(size))
    found = build.quantisation(score, keras, engines, tmp_path)
    assert found["recommended"] == "litert-dynamic"
    assert found["engines"]["litert-float16"]["change"] == 0.5
    loses, loops = found["notes"]
    assert loses == "litert-float16 loses 50.00 %, more than the agreed 2 %: not recommended"
    assert "`sequence` keeps a loop over time" in loops


@pytest.mark.parametrize("name", ["keras", "saved_model", "litert", "onnx"])
def test_steps_make_the_sequence(tiny, name):
    """Both signatures are over the same weights: stepping along gives what the whole sequence gives."""
    exported = {s: v for s, v in tiny.signatures.items()}
    engine = tiny.engine if name == "keras" else open_bundle_engine(tiny.root / "bundle", exported, name)
    x = tiny.samples["sequence"][1]["x"]
    state, answers = np.zeros((len(x), UNITS), "float32"), []
    for t in range(STEPS):
        answer = engine("step", x=x[:, t], state=state)
        state = answer["next_state"]
        answers.append(answer["y"].copy())
    np.testing.assert_allclose(answers[-1], engine("sequence", x=x)["y"], atol=3e-6)
    assert np.abs(answers[0] - answers[-1]).max() > 1e-3


def test_an_answer_is_not_overwritten_by_the_next_call(tiny):
    engine = open_bundle_engine(tiny.root / "bundle", tiny.signatures, "litert")
    first = engine("step", **tiny.samples["step"][0])["y"]
    before = first.copy()
    engine("step", **{k: v + 1 for k, v in tiny.samples["step"][0].items()})
    np.testing.assert_array_equal(first, before)


def test_both_signatures_share_one_set_of_weights(tiny):
    """GRU and head once, not twice, in the file of both signatures."""
    weights = sum(v.size for v in tiny.model.get_weights()) * 4
    numbers = np.concatenate([v.ravel() for v in tiny.model.get_weights() if v.ndim == 2 and v.size >= 8])
    content = (tiny.root / "bundle" / "model.tflite").read_bytes()
    found = np.concatenate(
        [np.frombuffer(content[shift : len(content) - (len(content) - shift) % 4], "float32") for shift in range(4)]
    )
    for value in numbers[:10]:
        assert 1 <= np.count_nonzero(found == value) <= 2, "a weight is lost, or stored once per signature"
    assert weights < len(content)


def test_unknown_engines_and_missing_files_are_named(tiny, copy):
    with pytest.raises(UsageError, match="unknown engine 'litertt'; did you mean 'litert'"):
        open_bundle_engine(copy, tiny.signatures, "litertt")
    with pytest.raises(UsageError, match="a bundle holds no Keras model"):
        open_bundle_engine(copy, tiny.signatures, "keras")
    (copy / "model_int8.tflite").unlink()
    with pytest.raises(ElmanError, match=r"needs model_int8\.tflite, which this bundle does not have"):
        open_bundle_engine(copy, tiny.signatures, "litert-int8")


def test_a_broken_tflite_file_is_refused(tiny, copy):
    (copy / "model.tflite").write_bytes(b"nothing like it" * 20)
    with pytest.raises(ElmanError, match="LiteRT refuses the file"):
        open_bundle_engine(copy, tiny.signatures, "litert")


# The bundle


def test_the_bundle_is_complete(tiny):
    path = tiny.root / "bundle"
    read = bundle.read_bundle(path, "tiny")
    assert read.config == {"size": 1}
    assert read.codec == {"words": ["a"]}
    assert all(s.steps for s in read.signatures.values() if s.by_steps)
    found = {n: dataclasses.replace(s, by_steps=False) for n, s in read.signatures.items()}  # that is measured
    assert found == {n: dataclasses.replace(s, function=None) for n, s in tiny.signatures.items()}
    on_disk = {str(f.relative_to(path)) for f in path.rglob("*") if f.is_file()} - {"bundle.json"}
    assert set(read.manifest["files"]) == on_disk
    for name, (_, pattern) in ENGINES.items():
        assert name == "keras" or (path / pattern.format("step")).exists()
    assert not [f for f in path.parent.iterdir() if f.name.startswith(".")]


def test_samples_hold_keras_answers(tiny):
    samples = bundle.read_samples(tiny.root / "bundle" / "samples.npz")
    assert set(samples) == {"sequence", "step"}
    for signature, (inputs, outputs) in samples.items():
        for name, value in tiny.engine(signature, **inputs).items():
            np.testing.assert_array_equal(outputs[name], value)
            assert len(value) == 1


def test_parity_is_recorded(tiny):
    report = json.loads((tiny.root / "bundle" / "parity.json").read_text())
    assert set(report["containers"]) == set(ENGINES) - {"keras"}
    assert report["containers"]["litert"]["sequence by steps"]["max_relative"] <= 1e-5
    for name in ("saved_model", "litert", "onnx"):
        for signature in ("sequence", "step"):
            assert report["containers"][name][signature]["max_relative"] <= 1e-5
            found = report["containers"][name][signature]
            assert found["batches"] == [1, 3, 5]
            assert 0 <= found["max_absolute"] < 1e-4
            assert found.get("lengths", [STEPS]) == [STEPS]


@pytest.mark.parametrize("name", ["model.tflite", "step.onnx", "example.csv", "saved_model/saved_model.pb"])
def test_a_changed_byte_is_refused(copy, name):
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(ElmanError, match="its checksum does not match"):
        bundle.read_bundle(copy, "tiny")


def test_a_missing_file_is_named(copy):
    (copy / "step.onnx").unlink()
    with pytest.raises(ElmanError, match=r"'step\.onnx' is missing"):
        bundle.read_bundle(copy, "tiny")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 99}, "bundle format 99 is newer than this elman reads"),
        ({"format": "x"}, "not a bundle's manifest"),
        ({"codec": {"words": ["b"]}}, "its checksum does not match"),
        ({"files": {}}, "its checksum does not match"),
        ({"digest": None}, "its checksum does not match"),
    ],
)
def test_a_changed_manifest_is_refused(copy, change, words):
    manifest = json.loads((copy / "bundle.json").read_text())
    (copy / "bundle.json").write_text(json.dumps({**manifest, **change}))
    with pytest.raises(ElmanError, match=words):
        bundle.read_bundle(copy, "tiny")


def test_a_bundle_of_another_application_is_named(copy):
    with pytest.raises(ElmanError, match="a bundle of 'tiny', not of 'forecasting'"):
        bundle.read_bundle(copy, "forecasting")


# The Keras model of a run


@keras.saving.register_keras_serializable(package="elsewhere")
class Foreign(keras.layers.Layer):
    def call(self, x):
        return 2 * x


def _of_keras(layer, path):
    inputs = keras.Input((2,))
    keras.Model(inputs, layer(inputs)).save(path)


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (Foreign, r"model\.keras: holds 'Foreign', a layer of neither Keras nor elman"),
        (lambda: keras.layers.Lambda(lambda x: x + 1), r"holds code \(a Lambda layer\), which is not run from a file"),
        (None, "no Keras model that can be read"),
    ],
)
def test_what_keras_cannot_load_is_one_line(tmp_path, layer, words):
    path = tmp_path / "model.keras"
    path.write_bytes(b"nothing like it" * 9) if layer is None else _of_keras(layer(), path)
    registered = keras.saving.get_custom_objects().pop("elsewhere>Foreign")
    try:
        with pytest.raises(ElmanError, match=words):
            Run(tmp_path).model(SimpleNamespace(stage=lambda name: None))
    finally:
        keras.saving.get_custom_objects()["elsewhere>Foreign"] = registered


# Parity


@pytest.mark.parametrize(
    ("error", "fails"), [(0.0, False), (1e-7, False), (1e-3, True), (np.nan, True), (np.inf, True)]
)
def test_parity_measures_the_largest_difference(tiny, error, fails):
    def wrong(signature, arrays):
        answer = tiny.engine(signature.name, **arrays)
        answer["y"] = answer["y"].copy()
        answer["y"][-1, -1] += error
        return answer

    found = parity.compare(tiny.engine, Engine("wrong", tiny.signatures, wrong), tiny.samples)
    assert found["step"]["max_absolute"] == pytest.approx(error if np.isfinite(error) else np.inf, abs=2e-7)
    if fails:
        with pytest.raises(ElmanError, match="nothing was exported"):
            parity.require_equal("wrong", found)
    else:
        parity.require_equal("wrong", found)


@pytest.mark.parametrize("there", [True, False])
def test_a_container_that_differs_leaves_no_bundle(tiny, tmp_path, monkeypatch, there):
    """ONNX files of another function: the bundle that was there stays, and none comes where there was none."""

    def stale(path, signatures, target, variant, rows):
        shutil.copy(tiny.root / "bundle" / target.name, target)

    def spoiled(signature, path, native=True, write=onnx.write):
        def function(inputs):
            return {name: value + 1e-3 for name, value in signature.function(inputs).items()}

        return write(dataclasses.replace(signature, function=function), path, native=native)

    monkeypatch.setattr(litert, "write", stale)
    monkeypatch.setattr(onnx, "write", spoiled)
    path = tmp_path / "bundle"
    if there:
        path.mkdir()
        (path / "old").write_text("old")
    with pytest.raises(ElmanError, match=r"^onnx, signature 'sequence': differs from Keras"):
        build.build(tiny.app, tiny.opened, tiny.model, tiny.data, path, quiet=True)
    assert [p.name for p in tmp_path.iterdir()] == (["bundle"] if there else [])
    assert not there or [p.name for p in path.iterdir()] == ["old"]


def test_operators_that_a_device_lacks_are_refused(tmp_path):
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [tf.function(lambda x: tf.linalg.det(x)).get_concrete_function(tf.TensorSpec((3, 3)))]
    )
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    with pytest.raises(ElmanError, match=r"model\.tflite: operators that LiteRT does not have: FlexMatrixDeterminant"):
        litert.check_builtin(converter.convert(), "model.tflite")


def test_what_does_not_convert_names_its_layer(tmp_path):
    """In the body of a loop too."""

    class Odd(keras.layers.Layer):
        def call(self, x):
            import tensorflow as tf

            once = x * tf.linalg.det(tf.reshape(x, (-1, 2, 2)))[:, None]
            return tf.while_loop(
                lambda y: tf.reduce_sum(y) < 9.0, lambda y: [y + tf.math.betainc(1.0, 2.0, y)], [once]
            )[0]

    inputs = keras.Input((4,))
    layer = Odd(name="odd")
    model = keras.Model(inputs, layer(inputs))
    signature = Signature("f", (Spec("x", (None, 4)),), {"y": ""}, {}, lambda given: {"y": layer(given["x"])})
    saved_model.write(model, [signature], tmp_path / "saved", for_litert=True)
    with pytest.raises(ElmanError, match=r"Betainc from odd\S*/while/Betainc") as raised:
        litert.write(tmp_path / "saved", [signature], tmp_path / "m.tflite", "litert", None)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "m.tflite").exists()


def test_a_loop_and_a_step_are_built_in(tiny):
    content = (tiny.root / "bundle" / "model.tflite").read_bytes()
    found = {name for name, _, builtin in litert.operators(content) if builtin}
    assert {"WHILE", "FULLY_CONNECTED"} <= found
    litert.check_builtin(content, "model.tflite")
