"""Extraction of triples from documents by a model, each with the quote that supports it.

A triple whose quote does not stand in its document, or does not hold the triple's object, is
dropped with a reason. What stays is a claim like one that a user supplies: the graph still looks
for its own support and for contradictions.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from longspan.harness.datasets.documents import Document, Triple
from longspan.harness.passport import Cost
from longspan.harness.scoring.judge_prompts import neutralise
from longspan.synth_templates.models.calls import Caller, Journal, open_caller
from longspan.synth_templates.models.model_plan import ExtractPlan
from longspan.synth_templates.models.quotes import MAX_QUOTE_CHARS, find_quote
from longspan.synth_templates.models.structured import (
    Asked,
    ask_for,
    fill_prompt,
    problem_kind,
    quoted,
)
from longspan.synth_templates.triples.graph import find_mentions
from longspan.synth_templates.triples.relations import Lexicon

BATCH_DOCUMENTS = 256
"""Documents whose calls are in memory at once."""
MAX_RELATIONS_SHOWN = 60
_LAST_PART = 5
"""A window ends at a sentence, line or word in its last fifth."""
_BREAKS = ("\n", ". ", " ")


class ExtractedTriple(BaseModel):
    """One statement as a model reports it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    subject: str = Field(min_length=1, max_length=200)
    relation: str = Field(min_length=1, max_length=100)
    object: str = Field(min_length=1, max_length=200)
    quote: str = Field(min_length=1, max_length=MAX_QUOTE_CHARS)


class Extraction(BaseModel):
    """What a model replies about one window."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    triples: tuple[ExtractedTriple, ...]


@dataclass
class ExtractionReport:
    """What extraction gave and lost."""

    documents: int = 0
    windows: int = 0
    triples: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    """Reason -> triples."""
    problems: Counter[str] = field(default_factory=Counter)
    """Kind of problem -> replies that did not fit."""
    failed_windows: int = 0
    cost: Cost = Cost()

    def facts(self) -> dict[str, Any]:
        """Returns what the manifest says."""
        return {
            "documents": self.documents,
            "windows": self.windows,
            "windows_without_reply": self.failed_windows,
            "triples": self.triples,
            "dropped_triples": dict(sorted(self.dropped.items())),
            "unfit_replies": dict(sorted(self.problems.items())),
            "cost": self.cost.model_dump(),
        }


def extract(
    documents: Sequence[Document],
    plan: ExtractPlan,
    lexicon: Lexicon,
    journal: Journal,
) -> tuple[list[Document], ExtractionReport]:
    """Returns the documents, those without triples with what a model found in them.

    Raises:
        ModelError: the model cannot be used, or fails at everything.
    """
    caller = open_caller(plan, journal)
    relations = _shown_relations(lexicon)
    report = ExtractionReport()

    async def run() -> list[Document]:
        found: list[Document] = []
        for start in range(0, len(documents), BATCH_DOCUMENTS):
            batch = documents[start : start + BATCH_DOCUMENTS]
            found += await asyncio.gather(
                *(_extract(document, caller, plan, relations, report) for document in batch)
            )
        return found

    return asyncio.run(run()), report


async def _extract(
    document: Document, caller: Caller, plan: ExtractPlan, relations: str, report: ExtractionReport
) -> Document:
    if document.triples:
        return document
    windows = split_windows(document.text, plan.window_chars)
    asked = await asyncio.gather(
        *(
            ask_for(
                caller,
                _prompt(document, window, relations, plan.max_triples),
                Extraction,
                label=f"extract/{document.id}/{number}",
                retries=plan.retries,
            )
            for number, window in enumerate(windows)
        )
    )
    report.documents += 1
    report.windows += len(windows)
    triples: list[Triple] = []
    for one in asked:
        triples += _kept(one, document, plan.max_triples, report)
    distinct = tuple(dict.fromkeys(triples))
    report.triples += len(distinct)
    return document.model_copy(update={"triples": distinct})


def _kept(
    asked: Asked[Extraction], document: Document, max_triples: int, report: ExtractionReport
) -> list[Triple]:
    """Returns the triples of a window that its document supports, and counts the others."""
    report.cost += asked.cost
    report.problems.update(map(problem_kind, asked.problems))
    if asked.value is None:
        report.failed_windows += 1
        return []
    kept = []
    for triple in asked.value.triples[:max_triples]:
        reason = why_unsupported(triple, document)
        if reason is None:
            parts = {name: " ".join(getattr(triple, name).split()) for name in Triple.model_fields}
            kept.append(Triple(**parts))
        else:
            report.dropped[reason] += 1
    over = len(asked.value.triples) - max_triples
    if over > 0:
        report.dropped["over max_triples"] += over
    return kept


def why_unsupported(triple: ExtractedTriple, document: Document) -> str | None:
    """Returns why a triple is not supported by what it quotes, None where it is."""
    if not all(part.strip() for part in (triple.subject, triple.relation, triple.object)):
        return "empty part"
    place = find_quote(document.text, triple.quote)
    if place is None:
        return "quote not in document"
    if not find_mentions(triple.object, document.text[slice(*place)]):
        return "object not in quote"
    if not any(find_mentions(triple.subject, text) for text in (document.title, document.text)):
        return "subject not in document"
    return None


def split_windows(text: str, window_chars: int) -> list[str]:
    """Returns a text in pieces of at most so many characters, cut at lines, sentences or words."""
    windows, start = [], 0
    while start < len(text):
        end = start + window_chars
        if end < len(text):
            earliest = end - window_chars // _LAST_PART
            breaks = (text.rfind(mark, earliest, end) + len(mark) for mark in _BREAKS)
            end = next((place for place in breaks if place > earliest), end)
        if text[start:end].strip():
            windows.append(text[start:end])
        start = end
    return windows


def _prompt(document: Document, window: str, relations: str, max_triples: int) -> str:
    return fill_prompt(
        "extract",
        {
            "title": neutralise(document.title),
            "passage": quoted("passage", window),
            "relations": relations,
            "max_triples": max_triples,
        },
    )


def _shown_relations(lexicon: Lexicon) -> str:
    """Returns the relations that questions can be asked about, as documents state them."""
    stated = dict.fromkeys(form.stated[0] for form in lexicon.forms.values())
    return ", ".join(list(stated)[:MAX_RELATIONS_SHOWN])
