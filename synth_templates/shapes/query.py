"""Questions that models put into SQL (`longspan.synth_templates.models.queries`)."""

from __future__ import annotations

import random
import re
from typing import Literal, Self

from pydantic import Field, model_validator

from longspan.harness.errors import SynthesisError
from longspan.harness.passport import QueryProof
from longspan.harness.taskset import SampleRow
from longspan.synth_templates.corpus import Corpus
from longspan.synth_templates.kind import KindBase
from longspan.synth_templates.shapes import sql
from longspan.synth_templates.shapes.draft import Draft, Rejected, draw_proposal
from longspan.synth_templates.tables.fitness import why_unfit
from longspan.synth_templates.tables.source_tables import Layout
from longspan.synth_templates.tables.sql import same_rows
from longspan.synth_templates.tables.sql_answers import AnswerType


class QueryKind(KindBase):
    """A question about tables that a model writes.

    Its wording uses `question` (what the model wrote), `table` ("the table of the document "X"")
    and, for numbers, `rounding` (a sentence).
    """

    shape: Literal["query"]
    instruction: str = Field(min_length=20)
    """What the writer is told of the kind of question that is wanted."""
    answer: AnswerType = "number"
    """What the first cell is."""
    documents: tuple[int, int] = (1, 1)
    """How many documents' tables are asked about, at least and at most."""
    layout: Layout = "long"
    """`wide`: tables whose headers are years, as rows of (label, year, value)."""

    @model_validator(mode="after")
    def _can_be_asked(self) -> Self:
        sql.check_range(self.name, self.documents)
        if self.num_options:
            raise ValueError(f"kind {self.name}: a query has no options; leave out num_options")
        used = ("question", "table", *(["rounding"] if self.answer == "number" else []))
        for wording in self.question:
            for name in used:
                if not re.search(rf"\{{\{{[^}}]*\b{name}\b", wording):
                    raise ValueError(f"kind {self.name}: a wording lacks {{{{ {name} }}}}")
        return self


def draw(kind: QueryKind, corpus: Corpus, rng: random.Random) -> Draft | Rejected:
    """Returns one of the confirmed questions of a kind, or why there is none."""
    chosen = draw_proposal(kind, corpus, rng)
    if isinstance(chosen, Rejected):
        return chosen
    proof = chosen.proof
    assert isinstance(proof, QueryProof)
    table = sql.find_table(proof, chosen.evidence, corpus)
    if isinstance(table, str):
        return Rejected(table)
    return Draft(
        kind,
        sql.give_answer(proof, proof.rows).text,
        proof,
        chosen.evidence,
        {"question": proof.question, **sql.wording(proof, table.sources)},
        names_answer=kind.answer != "name",
        cost=chosen.cost,
    )


def check(proof: QueryProof, row: SampleRow, corpus: Corpus) -> tuple[list[str], str]:
    """Returns what is wrong with a proof, and the answer that both its queries give."""
    problems, answer = sql.check(proof, row, corpus)
    table = sql.find_table(proof, row.passport.evidence if row.passport else (), corpus)
    if isinstance(table, str):
        return problems, answer
    if proof.question not in row.question:
        problems.append("question is not the one that was written")
    for name, query in (("query", proof.sql), ("second query", proof.second_sql)):
        try:
            result = corpus.table_index.run(table, query)
        except SynthesisError as error:
            problems.append(f"{name}: {error}")
            continue
        if unfit := why_unfit(query, result, proof.answer, table):
            problems.append(f"{name}: {unfit}")
        if not same_rows([cells[:1] for cells in result.rows], [c[:1] for c in proof.rows]):
            problems.append(f"{name} gives {result.rows[:1]}, the proof says {proof.rows[:1]}")
    return problems, answer
