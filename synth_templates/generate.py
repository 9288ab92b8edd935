"""Samples part by part: draw, extend, word, verify; and parts that survive a kill.

A part is a file in the work folder. It is written whole or not at all, and everything that later
parts depend on (what is still owed, which questions exist) is recomputed from the parts before it.
So a resumed run repeats an uninterrupted one byte for byte, and no sample is made twice.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from longspan.harness.errors import SynthesisError
from longspan.harness.passport import Passport, statements
from longspan.harness.taskset import SampleRow, Split
from longspan.harness.tokens import TokenCounter
from longspan.synth_templates.corpus import Corpus
from longspan.synth_templates.curation.contamination import BenchmarkIndex, Match, match_row
from longspan.synth_templates.curation.deduplicate import Asked
from longspan.synth_templates.declared import sample_id
from longspan.synth_templates.extend import Context, extend
from longspan.synth_templates.kind_files import Kinds
from longspan.synth_templates.plan import Plan, kind_weights, quotas
from longspan.synth_templates.questions import Worded, core_question, draw, word
from longspan.synth_templates.shapes.draft import Draft, Rejected
from longspan.synth_templates.shapes.registry import Kind
from longspan.synth_templates.sources import CorpusSource
from longspan.synth_templates.verify import check_passport

MAX_ATTEMPTS = 200
"""Draws for one sample before its kind counts as used up in a part."""
MAX_EMPTY_PARTS = 3
"""Parts in a row that gave none of a kind before it counts as used up in a source that renews."""
MAX_EXTRA_PARTS = 10
"""Parts beyond the planned ones that make up for kinds that came short."""
_PART_SUFFIX = ".part.json"


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
class Generator:
    """Generates the parts of a plan in a work folder.

    Attributes:
        plan: The plan.
        kinds: The kinds of the plan's source.
        source: Gives the corpora.
        counter: Counts lengths.
        work: Folder of finished parts.
        benchmarks: Questions that must not be asked.
    """

    plan: Plan
    kinds: Kinds
    source: CorpusSource
    counter: TokenCounter
    work: Path
    benchmarks: BenchmarkIndex
    asked: Asked = field(init=False)
    """The questions of all samples so far, over all splits."""
    uses: Counter[tuple[str, ...]] = field(default_factory=Counter)
    """How many samples use each statement."""

    def __post_init__(self) -> None:
        """Begins with no question asked."""
        self.asked = Asked(self.plan.distinct_by_default)

    def parts(self, split: Split, tokens: int) -> Iterator[tuple[Corpus, Part]]:
        """Yields the parts of a split at one length, made now or found in the work folder."""
        num_samples = self.plan.splits[split][tokens]
        rng = random.Random(f"{self.plan.seed}/quotas/{split}/{tokens}")
        weights = kind_weights(self.plan, self.kinds)
        waiting = deque(quotas(weights, num_samples, rng))
        size = self.source.samples_per_part
        num_empty: Counter[str] = Counter()
        for number in range(-(-num_samples // size) + MAX_EXTRA_PARTS):
            wanted = [waiting.popleft() for _ in range(min(size, len(waiting)))]
            corpus = self.source.corpus(split, tokens, number)
            part = self._part(split, tokens, number, wanted, corpus)
            yield corpus, part
            waiting.extend(part.owed)
            num_empty.update(set(part.owed))
            for row in part.rows:
                num_empty.pop(row.kind, None)
            used_up = set(part.owed)
            if self.source.renews:  # another part has other documents
                used_up = {name for name in used_up if num_empty[name] >= MAX_EMPTY_PARTS}
            if used_up:
                weights = {name: w for name, w in weights.items() if name not in used_up}
                waiting = self._reassign(waiting, weights, rng)
            if not waiting:
                break

    def _reassign(
        self, waiting: deque[str], weights: dict[str, float], rng: random.Random
    ) -> deque[str]:
        """Gives what used-up kinds owe to the others, unless the plan names its kinds."""
        kept = deque(name for name in waiting if name in weights)
        if self.plan.kinds is None and weights:
            kept.extend(quotas(weights, len(waiting) - len(kept), rng))
        return kept

    def note(self, row: SampleRow) -> None:
        """Counts a sample to those that later ones must not repeat."""
        options = row.passport.options if row.passport is not None else ()
        self.asked.add(row.question, row.target[0], core_question(row.question, options))
        if row.passport is not None:
            self.uses.update(statements(row.passport.proof))

    def _part(
        self, split: Split, tokens: int, number: int, wanted: list[str], corpus: Corpus
    ) -> Part:
        path = self.work / f"{split}-{tokens}-{number:05d}{_PART_SUFFIX}"
        if path.exists():
            with suppress(ValueError, KeyError, TypeError):  # a damaged part is made again
                part = Part.from_json(path.read_text("utf-8"))
                for row in part.rows:
                    self.note(row)
                return part
        part = _PartMaker(self, corpus, split, tokens, number).make(wanted)
        write_whole(path, part.to_json())
        return part


@dataclass
class _PartMaker:
    """Makes one part."""

    generator: Generator
    corpus: Corpus
    split: Split
    tokens: int
    number: int
    part: Part = field(default_factory=Part)

    def make(self, wanted: list[str]) -> Part:
        """Returns the part with a sample for each kind wanted; kinds that are used up are owed."""
        by_name = self.generator.kinds.by_name()
        used_up: set[str] = set()
        for place, name in enumerate(wanted):
            label = f"{self.generator.plan.seed}/{self.split}/{self.tokens}/{self.number}/{place}"
            if name in used_up or not self._add_sample(by_name[name], label):
                used_up.add(name)
                self.part.owed.append(name)
        return self.part

    def _add_sample(self, kind: Kind, label: str) -> bool:
        for attempt in range(MAX_ATTEMPTS):
            row = self._try(kind, _seed(f"{label}/{attempt}"))
            if isinstance(row, SampleRow):
                self.generator.note(row)
                self.part.rows.append(row)
                return True
            self.part.rejected[f"{kind.name}: {row.reason}"] += 1
            if row.is_final:
                return False
        return False

    def _try(self, kind: Kind, seed: int) -> SampleRow | Rejected:
        rng = random.Random(seed)
        draft = draw(kind, self.corpus, rng)
        if isinstance(draft, Rejected):
            return draft
        limit = self.generator.plan.max_statement_uses
        if any(self.generator.uses[key] >= limit for key in statements(draft.proof)):
            return Rejected("statement used too often")
        plan, counter = self.generator.plan, self.generator.counter
        context = extend(draft, self.corpus, self.tokens, counter, rng, plan.filling)
        if isinstance(context, Rejected):
            return context
        worded = word(draft, self.corpus, context.documents, rng)
        if isinstance(worded, Rejected):
            return worded
        core = core_question(worded.question, worded.options)
        reason = self.generator.asked.repeats(worded.question, worded.target, core)
        if reason is not None:
            return Rejected(reason)
        row = self._row(draft, context, worded, seed)
        problems = check_passport(row, self.corpus)
        if problems:
            return Rejected(f"verification: {problems[0]}")
        return self._decontaminated(row)

    def _decontaminated(self, row: SampleRow) -> SampleRow | Rejected:
        """Returns the row unless a benchmark asks it, too; keeps all matches for the report."""
        matches = match_row(self.generator.benchmarks, row)
        if not any(match.dropped for match in matches):
            self.part.matches += matches
            return row
        self.part.matches += [replace(match, sample="") for match in matches if match.dropped]
        return Rejected(f"in {matches[0].benchmark}: {matches[0].reason}")

    def _row(self, draft: Draft, context: Context, worded: Worded, seed: int) -> SampleRow:
        depth_of = dict(zip(draft.documents, context.depths, strict=True))
        names = tuple(document.id for document in context.documents)
        target = (worded.target,)
        return SampleRow(
            id=sample_id(self.split, draft.kind.name, worded.question, target, names),
            split=self.split,
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
            target_tokens=self.tokens,
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


def prepare_work(work: Path, plan: Plan, kinds: Kinds, fingerprint: str) -> bool:
    """Makes the work folder ready; returns whether an earlier run of the plan left parts there.

    Raises:
        SynthesisError: the folder holds parts of another plan.
    """
    record = {
        "plan": plan.model_dump(mode="json"),
        "kinds": kinds.model_dump(mode="json"),
        "input": fingerprint,
    }
    text = json.dumps(record, sort_keys=True, ensure_ascii=False)
    path = work / "plan.json"
    if path.exists() and path.read_text("utf-8") == text:
        return True
    if any(work.glob(f"*-*{_PART_SUFFIX}")):
        raise SynthesisError(
            f"{work} holds the beginnings of another plan or of changed documents; "
            f"remove its *{_PART_SUFFIX} files or choose another --out"
        )
    work.mkdir(parents=True, exist_ok=True)
    write_whole(path, text)
    return False


def write_whole(path: Path, text: str) -> None:
    """Writes a file that appears whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text(text, "utf-8")
    partial.rename(path)


def _seed(label: str) -> int:
    return int.from_bytes(hashlib.blake2b(label.encode(), digest_size=7).digest(), "big")
