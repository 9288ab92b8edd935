"""The agent that the documentation shows works as shown, and is found through its entry point."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs" / "agents.md"
MAX_LINES = 30
TEXT = "The harbour lay quiet. " * 60 + "Brem won the cup. " + "It rained for days. " * 60


def documented(language: str) -> str:
    (code,) = re.findall(rf"```{language}\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    return str(code)


def documented_project() -> dict[str, Any]:
    return dict(tomllib.loads(documented("toml"))["project"])


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The documented module, installed as the documentation says into a site folder of the test.

    Inspect asks whether a package is installed; the user's site folder counts.
    """
    monkeypatch.setenv("PYTHONUSERBASE", str(tmp_path))
    place = sysconfig.get_path("purelib", "posix_user", {"userbase": str(tmp_path)})
    folder = Path(place)
    project = documented_project()
    name, version = project["name"], project["version"]
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (entry,) = project["entry-points"]["inspect_ai"].items()
    (folder / f"{entry[1]}.py").write_text(documented("python"))
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "RECORD").write_text(f"{entry[1]}.py,,\n")
    (info / "entry_points.txt").write_text(f"[inspect_ai]\n{entry[0]} = {entry[1]}\n")
    return folder


def test_its_project_can_be_installed() -> None:
    """Backends refuse a project without a name or a version (PEP 621)."""
    project = documented_project()
    assert re.fullmatch(r"[a-z_]+", project["name"])
    assert re.fullmatch(r"\d+(\.\d+)*", project["version"])
    assert "dynamic" not in project


def test_it_has_thirty_lines() -> None:
    assert len(documented("python").splitlines()) <= MAX_LINES


def test_it_reads_beyond_the_window(
    run: Any, make_sample: Any, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(package))
    import my_agents  # type: ignore[import-not-found]

    def policy(prompt: str) -> str:
        if "yes or no" in prompt:
            return "Yes." if "Brem" in prompt else "No."
        return "Therefore, the answer is Brem." if "Brem" in prompt else "I do not know."

    solver = my_agents.first_found(chunk_tokens=64)
    result = run(solver, make_sample(TEXT), policy, window=256)
    assert result.sample.output.completion == "Therefore, the answer is Brem."
    assert 2 < len(result.calls) == result.cost["num_calls"]
    sys.modules.pop("my_agents")


def test_it_is_found_through_its_entry_point(package: Path) -> None:
    code = (
        "from longspan.harness.resolve import resolve_solver; "
        "print(resolve_solver('my_agents/first_found', {'chunk_tokens': 64}).solver)"
    )
    paths = [str(package), *filter(None, [os.environ.get("PYTHONPATH")])]
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
    assert result.stdout.strip() == "my_agents/first_found", result.stderr
