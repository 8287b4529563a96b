"""The directions of design: who may import whom, and what must never be dragged in."""

from __future__ import annotations

import ast
import importlib.metadata
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# What jobs, operator and tunery's torch-free words may take from tuning.
CONTRACT = {
    "tuning.run",
    "tuning.config",
    "tuning.failure",
    "tuning.lastwords",
    "tuning.urls",
    "tuning.reference",
    "tuning.settings.options",
}
# What jobs may take from serving: what a serving pod is told, and what it says.
SERVING = {"serving.plan", "serving.lastwords"}
OURS = {"presets", "tuning", "jobs", "serving", "operator", "tunery", "cluster"}
ALLOWED = {
    "presets": {"presets"},
    "tuning": {"presets", "tuning"},
    "jobs": {"presets", "tuning", "jobs", "serving"},
    "serving": {"presets", "tuning", "serving"},
    "operator": {"presets", "tuning", "jobs", "operator"},
    "tunery": {"presets", "tuning", "jobs", "tunery"},
}
HEAVY = ("torch", "transformers", "numpy", "requests", "huggingface_hub", "pyarrow", "oras")


def modules(package: str) -> Iterator[tuple[Path, str]]:
    for path in sorted((ROOT / package).glob("**/*.py")):
        yield path, ".".join(path.relative_to(ROOT).with_suffix("").parts)


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """(module, at import time?) for everything a file imports."""
    tree = ast.parse(path.read_text())
    top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) in top
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, id(node) in top


@pytest.mark.parametrize("package", sorted(p for p in ALLOWED if (ROOT / p).is_dir()))
def test_imports_point_left(package: str) -> None:
    wrong = [
        f"{module} imports {name}"
        for path, module in modules(package)
        for name, _ in imports(path)
        if name.split(".")[0] in OURS and name.split(".")[0] not in ALLOWED[package]
    ]
    assert wrong == []


def test_jobs_and_operator_take_only_the_contract_from_tuning() -> None:
    wrong = [
        f"{module} imports {name}"
        for package in ("jobs", "operator")
        for path, module in modules(package)
        for name, _ in imports(path)
        if name.split(".")[0] == "tuning" and name not in CONTRACT
    ]
    assert wrong == []


def test_jobs_take_only_the_contract_from_serving() -> None:
    wrong = [
        f"{module} imports {name}"
        for path, module in modules("jobs")
        for name, _ in imports(path)
        if name.split(".")[0] == "serving" and name not in SERVING
    ]
    assert wrong == []


def test_no_kubernetes_client_left_of_the_operator() -> None:
    clients = {"kopf", "kubernetes", "kr8s", "kubernetes_asyncio"}
    wrong = [
        f"{module} imports {name}"
        for package in ("presets", "tuning", "jobs", "serving", "tunery")
        for path, module in modules(package)
        for name, _ in imports(path)
        if name.split(".")[0] in clients
    ]
    assert wrong == []


def test_operator_is_never_a_package() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()


def test_no_file_of_the_operator_hides_a_module() -> None:
    """They are imported by their bare names, from a folder that comes first on the path."""
    installed = {module for module in importlib.metadata.packages_distributions()}
    names = {path.stem for path, _ in modules("operator")}
    assert names & (installed | set(sys.stdlib_module_names)) == set()


def test_the_operator_reaches_the_cluster_through_one_door() -> None:
    """Only the shell and the wire know kopf; everything else goes through kube.py."""
    wrong = [
        f"{path.name} imports {name}"
        for path, _ in modules("operator")
        for name, _ in imports(path)
        if name.split(".")[0] in ("kopf", "kubernetes") and path.stem not in ("main", "wire")
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "module", ["jobs.validate", "jobs.resolve", "tunery.validate", *sorted(CONTRACT | SERVING)]
)
def test_what_the_operator_needs_brings_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_files_hold_one_idea() -> None:
    packages = ("presets", "tuning", "jobs", "serving", "operator", "tunery")
    long = [
        f"{path.relative_to(ROOT)}: {count} lines"
        for package in packages
        for path, _ in modules(package)
        if (count := len(path.read_text().splitlines())) > 320
    ]
    assert long == []


def test_every_module_says_where_it_stands() -> None:
    silent = [
        module
        for package in ("presets", "tuning", "jobs", "serving", "operator", "tunery")
        for path, module in modules(package)
        if path.name != "__init__.py" and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []
