"""Parity: the same completion gets the same number in evaluation and in training.

Recorded completions are replayed by a model that repeats them: once through Inspect's `eval`, whose
log is written and read back, and once through the RL environment. Any difference is a defect, since
the two are one definition of a task. Whether the number is right is not judged here.
"""

from __future__ import annotations

import copy
import itertools
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer
from inspect_ai import Task, eval, task_with
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import EvalSample, read_eval_log
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    GenerateConfig,
    Model,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    get_model,
    modelapi,
)
from inspect_ai.tool import ToolChoice, ToolInfo

from longspan.harness.environment import Environment, identify, solvers_of
from longspan.harness.errors import DataError, ModelError
from longspan.harness.files import read_json_lines
from longspan.harness.harvest import choose_value, read_value
from longspan.harness.prompts import identity_of
from longspan.harness.resolve import TaskLike, named_task, parse_arguments, resolve_task

PROVIDER = "longspan-replay"
DEFAULT_COMPLETIONS_PER_TASK = 50


@dataclass(frozen=True, slots=True)
class Completion:
    """A recorded completion of a sample."""

    sample_id: str
    text: str
    stop_reason: Literal["stop", "max_tokens"] = "stop"


@dataclass(frozen=True, slots=True)
class Difference:
    """A completion that evaluation and training value differently; None: no value."""

    completion: Completion
    score: float | None
    reward: float | None

    def __str__(self) -> str:
        return (
            f"sample {self.completion.sample_id}, completion {self.completion.text[:60]!r}: "
            f"evaluation says {self.score}, training says {self.reward}"
        )


@dataclass(frozen=True, slots=True)
class ParityReport:
    """What a replay found."""

    task: str
    num_completions: int
    num_scored: int
    differences: tuple[Difference, ...]


def replay_parity(
    task: TaskLike,
    completions: Sequence[Completion],
    *,
    reward_key: str | None = None,
    model_roles: Mapping[str, Model | str] | None = None,
) -> ParityReport:
    """Returns where evaluation and training disagree about completions of a task's samples.

    Raises:
        DataError: a completion of a sample that the task does not have, or none at all.
        ModelError: not one completion was scored.
    """
    name, task = resolve_task(task)
    samples, model = _replay(name, task, completions)
    environment = Environment(
        [task],
        model,
        model_roles=model_roles,
        reward_keys={task.name: reward_key, name: reward_key} if reward_key else None,
    )
    (batch_name,) = environment.tasks
    rewards = {one.sample_id: one for one in environment.rollouts({batch_name: samples}, 1)}
    scores = {str(one.id): one for one in _evaluated(task, samples, model, model_roles)}
    differences, num_scored = [], 0
    for number, completion in enumerate(completions):
        score = _score(scores[f"{number}"], reward_key)
        reward = rewards[f"{number}"].reward
        num_scored += score is not None
        if score != reward:
            differences.append(Difference(completion, score, reward))
    return ParityReport(name, len(completions), num_scored, tuple(differences))


def evaluated_completions(
    task: TaskLike,
    completions: Sequence[Completion],
    *,
    model_roles: Mapping[str, Model | str] | None = None,
) -> list[EvalSample]:
    """Returns what an evaluation makes of completions, one log sample each, in their order.

    Raises:
        DataError: a completion of a sample that the task does not have, or none at all.
    """
    name, task = resolve_task(task)
    samples, model = _replay(name, task, completions)
    found = {str(one.id): one for one in _evaluated(task, samples, model, model_roles)}
    return [found[f"{number}"] for number in range(len(completions))]


def hostile_completions(task: Task, count: int) -> list[Completion]:
    """Returns completions of a task's samples, from right answers to texts that break parsers."""
    makers = itertools.cycle(range(len(_texts("", []))))
    samples = itertools.cycle(list(task.dataset))
    found = []
    for number, sample in zip(range(count), samples, strict=False):
        targets = [sample.target] if isinstance(sample.target, str) else list(sample.target)
        options = [str(one.target) for one in itertools.islice(task.dataset, 4)]
        text = _texts(targets[0] if targets else "", options)[next(makers)]
        stop: Literal["stop", "max_tokens"] = "max_tokens" if number % 13 == 12 else "stop"
        found.append(Completion(str(sample.id), text, stop))
    return found


def read_completions(path: Path) -> list[Completion]:
    """Returns the completions of an eval log, or of JSON lines (sample_id, text, stop_reason).

    Raises:
        DataError: the file cannot be read, a line is no completion, or a log has none.
    """
    if path.suffix == ".eval":
        return _completions_of_log(path)
    rows, problems = read_json_lines(path)
    try:
        completions = [Completion(**row) for _, row in rows]
    except TypeError as error:
        raise DataError(f"not a completion in {path}: {error}; give sample_id and text") from error
    if problems:
        raise DataError(f"{problems[0]}; mend that line")
    return completions


def _completions_of_log(path: Path) -> list[Completion]:
    try:
        samples = read_eval_log(str(path)).samples or []
    except Exception as error:  # a damaged zip or JSON raises what its reader pleases
        raise DataError(f"cannot read eval log {path}: {error}; give a whole log") from error
    completions = [
        Completion(
            str(sample.id),
            sample.output.completion,
            "max_tokens" if sample.output.stop_reason == "max_tokens" else "stop",
        )
        for sample in samples
        if sample.error is None
    ]
    if not completions:
        raise DataError(f"no completion in {path}: it holds no finished sample; replay another log")
    return completions


