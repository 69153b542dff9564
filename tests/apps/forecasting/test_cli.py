"""The command line from a table to forecasts, on a tiny trained run."""

import csv
import itertools
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from elman.apps.forecasting import APP, predict, stream
from tests.conftest import TINY

DAYS = [str(np.datetime64("2020-01-01") + i) for i in range(400)]


def wave(length, offset=10.0):
    return [round(offset + float(np.sin(i * 2 * np.pi / 7)), 4) for i in range(length)]


def long(path, header="unique_id,ds,y", **series):
    rows = [
        f"{name},{stamp},{'' if y is None else y}"
        for name, ys in series.items()
        for stamp, y in zip(DAYS, ys, strict=False)
    ]
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# A run


def test_a_run_leaves_everything(co2_run):
    names = {str(p.relative_to(co2_run)) for p in co2_run.rglob("*") if p.is_file()}
    expected = ["config.json", "codec.json", "model.keras", "history.csv", "metrics.json", "report.md"]
    expected += [f"plots/{name}.png" for name in ("history", "fan", "backtest", "residuals")]
    expected += [
        f"bundle/{n}"
        for n in ("bundle.json", "parity.json", "MODEL_CARD.md", "README.md", "samples.npz", "example.csv")
    ]
    assert set(expected) <= names
    assert not [name for name in names if ".part-" in name or ".old-" in name]
    assert all((co2_run / name).read_bytes()[:4] == b"\x89PNG" for name in names if name.endswith(".png"))
    assert [row["epoch"] for row in rows(co2_run / "history.csv")] == ["1", "2"]


