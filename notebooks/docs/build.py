"""Builds the documentation: `python notebooks/docs/build.py OUT`.

The pages of this folder, the READMEs, and the reference of every layer and option, taken from docstrings, are put
together in a temporary folder. Sphinx runs there and takes every warning, such as a broken link, for an error; a public
name without a docstring is one too. Nothing is imported of the project.
"""

import ast
import os
import re
import shutil
import sys
import tempfile
import textwrap
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
APPS = sorted(path.parent.name for path in (ROOT / "apps").glob("*/README.md"))
GROUPS = {
    "driver": "The driver", "cells": "Cells", "attention": "Attention", "heads": "Heads", "decoding": "Decoding",
}  # fmt: skip
# What lies elsewhere in the repository, and the page that it becomes.
TAKEN = {
    **{f"apps/{app}/README.md": f"applications/{app}.md" for app in APPS},
    "tuning/README.md": "tuning.md",
    "notebooks/questions.md": "questions.md",
    "CHANGELOG.md": "changelog.md",
}


def main(out: Path) -> int:
    """Builds the pages into `out`; returns the exit status."""
    from sphinx.cmd.build import build_main

    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "source"
        shutil.copytree(HERE, source, ignore=shutil.ignore_patterns("__pycache__", "build.py"))
        faults = assemble(source)
        if faults:
            print("public names without a docstring:", *faults, sep="\n  ", file=sys.stderr)
            return 1
        return build_main(["-W", "-q", "-b", "html", "-d", str(Path(scratch) / "doctrees"), str(source), str(out)])


def assemble(source: Path) -> list[str]:
    """Puts the pages together; returns public names that have no docstring."""
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        (source / "notebooks").mkdir(exist_ok=True)
        shutil.copy(path, source / "notebooks")
    for path in (ROOT / "apps").glob("*/*.png"):
        target = source / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    faults = []
    for origin, page in TAKEN.items():
        text = relinked((ROOT / origin).read_text(encoding="utf-8"), origin, page)
        app = Path(page).stem
        if app in APPS:
            options, bare = options_of(app)
            text, faults = f"{text}\n\n{options}", faults + bare
        target = source / page
        target.parent.mkdir(exist_ok=True)
        target.write_text(text, encoding="utf-8")
    return faults + write_reference(source / "layers")


def relinked(text: str, origin: str, page: str) -> str:
    """The text with its links as they are from `page`."""

    def moved(match):
        link, anchor = match[1].partition("#")[::2]
        if not link or re.match(r"\w+:", link):
            return match[0]
        place = os.path.normpath(os.path.join(os.path.dirname(origin), link))
        if place.endswith(".ipynb"):
            anchor = ""  # a notebook is a download here
        target = TAKEN.get(place, place)
        found = os.path.relpath(target, os.path.dirname(page) or ".")
        return f"]({found}{'#' + anchor if anchor else ''})"

    return re.sub(r"\]\(([^)\s]+)\)", moved, text)


def public(path: Path) -> list[str]:
    """The names that a package's `__init__` offers."""
    nodes = [node for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.ImportFrom)]
    return [alias.name for node in nodes for alias in node.names if node.level]


def definitions() -> dict[str, tuple[str, ast.AST]]:
    """Every class and function of the layers by name, with its file."""
    found = {}
    for path in sorted((ROOT / "layers").rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                found[node.name] = (path.relative_to(ROOT).as_posix(), node)
    return found


def arguments(node: ast.AST) -> str:
    """How a function, or the constructor of a class, is called."""
    if isinstance(node, ast.ClassDef):
        made = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
        if not made:
            return "(…)"
        return f"({', '.join(p for p in ast.unparse(made[0].args).split(', ') if p != 'self')})"
    return f"({ast.unparse(node.args)})"


def write_reference(folder: Path) -> list[str]:
    """A page for each group of layers, an entry for each public name; returns those without a docstring."""
    folder.mkdir()
    known, bare = definitions(), []
    pages = {group: [f"# {title}\n"] for group, title in GROUPS.items()}
    for name in sorted(set(public(ROOT / "layers/__init__.py")), key=str.lower):
        file, node = known[name]
        text = ast.get_docstring(node)
        if not text:
            bare.append(f"{file}: {name}")
            continue
        group = file.split("/")[1] if file.count("/") > 1 else "driver"
        pages[group].append(f"## {name}\n\n`{name}{arguments(node)}` in `{file}`\n\n{markdown(text)}\n")
    for group, parts in pages.items():
        (folder / f"{group}.md").write_text("\n".join(parts), encoding="utf-8")
    return bare


HEADS = r"(?:Shapes|Shapes, masking|Masking|States?|Call arguments|References?|Returns|Raises|Source)"


def markdown(docstring: str) -> str:
    """A docstring as Markdown: what is indented (equations, calls) as it stands, arguments as a list."""
    parts = []
    for block in docstring.split("\n\n"):
        first, *rest = block.split("\n")
        if first.startswith(" "):
            parts.append(f"```text\n{textwrap.dedent(block)}\n```")
        elif re.fullmatch(r"[A-Z][\w ]*:", first):
            lines = textwrap.dedent("\n".join(rest))
            entries = [" ".join(entry.split()) for entry in re.split(r"\n(?=[\w, *]+:)", lines)]
            named = [re.sub(r"^([a-z_*][\w, *]*):", r"`\1`:", entry) for entry in entries]
            parts.append(f"**{first}**\n\n" + "\n".join(f"- {literal(entry)}" for entry in named))
        else:
            for line in re.split(rf"\n(?={HEADS}:)", block):
                head = re.match(rf"{HEADS}:", line)
                parts.append(f"**{head[0]}** {literal(line[head.end() :].strip())}" if head else literal(line))
    return "\n\n".join(parts)


def literal(text: str) -> str:
    """Text in which nothing but what stands in backquotes is Markdown."""
    return "".join(part if part.startswith("`") else escaped(part) for part in re.split(r"(`[^`]*`)", text))


def fields(path: Path, name: str) -> tuple[list[tuple[str, str, str]], list[str]]:
    """(option, default, help) of every field of a dataclass, and the fields that have no docstring."""
    body = next(n.body for n in ast.parse(path.read_text(encoding="utf-8")).body if getattr(n, "name", "") == name)
    rows, bare = [], []
    for node, after in zip(body, [*body[1:], None], strict=True):
        if not isinstance(node, ast.AnnAssign):
            continue
        text = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else ""
        default = ast.unparse(node.value) if node.value else ""
        rows.append((f"--{node.target.id.replace('_', '-')}", default, " ".join(text.split())))
        if not text:
            bare.append(f"{path.relative_to(ROOT)}: {name}.{node.target.id}")
    return rows, bare


def options_of(app: str) -> tuple[str, list[str]]:
    """The tables of an application's options, as `--help` gives them."""
    config, core = ROOT / f"apps/{app}/config.py", ROOT / "apps/core/config.py"
    parts, bare = [], []
    for title, path, name in (
        ("Options of the model", config, "Config"),
        ("Options of training", core, "TrainingConfig"),
        ("Options of predict", config, "PredictOptions"),
    ):
        rows, missing = fields(path, name)
        lines = [f"| `{option}` | `{default}` | {escaped(text)} |" for option, default, text in rows]
        parts.append("\n".join([f"## {title}\n", "| option | default | |", "| --- | --- | --- |", *lines]))
        bare += missing
    return "\n\n".join(parts) + "\n", bare


def escaped(text: str) -> str:
    """Text as it may stand in a cell of a table."""
    return re.sub(r"([|<>*_\[\]])", r"\\\1", text)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1])))
