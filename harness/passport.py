"""The passport of a synthesized sample: where its evidence stands, and what proves its answer.

A passport is data that anybody can re-execute offline (`longspan check`): spans quote documents, a
proof is a path of supported triples or an operation on a table. It does not say how the question
was worded, and it holds no time stamps, so that the same seed gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from longspan.harness.datasets.documents import Triple

Operation = Literal["count_above", "max", "min", "sum", "difference"]
"""What a table proof computes from its rows."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class EvidenceSpan(_Frozen):
    """A passage of a document that supports one step of the proof."""

    document: str
    """Document id."""
    start: int = Field(ge=0)
    """First character in `Document.text`."""
    end: int = Field(gt=0)
    """One past the last character."""
    quote: str
    """The characters themselves, so that a changed document is noticed."""


class ProofStep(_Frozen):
    """One triple as a document states it; evidence `i` of the passport supports step `i`."""

    subject: str
    relation: str
    object: str
    document: str
    inverse: bool = False
    """Whether the proof goes from the object to the subject."""

    @property
    def triple(self) -> Triple:
        """What the document states, whichever way the proof goes."""
        return Triple(subject=self.subject, relation=self.relation, object=self.object)

    @property
    def source(self) -> str:
        """The entity that the step leaves."""
        return self.object if self.inverse else self.subject

    @property
    def target(self) -> str:
        """The entity that the step reaches."""
        return self.subject if self.inverse else self.object


Chain = Annotated[tuple[ProofStep, ...], Field(min_length=1)]
"""Steps, each of which begins where the one before ends."""
Pick = Literal["largest", "smallest", "difference"]
"""What a comparison asks for: a subject, or by how much the two values differ."""


class PathProof(_Frozen):
    """One chain; the answer is the entity that it reaches, or the sentence of its last step."""

    type: Literal["path"] = "path"
    steps: Chain
    answer: Literal["entity", "sentence"] = "entity"


class CompareProof(_Frozen):
    """Chains that end in numbers or years of one relation; the answer is a last subject."""

    type: Literal["compare"] = "compare"
    sides: tuple[Chain, ...] = Field(min_length=2)
    pick: Pick = "largest"

    @property
    def steps(self) -> tuple[ProofStep, ...]:
        """All steps, side by side in order of the evidence."""
        return tuple(step for side in self.sides for step in side)


Arithmetic = Literal[
    "sum", "range", "count_above", "count_below", "shift", "shift_largest", "shift_smallest"
]
"""What is computed from the values of the sides.

`shift` adds an amount to the only value; `shift_largest` and `shift_smallest` ask which subject has
the largest or smallest value after it was added to the first one."""


class ArithmeticProof(_Frozen):
    """Chains that end in numbers or years of one relation; the answer is computed from these."""

    type: Literal["arithmetic"] = "arithmetic"
    sides: tuple[Chain, ...] = Field(min_length=1)
    operation: Arithmetic
    amount: int = 0
    """The limit of a count, or the amount of a shift."""

    @property
    def steps(self) -> tuple[ProofStep, ...]:
        """All steps, side by side in order of the evidence."""
        return tuple(step for side in self.sides for step in side)


class SelectProof(_Frozen):
    """A chain, and a statement about each candidate: the answer's object is the chain's end."""

    type: Literal["select"] = "select"
    path: Chain
    candidates: tuple[ProofStep, ...] = Field(min_length=2)

    @property
    def steps(self) -> tuple[ProofStep, ...]:
        """All steps in order of the evidence: the chain, then the candidates."""
        return (*self.path, *self.candidates)


Recall = Literal[
    "latest",
    "first",
    "previous",
    "before",
    "after",
    "nth",
    "at",
    "num_changes",
    "num_values",
    "date",
]
"""What is asked about all that was said on one thing in a dialogue.

`previous` is the value before the last change, `before` and `after` the neighbours of a given
value, `at` the value when something else was first mentioned, `date` when a value was first told.
Saying a value again is no change."""