@pytest.mark.slow
def test_a_run_on_jax_is_exported_to_every_container(tmp_path):
    words = [sys.executable, "-m", "elman.apps.cli", "forecasting", "run", *TINY, "--quiet", "--out", tmp_path / "run"]
    done = subprocess.run(words, env={**os.environ, "KERAS_BACKEND": "jax"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads((tmp_path / "run/metrics.json").read_text())["machine"].startswith("jax backend")
    parity = json.loads((tmp_path / "run/bundle/parity.json").read_text())
    assert {"saved_model", "litert", "onnx"} <= set(parity["containers"])


def test_metrics_have_the_model_and_every_baseline(co2_run):
    metrics = json.loads((co2_run / "metrics.json").read_text())
    assert set(metrics["baselines"]) == {"naive", "seasonal-naive", "ets", "theta"}
    for scores in (metrics["model"], *metrics["baselines"].values()):
        assert all(scores[name] > 0 for name in ("mse", "mae", "smape", "mase", "wql"))
        assert 0 <= scores["coverage_80"] <= 1
    assert set(metrics["sizes"]) == {"train", "validation", "test"}
    assert {"training", "evaluation", "export"} <= set(metrics["seconds"])
    report = (co2_run / "report.md").read_text()
    assert "seasonal-naive" in report
    assert "better than" in report
    card = (co2_run / "bundle" / "MODEL_CARD.md").read_text()
    assert "public domain" in card
    assert "litert-int8" in card


def test_a_manifest_holds_what_a_device_needs(co2_run):
    manifest = json.loads((co2_run / "bundle" / "bundle.json").read_text())
    assert manifest["application"] == "forecasting"
    inputs = {i["name"]: (i["shape"], i["dtype"]) for i in manifest["signatures"]["forecast"]["inputs"]}
    assert inputs["y"] == ([None, 60], "float32")
    assert inputs["series"] == ([None], "int32")
    assert np.array(manifest["codec"]["offsets"]).shape == (8, 5)


# Prediction


def predicted(elman, path, out, *options):
    shown = elman("forecasting", "predict", path, "--out", out, *options)
    assert shown.status == 0, shown.err
    return rows(out)


def test_a_prediction_goes_on_after_the_table(elman, co2_run, tmp_path):
    example = rows(co2_run / "bundle" / "example.csv")
    found = predicted(elman, co2_run / "bundle", tmp_path / "f.csv", "--example")
    last = np.datetime64(example[-1]["ds"])
    assert [row["ds"] for row in found] == [str(last + 7 * (i + 1)) for i in range(8)]
    assert list(found[0]) == ["unique_id", "ds", "point", "q0.025", "q0.1", "q0.5", "q0.9", "q0.975"]
    for row in found:
        quantiles = [float(row[name]) for name in list(row)[3:]]
        assert quantiles == sorted(quantiles)
        assert float(row["point"]) == float(row["q0.5"])
        assert abs(float(row["point"]) - float(example[-1]["y"])) < 20


@pytest.mark.parametrize("run", ["co2_run", "deepar_run"])
def test_engines_predict_alike(elman, tmp_path, request, run):
    path = request.getfixturevalue(run)
    names = ["keras", "saved_model", "litert", "onnx", "litert-float16", "litert-dynamic", "litert-int8", "onnx-int8"]
    answers = {
        name: [
            float(r["point"]) for r in predicted(elman, path, tmp_path / f"{name}.csv", "--example", "--engine", name)
        ]
        for name in names
    }
    for name in ("saved_model", "litert", "onnx"):
        np.testing.assert_allclose(answers[name], answers["keras"], rtol=2e-5)
    for name in names[4:]:
        np.testing.assert_allclose(answers[name], answers["keras"], rtol=0.02)


@pytest.mark.parametrize("run", ["co2_run", "deepar_run"])
def test_int8_holds_raw_measurements(request, run):
    bundle = request.getfixturevalue(run) / "bundle"
    found = json.loads((bundle / "parity.json").read_text())["quantisation"]["engines"]
    assert found["litert-int8"]["numbers"] == "int8 products, float32 between"
    assert abs(found["litert-int8"]["change"]) < 0.02  # smaller it is from some 100 kB on: conversions take room


def test_a_bundle_follows_a_stream(deepar_run):
    model = APP.open(deepar_run / "bundle")
    table = predict.read(model.config, model.codec, model.example())
    now = stream.begin(model, table)
    before = stream.forecast(model, now).point[0, 0]
    later, expected = stream.observe(model, now, [400.0])
    assert expected["scale"][0] > 0
    assert stream.forecast(model, now).point[0, 0] == before
    assert stream.forecast(model, later).point[0, 0] != before


def test_json_and_pictures(elman, co2_run, tmp_path):
    table = predicted(elman, co2_run / "bundle", tmp_path / "f.csv", "--example")
    for name in ("f.json", "f.png"):
        assert elman("forecasting", "predict", co2_run / "bundle", "--example", "--out", tmp_path / name).status == 0
    found = json.loads((tmp_path / "f.json").read_text())
    assert [r["ds"] for r in found] == [r["ds"] for r in table]
    np.testing.assert_allclose([r["point"] for r in found], [float(r["point"]) for r in table], rtol=1e-6)
    assert (tmp_path / "f.png").read_bytes()[:4] == b"\x89PNG"
    shown = elman("forecasting", "predict", co2_run / "bundle", "--example", "--out", tmp_path / "f.xlsx")
    assert (shown.status, (tmp_path / "f.xlsx").exists()) == (2, False)
    assert "ends in .csv, .json, .png" in shown.err


def test_a_training_that_never_had_a_loss_leaves_nothing(elman, tmp_path):
    options = ["--windows-per-epoch", "320", "--learning-rate", "1e30", "--clip-norm", "0", "--quiet"]
    shown = elman("forecasting", "train", "--out", tmp_path / "run", *options)
    assert (shown.status, (tmp_path / "run").exists()) == (1, False)
    assert "the loss became nan in epoch 1, step 2: lower the learning rate or clip" in shown.err


def test_without_out_the_first_rows_are_shown(elman, co2_run):
    shown = elman("forecasting", "predict", co2_run / "bundle", "--example")
    assert shown.status == 0
    assert len(shown.out.splitlines()) == 1 + 8
    assert max(map(len, shown.out.splitlines())) <= 80


def weekly(count, start="2002-01-05"):
    return [str(np.datetime64(start) + 7 * i) for i in range(count)]


@pytest.mark.parametrize("count", [1, 2, 5, 60, 200])
def test_any_length_predicts(elman, co2_run, tmp_path, count):
    """Shorter than the look-back, even one row, is filled up; more than it is not looked at."""
    ys = [370 + i / 50 for i in range(count)]
    text = "ds,y\n" + "".join(f"{d},{y}\n" for d, y in zip(weekly(count), ys, strict=True))
    (tmp_path / "in.csv").write_text(text)
    found = predicted(elman, co2_run / "bundle", tmp_path / "out.csv", "--input", tmp_path / "in.csv")
    assert len(found) == 8
    assert all(np.isfinite(float(v)) for row in found for k, v in row.items() if k not in ("unique_id", "ds"))
    if count > 60:
        (tmp_path / "tail.csv").write_text("ds,y\n" + "\n".join(text.splitlines()[-60:]) + "\n")
        tail = predicted(elman, co2_run / "bundle", tmp_path / "tail-out.csv", "--input", tmp_path / "tail.csv")
        np.testing.assert_allclose([float(r["point"]) for r in tail], [float(r["point"]) for r in found], rtol=1e-6)


def test_a_file_without_names_is_the_series_of_training_whatever_it_is_called(elman, co2_run, tmp_path):
    body = "".join(f"{d},{370 + i % 5}\n" for i, d in enumerate(weekly(80)))
    for name in ("one.csv", "two.csv"):
        (tmp_path / name).write_text("ds,y\n" + body)
    first, second = (
        predicted(elman, co2_run / "bundle", tmp_path / f"{n}.out.csv", "--input", tmp_path / n)
        for n in ("one.csv", "two.csv")
    )
    assert first == second
    assert first[0]["unique_id"] == "co2"


def test_layouts_give_the_same_forecast(elman, co2_run, tmp_path):
    import pandas as pd

    stamps, a, b = weekly(80), [370.0 + i % 5 for i in range(80)], [360.0 + i % 3 for i in range(80)]
    (tmp_path / "wide.csv").write_text(
        "ds,a,b\n" + "".join(f"{d},{x},{y}\n" for d, x, y in zip(stamps, a, b, strict=True))
    )
    tall = [(n, d, v) for n, ys in (("a", a), ("b", b)) for d, v in zip(stamps, ys, strict=True)]
    (tmp_path / "long.csv").write_text("unique_id,ds,y\n" + "".join(f"{n},{d},{v}\n" for n, d, v in tall))
    (tmp_path / "semicolon.csv").write_text("unique_id;ds;y\n" + "".join(f"{n};{d};{v}\n" for n, d, v in tall))
    frame = pd.DataFrame(tall, columns=["unique_id", "ds", "y"]).assign(ds=lambda f: pd.to_datetime(f["ds"]))
    frame.to_parquet(tmp_path / "long.parquet")
    found = [
        predicted(elman, co2_run / "bundle", tmp_path / f"{name}.out.csv", "--input", tmp_path / name)
        for name in ("wide.csv", "long.csv", "semicolon.csv", "long.parquet")
    ]
    assert found[0] == found[1] == found[2] == found[3]
    assert [row["unique_id"] for row in found[0]] == ["a"] * 8 + ["b"] * 8


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("unique_id,ds,y\n", "has a header but no rows"),
        ("unique_id,ds,y\na,2020-01-04,x\na,2020-01-11,2\n", "'x'"),
        ("unique_id,ds,y\na,2020-01-04,1\na,2020-01-04,2\n", "repeated stamp"),
        ("unique_id,ds,y\na,soon,1\na,later,2\n", "'soon'"),
        ("unique_id,ds,y\na,2020-01-04,\na,2020-01-11,\n", "no series has a value"),
        (
            "unique_id,ds,y\na,2020-01-04,1\na,2020-01-05,2\n",
            "expected a table with frequency W, as in training; found D",
        ),
        ("unique_id,ds,y\na,1,1\na,2,2\n", "expected a table with frequency W, as in training; found 1"),
        ("unique_id,ds,y\na,2020-01-04,1e30\na,2020-01-11,2\n", "expected values up to"),
        ("a\0b", "is not text"),
    ],
)
def test_bad_tables_are_refused_at_prediction(elman, co2_run, tmp_path, text, words):
    (tmp_path / "in.csv").write_text(text)
    shown = elman(
        "forecasting", "predict", co2_run / "bundle", "--input", tmp_path / "in.csv", "--out", tmp_path / "out.csv"
    )
    assert shown.status == 1
    assert words in " ".join(shown.err.split())
    assert "internal error" not in shown.err
    assert sorted(os.listdir(tmp_path)) == ["in.csv"]


