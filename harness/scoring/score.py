"""`longspan score`: scores completions that are already there, by evaluation's own rule.

A row is {"completion": text, "target": text or list, "stop_reason"?, "id"?, "scorer"?} and the
metadata that the scorer needs (`--list` names it), at the row's top or under "metadata". Rows that
cannot be read are counted with their number, and make the exit code 1: a mean over fewer rows than
were given must not pass unnoticed.
"""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Any

import typer

from longspan.harness.datasets.rows import read_json_lines
from longspan.harness.errors import DataError, SpecError
from longspan.harness.files import Problem, written_whole
from longspan.harness.scoring.grading import STRICT, Grade, GradeOptions, grade
from longspan.harness.scoring.rules import RULES
from longspan.harness.scoring.validity import VALIDITIES, is_scored

BY_SAMPLE = "by_sample"
EXIT_ROWS_LEFT_OUT = 1


@dataclass(frozen=True)
class Scored:
    """The grades of a file's rows."""

    ids: tuple[str, ...]
    grades: tuple[Grade, ...]
    problems: tuple[Problem, ...]

    def summary(self) -> dict[str, Any]:
        """Returns mean, standard error, coverage and counts; fractions in [0, 1]."""
        values = [g.value for g in self.grades if is_scored(g.validity) and g.value is not None]
        mean = sum(values) / len(values) if values else None
        counts = Counter(g.validity for g in self.grades)
        num_rows = len(self.grades) + len(self.problems)
        return {
            "mean": mean,
            "stderr": _stderr(values),
            "num_scored": len(values),
            "num_rows": num_rows,
            "coverage": len(values) / num_rows if num_rows else 0.0,
            "validity": {name: counts[name] for name in VALIDITIES if counts[name]},
            "num_rows_left_out": len(self.problems),
        }


def score_file(scorer: str, path: Path, options: GradeOptions = STRICT) -> Scored:
    """Returns the grades of a JSON lines file of completions.

    Raises:
        SpecError: no such scorer.
        DataError: the file cannot be read or holds no row that can be scored.
    """
    name = scorer.removeprefix("longspan/")
    if name != BY_SAMPLE and name not in RULES:
        known = ", ".join([*RULES, BY_SAMPLE])
        raise SpecError(f"unknown scorer: {scorer}; choose one of {known}")
    rows, problems = read_json_lines(path)
    ids: list[str] = []
    grades: list[Grade] = []
    for number, row in rows:
        try:
            completion, targets, measure = _fields(row, name)
        except (KeyError, ValueError) as error:
            problems.append(Problem(f"{path.name} row {number}", str(error.args[0])))
            continue
        stop_reason = str(row.get("stop_reason") or "stop")
        ids.append(str(row.get("id", number)))
        metadata = row | (row["metadata"] if isinstance(row.get("metadata"), dict) else {})
        grades.append(grade(measure, completion, targets, stop_reason, metadata, options))
    if not grades:
        raise DataError(f"no row in {path} can be scored (first problem: {problems[0]})")
    return Scored(tuple(ids), tuple(grades), tuple(problems))


def score_command(
    scorer: Annotated[
        str | None, typer.Argument(help=f"{', '.join(RULES)}, or {BY_SAMPLE}.")
    ] = None,
    file: Annotated[
        Path | None, typer.Argument(help="JSON lines with completion, target, metadata.")
    ] = None,
    compat: Annotated[
        bool, typer.Option("--compat", help="Score as the authors' released code does.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Write the rows here instead of printing them.")
    ] = None,
    require_phrase: Annotated[
        bool, typer.Option(help='Whether an answer needs the phrase "the answer is".')
    ] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print only the summary, as JSON.")
    ] = False,
    list_rules: Annotated[
        bool, typer.Option("--list", help="List the scorers and the metadata they need.")
    ] = False,
) -> None:
    """Score completions in a file, without a model: a JSON line per row, the summary on stderr."""
    if list_rules:
        print(rules_table())
        return
    if scorer is None or file is None:
        raise SpecError("give a scorer and a file of completions; see: longspan score --list")
    scored = score_file(
        scorer, file, GradeOptions("compat" if compat else "strict", require_phrase)
    )
    summary = scored.summary()
    if out is not None:
        _write(out, scored)
    elif not as_json:
        _print_rows(sys.stdout, scored)
    if as_json:
        print(json.dumps(summary, indent=1))
    else:
        print(_report(scorer, summary), file=sys.stderr)
    for problem in scored.problems[:20]:
        print(f"left out: {problem}", file=sys.stderr)
    for id_, given in _failures(scored)[:20]:
        print(f"not scored: {id_}: {given.explanation}", file=sys.stderr)
    if scored.problems or _failures(scored):
        raise typer.Exit(EXIT_ROWS_LEFT_OUT)


