"""Parts one after the other, by this process or by workers, that survive a kill.

A part is a file in the work folder. It is written whole or not at all, and everything that later
parts depend on (what is still owed, which questions exist) is recomputed from the parts before it.
So a resumed run repeats an uninterrupted one byte for byte, and no sample is made twice.

Workers make parts ahead, against empty books; this process judges their attempts in order and makes
again what earlier samples forbid (`longspan.synth_templates.books`). The number of workers changes
nothing in the task set.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from itertools import islice
from pathlib import Path

from longspan.harness.errors import SynthesisError
from longspan.harness.taskset import Split
from longspan.synth_templates.books import Attempt, Books
from longspan.synth_templates.kind_files import Kinds
from longspan.synth_templates.parts import Materials, Part, PartMaker, PartTask
from longspan.synth_templates.plan import Plan, kind_weights, quotas
from longspan.synth_templates.spool import Spool
from longspan.synth_templates.workers import PartAhead, Workers

MAX_EMPTY_PARTS = 3
"""Parts in a row that gave none of a kind before it counts as used up in a source that renews."""
MAX_EXTRA_PARTS = 10
"""Parts beyond the planned ones that make up for kinds that came short."""
_PART_SUFFIX = ".part.json"


@dataclass
class Generator:
    """Generates the parts of a plan in a work folder.

    Attributes:
        materials: What they are made from.
        work: Folder of finished parts.
        spool: Where the documents of parts wait.
        workers: Who makes parts ahead. None: nobody does.
    """

    materials: Materials
    work: Path
    spool: Spool
    workers: Workers | None = None
    _books: Books = field(init=False)
    _ahead: Iterator[PartAhead] = field(default_factory=lambda: iter(()))
    _started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        """Begins with nothing used up."""
        self._books = self.materials.books()

    def parts(self, split: Split, tokens: int) -> Iterator[Part]:
        """Yields the parts of a split at one length, made now or found in the work folder."""
        plan, source = self.materials.plan, self.materials.source
        num_samples = plan.splits[split][tokens]
        rng = random.Random(f"{plan.seed}/quotas/{split}/{tokens}")
        weights = kind_weights(plan, self.materials.kinds)
        waiting = deque(quotas(weights, num_samples, rng))
        num_empty: Counter[str] = Counter()
        # Where documents stay the same, a further part may only find one more kind used up.
        num_extra = MAX_EXTRA_PARTS if source.renews else max(MAX_EXTRA_PARTS, len(weights))
        for number in range(-(-num_samples // source.samples_per_part) + num_extra):
            wanted = tuple(islice(waiting, source.samples_per_part))
            part = self._part(PartTask(split, tokens, number, wanted), waiting)
            yield part
            for _ in wanted:
                waiting.popleft()
            waiting.extend(part.owed)
            num_empty.update(set(part.owed))
            for row in part.rows:
                num_empty.pop(row.kind, None)
            used_up = set(part.owed)
            if source.renews:  # another part has other documents
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
        if self.materials.plan.kinds is None and weights:
            kept.extend(quotas(weights, len(waiting) - len(kept), rng))
        return kept

    def _part(self, task: PartTask, waiting: Iterable[str]) -> Part:
        """Returns a part; `waiting` are the kinds of this one and of all that follow it."""
        maker = PartMaker(self.materials, self._books, task)
        part = self._found(task)
        if part is not None:
            for row in part.rows:
                self._books.note(row)
        else:
            maker.ahead = self._attempts_ahead(task, waiting)
            part = maker.make()
        if any(row.document_group not in self.spool for row in part.rows):
            self.spool.write(maker.corpus)
        if maker.attempts:
            write_whole(self._path(task), part.to_json())
        return part

    def _path(self, task: PartTask) -> Path:
        return self.work / f"{task.name}{_PART_SUFFIX}"

    def _found(self, task: PartTask) -> Part | None:
        """Returns the part that an earlier run made; a damaged one is made again."""
        with suppress(FileNotFoundError, ValueError, KeyError, TypeError):
            return Part.from_json(self._path(task).read_text("utf-8"))
        return None

    def _attempts_ahead(
        self, task: PartTask, waiting: Iterable[str]
    ) -> Sequence[Sequence[Attempt]]:
        """Returns what workers made of a part, nothing where nobody did."""
        if self.workers is None:
            return ()
        made = next(self._ahead, None)
        if made is None or made.task != task:  # what is wanted has changed since
            if time.monotonic() - self._started < self.workers.head_start_seconds:
                return ()
            following = self._following(task, tuple(waiting))
            if not following:
                return ()
            self._ahead = self.workers.make([task, *following])
            made = next(self._ahead)
        return made.attempts

    def _following(self, task: PartTask, waiting: tuple[str, ...]) -> list[PartTask]:
        """Returns the parts after one that are still to be made, as far as is known now."""
        size = self.materials.source.samples_per_part
        parts = (
            replace(task, number=task.number + start // size, wanted=waiting[start : start + size])
            for start in range(size, len(waiting), size)
        )
        return [part for part in parts if not self._path(part).exists()]


def prepare_work(work: Path, plan: Plan, kinds: Kinds, fingerprint: str) -> bool:
    """Makes the work folder ready; returns whether an earlier run of the plan left parts there.

    Raises:
        SynthesisError: the folder holds parts of another plan.
    """
    record = {
        "plan": plan.model_dump(mode="json"),
        "kinds": kinds.model_dump(mode="json"),
        "input": fingerprint,
        "versions": versions(),
    }
    text = json.dumps(record, sort_keys=True, ensure_ascii=False)
    path = work / "plan.json"
    if path.exists() and path.read_text("utf-8") == text:
        return True
    if any(work.glob(f"*-*{_PART_SUFFIX}")):
        raise SynthesisError(
            f"{work} holds the beginnings of another plan, of changed documents or of another "
            f"version; remove its *{_PART_SUFFIX} files or choose another --out"
        )
    work.mkdir(parents=True, exist_ok=True)
    # Groups of another plan have the same names. Replies of models, which were paid for, stay.
    Spool.in_work_folder(work).clear()
    write_whole(path, text)
    return False


def versions() -> dict[str, str]:
    """Returns the versions that what is generated depends on."""
    return {name: version(name) for name in ("longspan", "pyarrow")}


def write_whole(path: Path, text: str) -> None:
    """Writes a file that appears whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text(text, "utf-8")
    partial.rename(path)
