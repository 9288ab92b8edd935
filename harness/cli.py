"""The `longspan` command: names of commands, and what users see when something goes wrong.

A command is a plain typed function, found by name and imported only when it is called. So `longspan
--help` needs nothing heavy, wings need not import each other, and code calls commands as functions:
`load_command("synth")(...)`.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from longspan.harness.errors import SpecError, describe, naming, one_line

COMMANDS: dict[str, tuple[str, str]] = {
    "quickstart": (
        "longspan.harness.quickstart:quickstart",
        "Run the whole loop: synthesize, evaluate, train, evaluate again, build the board.",
    ),
    "tasks": ("longspan.harness.catalogue:tasks_command", "List the registered tasks."),
    "data": (
        "longspan.harness.datasets.command:data_command",
        "Fetch the data of tasks, or say which files a task uses.",
    ),
    "synth": (
        "longspan.synth_templates.pipeline:synth_command",
        "Build a task set from documents or from a generated world.",
    ),
    "check": (
        "longspan.synth_templates.verify:check_command",
        "Re-execute the passports of a task set.",
    ),
    "verify": (
        "longspan.synth_templates.models.votes:verify_command",
        "Drop samples of a task set that a model answers without documents, or never.",
    ),
    "decontaminate": (
        "longspan.synth_templates.curation.decontaminate:decontaminate_command",
        "Find questions of benchmarks in a task set, and write one without them.",
    ),
    "export": (
        "longspan.harness.export:export_command",
        "Write a task set as JSON lines with whole prompts, for other frameworks.",
    ),
    "stratify": (
        "longspan.synth_templates.curation.stratify:stratify_command",
        "Draw samples evenly over their difficulty for a model, into a new task set.",
    ),
    "train": (
        "longspan.trainers.pipeline:train_command",
        "Run or resume a training recipe.",
    ),
    "eval": (
        "longspan.harness.eval_command:eval_command",
        "Evaluate a model on a task or a suite of tasks.",
    ),
    "forecast eval": (
        "longspan.agents.forecast:forecast_command",
        "Say what an evaluation will cost in calls, tokens and time, before it runs.",
    ),
    "forecast train": (
        "longspan.trainers.forecast.command:forecast_train_command",
        "Say what a recipe will need on given machines in memory and time, before it runs.",
    ),
    "xray": (
        "longspan.agents.xray:xray_command",
        "Show what a memory agent noted, kept and lost: a page per sample of a log.",
    ),
    "lm-eval": (
        "longspan.harness.lm_eval.command:lm_eval_command",
        "Run tasks of lm-eval on a checkpoint, for the same leaderboard.",
    ),
    "score": (
        "longspan.harness.scoring.score:score_command",
        "Score completions in a file, without a model.",
    ),
    "rejudge": (
        "longspan.harness.scoring.rejudge:rejudge_command",
        "Ask the judge again about the samples of a log where it failed.",
    ),
    "parity": (
        "longspan.harness.parity:parity_command",
        "Check that training rewards equal evaluation scores.",
    ),
    "fuzz-scorer": (
        "longspan.harness.scoring.fuzz:fuzz_command",
        "Print what adversarial completions earn under a task's scorer.",
    ),
    "board": ("longspan.leaderboards.site:board_command", "Build the leaderboard from eval logs."),
    "compare": (
        "longspan.leaderboards.compare:compare_command",
        "Compare two checkpoints on the same samples.",
    ),
    "merge": (
        "longspan.trainers.merge_files:merge_command",
        "Merge checkpoints that were trained from one base (SCE).",
    ),
    "convert-gguf": (
        "longspan.trainers.local.checkpoint:convert_gguf_command",
        "Convert a GGUF file to an ordinary checkpoint.",
    ),
}
"""Name of a command, of one word or two -> (where its function is, one line of help)."""

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130
OUTPUTS = ("out", "log_dir")
"""Parameters that say where a command writes."""
TRACEBACK_VARIABLE = "LONGSPAN_TRACEBACK"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit code: its own, 2 for an error, 130 interrupted."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _dispatch(arguments)
    except BrokenPipeError:
        # The reader of our output has gone (`longspan tasks | head`): silent at shutdown too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return _fail("interrupted; run the same command again to continue", EXIT_INTERRUPTED)
    except Exception as error:
        message = describe(error) or _usage_message(error)
        if message is None or os.environ.get(TRACEBACK_VARIABLE):
            raise
        return _fail(message, EXIT_ERROR)


def load_command(name: str) -> Callable[..., Any]:
    """Returns the function of a command; call it with keyword arguments.

    Raises:
        SpecError: no such command, or its optional dependencies are not installed.
    """
    if name not in COMMANDS:
        nearest = difflib.get_close_matches(name, COMMANDS, n=3)
        hint = f"did you mean {' or '.join(nearest)}?" if nearest else "see: longspan --help"
        raise SpecError(f"unknown command: {name}; {hint}")
    module_name, function_name = COMMANDS[name][0].split(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("longspan"):
            raise
        raise SpecError(
            f"`longspan {name}` needs the package {error.name}, which is not installed; "
            f"run: pip install {error.name}"
        ) from error
    return _naming_its_output(getattr(module, function_name))


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0
    if arguments[0] == "--version":
        print(f"longspan {version('longspan')}")
        return 0
    length = 2 if " ".join(arguments[:2]) in COMMANDS else 1
    name, rest = " ".join(arguments[:length]), arguments[length:]
    function = load_command(name)
    import typer  # only when a command runs: `longspan --help` stays instant

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command(name=name, help=COMMANDS[name][1] if not function.__doc__ else None)(function)
    # Not standalone: errors come out as exceptions, `typer.Exit(code)` as the returned code.
    result = app(args=rest, prog_name=f"longspan {name}", standalone_mode=False)
    code = result if isinstance(result, int) and not isinstance(result, bool) else 0
    if code == EXIT_INTERRUPTED:
        raise KeyboardInterrupt
    return code


def _naming_its_output(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the command with errors of a full disk that name the folder it writes to."""
    signature = inspect.signature(function)
    output = next((name for name in OUTPUTS if name in signature.parameters), None)
    if output is None:
        return function

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind_partial(*args, **kwargs)
        given.apply_defaults()
        with naming(Path(given.arguments.get(output) or ".")):
            return function(*args, **kwargs)

    return call


def _usage_message(error: Exception) -> str | None:
    """Returns the line for a wrong option (typer and click share only these attributes)."""
    message = getattr(error, "format_message", None)
    if message is None:
        return None
    context = getattr(error, "ctx", None)
    hint = f"; see: {context.command_path} --help" if context is not None else ""
    return one_line(message().rstrip(".")) + hint


def _fail(message: str, code: int) -> int:
    print(f"longspan: error: {message}", file=sys.stderr)
    return code


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name.ljust(width)}  {text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(
        [
            "longspan: long-context tasks that are evaluations and RL environments at once.",
            "",
            "Usage: longspan COMMAND [OPTIONS]      (longspan COMMAND --help for its options)",
            "",
            *lines,
            "",
            "Tasks run with Inspect: inspect eval longspan/<task> --model <provider>/<model>",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
