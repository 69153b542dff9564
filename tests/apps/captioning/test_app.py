"""The application from pictures to a bundle, by its verbs."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from elman.apps import captioning, cli
from elman.apps.captioning import calibration, evaluate, scenes
from elman.apps.captioning.baselines import likeliest_caption, nearest_captions
from elman.apps.captioning.config import PRESETS, Config, PredictOptions
from elman.apps.captioning.data import load
from elman.apps.core.errors import ElmanError, UsageError
from elman.apps.core.verbs import export

TINY = Config(
    scenes=60, held_out_scenes=8, longest=9, captions=2, units=16, embedding=8, memory_units=12, attention_units=8,
    epochs=2, batch_size=16, image_size=32,
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    trained = captioning.APP.train(TINY, tmp_path_factory.mktemp("captioning") / "run")
    export(captioning.APP, trained.path)
    return trained


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Pictures with captions in a CSV, one damaged."""
    folder = tmp_path_factory.mktemp("photos")
    lines = ["image,caption"]
    for n in range(24):
        scene = scenes.make_scene("train", n)
        Image.fromarray(scenes.render(scene, 48)).save(folder / f"{n}.png")
        lines += [f"{n}.png,{c.capitalize()} ." for c in scenes.captions(scene, 2)]
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff no jpeg")
    lines.append("broken.jpg,A broken picture .")
    (folder / "captions.csv").write_text("\n".join(lines))
    return folder


def test_every_preset_is_a_valid_configuration():
    assert captioning.APP.default in PRESETS
    for preset in PRESETS.values():
        assert preset.summary
        assert preset.config.epochs > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frozen": True}, "--frozen: the small CNN has learnt nothing yet"),
        ({"finetune_epochs": 2}, "--finetune-epochs comes after"),
        ({"attention": False, "coverage": 1.0}, "--coverage: a model without attention"),
        ({"encoder_weights": "x.h5"}, "--encoder-weights: the small CNN begins from scratch"),
        ({"word_swap": 1.0}, r"--word-swap: expected a share in \[0, 1\)"),
        ({"split": (0.9, 0.2, 0.1)}, "--split: expected three shares"),
        ({"beam": 0}, "--beam: expected 1 or more"),
        ({"encoder": "squeezenet", "pool": 2}, "--pool is for --frozen"),
    ],
)
def test_a_wrong_configuration_is_named(options, message):
    with pytest.raises(UsageError, match=message):
        dataclasses.replace(TINY, **options)


def test_the_containers_agree_with_keras(run):
    parity = json.loads((run.path / "bundle/parity.json").read_text())
    for name in ("litert", "onnx", "saved_model"):
        assert all(s["max_relative"] <= 1e-5 for s in parity["containers"][name].values())
        assert set(parity["containers"][name]) == {"encode", "step"}


def test_engines_say_the_same(run):
    texts = {}
    for engine in ("litert", "onnx", "saved_model"):
        found = captioning.APP.open(run.path / "bundle", engine).predict(options=PredictOptions(beam=3, n_best=2))
        texts[engine] = [c.text for c in found.pictures[0].captions]
    assert texts["litert"] == texts["onnx"] == texts["saved_model"]
    assert len(texts["litert"]) == 2


def test_predict_needs_no_training_stack(run, tmp_path):
    out = tmp_path / "captions.json"
    code = (
        "import sys\nfor name in ('keras', 'tensorflow', 'matplotlib', 'scipy'): sys.modules[name] = None\n"
        f"from elman.apps.cli import main\nsys.exit(main(['captioning', 'predict', {str(run.path / 'bundle')!r}, "
        f"'--example', '--beam', '4', '--n-best', '3', '--engine', 'litert-int8', '--out', {str(out)!r}]))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    (row,) = json.loads(out.read_text())
    assert len(row["captions"]) == 3
    assert all(0 <= c["confidence"] <= 1 for c in row["captions"])


def test_a_folder_with_something_broken(run, photos, tmp_path, capsys):
    out = tmp_path / "captions.csv"
    words = ["captioning", "predict", str(run.path / "bundle"), "--input", str(photos), "--least-confidence", "1"]
    assert cli.main([*words, "--out", str(out)]) == 0
    assert len(out.read_text().splitlines()) == 25
    assert cli.main(words) == 0
    printed = capsys.readouterr().out
    assert printed.count("not sure: ") == 24
    assert "left out: " in printed
    assert "broken.jpg: not a readable picture" in printed


def test_the_least_sure_tenth_of_validation_is_marked(run):
    opened = captioning.APP.open(run.path)
    found = evaluate.caption_all(opened.engine, opened.config, opened.codec, load(TINY).parts["validation"])
    assert opened.codec.sure == pytest.approx(np.quantile([c.confidence for c in found], 0.1))
    strict = dataclasses.replace(opened, codec=dataclasses.replace(opened.codec, sure=1.0))
    assert strict.predict().pictures[0].text.startswith("not sure: ")
    assert not strict.predict(options=PredictOptions(least_confidence=0.0)).pictures[0].text.startswith("not sure")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.jpg", b"text", "x.jpg: not a readable picture"),
        ("x.png", b"", "x.png: not a readable picture"),
        ("folder", None, "no picture in this folder"),
    ],
)
def test_what_is_no_picture_is_one_line(run, tmp_path, capsys, name, content, message):
    path = tmp_path / name
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    assert cli.main(["captioning", "predict", str(run.path / "bundle"), "--input", str(path)]) == 1
    text = capsys.readouterr().err
    assert message in text
    assert len(text.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam": 2, "n_best": 3}, "--n-best 3: expected at most --beam, 2"),
        ({"n_best": 0}, "--n-best 1 or more"),
        ({"least_confidence": 1.5}, "--least-confidence: expected 0 to 1"),
        ({"length_penalty": -1.0}, "--length-penalty: expected 0 or more"),
    ],
)
def test_wrong_options_are_named(run, options, message):
    with pytest.raises(UsageError, match=message):
        captioning.APP.open(run.path / "bundle").predict(options=PredictOptions(**options))


