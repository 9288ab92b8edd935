"""Queries over tables: numbers and names that follow from the rows of one or several documents."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal, Self

from pydantic import Field, model_validator

from longspan.harness.errors import SpecError, SynthesisError
from longspan.harness.passport import EvidenceSpan, SqlProof
from longspan.harness.taskset import SampleRow
from longspan.harness.templates import render
from longspan.synth_templates.corpus import Corpus
from longspan.synth_templates.kind import KindBase
from longspan.synth_templates.shapes.draft import Draft, Rejected, quote
from longspan.synth_templates.tables.corpus_tables import DOCUMENT, TABLE, CorpusTable
from longspan.synth_templates.tables.slots import Filling, Slot, fill, roles_of
from longspan.synth_templates.tables.source_tables import Layout, SourceTable
from longspan.synth_templates.tables.sql import Cell, quote_name, same_rows
from longspan.synth_templates.tables.sql_answers import (
    MAX_SOURCE_DECIMALS,
    Answer,
    AnswerType,
    decimals_for,
    read_answer,
    rounding_phrase,
)
from longspan.synth_templates.triples.graph import find_mentions

MAX_SOURCES = 8


class SqlKind(KindBase):
    """A question whose answer a query gives.

    The query may use `table`, `document` (the column of titles) and the slots; the wording `table`
    ("the table of the document "X""), `documents` ("A", "B" or "C"), `rounding` (a sentence) and
    the slots.
    """

    shape: Literal["sql"]
    slots: dict[str, Slot] = Field(min_length=1)
    """Placeholders, filled in this order."""
    sql: str
    """Template of the query; a value that is NULL rejects the draw."""
    answer: AnswerType = "number"
    """What the first cell is."""
    ranked: bool = False
    """The second cell ranks the rows; a tie between the first two rejects the draw."""
    decimals: int | Literal["source"] = 2
    """To how many decimals a number is rounded; `source`: as many as the table shows."""
    unit: str | None = None
    """Unit of the answer; None: that of the first measure."""
    documents: tuple[int, int] = (1, 1)
    """How many documents' tables are asked about, at least and at most."""
    layout: Layout = "long"
    """`wide`: tables whose headers are years, as rows of (label, year, value)."""
    names_answer: bool = False
    """The question may hold its answer, as where it lists the documents to choose from."""

    @model_validator(mode="after")
    def _slots_are_in_order(self) -> Self:
        known: set[str] = set()
        for name, slot in self.slots.items():
            missing = [other for other in slot.needs if other not in known]
            if missing:
                raise ValueError(f"kind {self.name}: slot {name} needs {missing[0]} before it")
            known.add(name)
        check_range(self.name, self.documents)
        try:
            render(self.sql, {**dict.fromkeys(known, "x"), "table": "t", "document": "d"})
        except SpecError as error:
            raise ValueError(f"kind {self.name}: {error}") from error
        return self


def check_range(kind: str, documents: tuple[int, int]) -> None:
    """Checks how many documents' tables a kind asks about.

    Raises:
        ValueError: these are no numbers from 1 to 8, the smaller first.
    """
    fewest, most = documents
    if not 1 <= fewest <= most <= MAX_SOURCES:
        raise ValueError(
            f"kind {kind}: documents must be 1 to {MAX_SOURCES}, the smaller number first: "
            f"got {documents}"
        )


def draw(kind: SqlKind, corpus: Corpus, rng: random.Random) -> Draft | Rejected:
    """Returns the draft of a random query, or why there is none."""
    sources = _draw_sources(kind, corpus, rng)
    if sources is None:
        return Rejected("no such table", is_final=True)
    table = corpus.table_index.align(sources)
    slots = fill(kind.slots, table, rng)
    if slots is None:
        return Rejected("slots cannot be filled")
    names = {"table": quote_name(TABLE), "document": quote_name(DOCUMENT)}
    sql = " ".join(render(kind.sql, names | {n: f.sql for n, f in slots.items()}).split())
    try:
        result = corpus.table_index.run(table, sql)
    except SynthesisError as error:
        return Rejected(_cause(error))
    measures = [f for n, f in slots.items() if kind.slots[n].column in ("measure", "amount")]
    decimals, exact = _decimals(kind, measures, result.rows)
    answer = read_answer(result.rows, kind.answer, decimals, ranked=kind.ranked, exact=exact)
    if answer.problem:
        return Rejected(answer.problem)
    proof = SqlProof(
        columns=table.schema,
        measures=tuple(f.column.name for f in measures if f.column),
        documents=tuple(source.document for source in sources),
        sql=sql,
        rows=result.rows,
        answer=kind.answer,
        ranked=kind.ranked,
        decimals=decimals,
        exact=exact,
        unit=_unit(kind, measures),
    )
    variables = {name: filling.wording for name, filling in slots.items()}
    variables |= wording(proof, sources)
    evidence = tuple(quote(corpus, s.document, s.start, s.end) for s in sources)
    is_named = kind.names_answer or kind.answer != "name"
    return Draft(kind, answer.text, proof, evidence, variables, names_answer=is_named)


