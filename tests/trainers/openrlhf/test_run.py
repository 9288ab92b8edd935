"""What stopped a run, in one line, in whichever process it happened."""

from __future__ import annotations

import errno

import pytest

from longspan.harness.errors import DataError
from longspan.trainers.openrlhf.run import explain
from longspan.trainers.openrlhf.run_file import read_run


class RayTaskError(Exception):
    """As Ray's: it wraps the error of another process."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__("a long traceback of another process")
        self.cause = cause


class ActorDiedError(Exception):
    """As Ray's."""


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (RayTaskError(DataError("reward is nan; mend the scorer")), "reward is nan; mend"),
        (RayTaskError(RayTaskError(DataError("of the inner one"))), "of the inner one"),
        (RayTaskError(OSError(errno.ENOSPC, "No space left on device")), "free some space"),
        (
            RayTaskError(RuntimeError("PytorchStreamWriter: file write failed")),
            "the last whole state is kept: free some space",
        ),
        (Exception("The current node timed out during startup."), "Ray did not start in time"),
        (ActorDiedError("the worker was killed"), "a process of the run died"),
        (ValueError("a bug\nin two lines"), "ValueError: a bug in two lines"),
    ],
)
def test_the_innermost_cause_is_explained(error: BaseException, line: str) -> None:
    assert line in explain(error)
    assert "\n" not in explain(error)


def test_a_process_without_a_run_file_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LONGSPAN_OPENRLHF_RUN", raising=False)
    with pytest.raises(DataError, match="no run file"):
        read_run()