def rules_table() -> str:
    """Returns the scorers with what they measure, need and repeat, one a paragraph."""
    lines = []
    for name, rule in RULES.items():
        lines.append(f"{name}: {rule.measures}")
        lines += [f"    needs metadata {key}: {what}" for key, what in rule.needs.items()]
        lines += [
            f"    uses metadata {key}, where given: {what}" for key, what in rule.uses.items()
        ]
        if rule.options:
            lines.append(f"    options of the strict form: {', '.join(rule.options)}")
        lines.append(f"    --compat repeats: {rule.authors or 'nothing (no released code)'}")
    return "\n".join([*lines, f"{BY_SAMPLE}: the scorer that each row names"])


def rules_markdown() -> str:
    """Returns the table of `docs/scorers.md`."""
    columns = ("scorer", "measures", "`compat` repeats", "`strict` changes", "judge")
    promises = ("every candidate listed", "question echoed", "needs metadata")
    header = [*columns, *promises]
    rows = [header, ["---"] * len(header)]
    for name, rule in RULES.items():
        rows.append(
            [
                f"`{name}`",
                rule.measures,
                rule.authors or "-",
                rule.changes or "-",
                {"no": "-", "may": "if given", "should": "expected"}[rule.judge],
                rule.enumeration,
                rule.echo,
                ", ".join(f"`{key}`" for key in rule.needs) or "-",
            ]
        )
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _fields(row: dict[str, Any], scorer: str) -> tuple[str, list[str], str]:
    completion = row.get("completion", row.get("output"))
    if not isinstance(completion, str):
        raise ValueError('no text in "completion"')
    target = row.get("target")
    targets = target if isinstance(target, list) else [target]
    if not targets or not all(isinstance(one, str | int | float) for one in targets):
        raise ValueError('no gold answer in "target" (a text or a list of texts)')
    measure = row.get("scorer") if scorer == BY_SAMPLE else scorer
    if not isinstance(measure, str) or measure.removeprefix("longspan/") not in RULES:
        raise ValueError(f'"scorer" must be one of {", ".join(RULES)}: got {measure!r}')
    measure = measure.removeprefix("longspan/")
    return completion, [str(one) for one in targets], str(measure)


def _failures(scored: Scored) -> list[tuple[str, Grade]]:
    pairs = zip(scored.ids, scored.grades, strict=True)
    return [(id_, given) for id_, given in pairs if not is_scored(given.validity)]


def _stderr(values: Sequence[float]) -> float | None:
    """Standard error of the mean with the sample variance; None below two values."""
    if len(values) < 2:
        return None
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return math.sqrt(variance / len(values))


def _report(scorer: str, summary: dict[str, Any]) -> str:
    mean, error = summary["mean"], summary["stderr"]
    headline = "no score" if mean is None else f"{100 * mean:.1f}%"
    if error is not None:
        headline += f" ± {100 * error:.1f} (standard error)"
    counts = ", ".join(f"{name} {count}" for name, count in summary["validity"].items())
    return (
        f"{scorer}: {headline}\n"
        f"scored {summary['num_scored']} of {summary['num_rows']} rows; {counts}"
    )


def _write(path: Path, scored: Scored) -> None:
    """Writes the rows; the file appears whole or not at all."""
    with written_whole(path) as partial, partial.open("w", encoding="utf-8") as file:
        _print_rows(file, scored)


def _print_rows(file: IO[str], scored: Scored) -> None:
    for id_, given in zip(scored.ids, scored.grades, strict=True):
        row = {
            "id": id_,
            "score": given.value,
            "answer": given.answer,
            "validity": given.validity,
            "strict": given.strict,
            "compat": given.compat,
            "explanation": given.explanation,
        }
        file.write(json.dumps(row, ensure_ascii=True) + "\n")
