"""Declared boards: which tasks are the columns, what is averaged, what stands beside for reference.

A board's file is YAML, one of the packaged ones (`leaderboards/boards/`) by name or a user's by
path. Figures that others report stand in `leaderboards/reported/`; they are shown, never computed
with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from longspan.harness.errors import BoardError
from longspan.harness.files import file_hash, read_mapping
from longspan.harness.validation import describe_validation

METRIC = r"^(score|compat|pass@[1-9]\d{0,3})$"
"""What a column may show."""

Spec = TypeVar("Spec", bound=BaseModel)

BOARDS = Path(str(files("longspan.leaderboards"))) / "boards"
REPORTED = Path(str(files("longspan.leaderboards"))) / "reported"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Column(_Frozen):
    """A column: one task, or the unweighted mean of several."""

    name: str = Field(min_length=1, max_length=60)
    """What stands above it."""
    tasks: tuple[str, ...] = Field(min_length=1)
    """Names of tasks as on the board, without `longspan/`; `lm-eval/NAME` for lm-eval's."""
    args: Mapping[str, str | int | float | bool] = {}
    """Task arguments that a run must have, for tasks that are run in several ways."""
    solver: str | None = None
    """Solver where it is not the board's."""
    metric: str | None = Field(default=None, pattern=METRIC)
    """Metric where it is not the board's."""
    weight: float = Field(default=1.0, ge=0)
    """Weight in the average; 0: shown beside it."""


class Reported(_Frozen):
    """A table of figures that others report."""

    file: str
    """Name of a packaged file, or a path beside the board's file."""
    table: str
    """Name of the table in it."""


class BoardSpec(_Frozen):
    """A declared board."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=64)
    """Name for `longspan board --board`."""
    title: str
    """Title of its table."""
    description: str = ""
    """What the columns and the average are, below the title."""
    solver: str = "full_context"
    """Solver whose runs fill the columns."""
    metric: str = Field(default="score", pattern=METRIC)
    """`score`: the mean score of the log, over attempts (avg@k); `compat`: what the authors'
    released code gives; `pass@K`: the chance that one of K attempts passes."""
    baseline: str | None = None
    """Checkpoint that the others are compared with, unless the command names one."""
    columns: tuple[Column, ...] = Field(min_length=1)
    """From left to right."""
    checkpoints: tuple[str, ...] = ()
    """Checkpoints in the order of the rows; others follow by training step and name."""
    reported: Reported | None = None
    """Figures for reference."""

    @model_validator(mode="after")
    def _distinct(self) -> BoardSpec:
        names = [column.name for column in self.columns]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"columns: {twice[0]!r} stands twice")
        return self

    @property
    def weights(self) -> dict[str, float]:
        """Column -> share of the average; they sum to 1, and there are none without an average."""
        total = sum(column.weight for column in self.columns)
        return {c.name: c.weight / total for c in self.columns if c.weight} if total else {}


class ReportedRow(_Frozen):
    """A row of figures in percent."""

    name: str
    values: Mapping[str, float | None]
    average: float | None = None
    notes: tuple[str, ...] = ()


class ReportedTable(_Frozen):
    """Figures of one table."""

    where: str
    rows: tuple[ReportedRow, ...]
    notes: tuple[str, ...] = ()


class ReportedFile(_Frozen):
    """Figures of one publication."""

    source: str
    notes: Mapping[str, str] = {}
    tables: Mapping[str, ReportedTable]


@dataclass(frozen=True)
class DeclaredBoard:
    """A board with the file that declares it."""

    spec: BoardSpec
    path: Path

    @property
    def reported_path(self) -> Path | None:
        """File of the reported figures: a packaged one, or one beside this board's."""
        if self.spec.reported is None:
            return None
        name = self.spec.reported.file
        return self.path.parent / name if Path(name).suffix else REPORTED / f"{name}.yaml"

    @property
    def inputs(self) -> list[dict[str, str]]:
        """Names and hashes of the files, which the page states."""
        files = [("declared board", self.path), ("reported figures", self.reported_path)]
        return [
            {"what": what, "name": path.name, "sha256": file_hash(path)}
            for what, path in files
            if path is not None
        ]


def find_board(name: str) -> DeclaredBoard:
    """Returns a declared board, by name or path.

    Raises:
        BoardError: there is none, or it is malformed.
    """
    path = Path(name)
    if not path.suffix:
        known = sorted(one.stem for one in BOARDS.glob("*.yaml"))
        if name not in known:
            raise BoardError(
                f"no board named {name!r}; the packaged ones are {', '.join(known)}; a file of "
                "your own is given by its path"
            )
        path = BOARDS / f"{name}.yaml"
    return DeclaredBoard(_validated(BoardSpec, path), path)


def read_reported(board: DeclaredBoard) -> dict[str, Any] | None:
    """Returns the reported figures of a board as fractions, with their notes; None without any.

    Rows that report none of the board's columns are left out.

    Raises:
        BoardError: the file or the table is missing or malformed.
    """
    spec, path = board.spec, board.reported_path
    if spec.reported is None or path is None:
        return None
    found = _validated(ReportedFile, path)
    table = found.tables.get(spec.reported.table)
    if table is None:
        known = ", ".join(sorted(found.tables))
        raise BoardError(f"{path.name} has no table {spec.reported.table!r}; choose one of {known}")
    keys = list(dict.fromkeys([*table.notes, *(key for row in table.rows for key in row.notes)]))
    unknown = [key for key in keys if key not in found.notes]
    if unknown:
        raise BoardError(f"{path.name} has no note {unknown[0]!r}; add it under notes")
    return {
        "source": f"{found.source}, {table.where}",
        "notes": [found.notes[key] for key in keys],
        "table_notes": [keys.index(key) + 1 for key in table.notes],
        "rows": [
            {
                "name": row.name,
                "average": None if row.average is None else row.average / 100,
                "values": [_fraction(row.values.get(c.name)) for c in spec.columns],
                "notes": [keys.index(key) + 1 for key in row.notes],
            }
            for row in table.rows
            if any(row.values.get(column.name) is not None for column in spec.columns)
        ],
    }


def _fraction(percent: float | None) -> float | None:
    return None if percent is None else percent / 100


def _validated(kind: type[Spec], path: Path) -> Spec:
    content = read_mapping(path, "board")
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise BoardError(f"{path.name} is malformed: {describe_validation(error)}") from error
