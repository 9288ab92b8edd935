"""What earlier samples have used up, and how an attempt at the next one is judged by it.

A sample depends on earlier ones in two ways: no question is asked twice, and no statement is used
too often. All else about it follows from its kind, seed and corpus. So attempts can be made
anywhere, by many workers who know nothing of each other, and judged in order here: the samples are
those of a single process, byte for byte.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from longspan.harness.passport import statements
from longspan.harness.taskset import SampleRow
from longspan.synth_templates.curation.contamination import Match
from longspan.synth_templates.curation.deduplicate import Asked, Distinct
from longspan.synth_templates.questions import Worded, core_question
from longspan.synth_templates.shapes.draft import Rejected

Statements = tuple[tuple[str, ...], ...]
OVERUSED = "statement used too often"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One draw of a kind, as far as it went.

    Attributes:
        result: The sample, or why there is none.
        statements: What a draft's proof uses; empty where there was no draft.
        worded: The question, where it came to one.
        is_cut_short: Whether the books ended it: against other books it may go further.
        matches: Questions of benchmarks that the sample or draft resembles.
    """

    result: SampleRow | Rejected
    statements: Statements = ()
    worded: Worded | None = None
    is_cut_short: bool = False
    matches: tuple[Match, ...] = ()


@dataclass
class Books:
    """The questions and statements of all samples so far, over all splits.

    Attributes:
        distinct: What no two samples share.
        max_statement_uses: How many samples may use one statement.
    """

    distinct: Distinct
    max_statement_uses: int
    _asked: Asked = field(init=False)
    _uses: Counter[tuple[str, ...]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        """Begins with no question asked."""
        self._asked = Asked(self.distinct)

    def refuses_statements(self, keys: Iterable[tuple[str, ...]]) -> Rejected | None:
        """Returns why a draft with these statements is no sample, None where it may be one."""
        if any(self._uses[key] >= self.max_statement_uses for key in keys):
            return Rejected(OVERUSED)
        return None

    def refuses_question(self, worded: Worded) -> Rejected | None:
        """Returns why a question may not be asked any more, None where it may."""
        core = core_question(worded.question, worded.options)
        reason = self._asked.repeats(worded.question, worded.target, core)
        return None if reason is None else Rejected(reason)

    def judge(self, attempt: Attempt) -> Attempt | None:
        """Returns an attempt as these books decide it; None where it has to be made again.

        It was made against other books, which may have let through what these refuse; or have
        refused what these let through, so that nobody knows what would have become of it.
        """
        refused = self.refuses_statements(attempt.statements)
        if refused is None and attempt.worded is not None:
            refused = self.refuses_question(attempt.worded)
        if refused is not None:
            return Attempt(refused)
        return None if attempt.is_cut_short else attempt

    def note(self, row: SampleRow) -> None:
        """Enters a sample, which later ones must not repeat."""
        options = row.passport.options if row.passport is not None else ()
        self._asked.add(row.question, row.target[0], core_question(row.question, options))
        if row.passport is not None:
            self._uses.update(statements(row.passport.proof))
