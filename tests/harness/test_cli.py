"""The command line: light, helpful about names, one line per mistake."""

import errno
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated

import pytest
import typer

from longspan.harness import cli
from longspan.harness.cli import COMMANDS, load_command, main
from longspan.harness.errors import DataError, SpecError
from tests.full_disk import full_disk


@pytest.fixture
def command(monkeypatch):
    """Makes a function the command `probe`."""

    def use(function):
        monkeypatch.setitem(COMMANDS, "probe", ("nowhere:probe", "Probe."))
        monkeypatch.setattr(cli, "load_command", lambda name: function)

    return use


def test_help_lists_every_command_and_imports_nothing_heavy():
    code = (
        "import sys; from longspan.harness.cli import main; main(['--help']); "
        "print(sorted({'torch', 'inspect_ai', 'typer'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.splitlines()[-1] == "[]"
    for name in COMMANDS:
        assert f"  {name} " in result.stdout


def test_an_unknown_command_is_one_line_with_the_nearest_name(capsys):
    assert main(["snyth"]) == 2
    assert capsys.readouterr().err == (
        "longspan: error: unknown command: snyth; did you mean synth?\n"
    )


@pytest.mark.parametrize("name", ["tasks", "score"])
def test_commands_of_the_harness_load(name):
    assert callable(load_command(name))


def test_every_target_names_a_module_of_ours_and_a_function():
    for target, text in COMMANDS.values():
        module, _, function = target.partition(":")
        assert module.startswith("longspan.") and function.isidentifier() and text.endswith(".")


def test_a_missing_optional_package_is_named(monkeypatch):
    monkeypatch.setitem(COMMANDS, "probe", ("not_installed_here:run", "Probe."))
    with pytest.raises(SpecError, match="pip install not_installed_here"):
        load_command("probe")


def test_a_missing_module_of_ours_is_a_bug(monkeypatch):
    monkeypatch.setitem(COMMANDS, "probe", ("longspan.harness.no_such_module:run", "Probe."))
    with pytest.raises(ModuleNotFoundError):
        main(["probe"])


def test_arguments_reach_the_function_and_its_exit_code_comes_back(command, capsys):
    def probe(number: Annotated[int, typer.Argument()], flag: bool = False) -> None:
        print(number + 1, flag)
        raise typer.Exit(number)

    command(probe)
    assert main(["probe", "4", "--flag"]) == 4
    assert capsys.readouterr().out == "5 True\n"


def test_what_a_function_returns_is_no_exit_code_unless_it_is_a_number(command):
    def probe() -> str:
        return "a path"

    command(probe)
    assert main(["probe"]) == 0


def test_a_wrong_argument_is_one_line(command, capsys):
    def probe(number: int) -> None: ...

    command(probe)
    assert main(["probe", "x"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("longspan: error: ") and error.count("\n") == 1
    assert main(["probe", "1", "--bogus"]) == 2
    assert "longspan probe --help" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (DataError("no rows; add some"), "no rows; add some"),
        (OSError(errno.ENOSPC, "No space left on device", "out"), "No space left on device: out"),
    ],
)
def test_errors_are_one_line_and_exit_code_2(command, capsys, error, line):
    def probe() -> None:
        raise error

    command(probe)
    assert main(["probe"]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"longspan: error: {line}") and printed.count("\n") == 1


def test_the_traceback_of_an_error_can_be_asked_for(command, monkeypatch):
    def probe() -> None:
        raise DataError("no rows")

    command(probe)
    monkeypatch.setenv(cli.TRACEBACK_VARIABLE, "1")
    with pytest.raises(DataError):
        main(["probe"])


def test_a_bug_keeps_its_traceback(command):
    def probe() -> None:
        raise KeyError("bug")

    command(probe)
    with pytest.raises(KeyError):
        main(["probe"])


def test_an_interrupt_says_how_to_continue(command, capsys):
    def probe() -> None:
        raise KeyboardInterrupt

    command(probe)
    assert main(["probe"]) == 130
    assert "run the same command again" in capsys.readouterr().err


def test_a_command_need_not_write_anything(monkeypatch):
    def probe(out: Path | None = None) -> None: ...

    monkeypatch.setitem(sys.modules, "probe_module", SimpleNamespace(probe=probe))
    monkeypatch.setitem(COMMANDS, "probe", ("probe_module:probe", "Probe."))
    assert main(["probe"]) == 0


@pytest.mark.parametrize("option", ["out", "log_dir"])
def test_a_full_disk_names_the_folder_that_the_command_writes_to(
    monkeypatch, tmp_path, capsys, option
):
    def write(out: Path = tmp_path / "out") -> None:
        with full_disk():
            (tmp_path / "file").write_text("text")

    def log(log_dir: Path = tmp_path / "log_dir") -> None:
        write()

    module = SimpleNamespace(write=write if option == "out" else log)
    monkeypatch.setitem(sys.modules, "probe_module", module)
    monkeypatch.setitem(COMMANDS, "probe", ("probe_module:write", "Probe."))
    assert main(["probe"]) == 2
    assert capsys.readouterr().err == (
        f"longspan: error: File too large: {tmp_path / option}; raise the limit on file sizes "
        "(ulimit -f) or choose another folder\n"
    )
