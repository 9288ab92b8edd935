"""Worker processes: one run per folder, errors in one line, nobody left behind."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from longspan.harness.errors import DataError
from longspan.harness.workers import Job, JobError, folder_lock, run_job, worker_pool

ORPHANS = """
import sys, time
from pathlib import Path
import psutil
from longspan.harness.workers import Job, folder_lock, worker_pool
if __name__ == "__main__":
    with folder_lock(Path(sys.argv[1])) as lock, worker_pool(1, lock) as submit:
        submit(Job("list", "tasks")).result()
        print(*[child.pid for child in psutil.Process().children()], flush=True)
        time.sleep(60)
"""


def test_a_second_run_in_a_folder_is_refused(tmp_path):
    with folder_lock(tmp_path):
        other = (
            "import sys; from pathlib import Path;"
            "from longspan.harness.workers import folder_lock, JobError\n"
            "try:\n    folder_lock(Path(sys.argv[1]), 0.1).__enter__()\n"
            "except JobError as error:\n    print(error)"
        )
        command = [sys.executable, "-c", other, str(tmp_path)]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "another run is working in" in result.stdout
    with folder_lock(tmp_path, 0.1):
        pass


def test_a_folder_made_for_a_run_that_left_nothing_is_removed(tmp_path):
    with pytest.raises(DataError), folder_lock(tmp_path / "new"):
        raise DataError("no documents")
    assert list(tmp_path.iterdir()) == []
    with folder_lock(tmp_path / "kept"):
        (tmp_path / "kept" / "part").touch()
    assert {file.name for file in (tmp_path / "kept").iterdir()} == {"part", ".lock"}


def test_a_run_that_waited_for_a_removed_folder_holds_the_new_one(tmp_path):
    """The lock of a removed file would be no lock."""
    folder = tmp_path / "run"
    entered, done = threading.Event(), threading.Event()

    def wait() -> None:
        with folder_lock(folder, 20):
            entered.set()
            done.wait(20)

    waiting = threading.Thread(target=wait)
    with folder_lock(folder):
        waiting.start()
        assert not entered.wait(0.5)
        shutil.rmtree(folder)
    assert entered.wait(20)
    with pytest.raises(JobError, match="another run is working in"), folder_lock(folder, 0.3):
        pass
    done.set()
    waiting.join()


def test_a_users_mistake_in_a_job_is_one_line_with_the_jobs_name(tmp_path):
    with pytest.raises(JobError, match="^check it: no task set at"):
        run_job(Job("check it", "check", {"taskset": tmp_path}))


def test_a_mistake_in_a_worker_reaches_the_caller(tmp_path):
    with folder_lock(tmp_path) as lock, worker_pool(1, lock) as submit:
        future = submit(Job("check it", "check", {"taskset": tmp_path}))
        with pytest.raises(JobError, match="no task set at"):
            future.result()


def test_workers_end_with_a_killed_parent_and_free_the_folder(tmp_path):
    script = tmp_path / "orphans.py"
    script.write_text(ORPHANS)
    folder = tmp_path / "run"
    command = [sys.executable, str(script), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        pids: list[int] = []
        for line in parent.stdout:
            if line.split() and all(word.isdigit() for word in line.split()):
                pids = [int(word) for word in line.split()]
                break
        os.kill(parent.pid, signal.SIGKILL)
    assert pids
    deadline = time.monotonic() + 10
    while any(map(psutil.pid_exists, pids)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(psutil.pid_exists, pids))
    with folder_lock(folder, 5):
        pass
