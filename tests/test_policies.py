"""Policies of the repository: import directions, optional engines, file length, light imports."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALLOWED = {
    "harness": set(),
    "synth_templates": {"harness"},
    "agents": {"harness"},
    "trainers": {"harness"},
    "leaderboards": {"harness"},
    "tasks": {"harness", "agents"},
}
ENGINES = {"openrlhf", "deepspeed", "vllm", "ray"}
MAX_LINES = 400
# Providers are declared in the registry and import their engine on use, inside the function that
# returns them.
LAZY_PROVIDERS = {("tasks/registry.py", "trainers")}

SOURCES = sorted(path for folder in ALLOWED for path in (ROOT / folder).rglob("*.py"))


def imported_modules(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_folders_import_only_what_the_design_allows(path: Path):
    folder = path.relative_to(ROOT).parts[0]
    relative = str(path.relative_to(ROOT))
    wings = {name.split(".")[1] for name in imported_modules(path) if name.startswith("longspan.")}
    foreign = {w for w in wings - {folder} - ALLOWED[folder] if (relative, w) not in LAZY_PROVIDERS}
    assert not foreign, f"{relative} imports longspan.{', longspan.'.join(sorted(foreign))}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_only_the_openrlhf_engine_imports_cluster_packages(path: Path):
    relative = path.relative_to(ROOT)
    if relative.parts[:2] == ("trainers", "openrlhf"):
        return
    used = {name.split(".")[0] for name in imported_modules(path)} & ENGINES
    if relative.name == "distributed.py":
        used -= {"ray"}
    assert not used


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_hold_one_concept(path: Path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


def test_the_registry_imports_neither_torch_nor_transformers():
    code = (
        "import sys, longspan.tasks.registry; "
        "print(sorted({'torch', 'transformers', 'pandas', 'scipy'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def setuptools() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]


def test_a_wheel_holds_every_folder_with_modules():
    wanted = {path.parent for path in SOURCES}
    places = setuptools()["package-dir"]
    assert {name: ROOT / place for name, place in places.items()} == {
        "longspan." + ".".join(folder.relative_to(ROOT).parts): folder for folder in wanted
    }
    assert set(setuptools()["packages"]) == set(places)


def test_a_wheel_holds_every_file_that_modules_read():
    held = set()
    for name, patterns in setuptools()["package-data"].items():
        folder = ROOT / setuptools()["package-dir"][name]
        held |= {path for pattern in patterns for path in folder.glob(pattern)}
    there = {
        path
        for folder in ALLOWED
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    left_out = sorted(str(path.relative_to(ROOT)) for path in there - held)
    assert left_out == []
