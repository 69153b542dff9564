"""The application through the command line: trained, scored, exported, read with, adapted; and what it refuses."""

import ast
import json
import subprocess
import sys

import numpy as np
import pytest

from elman.apps import handwriting
from elman.apps.handwriting.config import PRESETS, AdaptOptions, PredictOptions
from tests.conftest import _once, command

from .lines import to_json, written

_TINY = "--lines 48 --length 8 --epochs 1 --units 6 --layers 1 --batch-size 16 --lines-per-epoch 32"
TINY = _TINY.split()


@pytest.fixture(scope="session")
def ink_run(tmp_path_factory):
    """A tiny streaming run with its bundle; what it has learnt is of no matter. Read only."""
    words = ("handwriting", "run", "--model", "streaming", *TINY, "--quiet", "--out")
    return _once(tmp_path_factory, "handwriting-run", lambda out: command(*words, out))


@pytest.fixture
def lines(tmp_path):
    path = tmp_path / "lines.json"
    path.write_text(json.dumps([to_json(ink) for ink in written(6, length=5)]))
    return path


def test_every_preset_is_a_valid_configuration():
    for preset in PRESETS.values():
        assert preset.summary
        assert preset.config.epochs > 0


def test_a_run_is_whole(ink_run):
    metrics = json.loads((ink_run / "metrics.json").read_text())
    assert {"cer", "wer", "cer_beam", "calibration_error"} <= set(metrics["model"])
    for name in ("worst", "history", "calibration"):
        assert (ink_run / "plots" / f"{name}.png").stat().st_size > 1000
    timed = {(row["signature"], row["engine"]) for row in metrics["latency"]}
    assert ("recognise", "keras model.predict") in timed  # a model of one input, not of a dict of them
    parity = json.loads((ink_run / "bundle" / "parity.json").read_text())
    for container in ("litert", "onnx", "saved_model"):
        both_ways = {"recognise by steps"} if container == "litert" else set()
        assert set(parity["containers"][container]) == {"recognise", "step", *both_ways}
        assert all(s["max_relative"] <= 1e-5 for s in parity["containers"][container].values())


def test_engines_and_keras_read_the_same(ink_run, lines):
    app = handwriting.APP
    readings = [app.open(ink_run, engine).predict(lines) for engine in ("keras", "litert", "onnx")]
    for other in readings[1:]:
        assert [r.text for r in other] == [r.text for r in readings[0]]
        for a, b in zip(other, readings[0], strict=True):
            assert a.confidence == pytest.approx(b.confidence, abs=1e-4)
    streamed = app.open(ink_run / "bundle").predict(lines, options=PredictOptions(stream=True))
    assert [r.text for r in streamed] == [r.text for r in readings[0]]
    assert [len(r.after) for r in streamed] == [len(r.ink.strokes) for r in streamed]


def test_predictions_are_written_in_every_format(ink_run, lines, tmp_path, elman):
    for suffix in ("json", "txt", "png"):
        out = tmp_path / f"read.{suffix}"
        assert elman("handwriting", "predict", ink_run / "bundle", "--input", lines, "--out", out).status == 0
        assert out.stat().st_size > 0
    found = json.loads((tmp_path / "read.json").read_text())
    assert len(found) == 6
    for reading in found:
        assert "".join(c["character"] for c in reading["characters"]) == reading["text"]
        assert 0 <= reading["confidence"] <= 1
    assert (tmp_path / "read.txt").read_text().splitlines() == [r["text"] for r in found]
    assert elman("handwriting", "predict", ink_run / "bundle", "--example", "--out", tmp_path / "x.doc").status == 2


def test_other_data_are_scored(ink_run, lines, tmp_path, elman):
    out = tmp_path / "scores.json"
    done = elman("handwriting", "evaluate", ink_run / "bundle", "--data", lines, "--out", out)
    assert done.status == 0, done.err
    assert "6 lines" in json.dumps(json.loads(out.read_text())["notes"])


