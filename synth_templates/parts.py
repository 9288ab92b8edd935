"""A part of a task set: samples that are drawn from one corpus, one after the other.

Each sample is a kind and a seed: draw, extend, word, verify. A draw that gives none is
repeated with another seed, until the kind counts as used up.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

from longspan.harness.passport import Passport, statements
from longspan.harness.taskset import SampleRow, Split
from longspan.harness.tokens import TokenCounter
from longspan.synth_templates.books import Attempt, Books
from longspan.synth_templates.corpus import Corpus
from longspan.synth_templates.curation.contamination import BenchmarkIndex, Match, match_row
from longspan.synth_templates.declared import sample_id
from longspan.synth_templates.extend import Context, extend
from longspan.synth_templates.kind_files import Kinds
from longspan.synth_templates.plan import Plan
from longspan.synth_templates.questions import Worded, draw, word
from longspan.synth_templates.shapes.draft import Draft, Rejected
from longspan.synth_templates.shapes.registry import Kind
from longspan.synth_templates.sources import CorpusSource
from longspan.synth_templates.verify import check_passport

MAX_ATTEMPTS = 200
"""Draws for one sample before its kind counts as used up in a part."""


@dataclass(frozen=True)
class Materials:
    """What all parts of a task set are made from: nothing of it changes meanwhile.

    Attributes:
        plan: The plan.
        kinds: The kinds of the plan's source.
        source: Gives the corpora.
        counter: Counts lengths.
        benchmarks: Questions that must not be asked.
    """

    plan: Plan
    kinds: Kinds
    source: CorpusSource
    counter: TokenCounter
    benchmarks: BenchmarkIndex

    def books(self) -> Books:
        """Returns empty books."""
        return Books(self.plan.distinct_by_default, self.plan.max_statement_uses)


@dataclass(frozen=True)
class PartTask:
    """Which part to make.

    Attributes:
        split: Its split.
        tokens: Target length of its contexts.
        number: Its number among those of the same split and length.
        wanted: A kind for each sample.
    """

    split: Split
    tokens: int
    number: int
    wanted: tuple[str, ...]

    @property
    def name(self) -> str:
        """Its name in the work folder, without what is wanted."""
        return f"{self.split}-{self.tokens}-{self.number:05d}"


@dataclass
class Part:
    """What one part gave.

    Attributes:
        rows: Accepted samples.
        rejected: "kind: reason" -> number of draws.
        owed: Kinds that this part could not fill.
        matches: Questions of benchmarks that samples or drafts resemble.
    """

    rows: list[SampleRow] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)
    owed: list[str] = field(default_factory=list)
    matches: list[Match] = field(default_factory=list)

    def to_json(self) -> str:
        """Returns the part as JSON."""
        rows = [row.model_dump(mode="json") for row in self.rows]
        record = {"rows": rows, "rejected": dict(self.rejected), "owed": self.owed}
        record["matches"] = [asdict(match) for match in self.matches]
        return json.dumps(record, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Part:
        """Returns the part that `to_json` wrote."""
        record: dict[str, Any] = json.loads(text)
        rows = [SampleRow.model_validate(row) for row in record["rows"]]
        matches = [Match.from_record(match) for match in record["matches"]]
        return cls(rows, Counter(record["rejected"]), record["owed"], matches)


@dataclass
class PartMaker:
    """Makes one part.

    Attributes:
        materials: What it is made from.
        books: What earlier samples have used up; its own are entered.
        task: Which part.
        ahead: Attempts that were made before, for each sample wanted; judged anew.
        attempts: All attempts, for each sample wanted.
    """

    materials: Materials
    books: Books
    task: PartTask
    ahead: Sequence[Sequence[Attempt]] = ()
    part: Part = field(default_factory=Part)
    attempts: list[list[Attempt]] = field(default_factory=list)

    @cached_property
    def corpus(self) -> Corpus:
        """The corpus, made when something has to be drawn from it."""
        return self.materials.source.corpus(self.task.split, self.task.tokens, self.task.number)

    def make(self) -> Part:
        """Returns the part with a sample for each kind wanted; kinds that are used up are owed."""
        by_name = self.materials.kinds.by_name()
        used_up: set[str] = set()
        for place, name in enumerate(self.task.wanted):
            self.attempts.append([])
            if name in used_up or not self._add_sample(by_name[name], place):
                used_up.add(name)
                self.part.owed.append(name)
        return self.part

    def _add_sample(self, kind: Kind, place: int) -> bool:
        for number in range(MAX_ATTEMPTS):
            attempt = self._ahead(place, number) or self._attempt(kind, place, number)
            self.attempts[place].append(attempt)
            self.part.matches += attempt.matches
            if isinstance(attempt.result, SampleRow):
                self.books.note(attempt.result)
                self.part.rows.append(attempt.result)
                return True
            self.part.rejected[f"{kind.name}: {attempt.result.reason}"] += 1
            if attempt.result.is_final:
                return False
        return False

    def _ahead(self, place: int, number: int) -> Attempt | None:
        if place < len(self.ahead) and number < len(self.ahead[place]):
            return self.books.judge(self.ahead[place][number])
        return None

    def _attempt(self, kind: Kind, place: int, number: int) -> Attempt:
        task = self.task
        label = f"{self.materials.plan.seed}/{task.split}/{task.tokens}/{task.number}/{place}"
        seed = seed_of(f"{label}/{number}")
        rng = random.Random(seed)
        draft = draw(kind, self.corpus, rng)
        if isinstance(draft, Rejected):
            return Attempt(draft)
        keys = tuple(statements(draft.proof))
        if refused := self.books.refuses_statements(keys):
            return Attempt(refused, keys, is_cut_short=True)
        plan, counter = self.materials.plan, self.materials.counter
        context = extend(draft, self.corpus, task.tokens, counter, rng, plan.filling)
        if isinstance(context, Rejected):
            return Attempt(context, keys)
        worded = word(draft, self.corpus, context.documents, rng)
        if isinstance(worded, Rejected):
            return Attempt(worded, keys)
        if refused := self.books.refuses_question(worded):
            return Attempt(refused, keys, worded, is_cut_short=True)
        row = self._row(draft, context, worded, seed)
        problems = check_passport(row, self.corpus)
        if problems:
            return Attempt(Rejected(f"verification: {problems[0]}"), keys, worded)
        result, matches = self._decontaminated(row)
        return Attempt(result, keys, worded, matches=matches)

    def _decontaminated(self, row: SampleRow) -> tuple[SampleRow | Rejected, tuple[Match, ...]]:
        """Returns the row unless a benchmark asks it, too, and its matches for the report."""
        matches = match_row(self.materials.benchmarks, row)
        if not any(match.dropped for match in matches):
            return row, tuple(matches)
        dropped = tuple(replace(match, sample="") for match in matches if match.dropped)
        return Rejected(f"in {matches[0].benchmark}: {matches[0].reason}"), dropped

    def _row(self, draft: Draft, context: Context, worded: Worded, seed: int) -> SampleRow:
        depth_of = dict(zip(draft.documents, context.depths, strict=True))
        names = tuple(document.id for document in context.documents)
        target = (worded.target,)
        return SampleRow(
            id=sample_id(self.task.split, draft.kind.name, worded.question, target, names),
            split=self.task.split,
            kind=draft.kind.name,
            task_type=draft.kind.task_type,
            question=worded.question,
            target=target,
            scorer=draft.kind.scorer,
            documents=names,
            document_group=self.corpus.group,
            seed=seed,
            instructions=draft.kind.instructions,
            hops=draft.hops,
            target_tokens=self.task.tokens,
            input_tokens=context.input_tokens,
            passport=Passport(
                evidence=draft.all_evidence,
                proof=draft.proof,
                options=worded.options,
                depths=tuple(depth_of[span.document] for span in draft.all_evidence),
                obfuscations=draft.obfuscations,
                cost=draft.cost,
            ),
        )


def seed_of(label: str) -> int:
    """Returns the seed, of 56 bits, that a label stands for."""
    return int.from_bytes(hashlib.blake2b(label.encode(), digest_size=7).digest(), "big")