# Evaluation


def test_a_bundle_scores_as_its_run_did(elman, co2_run, tmp_path):
    told = json.loads((co2_run / "metrics.json").read_text())
    before = (co2_run / "metrics.json").read_bytes()
    shown = elman("forecasting", "evaluate", co2_run / "bundle", "--out", tmp_path / "m.json", "--quiet")
    assert shown.status == 0, shown.err
    found = json.loads((tmp_path / "m.json").read_text())
    assert found["engine"] == "litert"
    for name, value in told["model"].items():
        assert found["model"][name] == pytest.approx(value, rel=1e-3)
    assert found["baselines"]["naive"] == pytest.approx(told["baselines"]["naive"])
    assert (co2_run / "metrics.json").read_bytes() == before


def test_other_data_are_scored(elman, co2_run, tmp_path):
    text = "unique_id,ds,y\n" + "".join(f"new,{d},{370 + i % 7}\n" for i, d in enumerate(weekly(100)))
    (tmp_path / "other.csv").write_text(text)
    shown = elman(
        "forecasting", "evaluate", co2_run / "bundle", "--data", tmp_path / "other.csv", "--out", tmp_path / "m.json"
    )
    assert shown.status == 0, shown.err
    found = json.loads((tmp_path / "m.json").read_text())
    assert found["model"]["windows"] == 2  # origins 1 and 61, by --test-stride 60
    assert found["model"]["mae"] > 0