def test_attention_is_drawn(run, tmp_path):
    out = tmp_path / "looks.png"
    captioning.APP.open(run.path / "bundle").predict(out=out)
    with Image.open(out) as image:
        assert image.size[0] > 300


def test_a_bundle_scores_pictures_that_training_never_saw(run, photos, tmp_path):
    out = tmp_path / "metrics.json"
    words = ["captioning", "evaluate", str(run.path / "bundle"), "--data", str(photos), "--out", str(out), "--quiet"]
    assert cli.main(words) == 0
    metrics = json.loads(out.read_text())
    assert set(metrics["model"]) >= {"cider", "bleu4", "rouge_l"}
    assert metrics["baselines"] == {}  # no training pictures to find neighbours among


def test_own_pictures(photos, tmp_path):
    """Trains on a folder of pictures, from a trained run, as subwords, with everything that training offers."""
    config = dataclasses.replace(
        TINY, data=str(photos), scenes=60, epochs=1, vocabulary="subwords", pieces=70, cell="gru", label_smoothing=0.1,
        coverage=0.5, scheduled_sampling=0.3, self_critical_epochs=1, split=(0.6, 0.2, 0.2),
    )  # fmt: skip
    trained = captioning.APP.train(config, tmp_path / "run")
    assert trained.metrics["sizes"]["train"] == 14
    metrics = captioning.APP.open(trained.path).evaluate()
    assert set(metrics.baselines) == {"nearest picture", "consensus of 20 nearest", "likeliest caption"}
    rows = (trained.path / "self_critical.csv").read_text().splitlines()
    assert rows[0] == "epoch,reward,validation_cider"
    assert len(rows) == 3
    data = load(config)
    assert any("broken.jpg: not a readable picture" in warning for warning in data.warnings)


def test_a_start_is_taken_over_and_a_frozen_encoder_stays(run, photos, tmp_path):
    config = dataclasses.replace(
        TINY, data=str(photos), init_from=str(run.path), frozen=True, epochs=1, cache=str(tmp_path / "cache"),
        compare=(str(run.path),),
    )  # fmt: skip
    trained = captioning.APP.train(config, tmp_path / "run")
    old, new = (r.model(captioning.APP).get_layer("network").encoder.get_weights() for r in (run, trained))
    for a, b in zip(old, new, strict=True):
        np.testing.assert_array_equal(a, b)
    assert list((tmp_path / "cache").glob("features-*.npy"))
    beside = captioning.APP.open(trained.path).evaluate().baselines
    assert run.path.name in beside


def test_a_start_that_does_not_fit_is_named(run, tmp_path):
    config = dataclasses.replace(TINY, init_from=str(run.path), encoder="squeezenet", frozen=True)
    with pytest.raises(UsageError, match="it has no encoder 'squeezenet"):
        captioning.APP.train(config, tmp_path / "a")
    with pytest.raises(ElmanError, match="neither a trained run"):
        captioning.APP.train(dataclasses.replace(TINY, init_from=str(tmp_path)), tmp_path / "b")


@pytest.mark.slow
def test_finetuning_moves_the_encoder(run, photos, tmp_path):
    config = dataclasses.replace(
        TINY, data=str(photos), init_from=str(run.path), frozen=True, epochs=1, cache=str(tmp_path / "cache"),
        finetune_epochs=1, finetune_rate=1e-2,
    )  # fmt: skip
    trained = captioning.APP.train(config, tmp_path / "run")
    old, new = (r.model(captioning.APP).get_layer("network").encoder.get_weights() for r in (run, trained))
    assert not np.array_equal(old[0], new[0])


def test_nearest_captions_and_the_likeliest():
    captions = [["a dog runs", "a brown dog runs"], ["a dog runs fast"], ["two cats sleep"]]
    train = np.array([[1.0, 0.1], [0.9, 0.2], [-1.0, 0.0]])
    test = np.array([[1.0, 0.12], [-1.0, 0.1]])
    assert nearest_captions(test, train, captions) == ["a dog runs", "two cats sleep"]
    assert nearest_captions(test[:1], train, captions, k=2)[0] in ("a dog runs", "a brown dog runs", "a dog runs fast")
    assert "dog" in likeliest_caption(captions)


def test_calibration_finds_the_chance_of_being_right():
    rng = np.random.default_rng(0)
    log_probs, lengths = -rng.gamma(2, 2, 4000), rng.integers(4, 12, 4000)
    chance = 1 / (1 + np.exp(-(2 + 0.7 * log_probs)))
    right = (rng.random(4000) < chance).astype(float)
    weights = calibration.fit(log_probs[:2000], lengths[:2000], right[:2000])
    inputs = np.stack([np.ones(4000), log_probs / lengths, log_probs], axis=1)
    found = 1 / (1 + np.exp(-inputs @ np.array(weights)))
    assert np.abs(found - chance).mean() < 0.04
    assert calibration.error(found[2000:], right[2000:]) < 0.06
    assert calibration.error(1 - found[2000:], right[2000:]) > 0.2


def test_rightness_of_photographs_is_a_share_of_what_people_reach(photos):
    config = dataclasses.replace(TINY, data=str(photos))
    album = load(config).parts["train"]
    people = [group[0] for group in album.captions()]
    assert evaluate.rightness(album, people).mean() > 0.9
    assert evaluate.rightness(album, ["nothing of the kind"] * len(album)).max() < 0.05
