"""The command line: exit statuses, messages, help."""

import dataclasses
import json
import re
import shutil
import subprocess

import pytest

from elman.apps import cli, completion
from elman.apps.core.errors import DataError, ElmanError, UsageError

VERBS = sorted(cli.VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_help_fits_a_terminal_and_explains_each_option(elman, verb, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    shown = elman("forecasting", verb, "--help")
    assert shown.status == 0
    lines = shown.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "forecasting " + verb in shown.out
    options = [i for i, line in enumerate(lines) if re.match(r"[│ ]*(-h, )?--[a-z]", line)]
    assert len(options) >= 2
    for here, following in zip(options, [*options[1:], len(lines)], strict=True):
        text = " ".join(line.strip("│╰╯─╭╮ ") for line in lines[here:following])
        words = re.sub(r"--[\w-]+|\(default[^)]*\)|\(optional\)|\(required\)|\{[^}]*\}|[A-Z|\[\]]{3,}", "", text)
        assert len(re.findall(r"[A-Za-z]{2,}", words)) >= 2, f"no help for {lines[here]}"


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["forecasting", "--help"], ["--version"]])
def test_overviews(elman, words):
    shown = elman(*words)
    assert shown.status == 0
    assert max(map(len, shown.out.splitlines())) <= 80
    if "--version" not in words:
        assert all(re.search(rf"^ +{verb}\b", shown.out, re.MULTILINE) for verb in VERBS)


def test_every_config_field_is_an_option(elman, monkeypatch):
    from elman.apps.forecasting import Config

    monkeypatch.setenv("COLUMNS", "80")
    text = elman("forecasting", "train", "--help").out
    for field in dataclasses.fields(Config):
        option = field.name.replace("_", "-")
        assert re.search(rf"--(no-)?{option}\b", text), option


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        ([], 2, "usage: elman"),
        (["forecasting"], 2, "usage: elman forecasting"),
        (["forcasting", "run"], 2, "unknown application 'forcasting'; did you mean 'forecasting'?"),
        (["nonsense", "run"], 2, "unknown application 'nonsense'; known: "),
        (["forecasting", "trian"], 2, "unknown verb 'trian'; did you mean 'train'?"),
        (["forecasting", "train", "--preset", "co3"], 2, "unknown preset 'co3'; did you mean 'co2'?"),
        (["forecasting", "train", "--preset=zzzz"], 2, "unknown preset 'zzzz'; known: "),
        (["forecasting", "train", "--preset", "co2", "--config", "x.json"], 2, "give --config or --preset, not both"),
        (["forecasting", "train", "--config", "none.json"], 1, "none.json: no such file"),
        (["forecasting", "train", "--epochs", "0"], 2, "--epochs: expected 1 or more, received 0"),
        (["forecasting", "train", "--unitz", "3"], 2, "--units"),
        (["forecasting", "train", "--units", "many"], 2, "--units"),
        (["forecasting", "train", "--model", "arima"], 2, "segment"),
        (["forecasting", "train", "--values", "symlog", "--scaling", "series"], 2, "--scaling window with it"),
        (["forecasting", "train", "--resume"], 2, "--out"),
        (["forecasting", "train", "--data", "tfds:no_such_set_here"], 1, "tfds:no_such_set_here"),
        (["forecasting", "predict", "nothing", "--example"], 1, "nothing: no such run or bundle"),
        (["forecasting", "predict", ".", "--example"], 2, "neither a run (config.json) nor a bundle (bundle.json)"),
        (["forecasting", "predict", "."], 2, "give either --input FILE or --example"),
        (["forecasting", "predict", ".", "--example", "--engine", "tpu"], 2, "('auto',"),
        (["forecasting", "predict", ".", "--example", "--threads", "0"], 2, "--threads: expected 1 or more"),
        (["forecasting", "evaluate", "nothing"], 1, "nothing: no such run or bundle"),
        (["forecasting", "evaluate", "nothing", "--out", "x.txt"], 2, "expected a .json file"),
        (["forecasting", "export", "nothing"], 1, "nothing"),
        (["forecasting", "benchmark", "nothing"], 1, "nothing"),
    ],
)
def test_wrong_uses(elman, tmp_path, monkeypatch, words, status, message):
    monkeypatch.chdir(tmp_path)
    shown = elman(*words)
    assert shown.status == status
    assert message in shown.out + shown.err
    assert "Traceback" not in shown.err
    assert "internal error" not in shown.err
    assert len((shown.out + shown.err).splitlines()) <= 40
    assert not list(tmp_path.iterdir())


