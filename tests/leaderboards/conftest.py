"""Logs for the board, made by really running a scripted model through Inspect with our solvers."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Epochs, Task
from inspect_ai import eval as inspect_eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import EvalLog

from longspan.agents.full_context import full_context
from longspan.agents.memory import memory_agent
from longspan.harness.scoring.scorers import by_sample
from longspan.leaderboards import workers
from tests.harness.scripted import Request, Script, scripted_model

WORDS = ("Kukton", "Tastal", "Karo", "Dresex", "Melvar", "Opitz")
TYPES = ("multi_hop", "multiple_choice", "reading_comprehension")
WINDOW = 400


def gold(number: int) -> str:
    """Returns the gold answer of sample `number`."""
    return WORDS[number % len(WORDS)]


def samples(count: int, length: int = 1, text: str = "") -> list[Sample]:
    """Returns samples in worlds of ten, whose document is `length` windows long."""
    made = []
    for number in range(count):
        filler = "The road is long and quiet. " * (10 * length**2)
        fact = f"The capital of Land {number} is {gold(number)}."
        kind = TYPES[number % len(TYPES)]
        made.append(
            Sample(
                id=f"s{number:03d}",
                input=f"What is the capital of Land {number}?{text}",
                target=gold(number),
                metadata={
                    "question": f"What is the capital of Land {number}?{text}",
                    "instructions": "End with: Therefore, the answer is X.",
                    "context": {"text": f"{filler}{fact}{filler}"},
                    "task_type": kind,
                    "scorer": "cover_exact_match",
                    "kind": f"kind-{number % 4}",
                    "hops": 1 + number % 3,
                    "document_group": f"world-{number // 10}",
                },
            )
        )
    return made


def speaker(accuracy: float, name: str) -> Script:
    """Returns a checkpoint that is right in a fixed share of attempts, whatever the prompt."""

    def say(call: Request) -> str:
        if "<memory>" in call.prompt and "Therefore" not in call.prompt:
            return "<memory>The capital is there.</memory>\n<plan>read on</plan>"
        attempt = f"{name}/{call.identity['sample']}/{call.identity['epoch']}"
        right = random.Random(attempt).random() < accuracy
        word = gold(sample_number(call)) if right else "Nowhere"
        return f"I read it. Therefore, the answer is {word}."

    return say


def sample_number(call: Request) -> int:
    """Returns the number of the sample that the call is about."""
    return int(call.identity["sample"].removeprefix("s"))


@pytest.fixture(scope="session", autouse=True)
def in_one_process() -> Iterator[None]:
    """Lets boards be built here: other processes take longer to start than these small ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "MAX_WORKERS", 1)
        yield


@pytest.fixture(scope="session")
def run_log() -> Callable[..., EvalLog]:
    """Returns a function that evaluates a scripted checkpoint and writes its log."""

    def run(
        folder: Path,
        checkpoint: str,
        accuracy: float | Script = 0.5,
        *,
        count: int = 30,
        windows: int = 1,
        solver: str = "full_context",
        name: str = "",
        version: int | str = "v1",
        epochs: int = 1,
        dataset: list[Sample] | None = None,
        metadata: dict[str, Any] | None = None,
        fail_on_error: bool = False,
        **config: Any,
    ) -> EvalLog:
        script = accuracy if callable(accuracy) else speaker(accuracy, f"{checkpoint}/{solver}")
        task = Task(
            dataset=MemoryDataset(dataset or samples(count, windows)),
            solver=full_context() if solver == "full_context" else memory_agent(),
            scorer=by_sample(),
            name=name or f"world-{windows}x",
            version=version,
        )
        labels = {
            "longspan_checkpoint": checkpoint,
            "longspan_checkpoint_hash": hashlib.sha256(checkpoint.encode()).hexdigest(),
            "longspan_solver": solver,
            "longspan_input_over_window": windows,
        }
        return inspect_eval(
            task,
            model=scripted_model(script, checkpoint, window=WINDOW),
            metadata=labels if metadata is None else metadata,
            epochs=Epochs(epochs, "mean"),
            log_dir=str(folder),
            display="none",
            log_realtime=False,
            log_model_api=False,
            fail_on_error=fail_on_error,
            max_tokens=60,
            temperature=1.0,
            score_display=False,
            ctl_server=False,
            acp_server=False,
            **config,
        )[0]

    return run


HACK = "window.hacked = 1"
HOSTILE = (
    f"<script>{HACK}</script>",
    f'"><img src=x onerror="{HACK}">',
    f"</script><script>{HACK}</script>",
    f"'-{HACK}-' \\\"; {HACK}; //",
    f"javascript:{HACK}",
    "{{ 7 * 7 }}{% raw %}",
    f"<svg/onload={HACK}>&lt;b&gt;&#x3c;",
    f"\u2028{HACK}\u2029]]><!--",
    '=HYPERLINK("http://example.com","x")',
    "$\\frac{1}{0$ | `code` | **bold**",
    "<a href='http://example.com/'>x</a><base href='http://example.com/'>",
    f"<iframe srcdoc='<script>parent.{HACK}</script>'></iframe>",
)
"""Texts that a page must show as they are."""


@pytest.fixture(scope="session")
def hostile_logs(
    tmp_path_factory: pytest.TempPathFactory, run_log: Callable[..., EvalLog]
) -> tuple[Path, str, str]:
    """Returns a folder of logs full of hostile text, and its two checkpoints' names."""
    folder = tmp_path_factory.mktemp("hostile")
    names = (f"<img src=x onerror='{HACK}'>", f"b</script><script>{HACK}</script>$x$")
    for side, name in enumerate(names):
        for windows in (1, 2):

            def say(call: Request, side: int = side) -> str:
                number = sample_number(call)
                text = HOSTILE[(number + side) % len(HOSTILE)]
                if number == 3 and side:
                    return "!the engine broke <script>alert(1)</script>"
                right = number % 3 == 0 or (side and number % 3 == 1)
                return f"{text} Therefore, the answer is {gold(number) if right else text}."

            dataset = samples(12, windows)
            for number, sample in enumerate(dataset):
                text = HOSTILE[number]
                sample.metadata = (sample.metadata or {}) | {
                    "question": text,
                    "kind": text,
                    "task_type": HOSTILE[number % 3],
                    "depth": number / 12,
                    "num_tokens": 900 * (1 + number % 3),
                }
            run_log(
                folder / f"<b>{side}&{windows}",
                f"hostile-{side}",
                say,
                dataset=dataset,
                name=f"<b>task</b>{HOSTILE[1]}-{windows}x",
                version=HOSTILE[0],
                metadata={
                    "longspan_checkpoint": name,
                    "longspan_checkpoint_hash": HOSTILE[side],
                    "longspan_solver": "full_context",
                    "longspan_input_over_window": windows,
                    "longspan_recipe_hash": HOSTILE[2],
                },
            )
    (folder / "<i>broken.eval").write_bytes(b"no log")
    return folder, names[0], names[1]
