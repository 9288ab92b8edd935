"""Questions about tables that models put into SQL.

The writer is shown tables and writes a question with its query; the checker is shown the same
tables and the question, and writes a query of its own. Both queries take the safe path of all
queries (`longspan.synth_templates.tables.sql`), must say something of the rows
(`longspan.synth_templates.tables.fitness`) and must give one answer in one unit, so that a question
which does not say what its query does is not confirmed. What is confirmed goes into the history of
all tables with these columns, which the next proposals are told to differ from.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from longspan.harness.errors import SynthesisError
from longspan.harness.passport import Cost, EvidenceSpan, QueryProof
from longspan.harness.scoring.judge_prompts import neutralise
from longspan.harness.taskset import Split
from longspan.synth_templates.corpus import Corpus
from longspan.synth_templates.models.calls import Caller, Journal, open_caller
from longspan.synth_templates.models.model_plan import QueriesPlan
from longspan.synth_templates.models.proposals import Accepted, why_repeated
from longspan.synth_templates.models.structured import (
    Asked,
    ask_for,
    fill_prompt,
    problem_kind,
    quoted,
)
from longspan.synth_templates.models.waves import (
    MAX_HISTORY,
    Asking,
    ProposalReport,
    Proposals,
    Subject,
    in_waves,
)
from longspan.synth_templates.shapes.draft import quote
from longspan.synth_templates.shapes.query import QueryKind
from longspan.synth_templates.shapes.sql import give_answer, table_phrase
from longspan.synth_templates.tables.corpus_tables import CorpusTable
from longspan.synth_templates.tables.fitness import is_without_gaps, usable_columns, why_unfit
from longspan.synth_templates.tables.source_tables import SourceTable
from longspan.synth_templates.tables.sql import SqlResult, same_rows
from longspan.synth_templates.tables.sql_answers import decimals_for, exact_decimals
from longspan.synth_templates.triples.graph import find_mentions

PERCENT = "percent"
"""Unit of what a division gives."""
MAX_CELL_CHARS = 80
"""Longer cells are shown in part."""
_AT_LEAST_DECIMALS = 2
T = TypeVar("T", QueryProof, SqlResult)


class WrittenQuery(BaseModel):
    """A question and its query as a model writes them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    question: str = Field(min_length=10, max_length=600)
    sql: str = Field(min_length=8, max_length=4000)
    unit: str = Field(default="", max_length=40)


