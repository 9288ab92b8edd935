"""One GRPO workload as plain data, and its rewards, for trainers of different environments.

Needs the standard library only: it is imported by interpreters that have one of the trainers.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Prompt:
    """A question.

    Attributes:
        ids: token ids of the whole prompt, chat template included.
        text: what `ids` are, decoded; encoding it gives `ids` again.
        answer: what the gold answer is.
    """

    ids: list[int]
    text: str
    answer: str


@dataclass(frozen=True)
class Workload:
    """What a step does, the same for every trainer.

    Attributes:
        checkpoint: folder of the model.
        prompts: of every step.
        group_size: rollouts of a prompt.
        max_new_tokens: limit of a rollout.
        reward: "answer": whether the gold answer is in the text; "parity": whether the sum of the
            sampled ids is even, so that hardly any group is without signal.
        temperature: of sampling.
        learning_rate: of AdamW.
        num_steps: measured steps of a process; one more comes before them.
        threads: of torch.
        device: "cpu", "cuda".
        dtype: of weights and arithmetic.
    """

    checkpoint: str
    prompts: list[Prompt]
    group_size: int
    max_new_tokens: int
    reward: str
    temperature: float
    learning_rate: float
    num_steps: int
    threads: int
    device: str
    dtype: str

    def save(self, path: Path) -> None:
        """Writes the workload."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Workload:
        """Returns the workload that `save` wrote."""
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        content["prompts"] = [Prompt(**prompt) for prompt in content["prompts"]]
        return cls(**content)

    def reward_of(self, answer: str, text: str, ids: list[int]) -> float:
        """Returns the reward of a completion, 0 or 1."""
        if self.reward == "parity":
            return float(sum(ids) % 2 == 0)
        return float(answer.casefold() in text.casefold())


def summary(steps: list[dict[str, float]]) -> dict[str, float]:
    """Returns the means over a process's measured steps; the first one warms up."""
    measured = steps[1:]
    return {key: sum(step[key] for step in measured) / len(measured) for key in measured[0]}
