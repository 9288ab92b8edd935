"""Replaying completions: a model that repeats what was recorded, and what an evaluation says of it.

A completion belongs to a sample. The same sample may be replayed with many completions: each gets a
copy of it.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

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

from longspan.harness.datasets.rows import read_json_lines
from longspan.harness.environment import identify, solvers_of
from longspan.harness.errors import DataError, ModelError
from longspan.harness.prompts import identity_of
from longspan.harness.resolve import TaskLike, resolve_task

PROVIDER = "longspan-replay"


@dataclass(frozen=True, slots=True)
class Completion:
    """A recorded completion of a sample."""

    sample_id: str
    text: str
    stop_reason: Literal["stop", "max_tokens"] = "stop"


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
    samples, model = replay(name, task, completions)
    found = {str(one.id): one for one in evaluated(task, samples, model, model_roles)}
    return [found[f"{number}"] for number in range(len(completions))]


def replay(name: str, task: Task, completions: Sequence[Completion]) -> tuple[list[Sample], Model]:
    """Returns a sample for each completion, numbered like it, and the model that repeats them.

    Raises:
        DataError: a completion of a sample that the task does not have, or none at all.
    """
    samples = _one_sample_each(task, completions)
    model = get_model(f"{PROVIDER}/{name.replace('/', '-')}", memoize=False)
    model.api.completions = {f"{i}": one for i, one in enumerate(completions)}  # type: ignore[attr-defined]
    return samples, model


def evaluated(
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
