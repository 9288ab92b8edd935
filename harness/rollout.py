"""A rollout: one run of a task's solver on one sample by the policy, as the trainer needs it.

Also the side table of recorded model calls. A model provider writes token ids and
log-probabilities there and puts only an id into the public `ModelOutput.metadata`; the environment
takes them out again by that id. So exact token ids reach the trainer without passing through
Inspect's logs, and providers and trainers need not know each other. This module does not know how
calls are made or how rewards are computed.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from longspan.harness.errors import DataError
from longspan.harness.files import written_whole

CALL_KEY = "longspan_call"
"""Key of `ModelOutput.metadata` under which a recorded call's id stands."""


@dataclass(frozen=True, slots=True)
class Call:
    """One recorded generation of the policy.

    Attributes:
        prompt_ids: Token ids the policy was given.
        token_ids: Token ids it sampled, the end token included.
        logprobs: Log-probability of each sampled token (nats, at the sampling temperature,
            before top-p).
        stop_reason: "stop" or "max_tokens".
        policy_version: Number of optimizer updates of the weights that sampled.
    """

    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    stop_reason: str
    policy_version: int = 0


CALLS: dict[str, Call] = {}
"""Recorded calls by id, from `record_call` until the environment pops them."""

_call_numbers = itertools.count()
_recorders = 0


@contextmanager
def recording() -> Iterator[None]:
    """Turns recording of calls on for the duration of the block (blocks may nest).

    The outermost block empties the table when it ends: a call whose sample was cancelled before
    anyone could see it must not stay for ever.
    """
    global _recorders
    _recorders += 1
    try:
        yield
    finally:
        _recorders -= 1
        if not _recorders:
            CALLS.clear()


def is_recording() -> bool:
    """Returns whether calls are being recorded; an evaluation records none."""
    return _recorders > 0


def record_call(call: Call) -> dict[str, Any]:
    """Stores a call and returns the metadata for its `ModelOutput`; {} when recording is off."""
    if not is_recording():
        return {}
    call_id = f"call-{next(_call_numbers)}"
    CALLS[call_id] = call
    return {CALL_KEY: call_id}


def pop_call(metadata: dict[str, Any] | None) -> Call | None:
    """Returns the call that a `ModelOutput.metadata` refers to and removes it from the table."""
    call_id = (metadata or {}).get(CALL_KEY)
    return CALLS.pop(call_id, None) if isinstance(call_id, str) else None


@dataclass(frozen=True, slots=True)
class Turn:
    """One model call of a rollout: what the policy saw and what it sampled.

    Attributes:
        prompt_ids: Token ids of the prompt.
        sampled_ids: Token ids sampled, the end token included; training uses exactly these.
        logprobs: Log-probability of each sampled token (nats, at the sampling temperature,
            before top-p).
        stop_reason: "stop" or "max_tokens".
    """

    prompt_ids: tuple[int, ...]
    sampled_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    stop_reason: str

    @classmethod
    def from_call(cls, call: Call) -> Turn:
        """Returns the turn that a recorded call was."""
        return cls(call.prompt_ids, call.token_ids, call.logprobs, call.stop_reason)


@dataclass(frozen=True, slots=True)
class Rollout:
    """One attempt at one sample.

    Attributes:
        task: Name of the task.
        task_type: One of the five task types of balanced sampling, None for evaluation-only tasks.
        advantage_group: "<task_type>/<scorer>": rewards of one group share a standard deviation
            (Eq. 7).
        sample_id: Id of the sample.
        epoch: Index in the group of rollouts of the sample, from 1.
        turns: Model calls in order.
        reward: The score's value; None where validity says that there is no score.
        validity: How the sample ended (see `harness.scoring.validity`).
        policy_version: Number of optimizer updates of the weights that sampled.
        seconds: Wall-clock seconds that the sample took.
        prompt_tokens: Prompt tokens over all turns.
        sampled_tokens: Sampled tokens over all turns.
        error: One line that says what failed, for rollouts without a reward.
        role_tokens: Tokens of other models by their role, such as a judge's.
        not_finite: Whether it has none because the scorer returned a number that is not finite and
            gave no reason: a mistake of the scorer that training must not pass over.
    """

    task: str
    task_type: str | None
    advantage_group: str
    sample_id: str
    epoch: int
    turns: tuple[Turn, ...]
    reward: float | None
    validity: str
    policy_version: int
    seconds: float
    prompt_tokens: int
    sampled_tokens: int
    error: str | None = None
    role_tokens: dict[str, int] = field(default_factory=dict)
    not_finite: bool = False

    @property
    def is_cut_off(self) -> bool:
        """Whether a limit ended its run, or the output limit one of its turns."""
        return self.validity == "cut_off" or any(
            turn.stop_reason == "max_tokens" for turn in self.turns
        )

    def to_json(self) -> str:
        """Returns the rollout as one line of JSON."""
        return json.dumps(asdict(self), ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, line: str) -> Rollout:
        """Returns the rollout that `to_json` wrote.

        Raises:
            DataError: the line is not a rollout.
        """
        try:
            record = json.loads(line)
            turns = tuple(_turn(turn) for turn in record.pop("turns"))
            return cls(turns=turns, **record)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"not a rollout record: {line[:80]!r} ({error}); delete it") from error


def write_rollouts(path: Path, rollouts: Iterable[Rollout]) -> None:
    """Writes rollouts as JSON lines; the file appears whole or not at all."""
    with written_whole(path) as partial, partial.open("w", encoding="utf-8") as file:
        file.writelines(rollout.to_json() + "\n" for rollout in rollouts)


def read_rollouts(path: Path) -> list[Rollout]:
    """Returns the rollouts of a JSON lines file.

    Raises:
        DataError: a line is not a rollout.
    """
    with path.open(encoding="utf-8") as file:
        return [Rollout.from_json(line) for line in file if line.strip()]


def _turn(record: dict[str, Any]) -> Turn:
    return Turn(
        tuple(record["prompt_ids"]),
        tuple(record["sampled_ids"]),
        tuple(record["logprobs"]),
        record["stop_reason"],
    )
