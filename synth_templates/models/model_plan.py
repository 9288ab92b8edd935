"""What a plan says about models: who extracts, proposes, solves and votes, and how they are asked.

A model is any that Inspect knows, by name ("openai/gpt-5"), or a local checkpoint's name or folder.
Without these parts of a plan no model takes part.
"""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelPlan(_Frozen):
    """A model and how it is asked."""

    model: str = Field(min_length=1)
    """Name in Inspect's terms; a bare name or a folder is a local checkpoint."""
    arguments: dict[str, bool | int | float | str] = Field(default_factory=dict)
    """Arguments of its provider, as `-M name=value` gives them to evaluations."""
    temperature: float = Field(default=0.0, ge=0)
    """0 is greedy."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Mass of the nucleus that tokens are drawn from."""
    max_tokens: int = Field(default=2048, ge=1)
    """Most tokens of a reply."""
    timeout_seconds: float = Field(default=600.0, gt=0)
    """Longest wait for one attempt of a call."""
    max_connections: int = Field(default=16, ge=1)
    """Calls in flight at once."""


class AskingPlan(ModelPlan):
    """A model whose replies must fit a schema."""

    retries: int = Field(default=2, ge=0)
    """How often it is shown what was wrong with a reply and asked again."""


class ExtractPlan(AskingPlan):
    """Extraction of triples from documents that bring none."""

    max_triples: int = Field(default=20, ge=1)
    """Most triples of a window."""
    window_chars: int = Field(default=6000, ge=200)
    """Longer documents are read in windows of so many characters."""


class VotePlan(ModelPlan):
    """A check of finished samples by a model, sampled as evaluations are unless said otherwise."""

    temperature: float = Field(default=0.7, ge=0)
    """0 is greedy: then all attempts are alike."""
    top_p: float = Field(default=0.95, gt=0, le=1)
    """Mass of the nucleus that tokens are drawn from."""
    attempts: int = Field(default=1, ge=1)
    """Attempts at each sample (the k of pass@k)."""


class VerifyPlan(_Frozen):
    """Verification of finished samples, in the order of the fields; absent checks are not made."""

    grounding: VotePlan | None = None
    """Closed book: a sample that is ever answered without documents is dropped."""
    scarce: VotePlan | None = None
    """Titles and one document of the evidence: a sample that is ever answered so is dropped."""
    robustness: VotePlan | None = None
    """The whole context: a sample with pass@k = 0 is dropped."""
    grader: ModelPlan | None = None
    """Judge of answers that the scorer's rule does not find, as in evaluation."""

    @model_validator(mode="after")
    def _checks_something(self) -> Self:
        if not (self.grounding or self.scarce or self.robustness):
            raise ValueError("verify needs grounding, scarce or robustness")
        return self


class EvolvePlan(_Frozen):
    """Self-evolution (MASE): who proposes, solves and verifies, over clusters of documents."""

    proposer: AskingPlan
    """Writes questions with answers and quotes."""
    solver: ModelPlan
    """Answers from the documents, and must agree with the proposer."""
    verifier: ModelPlan
    """Judges whether two answers are equivalent."""
    blind: ModelPlan | None = None
    """Answers without the documents, and must not agree. None: the solver does."""
    cluster_documents: int = Field(default=4, ge=1, le=32)
    """Most documents of a cluster."""
    max_clusters: int | None = Field(default=None, ge=1)
    """Only so many clusters of each split. None: all."""
    max_document_chars: int = Field(default=8000, ge=200)
    """Longer documents are left out of clusters."""
    rounds: int = Field(default=4, ge=1)
    """Most proposals of a cluster."""

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models that take part."""
        roles = (self.proposer, self.solver, self.verifier, self.blind or self.solver)
        return tuple(role.model for role in roles)


class QueriesPlan(_Frozen):
    """Questions about tables that models put into SQL."""

    writer: AskingPlan
    """Writes questions with their queries."""
    checker: AskingPlan | None = None
    """Puts the questions into SQL without seeing those queries: both must give one answer. None:
    the writer does."""
    max_tables: int | None = Field(default=None, ge=1)
    """Only so many tables, or groups of them, of each split and kind. None: all."""
    shown_rows: int = Field(default=5, ge=1, le=100)
    """Rows of the tables that the models are shown."""
    rounds: int = Field(default=4, ge=1)
    """Most questions about a table."""

    @property
    def roles(self) -> tuple[AskingPlan, AskingPlan]:
        """The writer and the checker."""
        return self.writer, self.checker or self.writer

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models that take part."""
        return tuple(role.model for role in self.roles)
