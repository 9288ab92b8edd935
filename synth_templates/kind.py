"""What every question kind declares, whatever its shape.

A kind is data (YAML): task type, wordings, scorer, and the parameters of its shape. The shapes and
their own parameters are in `longspan.synth_templates.shapes`, one file each.
"""

from __future__ import annotations

import re
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from longspan.harness.errors import SpecError
from longspan.harness.prompts import DEFAULT_INSTRUCTIONS
from longspan.harness.scoring.rules import RULES
from longspan.harness.templates import check_template

_LETTER = "letter"
_OPTIONS = re.compile(r"\{\{[^}]*\boptions\b")
TaskType = Literal[
    "multiple_choice", "multi_hop", "reading_comprehension", "dialogue_memory", "corpus_numeric"
]
Paradigm = Literal[
    "fact",
    "multi_fact",
    "temporal",
    "causal",
    "hypothetical",
    "numeric",
    "comparison",
    "intersection",
    "viewpoint",
    "in_context_learning",
    "repetition",
    "code",
]


class KindBase(BaseModel):
    """What all kinds of question share."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    task_type: TaskType
    """The type that balanced sampling draws from."""
    paradigm: Paradigm = "fact"
    """What the question exercises, for tables of results."""
    question: tuple[str, ...] = Field(min_length=1)
    """Wordings (sandboxed Jinja); one is drawn per sample."""
    scorer: str
    """Scorer of the harness that marks the answer."""
    instructions: str = DEFAULT_INSTRUCTIONS
    """Format instructions after the question."""
    num_options: int | None = Field(default=None, ge=2, le=26)
    """Options of a multiple-choice question, the right one included; None asks openly."""
    unmentioned_options: bool = False
    """Wrong options must not stand in the evidence: real text may claim less than is true."""
    share: float = Field(default=1.0, gt=0, le=1e6)
    """Weight of the kind where a plan does not say otherwise."""

    @field_validator("question", mode="before")
    @classmethod
    def _as_list(cls, value: object) -> object:
        return [value] if isinstance(value, str) else value

    @field_validator("scorer")
    @classmethod
    def _is_a_scorer(cls, value: str) -> str:
        if value not in RULES:
            raise ValueError(f"unknown scorer; known: {', '.join(RULES)}")
        return value

    @field_validator("question", mode="after")
    @classmethod
    def _are_templates(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for wording in value:
            try:
                check_template(wording)
            except SpecError as error:
                raise ValueError(str(error)) from error
        return value

    @model_validator(mode="after")
    def _choices_list_options(self) -> Self:
        for wording in self.question:
            if bool(_OPTIONS.search(wording)) != bool(self.num_options):
                need = "list {{ options }}" if self.num_options else "set num_options"
                raise ValueError(f"{need}: num_options is {self.num_options} in {wording!r:.80}")
        if (self.scorer == _LETTER) != bool(self.num_options):
            wanted = "a choice is" if self.num_options else "only a choice is"
            raise ValueError(f"{wanted} scored by letter: got scorer {self.scorer!r}")
        return self
