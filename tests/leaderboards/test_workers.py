"""Other processes: they do what they are given, and nothing that they are not."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from longspan.leaderboards.site import board_command
from longspan.leaderboards.workers import Workers


def test_what_is_started_goes_on_elsewhere_and_its_result_comes_back():
    with Workers(2) as workers:
        waits = [workers.start(os.getpid), workers.start(partial(divmod, 7, 2))]
        assert waits[1]() == (3, 1)
        assert waits[0]() != os.getpid()


def test_with_one_processor_it_is_done_here_and_when_it_is_asked_for(tmp_path):
    made = tmp_path / "made"
    with Workers(1) as workers:
        wait = workers.start(made.mkdir)
        assert not made.exists()
        wait()
    assert made.is_dir()


def test_an_error_comes_back_as_it_is():
    with Workers(2) as workers:
        wait = workers.start(partial(int, "no number"))
        with pytest.raises(ValueError, match="no number"):
            wait()


def test_what_was_killed_is_done_here_and_so_is_all_that_follows(tmp_path):
    with Workers(2) as workers:
        kill = workers.start(partial(_kill_unless, os.getpid()))
        assert kill() == os.getpid()
        assert workers.start(os.getpid)() == os.getpid()


def test_after_an_error_nobody_waits_for_what_goes_on_elsewhere(tmp_path):
    started, ended = tmp_path / "started", tmp_path / "ended"

    def fail() -> None:
        with Workers(2) as workers:
            workers.start(partial(_take_long, started, ended))
            while not started.exists():
                time.sleep(0.01)
            raise RuntimeError("it failed")

    with pytest.raises(RuntimeError, match="it failed"):
        fail()
    assert not ended.exists()


def _take_long(started: Path, ended: Path) -> None:
    started.touch()
    time.sleep(30)
    ended.touch()


def test_an_interrupt_of_all_processes_is_one_line_and_leaves_the_board_before(run_log, tmp_path):
    logs, out = tmp_path / "logs", tmp_path / "site"
    run_log(logs, "nano", 0.5, count=8)
    board_command(logs=[str(logs)], out=out, no_cache=True)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    script = INTERRUPTED.format(arguments=["board", str(logs), "--out", str(out), "--no-cache"])
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, start_new_session=True
    )
    assert done.returncode == 130, done.stderr
    assert done.stderr == "longspan: error: interrupted; run the same command again to continue\n"
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


INTERRUPTED = """
import os, signal, sys, time
from longspan.harness.cli import main
from longspan.leaderboards import workers
workers.os.cpu_count = lambda: 2
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
start = workers.Workers.start
def interrupted(self, function):
    wait = start(self, function)
    time.sleep(0.15)  # the process imports what it needs now
    os.killpg(os.getpgrp(), signal.SIGINT)
    return wait
workers.Workers.start = interrupted
sys.exit(main({arguments}))
"""


def _kill_unless(pid: int) -> int:
    if os.getpid() != pid:
        os.kill(os.getpid(), signal.SIGKILL)
    return pid


SCRIPT = """
from pathlib import Path
from longspan.leaderboards import workers
from longspan.leaderboards.site import board_command
with Path({ran!r}).open("a") as file:
    file.write("once\\n")
workers.os.cpu_count = lambda: 2
board_command(logs=[{logs!r}], out=Path({out!r}), baseline="nano")
"""


def test_a_script_without_a_main_guard_runs_once_and_builds_the_same_board(run_log, tmp_path):
    logs = tmp_path / "logs"
    for name, accuracy in (("nano", 0.3), ("trained", 0.9)):
        run_log(logs / name, name, accuracy, count=12)
    board_command(logs=[str(logs)], out=tmp_path / "here", baseline="nano", no_cache=True)
    ran, script = tmp_path / "ran", tmp_path / "script.py"
    script.write_text(SCRIPT.format(ran=str(ran), logs=str(logs), out=str(tmp_path / "there")))
    environment = {**os.environ, "LONGSPAN_CACHE": str(tmp_path / "cache")}
    for _ in range(2):  # with nothing kept, and with all of it
        done = subprocess.run(
            [sys.executable, str(script)], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0 and done.stderr == "", done.stderr
        _require_equal(tmp_path / "here", tmp_path / "there")
    assert ran.read_text() == "once\nonce\n"
    shutil.rmtree(tmp_path / "there")


def _require_equal(one: Path, other: Path) -> None:
    files = [path.relative_to(one) for path in one.rglob("*") if path.is_file()]
    assert len(files) > 8
    assert {path.relative_to(other) for path in other.rglob("*") if path.is_file()} == set(files)
    for name in files:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
