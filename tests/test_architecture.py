"""The shape of the project: which way imports run, what is packaged, and what every file keeps to."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOPS = ("layers", "apps", "tuning")
FILES = sorted(f for top in TOPS for f in (ROOT / top).rglob("*.py"))
MODULES = {"elman." + ".".join(f.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): f for f in FILES}
APPS = sorted(f.parent.name for f in (ROOT / "apps").glob("*/config.py") if f.parent.name != "core")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DEVICE = {"numpy", "tyro", "ai_edge_litert"}  # the base package's dependencies, by the names they import under


def tree(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text(encoding="utf-8"))


def at_import(node: ast.AST):
    """The import statements that run when a module is imported, not those within functions."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from at_import(child)


def imported(name: str, whole: bool = True) -> set[str]:
    """The modules that a module of ours imports, in full; with `whole` also within functions."""
    package = name if MODULES[name].name == "__init__.py" else name.rpartition(".")[0]
    nodes = ast.walk(tree(name)) if whole else at_import(tree(name))
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            inner = {f"{module}.{alias.name}" for alias in node.names} & set(MODULES)
            found |= inner or {module}
            found |= {module} & set(MODULES)
    return found


def place(module: str) -> str:
    """layers, apps.core, apps.<app>, apps.cli, tuning, or what it is outside."""
    parts = module.split(".")
    if parts[0] != "elman":
        return parts[0]
    return ".".join(parts[1:3]) if len(parts) > 2 and parts[1] == "apps" else parts[1] if len(parts) > 1 else ""


ALLOWED = {
    "layers": {"layers"},
    "apps": set(),
    "apps.core": {"layers", "apps.core"},
    "tuning": {"layers", "apps.core", "tuning", *(f"apps.{app}" for app in APPS)},
    "apps.cli": {"layers", "apps.core", "apps.cli", "apps.completion", "tuning", *(f"apps.{app}" for app in APPS)},
    "apps.completion": {"apps.core", "apps.cli"},
    **{f"apps.{app}": {"layers", "apps.core", f"apps.{app}"} for app in APPS},
}


@pytest.mark.parametrize("name", MODULES)
def test_imports_run_one_way(name):
    ours = {module for module in imported(name) if module.startswith("elman.")}
    wrong = {module for module in ours if place(module) not in ALLOWED[place(name)]}
    assert not wrong, f"{name} imports {wrong}"


def test_the_walk_sees_relative_imports():
    assert "elman.layers" in imported("elman.apps.forecasting.model")
    assert "elman.apps.core.errors" in imported("elman.apps.core.config")
    assert place("elman.apps.core.export.build") == "apps.core"


def test_tuning_is_reached_inside_a_verb_only():
    assert not {m for m in imported("elman.apps.cli", whole=False) if place(m) == "tuning"}


STAGES = {"config": 0, "codec": 0, "data": 1, "model": 1, "evaluate": 2, "predict": 2}


@pytest.mark.parametrize("app", APPS)
def test_stages_of_an_application_build_on_earlier_ones(app):
    for stage, rank in STAGES.items():
        name = f"elman.apps.{app}.{stage}"
        if name in MODULES:
            later = {s for s, r in STAGES.items() if r > rank} & {m.rpartition(".")[2] for m in imported(name)}
            assert not later, f"{name} imports {later}"


@pytest.mark.parametrize("name", [n for n in MODULES if place(n) == "layers" and ".kernels" not in n])
def test_layers_know_no_backend(name):
    assert not {m for m in imported(name) if m.split(".")[0] in ("tensorflow", "jax", "torch")}


def closure(roots) -> dict[str, str]:
    """Every module outside the project that importing the roots imports, with who does it."""
    todo, seen, outside = list(roots), set(), {}
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        parents = [".".join(name.split(".")[:i]) for i in range(2, name.count(".") + 1)]
        todo += [p for p in parents if p in MODULES]
        for module in imported(name, whole=False):
            if module in MODULES:
                todo.append(module)
            else:
                outside.setdefault(module.split(".")[0], name)
    return outside