class SecondQuery(BaseModel):
    """The query of a model that was shown the question."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sql: str = Field(min_length=8, max_length=4000)
    unit: str = Field(default="", max_length=40)


def write_queries(
    asking: Asking, kinds: Sequence[QueryKind], plan: QueriesPlan, journal: Journal
) -> Proposals:
    """Returns questions that models put into SQL.

    Args:
        asking: The tables' corpora, and how many questions are wanted.
        kinds: The kinds.
        plan: Models and limits.
        journal: Replies that were paid for.

    Raises:
        ModelError: a model cannot be used, or fails at everything.
    """
    writer, checker = (open_caller(role, journal) for role in plan.roles)
    report = ProposalReport()

    async def run() -> dict[Split, dict[str, list[Accepted]]]:
        found: dict[Split, dict[str, list[Accepted]]] = {}
        for split, wanted in asking.wanted.items():
            writing = _Writing(writer, checker, plan, report, asking, split)
            found[split] = {}
            for kind in kinds:
                subjects = writing.subjects(kind) if wanted[kind.name] else []
                found[split] |= await in_waves(
                    subjects, [kind], wanted, plan.rounds, writing.propose
                )
        return found

    return asyncio.run(run()), report


@dataclass
class _Tables(Subject):
    """Tables of one schema."""

    sources: tuple[SourceTable, ...] = ()


@dataclass
class _Writing:
    """What all proposals of a split share."""

    writer: Caller
    checker: Caller
    plan: QueriesPlan
    report: ProposalReport
    asking: Asking
    split: Split
    _histories: dict[tuple[Any, ...], list[str]] = field(default_factory=dict)

    @property
    def corpus(self) -> Corpus:
        """The documents."""
        return self.asking.corpora[self.split]

    @property
    def label(self) -> str:
        """What tells calls of this split from those of others."""
        return f"{self.asking.seed}/{self.split}"

    def subjects(self, kind: QueryKind) -> list[_Tables]:
        """Returns the tables that a kind can ask about, in random order, each with numbers."""
        rng = random.Random(f"queries/{self.label}/{kind.name}")
        usable = [group for group in self._groups(kind, rng) if self._is_usable(group, kind)]
        rng.shuffle(usable)
        chosen = itertools.islice(usable, self.plan.max_tables)
        return [_Tables(str(n), self._history(group), group) for n, group in enumerate(chosen)]

    def _groups(self, kind: QueryKind, rng: random.Random) -> Iterator[tuple[SourceTable, ...]]:
        """Yields tables of one schema, as many as a kind asks about at once."""
        index = self.corpus.table_index
        fewest, most = kind.documents
        if fewest == 1:
            yield from ((table,) for table in index.tables)
        for members in index.clusters if most > 1 else ():
            left = rng.sample(range(len(members)), len(members))
            while len(left) >= max(2, fewest):
                num = min(rng.randint(max(2, fewest), most), len(left))
                drawn, left = left[:num], left[num:]
                yield tuple(members[i] for i in sorted(drawn))

    def _is_usable(self, group: tuple[SourceTable, ...], kind: QueryKind) -> bool:
        table = self.corpus.table_index.align(group)
        return (
            group[0].layout == kind.layout
            and table.has({"measure": 1})
            and is_without_gaps(table)
            and self.asking.fits(self.split, [source.document for source in group])
        )

    def _history(self, group: tuple[SourceTable, ...]) -> list[str]:
        """Returns the questions confirmed about tables of these columns."""
        return self._histories.setdefault(self.corpus.table_index.align(group).schema, [])

    async def propose(self, tables: _Tables, kind: QueryKind, wave: int) -> Accepted | None:
        """Returns a question of a kind about some tables, None if it was not confirmed."""
        self.report.proposed[kind.name] += 1
        label = f"{self.label}/{kind.name}/{tables.name}/{wave}"
        table = self.corpus.table_index.align(tables.sources)
        values = {
            "instruction": kind.instruction,
            "answer": kind.answer,
            "several": len(tables.sources) > 1,
            "units": ", ".join(f'"{unit}"' for unit in _units(table) if unit),
            "history": "\n".join(f"- {neutralise(one)}" for one in tables.history[-MAX_HISTORY:]),
            "tables": self._shown(table),
        }
        proofs: list[QueryProof] = []
        written = await ask_for(
            self.writer,
            fill_prompt("query", values),
            WrittenQuery,
            label=f"query/{label}",
            retries=self.plan.roles[0].retries,
            check=lambda one: _keep(self._prove(one, kind, table, tables.history), proofs),
        )
        cost = self._count(written)
        if written.value is None:
            self.report.rejected[f"writer: {problem_kind(written.problems[-1])}"] += 1
            return None
        proof = proofs[-1]
        results: list[SqlResult] = []
        second = await ask_for(
            self.checker,
            fill_prompt("second_query", {**values, "question": quoted("question", proof.question)}),
            SecondQuery,
            label=f"second_query/{label}",
            retries=self.plan.roles[1].retries,
            check=lambda one: _keep(self._run(one.sql, kind, table), results),
        )
        cost += self._count(second)
        if second.value is None:
            self.report.rejected[f"checker: {problem_kind(second.problems[-1])}"] += 1
            return None
        if not same_rows([results[-1].rows[0][:1]], [proof.rows[0][:1]]):
            self.report.rejected["checker: another answer"] += 1
            return None
        if kind.answer == "number" and second.value.unit != proof.unit:
            self.report.rejected["checker: another unit"] += 1
            return None
        self.report.accepted[kind.name] += 1
        return Accepted(
            evidence=self._evidence(tables),
            proof=proof.model_copy(update={"second_sql": second.value.sql}),
            cost=cost,
        )

    def _run(self, query: str, kind: QueryKind, table: CorpusTable) -> SqlResult | str:
        """Returns the one row that a query gives, or why it cannot be used."""
        try:
            result = self.corpus.table_index.run(table, query)
        except SynthesisError as error:
            return f"query: {error}"
        if len(result.rows) != 1:
            return f"answer: the query gives {len(result.rows)} rows; it must give one"
        unfit = why_unfit(query, result, kind.answer, table)
        return f"query: {unfit}" if unfit else result

    def _prove(
        self, written: WrittenQuery, kind: QueryKind, table: CorpusTable, earlier: Sequence[str]
    ) -> QueryProof | str:
        """Returns the proof of a question, still without a second query; or what is wrong."""
        result = self._run(written.sql, kind, table)
        if isinstance(result, str):
            return result
        read = [column for column in table.columns if column.name in result.reads]
        units = ["", *(column.unit for column in read), *([PERCENT] if "/" in written.sql else [])]
        if written.unit not in units:
            return f"unit: {written.unit!r} is none of what the query reads; use one of {units}"
        value = result.rows[0][0]
        decimals = exact_decimals(value) if kind.answer == "number" else 0
        proof = QueryProof(
            columns=table.schema,
            measures=tuple(column.name for column in read if column.type == "number"),
            documents=tuple(source.document for source in table.sources),
            sql=written.sql,
            rows=result.rows,
            answer=kind.answer,
            ranked=False,
            decimals=decimals_for(value, _AT_LEAST_DECIMALS) if decimals is None else decimals,
            exact=decimals is not None,
            unit=written.unit if kind.answer == "number" else "",
            question=" ".join(written.question.split()),
            second_sql="",
        )
        answer = give_answer(proof, result.rows)
        if answer.problem:
            return f"answer: {answer.problem}; ask for another {kind.answer}"
        if find_mentions(answer.text, f"{proof.question} {table_phrase(table.sources)}"):
            return "answer: the question, or the name of the table, holds it"
        if neutralise(proof.question) != proof.question:
            return "question: it holds marks that are no text, such as <|...|>"
        return why_repeated(proof.question, earlier) or proof

    def _evidence(self, tables: _Tables) -> tuple[EvidenceSpan, ...]:
        return tuple(quote(self.corpus, s.document, s.start, s.end) for s in tables.sources)

    def _shown(self, table: CorpusTable) -> str:
        """Returns the tables as prompts show them: title, columns, first rows."""
        columns = usable_columns(table)
        lines = [f"{source.title} / {source.caption or '-'}" for source in table.sources]
        for column in columns:
            unit = f" in {column.unit}" if column.unit else ""
            lines.append(f"[{column.name}] {column.type}{unit}; header: {column.header or '-'}")
        names = ["document", *(column.name for column in columns)]
        rows = list(zip(table.titles, *(column.values for column in columns), strict=True))
        shown = [names, *rows[: self.plan.shown_rows]]
        lines += [" | ".join(str(cell)[:MAX_CELL_CHARS] for cell in row) for row in shown]
        values = {
            "several": len(table.sources) > 1,
            "num_rows": len(table.titles),
            "shown": quoted("tables", "\n".join(lines)),
        }
        return fill_prompt("tables", values)

    def _count(self, asked: Asked[WrittenQuery] | Asked[SecondQuery]) -> Cost:
        self.report.problems.update(map(problem_kind, asked.problems))
        self.report.cost += asked.cost
        return asked.cost


def _units(table: CorpusTable) -> list[str]:
    units = dict.fromkeys(column.unit for column in table.columns)
    return [*dict.fromkeys(["", *units, PERCENT])]


def _keep(made: T | str, kept: list[T]) -> str | None:
    """Keeps what was made of a reply; returns why nothing could be, None where something was."""
    if isinstance(made, str):
        return made
    kept.append(made)
    return None