def check(proof: SqlProof, row: SampleRow, corpus: Corpus) -> tuple[list[str], str]:
    """Returns what is wrong with a proof, and the answer that it gives."""
    table = find_table(proof, row.passport.evidence if row.passport else (), corpus)
    if isinstance(table, str):
        return [table], ""
    try:
        result = corpus.table_index.run(table, proof.sql)
    except SynthesisError as error:
        return [str(error)], ""
    if not same_rows(result.rows, proof.rows):
        return [f"query gives {result.rows[:2]}, but the proof says {proof.rows[:2]}"], ""
    answer = give_answer(proof, result.rows)
    problems = [answer.problem] if answer.problem else []
    if not result.reads:
        problems.append("query reads no table")
    problems += [
        f"query does not use {name!r}" for name in proof.measures if name not in result.reads
    ]
    for title in (source.title for source in table.sources):
        if not find_mentions(title, row.question):
            problems.append(f"question does not name {title!r}")
    rounding = rounding_phrase(proof.decimals, proof.unit, exact=proof.exact)
    if proof.answer == "number" and rounding not in row.question:
        problems.append("question does not say how to round")
    return problems, answer.text


def give_answer(proof: SqlProof, rows: Sequence[Sequence[Cell]]) -> Answer:
    """Returns the answer that rows of a query give under the rules of a proof."""
    return read_answer(rows, proof.answer, proof.decimals, ranked=proof.ranked, exact=proof.exact)


def find_table(
    proof: SqlProof, evidence: Sequence[EvidenceSpan], corpus: Corpus
) -> CorpusTable | str:
    """Returns the aligned tables of a proof's evidence, or why they are not what it says."""
    if [span.document for span in evidence] != list(proof.documents):
        return "evidence is not the tables' documents"
    sources = []
    for span in evidence:
        tables = corpus.table_index.of_document(span.document)
        found = [t for t in tables if (t.start, t.end) == (span.start, span.end)]
        if not found:
            return f"document {span.document} has no such table at {span.start}"
        sources += found[:1]
    table = corpus.table_index.align(sources)
    same = table.schema == proof.columns
    return table if same else "the tables have other columns than the proof"


def wording(proof: SqlProof, sources: Sequence[SourceTable]) -> dict[str, str]:
    """Returns what every wording about tables may use, its slots aside."""
    return {
        "table": table_phrase(sources),
        "documents": _listed([source.title for source in sources], "or"),
        "rounding": rounding_phrase(proof.decimals, proof.unit, exact=proof.exact),
    }


def table_phrase(sources: Sequence[SourceTable]) -> str:
    """Returns how a question names tables."""
    if len(sources) > 1:
        return f"the tables of the documents {_listed([s.title for s in sources], 'and')}"
    source = sources[0]
    if source.caption:
        return f'the table under "{source.caption}" in the document "{source.title}"'
    return f'the table of the document "{source.title}"'


def _draw_sources(kind: SqlKind, corpus: Corpus, rng: random.Random) -> list[SourceTable] | None:
    """Returns random tables of one schema that can fill the kind's slots, None without any."""
    index = corpus.table_index
    fewest, most = kind.documents
    if most == 1:
        tables = index.with_roles(roles_of(kind.slots), kind.layout)
        return [rng.choice(tables)] if tables else None
    clusters = [
        members
        for members in index.clusters
        if members[0].layout == kind.layout and len(members) >= fewest
    ]
    if not clusters:
        return None
    members = rng.choice(clusters)
    drawn = rng.sample(range(len(members)), rng.randint(fewest, min(most, len(members))))
    return [members[i] for i in sorted(drawn)]  # one order: "A and B" asks what "B and A" asks


def _decimals(
    kind: SqlKind, measures: Sequence[Filling], rows: Sequence[Sequence[Cell]]
) -> tuple[int, bool]:
    """Returns to how many decimals the answer is rounded, and whether that leaves it exact."""
    if kind.answer != "number":
        return 0, True
    if kind.decimals == "source":
        shown = measures[0].column.decimals if measures and measures[0].column else 0
        return min(shown, MAX_SOURCE_DECIMALS), shown <= MAX_SOURCE_DECIMALS
    return decimals_for(rows[0][0] if rows and rows[0] else None, kind.decimals), False


def _unit(kind: SqlKind, measures: Sequence[Filling]) -> str:
    if kind.unit is not None or kind.answer != "number":
        return kind.unit or ""
    return measures[0].column.unit if measures and measures[0].column else ""


def _cause(error: SynthesisError) -> str:
    return str(error).partition("; ")[0]


def _listed(titles: Sequence[str], joint: str) -> str:
    quoted = [f'"{title}"' for title in titles]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} {joint} {quoted[-1]}"
