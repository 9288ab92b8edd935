"""Errors: one line that says what to do, and no bug dressed up as one."""

import asyncio
import errno
import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inspect_ai._util.error import exception_message
from rich.console import Console
from rich.traceback import Traceback

from longspan.harness import errors
from longspan.harness.errors import (
    MAX_MESSAGE_CHARS,
    DataError,
    LongspanError,
    ModelError,
    VocabularyError,
    describe,
    naming,
    one_line,
    without_traceback,
)


def test_a_message_of_many_lines_becomes_one():
    assert str(DataError("no rows\n  in file.jsonl;\tadd some")) == (
        "no rows in file.jsonl; add some"
    )


def test_inspect_shows_the_line_of_a_failed_sample_not_its_repr():
    assert exception_message(DataError("no rows;\n add some")) == "no rows; add some"


@given(st.text())
def test_one_line_never_breaks_a_line_and_never_exceeds_its_limit(text):
    line = one_line(text)
    assert "\n" not in line and "\r" not in line
    assert len(line) <= MAX_MESSAGE_CHARS


def test_no_space_left_is_described_with_file_and_remedy():
    line = describe(OSError(errno.ENOSPC, "No space left on device", "/out/model.safetensors"))
    assert line is not None
    assert "No space left on device: /out/model.safetensors" in line
    assert "free some space" in line


def test_a_permission_error_without_a_file_is_described():
    assert describe(PermissionError(errno.EACCES, "Permission denied")) == (
        "Permission denied; check the permissions or choose another place"
    )


NO_SPACE = OSError(errno.ENOSPC, "No space left on device")
IN_RUST = RuntimeError("Error while serializing: I/O error: No space left (os error 28)")


@pytest.mark.parametrize("error", [NO_SPACE, IN_RUST])
def test_a_full_disk_is_named_though_its_error_names_none(tmp_path, error):
    place = tmp_path / "not" / "there yet"
    with pytest.raises(OSError) as caught, naming(place):
        raise error
    line = describe(caught.value)
    assert line.startswith(f"No space left on device: {place}; free some space")


def test_the_temporary_folder_is_named_if_it_is_the_full_one(tmp_path, monkeypatch):
    def usage(path):
        return SimpleNamespace(free=1 if Path(path) == Path(tempfile.gettempdir()) else 2)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    monkeypatch.setattr(errors, "_disk", lambda path: path == Path(tempfile.gettempdir()))
    with pytest.raises(OSError, match=tempfile.gettempdir() + "'"), naming(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_room_that_changes_between_two_looks_at_one_disk_names_no_other_folder(
    tmp_path, monkeypatch
):
    looks = iter([2, 1, 1, 2])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=next(looks)))
    for _ in range(2):
        with pytest.raises(OSError, match=str(tmp_path)), naming(tmp_path):
            raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "/named"),
        ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"),
        DataError("no rows; add some"),
        KeyError("bug"),
    ],
)
def test_other_errors_keep_what_they_say(tmp_path, error):
    with pytest.raises(type(error)) as caught, naming(tmp_path):
        raise error
    assert caught.value is error


@pytest.mark.parametrize("bug", [ValueError("x"), KeyError("x"), RuntimeError("x")])
def test_bugs_are_not_described(bug):
    assert describe(bug) is None


def test_a_group_is_described_only_when_all_its_members_are_the_users_to_mend():
    mended = ExceptionGroup(
        "workers", [DataError("bad row"), ExceptionGroup("", [ModelError("m")])]
    )
    assert describe(mended) == "bad row"
    assert describe(ExceptionGroup("workers", [DataError("bad row"), KeyError("k")])) is None


def test_a_vocabulary_error_is_a_model_error_is_an_error_of_ours():
    assert issubclass(VocabularyError, ModelError) and issubclass(ModelError, LongspanError)


def test_the_hook_prints_our_errors_in_one_line_and_leaves_bugs_their_traceback():
    code = (
        "from longspan.harness.errors import *\n"
        "show_errors_in_one_line(); show_errors_in_one_line()\n"
        "raise {}"
    )

    def run(what: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code.format(what)], capture_output=True, text=True
        )

    ours = run("DataError('no rows; add some')")
    assert (ours.returncode, ours.stderr) == (1, "longspan: error: no rows; add some\n")
    bug = run("KeyError('k')")
    assert bug.returncode == 1 and "Traceback" in bug.stderr


def test_a_users_error_is_shown_by_inspect_without_a_traceback_and_a_bug_with_one():
    async def deep(error):
        raise error

    @without_traceback
    async def solve(error):
        await deep(error)

    shown = []
    for error in (DataError("no rows; add some"), ValueError("a bug")):
        with pytest.raises(type(error)) as caught:
            asyncio.run(solve(error))
        console = Console(file=io.StringIO(), width=100)
        console.print(Traceback.from_exception(caught.type, caught.value, caught.tb))
        shown.append(console.file.getvalue())
    assert shown[0].strip() == "DataError: no rows; add some"
    assert "in deep" in shown[1] and "ValueError: a bug" in shown[1]