def test_a_bundle_reads_without_the_training_stack(ink_run, tmp_path):
    code = (
        "import sys; from elman.apps.cli import main\n"
        f"status = main(['handwriting', 'predict', {str(ink_run / 'bundle')!r}, '--example', '--beam', '5', '--out', "
        f"{str(tmp_path / 'out.json')!r}])\nprint(status, sorted({{m.split('.')[0] for m in sys.modules}}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    status, _, loaded = done.stdout.splitlines()[-1].partition(" ")
    assert status == "0"
    heavy = {"tensorflow", "keras", "jax", "PIL", "matplotlib", "jiwer", "HersheyFonts", "onnxruntime", "scipy"}
    assert not heavy & set(ast.literal_eval(loaded))


def test_adapting_reports_before_and_after(ink_run, tmp_path, elman):
    path = tmp_path / "mine.json"
    inks = written(7, seed=4, length=5)
    path.write_text(json.dumps([*map(to_json, inks), {**to_json(inks[0]), "text": "日本"}]))
    out = tmp_path / "mine"
    words = ("--epochs", 1, "--copies", 2, "--rehearse", 0.2, "--out", out, "--quiet")
    done = elman("handwriting", "adapt", ink_run, "--lines", path, *words)
    assert done.status == 0, done.err
    assert "| before |" in done.out
    assert "| after |" in done.out
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["sizes"] == {"train": 5, "test": 2}
    assert "characters outside the model's alphabet: 日 本" in " ".join(metrics["notes"])
    before, after = ((p / "codec.json").read_text() for p in (ink_run, out))
    assert len(json.loads(after)["seen"]) == len(json.loads(before)["seen"]) + 5
    assert handwriting.APP.open(out).predict(path)[0].text is not None
    assert elman("handwriting", "adapt", ink_run, "--lines", path, "--out", out).status == 2


def test_held_out_lines_are_never_trained_on(tmp_path):
    from elman.apps.handwriting import adapt, config, generated

    path = tmp_path / "mine.json"
    path.write_text(json.dumps([to_json(ink) for ink in written(10, length=5)]))
    codec = generated.codec(config.Config())
    for seed in range(3):
        mine, held_out, _ = adapt._lines(codec, AdaptOptions(lines=str(path), seed=seed))
        assert (len(mine), len(held_out)) == (7, 3)
        assert not {ink.text for ink in mine} & {ink.text for ink in held_out}


BAD = {
    "one.json": ('{"strokes": [[[5, 5]]]}', "all its points are one"),
    "empty.json": ("[]", "no ink in it"),
    "nan.json": ('{"strokes": [[[0, 1], [NaN, 2]]]}', "x is nan"),
    "back.json": ('{"strokes": [[[0, 1, 5], [3, 2, 4]]]}', "time runs backwards"),
    "many.json": (json.dumps({"strokes": [[[0, 0], [1, 1]]] * 10_000}), "10,000 strokes"),
    "bomb.inkml": ('<!DOCTYPE x [<!ENTITY a "b">]><ink><trace>&a;</trace></ink>', "declares an XML entity"),
    "broken.xml": ("<a><b></a>", "not well-formed XML"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_ink_is_one_line_and_leaves_nothing(name, ink_run, tmp_path, elman):
    content, message = BAD[name]
    (tmp_path / name).write_text(content)
    done = elman("handwriting", "predict", ink_run / "bundle", "--input", tmp_path / name, "--out", tmp_path / "o.json")
    assert done.status == 1
    assert message in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not (tmp_path / "o.json").exists()
    done = elman("handwriting", "train", "--data", tmp_path / name, "--out", tmp_path / "run")
    assert done.status == 1
    assert len(done.err.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--split", "0.9", "0.9", "0.9"), "--split"), (("--stack", "0"), "--stack"), (("--height", "30"), "--height"),
        (("--stride", "0"), "--stride"), (("--spacing", "0"), "--spacing"), (("--dropout", "1"), "--dropout"),
    ],
)  # fmt: skip
def test_wrong_configurations_are_refused(words, message, tmp_path, elman):
    done = elman("handwriting", "train", *words, "--out", tmp_path / "run")
    assert done.status == 2
    assert message in done.err


def test_real_lines_bring_their_alphabet_and_keep_writers_apart(tmp_path):
    from elman.apps.handwriting import data
    from elman.apps.handwriting.config import Config

    rows = [{**to_json(ink), "text": f"é{n}", "writer": f"w{n % 5}"} for n, ink in enumerate(written(20, length=4))]
    (tmp_path / "real.json").write_text(json.dumps(rows))
    loaded = data.load(Config(data=str(tmp_path / "real.json"), copies=3))
    assert set("é0123456789") == set(loaded.codec.alphabet)
    writers = [{line.ink.writer for line in loaded.parts[name].rows} for name in data.PARTS]
    assert writers[0] & writers[1] == writers[0] & writers[2] == writers[1] & writers[2] == set()
    assert loaded.train.count == 3 * loaded.sizes["train"] == len(loaded.parts["train"].rows)
    again = data.load(Config(data=str(tmp_path / "real.json")), loaded.codec)
    assert [line.ink.text for line in again.parts["test"].rows] == [line.ink.text for line in loaded.parts["test"].rows]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["online", "offline", "attention"])
def test_other_models_run_and_export(model, tmp_path, elman):
    out = tmp_path / "run"
    done = elman("handwriting", "run", "--model", model, *TINY, "--channels", "2", "--quiet", "--out", out)
    assert done.status == 0, done.err
    assert elman("handwriting", "predict", out / "bundle", "--example", "--out", tmp_path / "x.png").status == 0


@pytest.mark.slow
def test_drawings_are_named(tmp_path, elman):
    rng = np.random.default_rng(0)
    rows = [",".join(map(str, [*rng.integers(0, 101, 16), n % 3])) for n in range(60)]
    (tmp_path / "pendigits.tra").write_text("\n".join(rows))
    (tmp_path / "pendigits.tes").write_text("\n".join(rows[:9]))
    out = tmp_path / "run"
    words = ("--preset", "pendigits", "--data", tmp_path, "--epochs", 1, "--copies", 1, "--units", 4, "--out", out)
    done = elman("handwriting", "run", *words, "--quiet")
    assert done.status == 0, done.err
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["baselines"]["nearest neighbour"]["accuracy"] == 1  # the test drawings are among the others
    assert elman("handwriting", "predict", out / "bundle", "--example").status == 0


def test_a_text_too_long_for_its_ink_is_named_and_left_out(tmp_path):
    from elman.apps.handwriting import data
    from elman.apps.handwriting.config import Config

    rows = [to_json(ink) for ink in written(12, length=4)]
    for row in rows:
        row["split"] = "train"
    rows[3]["text"] = "x" * 400
    rows[5]["split"], rows[6]["split"] = "validation", "test"
    (tmp_path / "real.json").write_text(json.dumps(rows))
    loaded = data.load(Config(data=str(tmp_path / "real.json")))
    assert loaded.sizes == {"train": 9, "validation": 1, "test": 1}
    assert "line 4: 400 characters in so little ink" in loaded.warnings[0]


def test_what_training_saw_is_never_scored(tmp_path):
    from elman.apps.handwriting import data
    from elman.apps.handwriting.config import Config

    inks = written(9, length=4)
    (tmp_path / "real.json").write_text(json.dumps([to_json(ink) for ink in inks]))
    config = Config(data=str(tmp_path / "real.json"))
    codec = data.load(config).codec
    everything = data.load(config, codec.remember([])).parts["test"].rows
    assert len(everything) == 9
    for seen in ([], [0, 4], range(8)):
        known = codec.remember(data.digest(everything[n].ink) for n in seen)
        texts = [line.ink.text for line in data.load(config, known).parts["test"].rows]
        assert texts == [ink.text for n, ink in enumerate(inks) if n not in seen]