class RecallProof(_Frozen):
    """All that the user said about one thing, in order of time."""

    type: Literal["recall"] = "recall"
    steps: Chain
    """One step for each mention, none left out."""
    operation: Recall
    position: int | None = Field(default=None, ge=1)
    """Which of the distinct values, from 1 (`nth`)."""
    value: str | None = None
    """The given value (`before`, `after`, `date`)."""
    marker: ProofStep | None = None
    """The first mention of something else (`at`); it is the last evidence."""


class MentionsProof(_Frozen):
    """First mentions of several things: which came first or last, or how many days lie between."""

    type: Literal["mentions"] = "mentions"
    steps: tuple[ProofStep, ...] = Field(min_length=2)
    operation: Literal["first", "last", "days"]


class RepeatProof(_Frozen):
    """All replies to the same request, in order; the answer is one of them, after a prefix."""

    type: Literal["repeat"] = "repeat"
    request: str
    documents: tuple[str, ...] = Field(min_length=2)
    """The session of each reply; evidence `i` is reply `i`."""
    position: int = Field(ge=1)
    """Which reply, from 1."""
    prefix: str = ""
    """What the answer must begin with (metadata of the `mrcr` scorer); "" for none."""


class TableProof(_Frozen):
    """An operation on the rows of one table; evidence 0 is the table as its document shows it."""

    type: Literal["table"] = "table"
    document: str
    subject: str
    column: str
    rows: tuple[tuple[str, float], ...] = Field(min_length=1)
    operation: Operation
    threshold: float | None = None


TranscriptRole = Literal["proposer", "solver", "verifier", "blind", "blind_verifier"]
"""Who spoke; `blind` solves without documents, the verifiers judge a solver's answer."""


class TranscriptTurn(_Frozen):
    """What a model said in the making of a question."""

    role: TranscriptRole
    model: str
    prompt_hash: str
    text: str
    """Its reply, shortened; of a proposer the proposal alone (JSON)."""


class TranscriptProof(_Frozen):
    """What models said in making a question; evidence `i` is quote `i` of the proposal."""

    type: Literal["transcript"] = "transcript"
    question: str
    answer: str
    options: tuple[str, ...] = ()
    """Options in the order in which the solvers saw them."""
    turns: tuple[TranscriptTurn, ...] = Field(min_length=1)
    hash: str
    """Hash of all of it."""


class SqlProof(_Frozen):
    """A query over the evidence's tables aligned into one; evidence `i` is table `i`."""

    type: Literal["sql"] = "sql"
    columns: tuple[tuple[str, str, str], ...] = Field(min_length=1)
    """Name, type and unit of each column that the aligned tables share."""
    measures: tuple[str, ...]
    """Columns of numbers that the question is about."""
    documents: tuple[str, ...] = Field(min_length=1)
    """Document of each table."""
    sql: str
    rows: tuple[tuple[float | int | str | None, ...], ...] = Field(min_length=1)
    """What the query gives, of which the answer is the first cell."""
    answer: Literal["number", "whole", "name"]
    ranked: bool
    """Whether the second cell ranks the rows, and must differ between the first two."""
    decimals: int = Field(ge=0)
    """To how many decimals a number is rounded."""
    exact: bool = False
    """Whether that is how many it has, so that the question asks for the exact value."""
    unit: str = ""
    """Unit of the answer."""


class QueryProof(SqlProof):
    """A question and its query as a model wrote them, with the query of a model that only read it.

    Both queries give the answer.
    """

    type: Literal["query"] = "query"  # type: ignore[assignment]
    question: str = Field(min_length=10)
    """The question as it was written."""
    second_sql: str
    """The query of the model that did not see the first."""


AnyProof = (
    PathProof
    | CompareProof
    | ArithmeticProof
    | SelectProof
    | TableProof
    | SqlProof
    | QueryProof
    | RecallProof
    | MentionsProof
    | RepeatProof
    | TranscriptProof
)
Proof = Annotated[AnyProof, Field(discriminator="type")]


