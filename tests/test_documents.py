"""What the documents promise: every link leads somewhere, every command is one that the command line knows."""

import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from elman.apps import cli

ROOT = Path(__file__).parents[1]
TOPS = ("apps", "layers", "tuning", "notebooks")
PAGES = sorted([*ROOT.glob("*.md"), *(f for top in TOPS for f in (ROOT / top).rglob("*.md"))])
BOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
by_name = pytest.mark.parametrize("path", [*PAGES, *BOOKS], ids=lambda path: str(path.relative_to(ROOT)))


def text(path: Path) -> str:
    """The Markdown of a page, or of a notebook's cells."""
    if path.suffix == ".ipynb":
        return "\n".join(c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "markdown")
    return path.read_text(encoding="utf-8")


def anchors(path: Path) -> set[str]:
    """What a link to a heading is called: in a notebook its words joined, on a page also in lower case."""
    headings = re.findall(r"^#+ (.+?)\s*$", text(path), re.M)
    if path.suffix == ".ipynb":
        return {h.replace(" ", "-") for h in headings}
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


# The pages of notebooks/docs link to what their build puts together: there Sphinx looks.
@pytest.mark.parametrize(
    "path", [p for p in (*PAGES, *BOOKS) if p.parent.name != "docs"], ids=lambda path: str(path.relative_to(ROOT))
)
def test_links_lead_to_a_file_and_a_heading(path):
    broken = []
    for link in LINK.findall(re.sub(r"```.*?```", "", text(path), flags=re.S)):
        if re.match(r"\w+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


def test_the_walk_sees_a_broken_link(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A heading: here\n[good](#a-heading-here) [bad](#no-heading) [worse](none.md)\n")
    with pytest.raises(AssertionError, match="no-heading"):
        test_links_lead_to_a_file_and_a_heading(page)


def commands(source: str) -> list[str]:
    """Every `elman …` in the code of a page, one command each."""
    fenced = re.findall(r"```\w*\n(.*?)```", source, re.S)
    spans = re.findall(r"(?<!`)`(elman [^`\n]+)`(?!`)", re.sub(r"```.*?```", "", source, flags=re.S))
    lines = [line for block in fenced for line in block.replace("\\\n", " ").splitlines()]
    parts = [part.strip() for line in [*lines, *spans] for part in re.split(r"&&|;|\s#\s", line)]
    names = {f"elman {app}" for app in cli.APPS}  # an application that is named, not called
    return [part for part in parts if re.match(r"elman [\w-]", part) and "$" not in part and part not in names]


FOUND = sorted({(str(path.relative_to(ROOT)), c) for path in [*PAGES, *BOOKS] for c in commands(text(path))})
WORDS = {"APP": "forecasting", "VERB": "run", "N": "2", "NAME": ""}  # how a page writes what the reader fills in


class Parsed(BaseException):
    """The command line was understood; what it asks for is not done."""


@pytest.mark.parametrize(("page", "line"), FOUND)
def test_a_command_is_one_that_the_command_line_knows(page, line, elman, monkeypatch):
    if "VERB [OPTIONS]" in line or "NAME" in line.split():
        pytest.skip("a pattern, not a command")
    real = cli._parse

    def parse_alone(app, verb, function, argv):
        real(app, verb, function, argv)
        raise Parsed

    monkeypatch.setattr(cli, "_parse", parse_alone)
    monkeypatch.setattr(cli, "read_json", lambda path: {})  # --config FILE.json: any file
    monkeypatch.setattr(cli, "_devices", lambda: 0)
    words = [WORDS.get(word, word) for word in shlex.split(line)[1:] if word not in ("…", "[OPTIONS]")]
    try:
        answer = elman(*words)
    except Parsed:
        return
    assert answer.status == 0, answer.err


@by_name
def test_switches_take_no_value(path):
    assert not re.findall(r"--[a-z-]+ (?:True|False)\b", text(path))  # --frozen, --no-attention


def test_the_documents_have_commands_to_check():
    assert len(FOUND) > 20
    assert {line.split()[1] for _, line in FOUND} >= {"forecasting", "music"}


def test_a_wrong_option_is_found(elman, monkeypatch):
    with pytest.raises(AssertionError):
        test_a_command_is_one_that_the_command_line_knows("page", "elman music run --tempi 3", elman, monkeypatch)


@pytest.fixture(scope="module")
def builder():
    """notebooks/docs/build.py as a module."""
    spec = importlib.util.spec_from_file_location("build", ROOT / "notebooks/docs/build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_public_layer_and_option_is_documented(builder, tmp_path):
    assert not builder.write_reference(tmp_path / "layers")
    page = (tmp_path / "layers/cells.md").read_text(encoding="utf-8")
    assert "## LSTMCell" in page
    assert "forget_bias=1.0" in page
    for app in cli.APPS:
        table, bare = builder.options_of(app)
        assert not bare
        assert "`--learning-rate`" in table


def test_an_undocumented_name_is_found(builder, tmp_path, monkeypatch):
    (tmp_path / "config.py").write_text('class Config:\n    a: int = 1\n    """What a is."""\n    b: int = 2\n')
    monkeypatch.setattr(builder, "ROOT", tmp_path)
    rows, bare = builder.fields(tmp_path / "config.py", "Config")
    assert [row[0] for row in rows] == ["--a", "--b"]
    assert bare == ["config.py: Config.b"]


@pytest.mark.slow
def test_the_documentation_builds(builder, tmp_path):
    pytest.importorskip("sphinx", reason="pip install 'elman[docs]'")
    build = [sys.executable, str(ROOT / "notebooks/docs/build.py"), str(tmp_path / "site")]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "BahdanauAttention" in (tmp_path / "site/layers/attention.html").read_text(encoding="utf-8")
    assert (tmp_path / "site/applications/forecasting.html").exists()


@pytest.mark.slow
def test_a_broken_link_fails_the_build(builder, tmp_path, monkeypatch):
    pytest.importorskip("sphinx", reason="pip install 'elman[docs]'")
    shutil.copytree(builder.HERE, tmp_path / "docs")
    page = tmp_path / "docs/export.md"
    page.write_text(page.read_text(encoding="utf-8") + "\n[nowhere](nowhere.md)\n", encoding="utf-8")
    monkeypatch.setattr(builder, "HERE", tmp_path / "docs")
    assert builder.main(tmp_path / "site") != 0