@pytest.mark.parametrize(
    ("data", "words"),
    [("none.csv", "none.csv"), ("short.csv", "no test window of 8 steps"), ("tfds:no_such_set", "tfds:no_such_set")],
)
def test_data_that_cannot_be_scored_are_named(elman, co2_run, tmp_path, monkeypatch, data, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "short.csv").write_text("unique_id,ds,y\n" + "".join(f"n,{d},{i}\n" for i, d in enumerate(weekly(5))))
    shown = elman("forecasting", "evaluate", co2_run / "bundle", "--data", data, "--out", "m.json")
    assert shown.status == 1
    assert words in shown.err
    assert not (tmp_path / "m.json").exists()


def test_a_benchmark_measures_each_engine(elman, co2_run):
    shown = elman("forecasting", "benchmark", co2_run, "--engine", "litert", "onnx", "--seconds", "0.02")
    assert shown.status == 0, shown.err
    title, header, *rows = shown.out.split("\n\n")[0].splitlines()
    assert title == "forecast:"
    assert header.split()[0] == "engine"
    assert {row.split()[0] for row in rows} == {"litert", "onnx"}


# Training on bad data


def bad(path):
    """A file of each kind, and words that must be in the message."""
    write = {
        "empty.csv": ("", "is empty"),
        "text.csv": ("unique_id,ds,y\na,2020-01-01,x\na,2020-01-02,y\n", "without a finite number"),
        "twice.csv": ("unique_id,ds,y\n" + "a,2020-01-01,1\n" * 50, "repeated stamp"),
        "nan.csv": ("unique_id,ds,y\n" + "".join(f"a,{d},\n" for d in DAYS[:28]), "no series has a value"),
        "columns.csv": ("id,when,what\na,2020-01-01,1\n", ""),
        "constant.csv": ("unique_id,ds,y\n" + "".join(f"a,{d},3\n" for d in DAYS), "every series is constant"),
        "short.csv": ("unique_id,ds,y\n" + "".join(f"a,{d},{i}\n" for i, d in enumerate(DAYS[:5])), "no train window"),
        "pairs.csv": (
            "unique_id,ds,y\n" + "".join(f"{n},{d},{i}\n" for n in "abc" for i, d in enumerate(DAYS[:2])),
            "no train window",
        ),
        "huge.csv": (
            "unique_id,ds,y\n" + "".join(f"a,{d},{i}e30\n" for i, d in enumerate(DAYS)),
            "expected values up to",
        ),
        "nul.csv": ("a\0b\0", "is not text"),
    }
    for name, (text, words) in write.items():
        (path / name).write_text(text)
        yield name, words
    (path / "bytes.csv").write_bytes(bytes(range(128, 256)) * 8)
    yield "bytes.csv", "is not text"
    yield "none.csv", "none.csv does not exist"
    yield ".", "M4"
    yield "tfds:no_such_set", "tfds:no_such_set"