def statements(proof: AnyProof) -> list[tuple[str, ...]]:
    """Returns keys of the statements that a proof uses, to count how often each is used."""
    if isinstance(proof, TableProof):
        return [(proof.document, proof.subject, proof.column)]
    if isinstance(proof, TranscriptProof):
        return [("transcript", proof.hash)]
    if isinstance(proof, SqlProof):
        return [("\0".join(sorted(proof.documents)), *proof.measures)]
    if isinstance(proof, RepeatProof):
        return [(proof.documents[proof.position - 1], proof.request)]
    return [(s.document, s.subject, s.relation, s.object) for s in proof.steps]


def num_hops(proof: AnyProof, obfuscations: Sequence[Obfuscation] = ()) -> int | None:
    """Returns how many statements an answer needs, a description as one; None without steps."""
    if isinstance(proof, SelectProof):
        num = len(proof.path) + 1  # the other candidates are no step towards the answer
    elif isinstance(proof, PathProof | CompareProof | ArithmeticProof):
        num = len(proof.steps)
    else:
        return None
    return num + bool(obfuscations)


class Constraint(_Frozen):
    """One thing that a description says of its entity."""

    statement: ProofStep
    """What a document states of the entity."""
    years: tuple[int, int] | None = None
    """The time that the description names instead of the date: first and last year."""


class Obfuscation(_Frozen):
    """An entity that the question describes instead of naming it."""

    entity: str
    """The entity as its document names it."""
    text: str
    """The description as it stands in the question."""
    constraints: tuple[Constraint, ...] = Field(min_length=1)
    """What it says; their evidence follows that of the proof, in order."""


VoteCheck = Literal["grounding", "scarce", "robustness"]
"""What a vote is about: no documents, titles and one document, the whole context."""


class Vote(_Frozen):
    """One attempt of a model at a sample, made to verify the sample."""

    check: VoteCheck
    """What the model was shown."""
    model: str
    verdict: bool | None
    """Whether the sample's scorer took the answer as right; None where there was none to score."""
    attempt: int = Field(default=1, ge=1)
    answer: str = ""
    """The answer that was scored, shortened."""
    completion_hash: str = ""
    """Hash of the whole completion."""


class Cost(_Frozen):
    """What a sample cost in model calls and tokens (0 for model-free synthesis)."""

    model_calls: int = Field(default=0, ge=0)
    prompt_tokens: int = Field(default=0, ge=0)
    sampled_tokens: int = Field(default=0, ge=0)

    def __add__(self, other: Cost) -> Cost:
        """Returns the cost of both."""
        return Cost(
            model_calls=self.model_calls + other.model_calls,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            sampled_tokens=self.sampled_tokens + other.sampled_tokens,
        )


class Passport(_Frozen):
    """Evidence, proof and history of a sample."""

    evidence: tuple[EvidenceSpan, ...] = Field(min_length=1)
    """The spans of the proof, then those of its obfuscations."""
    proof: Proof
    options: tuple[str, ...] = ()
    """Options of a multiple-choice sample, in the order of their letters."""
    depths: tuple[float, ...] = ()
    """For each evidence span, the fraction of the context's tokens before its document."""
    obfuscations: tuple[Obfuscation, ...] = ()
    votes: tuple[Vote, ...] = ()
    cost: Cost = Cost()


def evidence_ranges(
    passport: Passport, offsets: Mapping[str, tuple[int, int]], lengths: Mapping[str, int]
) -> list[tuple[int, int]]:
    """Returns the evidence spans as character ranges of the rendered context.

    Args:
        passport: The passport.
        offsets: Document id -> [start, end) of the rendered document in the context. A rendered
            document ends with its
            text, so the text starts `lengths[id]` characters before the end.
        lengths: Document id -> characters of its text.
    """
    ranges = []
    for span in passport.evidence:
        text_start = offsets[span.document][1] - lengths[span.document]
        ranges.append((text_start + span.start, text_start + span.end))
    return ranges


def share_that_survives(
    ranges: Sequence[tuple[int, int]], kept: Sequence[tuple[int, int]]
) -> float:
    """Returns the fraction in [0, 1] of evidence ranges that lie wholly inside one kept range."""
    if not ranges:
        return 1.0
    inside = [any(a <= start and end <= b for a, b in kept) for start, end in ranges]
    return sum(inside) / len(inside)
