"""Samples part by part: draw, extend, word, verify; and parts that survive a kill.

A part is a file in the work folder. It is written whole or not at all, and everything that later parts depend on (what
is still owed, which questions exist) is recomputed from the parts before it. So a resumed run repeats an uninterrupted
one byte for byte, and no sample is made twice.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from longspan.harness.errors import SynthesisError
from longspan.harness.passport import Passport
from longspan.harness.taskset import SampleRow, Split
from longspan.harness.tokens import TokenCounter
from longspan.synth_templates.corpus import Corpus
from longspan.synth_templates.extend import extend
from longspan.synth_templates.kinds import Kind, Kinds
from longspan.synth_templates.plan import Plan, kind_weights, quotas
from longspan.synth_templates.questions import Draft, Rejected, draw, word
from longspan.synth_templates.sources import CorpusSource
from longspan.synth_templates.verify import check_passport

MAX_ATTEMPTS = 30
"""Draws for one sample before its kind is left to the next part."""
MAX_EXTRA_PARTS = 10
"""Parts beyond the planned ones that make up for kinds that came short."""
_DIGEST_CHARS = 8


@dataclass
class Part:
    """What one part gave.

    Attributes:
        rows: Accepted samples.
        rejected: "kind: reason" -> number of draws.
        owed: Kinds that this part could not fill.
    """

    rows: list[SampleRow] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)
    owed: list[str] = field(default_factory=list)

    def to_json(self) -> str:
        """Returns the part as JSON."""
        rows = [row.model_dump(mode="json") for row in self.rows]
        record = {"rows": rows, "rejected": dict(self.rejected), "owed": self.owed}
        return json.dumps(record, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Part:
        """Returns the part that `to_json` wrote."""
        record: dict[str, Any] = json.loads(text)
        rows = [SampleRow.model_validate(row) for row in record["rows"]]
        return cls(rows, Counter(record["rejected"]), record["owed"])


@dataclass
class Generator:
    """Generates the parts of a plan in a work folder.

    Attributes:
        plan: The plan.
        kinds: The kinds of the plan's source.
        source: Gives the corpora.
        counter: Counts lengths.
        work: Folder of finished parts.
    """

    plan: Plan
    kinds: Kinds
    source: CorpusSource
    counter: TokenCounter
    work: Path
    seen: set[tuple[str, str]] = field(default_factory=set)
    """(question, target) of every sample so far, over all splits."""

    def parts(self, split: Split, tokens: int) -> Iterator[tuple[Corpus, Part]]:
        """Yields the parts of a split at one length, made now or found in the work folder."""
        num_samples = self.plan.splits[split][tokens]
        rng = random.Random(f"{self.plan.seed}/quotas/{split}/{tokens}")
        waiting = deque(quotas(kind_weights(self.plan, self.kinds), num_samples, rng))
        size = self.source.samples_per_part
        last = -(-num_samples // size) + MAX_EXTRA_PARTS
        number = 0
        while waiting and number < last:
            wanted = [waiting.popleft() for _ in range(min(size, len(waiting)))]
            corpus = self.source.corpus(split, tokens, number)
            part = self._part(split, tokens, number, wanted, corpus)
            self.seen.update((row.question, row.target[0]) for row in part.rows)
            waiting.extend(part.owed)
            number += 1
            yield corpus, part
            if not part.rows:
                break

    def _part(
        self, split: Split, tokens: int, number: int, wanted: list[str], corpus: Corpus
    ) -> Part:
        path = self.work / f"{split}-{tokens}-{number:05d}.json"
        if path.exists():
            return Part.from_json(path.read_text("utf-8"))
        part = self._make(split, tokens, number, wanted, corpus)
        partial = path.with_suffix(".partial")
        partial.write_text(part.to_json(), "utf-8")
        partial.rename(path)
        return part

    def _make(
        self, split: Split, tokens: int, number: int, wanted: list[str], corpus: Corpus
    ) -> Part:
        part, uses = Part(), Counter[tuple[str, str, str]]()
        by_name = self.kinds.by_name()
        exhausted: set[str] = set()
        for place, name in enumerate(wanted):
            if name in exhausted:
                part.owed.append(name)
                continue
            label = f"{self.plan.seed}/{split}/{tokens}/{number}/{place}"
            made = self._sample(by_name[name], corpus, split, tokens, label, part, uses)
            if made is None:
                exhausted.add(name)
                part.owed.append(name)
            else:
                part.rows.append(made)
        return part

    def _sample(
        self,
        kind: Kind,
        corpus: Corpus,
        split: Split,
        tokens: int,
        label: str,
        part: Part,
        uses: Counter[tuple[str, str, str]],
    ) -> SampleRow | None:
        made = {(row.question, row.target[0]) for row in part.rows}
        for attempt in range(MAX_ATTEMPTS):
            seed = _seed(f"{label}/{attempt}")
            rng = random.Random(seed)
            draft = draw(kind, corpus, rng)
            if isinstance(draft, Draft) and self._is_worn(draft, uses):
                draft = Rejected("statement used too often")
            row = (
                draft
                if isinstance(draft, Rejected)
                else self._finish(draft, corpus, split, tokens, seed, rng)
            )
            if isinstance(row, SampleRow) and (row.question, row.target[0]) in self.seen | made:
                row = Rejected("repeats a question")
            if isinstance(row, SampleRow):
                uses.update((e.subject, e.relation, e.object) for e in draft.edges)
                return row
            part.rejected[f"{kind.name}: {row.reason}"] += 1
        return None

    def _is_worn(self, draft: Draft, uses: Counter[tuple[str, str, str]]) -> bool:
        keys = [(e.subject, e.relation, e.object) for e in draft.edges]
        return any(uses[key] >= self.plan.max_edge_uses for key in keys)

    def _finish(
        self,
        draft: Draft,
        corpus: Corpus,
        split: Split,
        tokens: int,
        seed: int,
        rng: random.Random,
    ) -> SampleRow | Rejected:
        context = extend(draft.documents, corpus, tokens, self.counter, rng)
        if isinstance(context, Rejected):
            return context
        worded = word(draft, context.documents, rng)
        if isinstance(worded, Rejected):
            return worded
        depth_of = dict(zip(draft.documents, context.depths, strict=True))
        passport = Passport(
            evidence=draft.evidence,
            proof=draft.proof,
            options=worded.options,
            depths=tuple(depth_of[span.document] for span in draft.evidence),
        )
        names = tuple(document.id for document in context.documents)
        row = SampleRow(
            id=f"{split}-{_digest(worded.question, worded.target, *names)}-{draft.kind.name}",
            split=split,
            kind=draft.kind.name,
            task_type=draft.kind.task_type,
            question=worded.question,
            target=(worded.target,),
            scorer=draft.kind.scorer,
            documents=names,
            document_group=corpus.group,
            seed=seed,
            hops=len(draft.edges) or None,
            target_tokens=tokens,
            input_tokens=context.input_tokens,
            passport=passport,
        )
        problems = check_passport(row, corpus)
        return Rejected(f"verification: {problems[0]}") if problems else row


def prepare_work(work: Path, plan: Plan, kinds: Kinds, fingerprint: str) -> bool:
    """Makes the work folder ready; returns whether parts of an earlier run of the same plan are in it.

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
    if path.exists():
        if path.read_text("utf-8") != text:
            raise SynthesisError(
                f"{work} holds the beginnings of another plan or of changed documents; remove it or choose another --out"
            )
        return True
    work.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(text, "utf-8")
    partial.rename(path)
    return False


def _seed(label: str) -> int:
    return int.from_bytes(hashlib.blake2b(label.encode(), digest_size=7).digest(), "big")


def _digest(*parts: str) -> str:
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=_DIGEST_CHARS // 2).hexdigest()
