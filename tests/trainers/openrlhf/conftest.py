"""The run that several modules look at."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainers.openrlhf.real import Watched, command


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is killed outright in its first stage, and then finished."""
    folder = tmp_path_factory.mktemp("openrlhf")
    out = folder / "out"
    first = Watched(command(out), folder / "killed.txt")
    first.wait_for_state(out, 2)
    first.process.kill()
    first.end()
    code, text = Watched(command(out), folder / "resumed.txt").end()
    assert code == 0, text
    return out