def failing(error):
    """`run` as a verb without options that fails."""

    def act(app, parsed):
        raise error

    return dataclasses.replace(cli.VERBS["run"], options=lambda app, argv: lambda: None, act=act)


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (UsageError("a wrong call"), 2, "elman: a wrong call"),
        (ElmanError("no luck"), 1, "elman: no luck"),
        (DataError("row 3"), 1, "elman: row 3"),
        (
            OSError(28, "No space left on device"),
            1,
            "elman: the disk is full; free some of it, then a training goes on",
        ),
        (OSError(13, "Permission denied"), 1, "elman: [Errno 13] Permission denied"),
        (KeyboardInterrupt(), 1, "elman: interrupted; a training goes on with --resume --out DIRECTORY"),
        (ValueError("first\nsecond"), 1, "elman: internal error, ValueError: first (ELMAN_DEBUG=1 shows where)"),
        (ModuleNotFoundError("x", name="pandas"), 1, "pip install 'elman[train]'"),
        (ModuleNotFoundError("x", name="matplotlib.figure"), 1, "pip install 'elman[train]'"),
        (ModuleNotFoundError("x", name="mido"), 1, "pip install 'elman[midi]'"),
    ],
)
def test_an_error_is_one_line_and_a_status(elman, monkeypatch, error, status, line):
    monkeypatch.delenv("ELMAN_DEBUG", raising=False)
    monkeypatch.setitem(cli.VERBS, "run", failing(error))
    shown = elman("forecasting", "run")
    assert shown.status == status
    assert line in shown.err
    assert len(shown.err.splitlines()) == 1


@pytest.fixture(scope="module")
def bash_script(tmp_path_factory):
    path = tmp_path_factory.mktemp("completion") / "elman.bash"
    path.write_text(completion.script(["bash"]))
    return path


@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("elman fo", "forecasting"),
        ("elman handwriting ad", "adapt"),
        ("elman forecasting run --spli", "--split"),  # its help has two lines
        ("elman music tune --search-", ""),
        ("elman forecasting train --cell l", "lstm"),
        ("elman captioning predict --engine onnx-", "onnx-int8"),
    ],
)
def test_the_tab_key_completes(words, offered, bash_script):
    lines = [f"source {bash_script}", f"COMP_WORDS=({words}); COMP_CWORD={words.count(' ')}; _tyro_elman"]
    done = subprocess.run(["bash", "-c", "\n".join([*lines, 'echo "${COMPREPLY[@]}"'])], capture_output=True, text=True)
    assert done.stdout.strip() == offered


@pytest.mark.parametrize("words", [[], ["tcsh"], ["bash", "zsh"]])
def test_a_shell_that_is_not_known_is_named(elman, words):
    shown = elman("completion", *words)
    assert shown.status == 2
    assert f"expected elman completion bash|zsh|fish, received '{' '.join(words)}'" in shown.err


def test_debug_shows_where(elman, monkeypatch):
    monkeypatch.setenv("ELMAN_DEBUG", "1")
    monkeypatch.setitem(cli.VERBS, "run", failing(ValueError("here")))
    with pytest.raises(ValueError, match="here"):
        elman("forecasting", "run")


@pytest.mark.parametrize("wrapped", [True, False])
def test_options_change_a_saved_config(tmp_path, monkeypatch, elman, wrapped):
    """--config FILE is the base, options come on top; a run's config.json is taken as well as bare fields."""
    from elman.apps.core import verbs

    seen = {}
    fields = {"units": 3, "epochs": 2, "lags": [1, 5], "model": "deepar"}
    content = {"application": "forecasting", "config": fields} if wrapped else fields
    (tmp_path / "c.json").write_text(json.dumps(content))

    def fake(app, config, **options):
        seen.update(config=config, **options)
        raise ElmanError("enough")

    monkeypatch.setattr(verbs, "train", fake)
    shown = elman("forecasting", "train", "--config", tmp_path / "c.json", "--units", "4", "--out", tmp_path / "r")
    assert shown.err == "elman: enough\n"
    assert (seen["config"].units, seen["config"].epochs, seen["config"].lags) == (4, 2, (1, 5))
    assert seen["config"].model == "deepar"
    assert seen["out"] == tmp_path / "r"


def test_an_existing_out_is_refused_before_anything_is_read(elman, tmp_path):
    shown = elman("forecasting", "train", "--data", "no-such-file.csv", "--out", tmp_path)
    assert shown.status == 2
    assert "exists; choose another, or use --resume or --overwrite" in shown.err


def test_devices(elman):
    shown = elman("devices")
    assert shown.status == 0
    assert re.search(r"^tensorflow 2\.\d+", shown.out, re.MULTILINE)


def test_a_changed_byte_of_a_bundle_is_refused(elman, co2_run, tmp_path):
    shutil.copytree(co2_run / "bundle", tmp_path / "bundle")
    file = tmp_path / "bundle" / "model.tflite"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    for verb, options in (
        ("predict", ["--example", "--out", tmp_path / "out.csv"]),
        ("evaluate", []),
        ("benchmark", []),
    ):
        shown = elman("forecasting", verb, tmp_path / "bundle", *options)
        assert shown.status == 1
        assert "its checksum does not match" in shown.err
        assert len(shown.err.splitlines()) == 1
    assert not (tmp_path / "out.csv").exists()
