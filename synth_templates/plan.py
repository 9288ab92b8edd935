"""The plan of a task set: source, kinds, lengths, numbers of samples; and its quotas."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from longspan.harness.datasets.document_formats import ReadingOptions
from longspan.harness.errors import SynthesisError
from longspan.harness.files import read_mapping
from longspan.harness.taskset import SPLITS, Split
from longspan.harness.validation import describe_validation
from longspan.synth_templates.curation.deduplicate import Distinct
from longspan.synth_templates.curation.filters import Filters
from longspan.synth_templates.extend import Distractors
from longspan.synth_templates.kind_files import Kinds, SourceName
from longspan.synth_templates.models.model_plan import (
    EvolvePlan,
    ExtractPlan,
    QueriesPlan,
    VerifyPlan,
)
from longspan.synth_templates.worlds.world import NamePool

DEFAULT_NUM_SAMPLES = 200
DEFAULT_TOKENS = 2048
DEFAULT_SHARES: dict[Split, float] = {"train": 0.8, "validation": 0.1, "test": 0.1}
_MIN_WEIGHT = 1e-6
DEFAULT_NAMES: dict[Split, NamePool] = {"train": "train", "validation": "all", "test": "all"}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


Names = Annotated[dict[Split, NamePool], AfterValidator(lambda names: {**DEFAULT_NAMES, **names})]
"""Split -> names that its worlds may use; a split that is not named keeps its default."""
Weight = Annotated[float, Field(ge=0, le=1e6)]
"""A share or weight among others."""


def _add_up(weights: Mapping[Any, float]) -> Mapping[Any, float]:
    if sum(weights.values()) < _MIN_WEIGHT:
        raise ValueError(f"the weights must add up to more than 0, at least {_MIN_WEIGHT}")
    return weights


class WorldSource(_Frozen):
    """Generated fictional worlds, others for every part of every split."""

    type: Literal["world"] = "world"
    samples_per_world: int = Field(default=16, ge=1)
    """More worlds are more independent clusters; fewer are fewer documents."""
    persons: int | None = Field(default=None, ge=2, le=128)
    """Persons in a world, with half as many towns and companies. None: what the length needs."""
    names: Names = Field(default_factory=lambda: dict(DEFAULT_NAMES))
    """`train` leaves out a quarter of all names, so that held-out splits also hold unseen names."""


class FictionSource(_Frozen):
    """Rich fictional worlds in natural prose, others for every part of every split."""

    type: Literal["fiction"] = "fiction"
    samples_per_world: int = Field(default=32, ge=1)
    """More worlds are more independent clusters; fewer are fewer documents."""
    names: Names = Field(default_factory=lambda: dict(DEFAULT_NAMES))
    """`train` leaves out a quarter of all stems, so that held-out splits also hold unseen names."""


class DocumentsSource(_Frozen):
    """The user's documents, partitioned over the splits before any graph is built."""

    type: Literal["documents"] = "documents"
    path: Path
    """A folder or file that `longspan.harness.datasets.document_files.read_documents` reads."""
    reading: ReadingOptions = ReadingOptions()
    """Limits of a file, and its encoding."""
    filters: Filters = Filters()
    """What a document must be to be used."""
    shares: Annotated[dict[Split, Weight], AfterValidator(_add_up)] = Field(
        default_factory=lambda: dict(DEFAULT_SHARES)
    )
    """Share of the documents of each split."""
    extract: ExtractPlan | None = None
    """A model that finds triples in documents without any. None: they have none."""


Source = Annotated[WorldSource | FictionSource | DocumentsSource, Field(discriminator="type")]


