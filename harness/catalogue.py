"""`longspan tasks`: what is registered, as a table, as JSON, and as literal Python definitions."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from longspan.harness import definitions, registry
from longspan.harness.datasets.state import data_state
from longspan.harness.errors import one_line
from longspan.harness.external import is_installed
from longspan.harness.spec import ExternalFile, SpecFile
from longspan.harness.suites import Suite, all_suites, suites_of_tasks

SUITE_COLUMNS = ("suite", "tasks", "settings", "what")
COLUMNS = ("name", "task_type", "size", "length", "licence", "scorer", "suites", "data")
"""Columns of the table; `--json` has everything."""
_MAX_CELL_CHARS = 44


def tasks_command(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
    write_definitions: Annotated[
        bool, typer.Option(help="Write tasks/definitions.py anew, for editors and `inspect list`.")
    ] = False,
) -> None:
    """List the registered tasks, where their data are, and the specs that were left out."""
    registry.load_registry()
    if write_definitions:
        print(definitions.write_definitions())
        return
    found, problems = all_suites()
    suites = suites_of_tasks(found)
    rows = [_describe(file, suites.get(name, [])) for name, file in sorted(_all_files().items())]
    if as_json:
        content = {
            "tasks": rows,
            "suites": [suite.model_dump(mode="json") for suite in found],
            "left_out": [*map(str, registry.PROBLEMS), *problems],
        }
        print(json.dumps(content, indent=1, ensure_ascii=False))
        return
    print(_table([row | _shortened(row) for row in rows], COLUMNS))
    print("\n" + _table([_suite_row(suite) for suite in found], SUITE_COLUMNS))
    for problem in [*registry.PROBLEMS, *problems]:
        print(f"left out: {problem}")
    print("\nRun one: inspect eval longspan/<name> --model <provider>/<model> [-T parameter=value]")
    print("Run a suite: longspan eval <suite> --model <provider>/<model>")
    print("What a task is, its licence and its traps: longspan tasks --json")


def _all_files() -> dict[str, SpecFile | ExternalFile]:
    return {**registry.SPECS, **registry.EXTERNALS}


def _describe(file: SpecFile | ExternalFile, suites: list[str]) -> dict[str, Any]:
    spec = file.spec
    about = {
        "name": spec.name,
        "description": spec.description,
        "size": spec.size,
        "length": spec.length,
        "groupings": spec.groupings,
        "paper": spec.paper,
        "licence": spec.licence,
        "contamination": spec.contamination,
        "notes": spec.notes,
        "suites": suites,
        "spec": str(file.path),
    }
    if isinstance(file, ExternalFile):
        state = "its package fetches them" if is_installed(file.spec) else "package missing"
        return about | {
            "task_type": None,
            "scorer": file.spec.external,
            "data": state,
            "parameters": file.spec.arguments,
        }
    hub = file.spec.dataset.hub
    return about | {
        "task_type": file.spec.task_type,
        "scorer": file.spec.scorer,
        "data": data_state(file).cell,
        "parameters": registry.task_parameters(file.spec),
        "hub": hub.model_dump() if hub else None,
        "protocols": ["recipe", "official"] if file.spec.official else ["recipe"],
    }


def _shortened(row: dict[str, Any]) -> dict[str, str]:
    """Returns the cells that the table shows shorter: a licence without its explanations."""
    licence = row["licence"].partition(";")[0].partition(" (")[0].rstrip(".")
    return {"licence": licence, "suites": ", ".join(row["suites"])}


def _cell(value: Any, is_last: bool) -> str:
    """Returns a cell in one line; only the last column, which may hold a command, is never cut."""
    if value in (None, ""):
        return "-"
    return " ".join(str(value).split()) if is_last else one_line(str(value), _MAX_CELL_CHARS)


def _suite_row(suite: Suite) -> dict[str, Any]:
    names = dict.fromkeys(one.task.removeprefix("longspan/") for one in suite.tasks)
    return {
        "suite": suite.name,
        "tasks": len(suite.tasks),
        "settings": _settings(suite),
        "what": f"{suite.description}: {', '.join(names)}",
    }


def _settings(suite: Suite) -> str:
    given = suite.generation
    limit = f", {given.max_tokens} tokens" if given.max_tokens else ""
    return f"temperature {given.temperature:g}, top-p {given.top_p:g}{limit}"


def _table(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> str:
    cells = [[_cell(row[c], c == columns[-1]) for c in columns] for row in rows]
    lines = [[column.replace("_", " ") for column in columns], *cells]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
