"""What stopped a run, in one line, in whichever process it happened."""

from __future__ import annotations

import errno
import socket
import sys
from types import SimpleNamespace

import pytest
from torch.distributed import TCPStore

from longspan.harness.errors import DataError, ModelError
from longspan.trainers.openrlhf.cluster import load_cluster
from longspan.trainers.openrlhf.run import ADDRESS_VARIABLE, _cluster, explain
from longspan.trainers.openrlhf.run_file import RUN_VARIABLE, read_run


class RayTaskError(Exception):
    """As Ray's: it wraps the error of another process."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__("a long traceback of another process")
        self.cause = cause


class ActorDiedError(Exception):
    """As Ray's."""


class EngineDeadError(Exception):
    """As vLLM's, where the engine dies while it gets weights."""


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
        (RayTaskError(OSError(errno.EADDRINUSE, "Address already in use")), "took a port"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), "Permission denied: /x; check"),
        (Exception("The current node timed out during startup."), "Ray did not start in time"),
        (Exception("1 worker(s) were killed due to the node running low on memory."), "used up"),
        (ActorDiedError("the worker was killed"), "a process of the run died"),
        (RayTaskError(EngineDeadError("see above")), "a vLLM engine died (see above); the last"),
        (ValueError("a bug\nin two lines"), "ValueError: a bug in two lines"),
    ],
)
def test_the_innermost_cause_is_explained(error: BaseException, line: str) -> None:
    assert line in explain(error)
    assert "\n" not in explain(error)


def test_a_port_in_use_is_one_line_as_torch_says_it() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(RuntimeError) as caught:  # as every training process opens its group
            TCPStore("127.0.0.1", taken.getsockname()[1], is_master=True, wait_for_workers=False)
    assert explain(RayTaskError(caught.value)) == (
        "another program took a port that the run had chosen; the last state is kept: run the same "
        "command again"
    )


def test_a_cluster_with_too_few_gpus_names_both_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[bool] = []
    fake = SimpleNamespace(
        init=lambda **_: None,
        cluster_resources=lambda: {"GPU": 3.0},
        shutdown=lambda: closed.append(True),
    )
    monkeypatch.setitem(sys.modules, "ray", fake)
    monkeypatch.setenv(RUN_VARIABLE, "run.json")
    monkeypatch.setenv(ADDRESS_VARIABLE, "10.0.0.1:6379")
    message = "needs 8 GPUs and Ray sees 3; choose another --cluster"
    with pytest.raises(ModelError, match=message), _cluster(load_cluster("node_of_8")):
        pytest.fail("the run must not begin")
    assert closed == [True]


def test_a_process_without_a_run_file_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LONGSPAN_OPENRLHF_RUN", raising=False)
    with pytest.raises(DataError, match="no run file"):
        read_run()