class Plan(_Frozen):
    """What to synthesize."""

    name: str = Field(default="taskset", pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
    """Name on boards."""
    seed: int = Field(default=0, ge=0)
    """The same seed gives the same bytes."""
    source: Source = WorldSource()
    """Where documents come from."""
    kinds: Annotated[dict[str, Weight], AfterValidator(_add_up)] | None = None
    """Kind -> weight. None: every kind of the source, the same number for each task type."""
    kind_files: tuple[Path, ...] = ()
    """Files with further kinds."""
    splits: dict[Split, dict[int, int]]
    """Split -> target length of the context in tokens -> number of samples."""
    tokenizer: str | None = None
    """Checkpoint whose tokenizer counts lengths. None: estimated, four characters a token."""
    distractors: Distractors | None = None
    """How contexts are filled up to their length. None: as suits the source."""
    max_statement_uses: int = Field(default=6, ge=1)
    """How many questions may use one statement or table, so that hubs do not fill the task set."""
    evolve: EvolvePlan | None = None
    """Models that make questions about the user's documents. None: kinds that need them are left
    out."""
    queries: QueriesPlan | None = None
    """Models that put questions about tables of the user's documents into SQL. None: kinds that
    need them are left out."""
    verify: VerifyPlan | None = None
    """Models that vote on finished samples. None: none does."""
    journal: Path | None = None
    """File of replies that were paid for, kept over runs. None: in the work folder, until the task
    set is whole."""
    distinct: Distinct | None = None
    """What no two samples share: `near` (nearly the question), `question`, or `answer` (question
    and answer together). None: `near`; for worlds `answer`, since the packaged policy knows few
    names: other worlds ask the same of other documents."""
    decontaminate: tuple[str, ...] = ()
    """Benchmarks whose questions are not asked: registered tasks, JSON lines files, task sets."""

    @field_validator("splits")
    @classmethod
    def _positive(cls, value: dict[Split, dict[int, int]]) -> dict[Split, dict[int, int]]:
        for split, lengths in value.items():
            for tokens, num in lengths.items():
                if tokens < 1 or num < 0:
                    raise ValueError(
                        f"{split}: {tokens}: {num} must be a length of at least 1 and a number >= 0"
                    )
        if not any(num for lengths in value.values() for num in lengths.values()):
            raise ValueError("no samples are asked for")
        return value

    @model_validator(mode="after")
    def _models_read_documents(self) -> Self:
        for name in ("evolve", "queries"):
            if getattr(self, name) is not None and self.source.type != "documents":
                raise ValueError(f"{name} needs documents; give source a path")
        return self

    @property
    def filling(self) -> Distractors:
        """How contexts are filled: the small world's names are too few to be kept out of them."""
        loose = Distractors(tolerance=None, may_hold_answer=True)
        small = isinstance(self.source, WorldSource)
        return self.distractors or (loose if small else Distractors())

    @property
    def source_name(self) -> SourceName:
        """Which kinds apply."""
        return self.source.type

    @property
    def distinct_by_default(self) -> Distinct:
        """What no two samples share, where the plan does not say it either."""
        return self.distinct or ("answer" if self.source.type == "world" else "near")


def load_plan(path: Path) -> Plan:
    """Returns the plan of a YAML file.

    Raises:
        DataError: the file is missing or not YAML.
        SynthesisError: it is not a plan.
    """
    return parse_plan(read_mapping(path, "plan"), str(path))


def parse_plan(content: object, name: str) -> Plan:
    """Returns the plan that a mapping declares.

    Raises:
        SynthesisError: unknown keys, or values out of bounds.
    """
    try:
        return Plan.model_validate(content)
    except ValidationError as error:
        raise SynthesisError(
            f"plan {name}: {describe_validation(error)}; correct the plan"
        ) from error


def default_splits(num_samples: int, tokens: int) -> dict[Split, dict[int, int]]:
    """Returns `num_samples` over the splits in the default shares, at one length."""
    sizes = largest_remainder({split: DEFAULT_SHARES[split] for split in SPLITS}, num_samples)
    return {split: {tokens: sizes[split]} for split in SPLITS if sizes[split]}


def kind_weights(plan: Plan, kinds: Kinds) -> dict[str, float]:
    """Returns the weight of each kind; by default each task type weighs the same.

    Raises:
        SynthesisError: the plan names an unknown kind.
    """
    known = kinds.by_name()
    if plan.kinds is not None:
        unknown = sorted(set(plan.kinds) - set(known))
        if unknown:
            raise SynthesisError(
                f"unknown kind {unknown[0]!r} for source {plan.source_name}; "
                f"known: {', '.join(sorted(known))}"
            )
        return {name: weight for name, weight in plan.kinds.items() if weight > 0}
    totals: dict[str, float] = {}
    for kind in kinds.kinds:
        totals[kind.task_type] = totals.get(kind.task_type, 0.0) + kind.share
    return {kind.name: kind.share / totals[kind.task_type] for kind in kinds.kinds}


def offered(plan: Plan, kinds: Kinds) -> Kinds:
    """Returns the kinds that the plan can draw from: those that models make only with models.

    Raises:
        SynthesisError: the plan names a kind that models make, and no models.
    """
    makers = {"evolve": plan.evolve, "query": plan.queries}
    made = {kind.name: kind.shape for kind in kinds.kinds if makers.get(kind.shape, plan) is None}
    named = sorted(set(made) & set(plan.kinds or ()))
    if named:
        needs = {"evolve": "evolve (proposer, solver, verifier)", "query": "queries (writer)"}
        raise SynthesisError(
            f"kind {named[0]} is made by models; name them in the plan under "
            f"{needs[made[named[0]]]}"
        )
    drawn = tuple(kind for kind in kinds.kinds if kind.name not in made)
    return kinds.model_copy(update={"kinds": drawn})


def num_wanted(plan: Plan, kinds: Kinds) -> dict[Split, dict[str, int]]:
    """Returns how many samples of each kind a plan asks for in each split, over all lengths."""
    weights = kind_weights(plan, kinds)
    wanted: dict[Split, dict[str, int]] = {}
    for split, lengths in plan.splits.items():
        counts = dict.fromkeys(weights, 0)
        for num in lengths.values():
            for name, count in largest_remainder(weights, num).items():
                counts[name] += count
        wanted[split] = counts
    return wanted


def quotas(weights: Mapping[str, float], num_samples: int, rng: random.Random) -> list[str]:
    """Returns one kind per sample in the weights' proportions, shuffled."""
    counts = largest_remainder(weights, num_samples)
    wanted = [name for name, count in counts.items() for _ in range(count)]
    rng.shuffle(wanted)
    return wanted


def largest_remainder(weights: Mapping[Any, float], total: int) -> dict[Any, int]:
    """Returns whole numbers that sum to `total`, by the weights (Hamilton's method)."""
    whole = sum(weights.values())
    exact = {key: total * weight / whole for key, weight in weights.items()}
    counts = {key: int(value) for key, value in exact.items()}
    by_remainder = sorted(exact, key=lambda key: counts[key] - exact[key])
    for key in by_remainder[: total - sum(counts.values())]:
        counts[key] += 1
    return counts
