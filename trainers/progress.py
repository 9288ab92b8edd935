"""What a person sees of a training run: a live line on a terminal, else one line per step."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class StageProgress:
    """Progress of one stage; use as a context manager."""

    def __init__(self, name: str, num_steps: int, done: int = 0, quiet: bool = False) -> None:
        self._console = Console(quiet=quiet, soft_wrap=True, highlight=False)
        self._name, self._num_steps = name, num_steps
        self._bar: Progress | None = None
        if self._console.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(bar_width=20),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[line]}"),
            )
            self._bar = Progress(*columns, console=self._console)
            self._task = self._bar.add_task(name, total=num_steps, completed=done, line="")

    def __enter__(self) -> StageProgress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def note(self, text: str) -> None:
        """Shows a line that stays."""
        self._console.print(f"{self._name}: {text}", markup=False)

    def show(self, done: int, line: str) -> None:
        """Shows how many steps (or samples) are done, with the figures of the last ones."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, line=line)
        else:
            self._console.print(f"{self._name} {done}/{self._num_steps}  {line}", markup=False)


def step_line(metrics: Mapping[str, Any]) -> str:
    """Returns the figures of a step that one looks at while it runs."""
    seconds = metrics["rollout_seconds"] + metrics["train_seconds"]
    parts = [
        f"reward {metrics['reward_mean']:.3f}",
        f"entropy {metrics['entropy']:.3f}",
        f"tokens {metrics['response_tokens']:.1f}",
        f"live {metrics['num_live_groups']}/{metrics['num_groups']}",
        f"grad {metrics['gradient_norm']:.2f}",
        f"{seconds:.1f}s",
    ]
    if metrics["aepo_masking"]:
        parts.append("masking")
    if metrics["num_invalid"]:
        parts.append(f"invalid {metrics['num_invalid']}")
    return "  ".join(parts)
