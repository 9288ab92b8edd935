"""The table of shapes: a new shape is a file of this folder and a line in each table here."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field

from longspan.harness.taskset import SampleRow
from longspan.synth_templates.corpus import Corpus
from longspan.synth_templates.shapes import (
    arithmetic,
    compare,
    evolve,
    mentions,
    path,
    query,
    recall,
    repeat,
    select,
    sql,
    table,
)
from longspan.synth_templates.shapes.draft import Draft, Rejected

Kind = Annotated[
    path.PathKind
    | compare.CompareKind
    | arithmetic.ArithmeticKind
    | select.SelectKind
    | table.TableKind
    | sql.SqlKind
    | query.QueryKind
    | recall.RecallKind
    | mentions.MentionsKind
    | repeat.RepeatKind
    | evolve.EvolveKind,
    Field(discriminator="shape"),
]
"""A kind of any shape."""

DIALOGUE_SHAPES = frozenset({"recall", "mentions", "repeat"})
"""Shapes that ask about the sessions of a dialogue; the others ask about other documents."""

Draw = Callable[[Any, Corpus, random.Random], Draft | Rejected]
"""Returns a draft of a kind drawn from a corpus, or why this draw gave none."""
Check = Callable[[Any, SampleRow, Corpus], tuple[list[str], str]]
"""Returns what is wrong with a proof (given its sample and corpus), and the answer it gives."""

DRAW: dict[str, Draw] = {
    "path": path.draw,
    "compare": compare.draw,
    "arithmetic": arithmetic.draw,
    "select": select.draw,
    "table": table.draw,
    "evolve": evolve.draw,
    "sql": sql.draw,
    "query": query.draw,
    "recall": recall.draw,
    "mentions": mentions.draw,
    "repeat": repeat.draw,
}
"""Shape of a kind -> how a draft is drawn."""

CHECK: dict[str, Check] = {
    "path": path.check,
    "compare": compare.check,
    "arithmetic": arithmetic.check,
    "select": select.check,
    "table": table.check,
    "transcript": evolve.check,
    "sql": sql.check,
    "query": query.check,
    "recall": recall.check,
    "mentions": mentions.check,
    "repeat": repeat.check,
}
"""Type of a proof -> how it is executed again."""
