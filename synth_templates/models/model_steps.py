"""The steps of a plan that ask models before samples are drawn, each kept whole when it is done.

While a step runs, its replies are in the journal. When it is done, its result is a file of the work
folder: later parts depend on it, so a resumed run must not get another one because a call that
failed works now.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from longspan.harness.datasets.documents import Document, Triple
from longspan.harness.files import written_whole
from longspan.harness.passport import Cost
from longspan.synth_templates.kind import KindBase
from longspan.synth_templates.models.calls import Journal
from longspan.synth_templates.models.extract import extract
from longspan.synth_templates.models.model_plan import EvolvePlan, ExtractPlan, QueriesPlan
from longspan.synth_templates.models.proposals import Accepted
from longspan.synth_templates.models.waves import Asking, Proposals
from longspan.synth_templates.triples.relations import Lexicon

JOURNAL_FILE = "calls.jsonl"
KindT = TypeVar("KindT", bound=KindBase)
PlanT = TypeVar("PlanT", EvolvePlan, QueriesPlan)


@dataclass
class ModelSteps:
    """The model steps of one run.

    Attributes:
        work: Folder of the journal and of finished steps.
        journal: Replies that were paid for.
        facts: Step -> what it gave and lost, for the manifest.
        models: Names of the models that took part.
        quiet: Whether nothing is printed.
    """

    work: Path
    journal: Journal
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    models: set[str] = field(default_factory=set)
    quiet: bool = False

    @classmethod
    def open(cls, work: Path, journal: Path | None = None, *, quiet: bool = False) -> ModelSteps:
        """Returns the steps of a run; nothing is written before a model is asked."""
        return cls(work, Journal(journal or work / JOURNAL_FILE), quiet=quiet)

    @property
    def cost(self) -> Cost:
        """What all steps cost."""
        return sum((Cost.model_validate(one["cost"]) for one in self.facts.values()), Cost())

    def extract(
        self, documents: Sequence[Document], plan: ExtractPlan, lexicon: Lexicon
    ) -> list[Document]:
        """Returns the documents, those without triples with what a model found in them.

        Raises:
            ModelError: the model cannot be used, or fails at everything.
        """

        def make() -> dict[str, Any]:
            read, report = extract(documents, plan, lexicon, self.journal)
            found = {
                document.id: [list(triple.model_dump().values()) for triple in document.triples]
                for document, before in zip(read, documents, strict=True)
                if document is not before
            }
            return {"triples": found, "facts": report.facts()}

        of = [plan.model_dump(mode="json"), [document.id for document in documents]]
        result = self._step("extract", of, make)
        self._note("extract", result["facts"], plan.model)
        found = result["triples"]
        return [
            document.model_copy(update={"triples": _triples(found[document.id])})
            if document.id in found
            else document
            for document in documents
        ]

    def propose(
        self,
        make: Callable[[Asking, Sequence[KindT], PlanT, Journal], Proposals],
        asking: Asking,
        kinds: Sequence[KindT],
        plan: PlanT,
    ) -> None:
        """Gives each corpus the questions that models make about its documents.

        Args:
            make: What asks the models, `evolve` or `write_queries`; its name is the step's.
            asking: The corpora, and how many questions are wanted.
            kinds: Kinds that models make so.
            plan: The models.

        Raises:
            ModelError: a model cannot be used, or fails at everything.
        """
        step = make.__name__

        def dump() -> dict[str, Any]:
            found, report = make(asking, kinds, plan, self.journal)
            dumped = {
                split: {
                    kind: [accepted.model_dump(mode="json") for accepted in several]
                    for kind, several in by_kind.items()
                }
                for split, by_kind in found.items()
            }
            return {"accepted": dumped, "facts": report.facts()}

        of = [
            plan.model_dump(mode="json"),
            asking.seed,
            [kind.model_dump(mode="json") for kind in kinds],
            {split: dict(numbers) for split, numbers in asking.wanted.items()},
            dict(asking.longest),
            {split: list(corpus.names) for split, corpus in asking.corpora.items()},
        ]
        result = self._step(step, of, dump)
        self._note(step, result["facts"], *plan.models)
        for split, corpus in asking.corpora.items():
            made = {
                kind: tuple(Accepted.model_validate_json(json.dumps(one)) for one in several)
                for kind, several in result["accepted"][split].items()
            }
            corpus.proposals = {**corpus.proposals, **made}

    def _note(self, step: str, facts: dict[str, Any], *models: str) -> None:
        self.facts[step] = facts
        self.models.update(models)
        if not self.quiet:
            told = ", ".join(f"{key} {_told(value)}" for key, value in facts.items())
            print(f"{step}: {told}", file=sys.stderr)

    def _step(self, name: str, of: Any, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Returns the result of a step: kept if it is of the same input, else made and kept."""
        path = self.work / f"{name}.step.json"
        digest = hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest()
        if path.exists():
            with suppress(ValueError, KeyError, TypeError):  # a damaged one is made again
                kept = json.loads(path.read_text("utf-8"))
                if kept["of"] == digest:
                    return dict(kept["result"])
        started = time.monotonic()
        result = make()
        if not self.quiet:
            print(f"{name} took {time.monotonic() - started:.0f} s", file=sys.stderr)
        self.work.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as partial:
            partial.write_text(json.dumps({"of": digest, "result": result}), "utf-8")
        return result


def _told(value: object) -> str:
    if isinstance(value, dict):
        return f"({', '.join(f'{key} {num}' for key, num in value.items()) or 'none'})"
    return str(value)


def _triples(rows: list[list[str]]) -> tuple[Triple, ...]:
    return tuple(Triple(subject=s, relation=r, object=o) for s, r, o in rows)
