"""Questions about tables that models put into SQL.

The writer is shown tables and writes a question with its query; the checker is shown the same
tables and the question, and writes a query of its own. Both queries take the safe path of all
queries (`longspan.synth_templates.tables.sql`) and must give one answer, so that a question which
does not say what its query does is not confirmed. What is confirmed goes into the history of its
tables, which the next proposals are told to differ from.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
    ProposalReport,
    Proposals,
    Subject,
    in_waves,
)
from longspan.synth_templates.shapes.draft import quote
from longspan.synth_templates.shapes.query import QueryKind
from longspan.synth_templates.shapes.sql import give_answer
from longspan.synth_templates.tables.column_roles import CorpusColumn
from longspan.synth_templates.tables.corpus_tables import DOCUMENT, CorpusTable
from longspan.synth_templates.tables.source_tables import SourceTable
from longspan.synth_templates.tables.sql_answers import (
    decimals_for,
    exact_decimals,
    rounding_phrase,
)
from longspan.synth_templates.triples.graph import find_mentions

PERCENT = "percent"
MAX_CELL_CHARS = 80
"""Longer cells are shown in part."""
_AT_LEAST_DECIMALS = 2


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


def write_queries(
    corpora: Mapping[Split, Corpus],
    wanted: Mapping[Split, Mapping[str, int]],
    kinds: Sequence[QueryKind],
    plan: QueriesPlan,
    journal: Journal,
    seed: int,
) -> Proposals:
    """Returns questions that models put into SQL.

    Args:
        corpora: Corpus of each split.
        wanted: Split -> kind -> number of questions.
        kinds: The kinds.
        plan: Models and limits.
        journal: Replies that were paid for.
        seed: Decides which tables are asked about first.

    Raises:
        ModelError: a model cannot be used, or fails at everything.
    """
    writer = open_caller(plan.writer, journal)
    checker = open_caller(plan.checker or plan.writer, journal)
    report = ProposalReport()

    async def run() -> dict[Split, dict[str, list[Accepted]]]:
        found: dict[Split, dict[str, list[Accepted]]] = {}
        for split, corpus in corpora.items():
            writing = _Writing(writer, checker, plan, report, corpus, f"{seed}/{split}")
            found[split] = {}
            for kind in kinds:
                subjects = writing.subjects(kind) if wanted[split][kind.name] else []
                found[split] |= await in_waves(
                    subjects, [kind], wanted[split], plan.rounds, writing.propose
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
    corpus: Corpus
    label: str

    def subjects(self, kind: QueryKind) -> list[_Tables]:
        """Returns the tables that a kind can ask about, in random order, each with numbers."""
        rng = random.Random(f"queries/{self.label}/{kind.name}")
        index = self.corpus.table_index
        fewest, most = kind.documents
        groups: list[tuple[SourceTable, ...]] = []
        if fewest == 1:
            groups += [(table,) for table in index.tables]
        for members in index.clusters if most > 1 else ():
            if len(members) >= max(2, fewest):
                drawn = rng.sample(range(len(members)), min(most, len(members)))
                groups.append(tuple(members[i] for i in sorted(drawn)))
        usable = [
            sources
            for sources in groups
            if sources[0].layout == kind.layout and index.align(sources).has({"measure": 1})
        ]
        rng.shuffle(usable)
        chosen = itertools.islice(usable, self.plan.max_tables)
        return [_Tables(str(number), sources=sources) for number, sources in enumerate(chosen)]

    async def propose(self, tables: _Tables, kind: QueryKind, wave: int) -> Accepted | None:
        """Returns a question of a kind about some tables, None if it was not confirmed."""
        self.report.proposed[kind.name] += 1
        label = f"{self.label}/{kind.name}/{tables.name}/{wave}"
        table = self.corpus.table_index.align(tables.sources)
        shown = self._shown(table)
        cost = Cost()
        proof: QueryProof | None = None

        def prove(written: WrittenQuery) -> str | None:
            nonlocal proof
            made = self._prove(written, kind, table, tables.history)
            proof = None if isinstance(made, str) else made
            return made if isinstance(made, str) else None

        values = {
            "instruction": kind.instruction,
            "answer": kind.answer,
            "several": len(tables.sources) > 1,
            "units": ", ".join(f'"{unit}"' for unit in _units(table)),
            "history": "\n".join(f"- {neutralise(one)}" for one in tables.history[-MAX_HISTORY:]),
            "tables": shown,
        }
        written = await ask_for(
            self.writer,
            fill_prompt("query", values),
            WrittenQuery,
            label=f"query/{label}",
            retries=self.plan.writer.retries,
            check=prove,
        )
        cost += self._count(written)
        if proof is None:
            self.report.rejected[f"writer: {problem_kind(written.problems[-1])}"] += 1
            return None
        rounding = rounding_phrase(proof.decimals, proof.unit, exact=proof.exact)
        asked = f"{proof.question} {rounding if kind.answer == 'number' else ''}".strip()
        second = await ask_for(
            self.checker,
            fill_prompt("second_query", {**values, "question": quoted("question", asked)}),
            SecondQuery,
            label=f"second_query/{label}",
            retries=(self.plan.checker or self.plan.writer).retries,
            check=lambda one: self._answer(proof, table, one.sql)[1],
        )
        cost += self._count(second)
        if second.value is None:
            self.report.rejected[f"checker: {problem_kind(second.problems[-1])}"] += 1
            return None
        if self._answer(proof, table, second.value.sql)[0] != give_answer(proof, proof.rows).text:
            self.report.rejected["checker: another answer"] += 1
            return None
        self.report.accepted[kind.name] += 1
        return Accepted(
            evidence=self._evidence(tables),
            proof=proof.model_copy(update={"second_sql": second.value.sql}),
            cost=cost,
        )

    def _prove(
        self, written: WrittenQuery, kind: QueryKind, table: CorpusTable, earlier: Sequence[str]
    ) -> QueryProof | str:
        """Returns the proof of a question, still without a second query; or what is wrong."""
        try:
            result = self.corpus.table_index.run(table, written.sql)
        except SynthesisError as error:
            return f"query: {error}"
        usable = {column.name for column in _whole(table)}
        if not result.reads or result.reads - usable - {DOCUMENT, ""}:
            return f"query: it must read [data], and of it only {', '.join(sorted(usable))}"
        if written.unit not in _units(table):
            return f'unit: use one of {_units(table)}, or ""'
        value = result.rows[0][0] if result.rows and result.rows[0] else None
        decimals = exact_decimals(value) if kind.answer == "number" else 0
        proof = QueryProof(
            columns=table.schema,
            measures=tuple(c.name for c in table.columns if c.name in result.reads),
            documents=tuple(source.document for source in table.sources),
            sql=written.sql,
            rows=result.rows or ((None,),),
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
            return f"answer: {answer.problem}; the query must give one row with one {kind.answer}"
        if find_mentions(answer.text, proof.question):
            return "answer: the question holds it"
        return why_repeated(proof.question, earlier) or proof

    def _answer(self, proof: QueryProof, table: CorpusTable, sql: str) -> tuple[str, str | None]:
        """Returns the answer of a second query, "" without one, and what is wrong with it."""
        try:
            rows = self.corpus.table_index.run(table, sql).rows
        except SynthesisError as error:
            return "", f"query: {error}"
        answer = give_answer(proof, rows)
        problem = f"answer: {answer.problem}; the query must give one row with one {proof.answer}"
        return answer.text, problem if answer.problem else None

    def _evidence(self, tables: _Tables) -> tuple[EvidenceSpan, ...]:
        return tuple(quote(self.corpus, s.document, s.start, s.end) for s in tables.sources)

    def _shown(self, table: CorpusTable) -> str:
        """Returns the tables as prompts show them: title, columns, first rows."""
        columns = _whole(table)
        lines = [f"{source.title} / {source.caption or '-'}" for source in table.sources]
        for column in columns:
            unit = f" in {column.unit}" if column.unit else ""
            header = column.header or column.derived_from or "-"
            lines.append(f"[{column.name}] {column.type}{unit}; header: {header}")
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


def _whole(table: CorpusTable) -> list[CorpusColumn]:
    """Returns the columns without missing values: what a gap means is for nobody to guess."""
    return [column for column in table.columns if None not in column.values]


def _units(table: CorpusTable) -> list[str]:
    units = dict.fromkeys(column.unit for column in table.columns)
    return [*dict.fromkeys(["", *units, PERCENT])]