def parity_command(
    tasks: Annotated[list[str], typer.Argument(help="Registered tasks or task set folders.")],
    completions: Annotated[
        Path | None, typer.Option(help="Of one task: an eval log, or JSON lines (sample_id, text).")
    ] = None,
    count: Annotated[
        int, typer.Option(min=1, help="Made-up completions per task where no file is given.")
    ] = DEFAULT_COMPLETIONS_PER_TASK,
    task_args: Annotated[
        list[str] | None, typer.Option("--task-arg", "-T", help="Task argument: name=value.")
    ] = None,
) -> None:
    """Check that training rewards equal evaluation scores; the exit code is 1 if any differs."""
    if completions is not None and len(tasks) > 1:
        raise DataError(f"completions belong to one task: got {len(tasks)} tasks; name one")
    num_differences = 0
    for name in tasks:
        task = named_task(name, None, parse_arguments(task_args))
        replayed = (
            read_completions(completions) if completions else hostile_completions(task, count)
        )
        report = replay_parity(task, replayed)
        num_differences += len(report.differences)
        print(
            f"{name}: {report.num_completions} completions, {report.num_scored} scored, "
            f"{len(report.differences)} differences"
        )
        for difference in report.differences[:10]:
            print(f"  {difference}")
    if num_differences:
        raise typer.Exit(1)


class ReplayAPI(ModelAPI):
    """Repeats the completion that was recorded for the sample that a call belongs to."""

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig | None = None,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config or GenerateConfig())
        self.completions: dict[str, Completion] = {}

    async def count_text_tokens(self, text: str) -> int:
        """Returns a quarter of the characters; Inspect's own count would need the network."""
        return max(1, len(text) // 4)

    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        """Returns the recorded completion.

        Raises:
            ModelError: nothing says which sample the call belongs to.
        """
        identity = identity_of(input)
        if identity is None:
            raise ModelError("a solver drops the identity of its sample; replay another solver")
        recorded = self.completions[identity["sample"]]
        message = ChatMessageAssistant(
            content=recorded.text, model=self.model_name, source="generate"
        )
        return ModelOutput(
            model=self.model_name,
            choices=[ChatCompletionChoice(message=message, stop_reason=recorded.stop_reason)],
            usage=ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2),
        )


@modelapi(name=PROVIDER)
def replay_provider() -> type[ModelAPI]:
    """Registers the provider of replays."""
    return ReplayAPI


def _replay(name: str, task: Task, completions: Sequence[Completion]) -> tuple[list[Sample], Model]:
    """Returns a sample for each completion, and the model that repeats them."""
    samples = _one_sample_each(task, completions)
    model = get_model(f"{PROVIDER}/{name.replace('/', '-')}", memoize=False)
    model.api.completions = {f"{i}": one for i, one in enumerate(completions)}  # type: ignore[attr-defined]
    return samples, model


def _one_sample_each(task: Task, completions: Sequence[Completion]) -> list[Sample]:
    """Returns a copy of the sample for every completion, numbered like it."""
    by_id = {str(sample.id): sample for sample in task.dataset}
    missing = next((one.sample_id for one in completions if one.sample_id not in by_id), None)
    if missing is not None:
        raise DataError(f"task {task.name} has no sample {missing!r}; replay its own completions")
    if not completions:
        raise DataError(f"no completion to replay for {task.name}; give at least one")
    return [
        by_id[one.sample_id].model_copy(update={"id": f"{number}"}, deep=True)
        for number, one in enumerate(completions)
    ]


def _evaluated(
    task: Task,
    samples: list[Sample],
    model: Model,
    model_roles: Mapping[str, Model | str] | None,
) -> list[EvalSample]:
    """Returns the samples as an evaluation's log on disk has them."""
    setup = [identify(), *solvers_of(task.setup)]
    task = task_with(copy.copy(task), dataset=MemoryDataset(samples), setup=setup)
    with tempfile.TemporaryDirectory() as log_dir:
        (log,) = eval(
            task,
            model=model,
            model_roles=dict(model_roles or {}) or None,
            fail_on_error=False,
            display="none",
            log_dir=log_dir,
            log_level="error",
            log_realtime=False,
            ctl_server=False,
        )
        return read_eval_log(log.location).samples or []


def _score(sample: EvalSample, reward_key: str | None) -> float | None:
    if sample.error is not None or not sample.scores:
        return None
    return read_value(choose_value(sample.scores, reward_key)[0])


def _texts(target: str, others: Sequence[str]) -> list[str]:
    """Returns answers to a question with this gold answer, given those of other samples."""
    phrase = "Therefore, the answer is"
    return [
        f"It says so. {phrase} {target}.",
        target,
        "",
        f"{phrase}",
        f"{phrase} {' '.join(others)} {target}.",
        f"{phrase} (A) (B) (C) (D).",
        f"{phrase} ({target}).",
        f"{phrase} NaN.",
        f"{phrase} inf.",
        f"{phrase} 1e999.",
        f"{phrase} nothing. {phrase} {target}.",
        "I do not know.",
        f"<think>{phrase} {target}.</think>",
        f"{phrase} \u200b{target}\u00a0。",
        f"{phrase} \ud83d\ude00 ١٢٣ {target}".encode("utf-16", "surrogatepass").decode("utf-16"),
        f"{phrase} {target.upper()}!!!",
        "word " * 20_000 + f"{phrase} {target}.",
        f"{phrase} " * 500,
        "\\boxed{" * 200 + target + "}" * 200,
        "\x00\x1b[31m" + f"{phrase} {target}.",
    ]