def test_bad_data_leave_no_run_directory(elman, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, words in [*bad(tmp_path)]:
        shown = elman("forecasting", "train", *TINY, "--data", name, "--out", "out")
        assert shown.status == 1, name
        assert words in " ".join(shown.err.split()), (name, shown.err)
        assert "internal error" not in shown.err, (name, shown.err)
        assert "Warning" not in shown.err, (name, shown.err)
        assert len(shown.err.splitlines()) <= 12, (name, shown.err)
        assert not (tmp_path / "out").exists(), name


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--horizon", "500"], "Shorten --horizon"),
        (["--model", "deepar", "--distribution", "negative_binomial"], "expected counts"),
        (["--frequency", "W"], "off the grid of W"),
        (["--past", "wind"], "'wind'"),
        (["--id-column", "name"], "'name'"),
        (["--target-column", "why"], "'why'"),
        (["--split", "1000", "50", "50"], "no validation window"),
    ],
)
def test_options_that_do_not_fit_the_data(elman, tmp_path, options, words):
    table = long(tmp_path / "in.csv", a=wave(200, -5.0))
    shown = elman("forecasting", "train", *TINY, "--data", table, *options, "--out", tmp_path / "out")
    assert shown.status == 1
    assert words in shown.err
    assert "internal error" not in shown.err
    assert not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_made_is_one_line(elman, tmp_path):
    table = long(tmp_path / "in.csv", a=wave(200))
    shown = elman("forecasting", "train", *TINY, "--data", table, "--out", table / "run")
    assert shown.status == 1
    assert "Not a directory" in shown.err
    assert len(shown.err.splitlines()) == 1


# Training on odd but good data


ODD = {
    "unicode": {"日本 ☃": wave(150), "é/..|x": wave(150)},
    "one constant, one that begins late": {"a": [3.0] * 150, "b": [None] * 100 + wave(50), "c": wave(150)},
    "lengths from 1 to 200": {"a": wave(200), "b": wave(6), "c": wave(1), "d": wave(40)},
    "huge": {"a": [1e12 * y for y in wave(150)]},
}