DEVICE_ROOTS = [
    "elman.apps.cli",
    *(f"elman.apps.core.{name}" for name in ("app", "verbs", "opened", "benchmark", "engines.litert", "export.bundle")),
    *(name for name in MODULES if name.startswith("elman.apps.core.decoding")),
    *(f"elman.apps.{app}" for app in APPS),
    *(f"elman.apps.{app}.{stage}" for app in APPS for stage in ("config", "codec", "data", "evaluate", "predict")),
]


@pytest.mark.parametrize("name", [name for name in DEVICE_ROOTS if name in MODULES])
def test_what_a_device_runs_imports_the_base_package_only(name):
    outside = closure([name])
    foreign = {m: by for m, by in outside.items() if m not in DEVICE and m not in sys.stdlib_module_names}
    assert not foreign


@pytest.mark.parametrize("name", [n for n in MODULES if n.endswith(".codec") or "decoding" in n])
def test_codecs_and_decoding_are_numpy_alone(name):
    if place(name) != "layers":
        outside = {m.split(".")[0] for m in imported(name)} - {"elman", "numpy"}
        assert outside <= sys.stdlib_module_names


def test_predict_in_a_fresh_process_loads_no_training_stack(co2_run, tmp_path):
    code = (
        "import sys; from elman.apps.cli import main\n"
        f"status = main(['forecasting', 'predict', {str(co2_run / 'bundle')!r}, '--example', '--engine', 'litert', "
        f"'--out', {str(tmp_path / 'out.csv')!r}])\n"
        "print(status, sorted({m.split('.')[0] for m in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    status, _, loaded = done.stdout.splitlines()[-1].partition(" ")
    assert status == "0"
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 1 + 8
    heavy = {"tensorflow", "keras", "jax", "pandas", "scipy", "matplotlib", "onnxruntime", "statsmodels"}
    assert not heavy & set(ast.literal_eval(loaded))


def test_the_package_list_is_what_lies_on_disk():
    listed = PROJECT["tool"]["setuptools"]["packages"]
    assert len(listed) == len(set(listed))
    assert set(listed) == {"elman." + ".".join(f.parent.relative_to(ROOT).parts) for f in FILES}
    without = {f.parent for f in FILES if not (f.parent / "__init__.py").exists()}
    assert not without


def test_extras_are_those_of_the_design():
    assert set(PROJECT["project"]["optional-dependencies"]) == {"image", "midi", "train", "jax", "docs", "test"}
    base = {re.split(r"[<>=]", d)[0].replace("-", "_") for d in PROJECT["project"]["dependencies"]}
    assert base == DEVICE
    assert PROJECT["project"]["requires-python"] == ">=3.11,<3.14"


def tracked() -> list[Path]:
    found = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if found.returncode:
        pytest.skip("not a checkout of git")
    return [ROOT / name for name in found.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_no_tracked_file_names_a_machine_or_a_registry():
    wrong = re.compile(r"(?<![\w.~$}])/(work|root|home|opt)/|(index|find)[-_](url|links)|pythonhosted|artifactory")
    exempt = {ROOT / "LICENSE", Path(__file__)}
    lines = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for path in tracked()
        if path not in exempt and path.suffix not in (".png", ".npz", ".gz")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if wrong.search(line)
    ]
    assert not lines


def functions(module: ast.Module):
    return (node for node in ast.walk(module) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize("name", MODULES)
def test_functions_are_short(name):
    def lines(node):
        doc = node.body[0] if ast.get_docstring(node) is not None else None
        return node.end_lineno - node.lineno + 1 - (doc.end_lineno - doc.lineno + 1 if doc else 0)

    long = {node.name: lines(node) for node in functions(tree(name)) if lines(node) >= 60}
    assert not long


@pytest.mark.parametrize("name", [n for n in MODULES if place(n) in ("layers", "apps.core")])
def test_public_names_have_docstrings(name):
    module = tree(name)
    public = [n for n in module.body if isinstance(n, ast.FunctionDef | ast.ClassDef) and not n.name.startswith("_")]
    bare = [node.name for node in public if not ast.get_docstring(node)]
    assert not bare


@pytest.mark.parametrize("name", MODULES)
def test_the_product_has_no_assert(name):
    assert not [node.lineno for node in ast.walk(tree(name)) if isinstance(node, ast.Assert)]