@pytest.mark.parametrize("kind", ODD)
def test_odd_tables_train_and_score(elman, tmp_path, kind):
    table = long(tmp_path / "in.csv", **ODD[kind])
    words = ["--data", table, "--horizon", "5", "--epochs", "1", "--units", "4", "--lookback", "14", "--segment", "5"]
    words += ["--baseline-origins", "1", "--test-stride", "20", "--quiet", "--out", tmp_path / "run"]
    shown = elman("forecasting", "train", *words)
    assert shown.status == 0, shown.err
    shown = elman("forecasting", "evaluate", tmp_path / "run", "--quiet")
    assert (shown.status, shown.err) == (0, "")
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert all(np.isfinite(v) for v in metrics["model"].values())


@pytest.mark.parametrize("model", ["segment", "deepar"])
def test_covariates_train_and_predict(elman, tmp_path, model):
    text = ["unique_id,ds,y,price,kind,size"]
    for name, size in (("a", 1.5), ("b", 2.5)):
        for i, d in enumerate(DAYS[:160]):
            y = wave(160)[i] if i < 150 else ""  # the future's price is known, its value is not
            text.append(f"{name},{d},{y},{i % 5},{'xyz'[i % 3]},{size}")
    (tmp_path / "in.csv").write_text("\n".join(text) + "\n")
    words = [
        "--data",
        tmp_path / "in.csv",
        "--future",
        "price",
        "kind",
        "--static",
        "size",
        "--horizon",
        "5",
        "--epochs",
        "1",
    ]
    words += [
        "--units",
        "4",
        "--lookback",
        "14",
        "--segment",
        "5",
        "--model",
        model,
        "--lags",
        "1",
        "7",
        "--paths",
        "5",
    ]
    shown = elman("forecasting", "train", *words, "--quiet", "--out", tmp_path / "run")
    assert shown.status == 0, shown.err
    found = predicted(elman, tmp_path / "run", tmp_path / "out.csv", "--input", tmp_path / "in.csv")
    assert [row["ds"] for row in found] == DAYS[150:155] * 2
    (tmp_path / "cut.csv").write_text("\n".join(line for line in text if ",," not in line) + "\n")
    shown = elman("forecasting", "predict", tmp_path / "run", "--input", tmp_path / "cut.csv")
    assert shown.status == 0
    assert "warning: future covariate 'price' is not known for all 5 steps ahead of 2 series (a; b)" in shown.err
    (tmp_path / "bare.csv").write_text("\n".join(line.rsplit(",", 3)[0] for line in text) + "\n")
    shown = elman(
        "forecasting", "predict", tmp_path / "run", "--input", tmp_path / "bare.csv", "--out", tmp_path / "no.csv"
    )
    assert shown.status == 1
    assert "'price'" in shown.err


def test_m4_and_an_integer_index(elman, tmp_path):
    lines = ["V1," + ",".join(f"V{i}" for i in range(2, 152))]
    lines += [f"H{n}," + ",".join(map(str, wave(150, 10 * n))) for n in (1, 2)]
    (tmp_path / "Hourly-train.csv").write_text("\n".join(lines) + "\n")
    words = ["--horizon", "5", "--epochs", "1", "--units", "4", "--lookback", "14", "--segment", "5", "--quiet"]
    shown = elman("forecasting", "train", *words, "--data", tmp_path / "Hourly-train.csv", "--out", tmp_path / "run")
    assert shown.status == 0, shown.err
    codec = json.loads((tmp_path / "run" / "codec.json").read_text())
    assert (codec["ids"], codec["season"], codec["calendar"]) == (["H1", "H2"], 24, [])
    found = predicted(elman, tmp_path / "run", tmp_path / "o.csv", "--input", tmp_path / "Hourly-train.csv")
    assert [row["ds"] for row in found] == [str(150 + i) for i in range(5)] * 2


def test_python_is_the_same_as_the_command_line(co2_run):
    found = APP.open(co2_run / "bundle").predict().rows()
    assert len(found) == 8
    assert [row["ds"] for row in found] == sorted({row["ds"] for row in found})
    assert all(a["ds"] < b["ds"] for a, b in itertools.pairwise(found))
