"""When an agent must stop reading, so that an answer still fits into the sample's limits.

The limits are Inspect's own (`--token-limit`, `--turn-limit`, `--time-limit`, `--working-limit`,
`--cost-limit`), which would otherwise end the sample without an answer, and `max_calls`. What a
run spent before it was killed counts too.
"""

from __future__ import annotations

from dataclasses import dataclass

from inspect_ai.util import SampleLimits, sample_limits

DEFAULT_ANSWER_TOKENS = 4096
"""Kept for an answer whose length nothing else limits."""
MAX_ANSWER_SHARE = 0.25
"""Most of a token limit that is kept for the answer's output."""
MIN_OUTPUT_TOKENS = 8
TIME_FACTOR = 1.25
"""A call may take so many times as long as the longest before it."""


@dataclass
class Spent:
    """What a run has used so far, replayed calls included."""

    num_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0
    longest_seconds: float = 0.0
    counted_tokens: int = 0
    """Prompt tokens by the agent's own count, which an estimate may get wrong."""
    live_calls: int = 0
    """Calls of this process: not replayed."""
    replayed_input_tokens: int = 0
    replayed_output_tokens: int = 0
    """Of the other calls, which the log's own usage does not hold."""

    @property
    def tokens(self) -> int:
        """Tokens of prompts and outputs."""
        return self.input_tokens + self.output_tokens

    @property
    def scale(self) -> float:
        """Tokens as the provider counts them over tokens as the agent does, at least 1."""
        return max(1.0, self.input_tokens / self.counted_tokens) if self.counted_tokens else 1.0


@dataclass(frozen=True)
class Reserve:
    """What must be left for the answer."""

    prompt_tokens: int
    output_tokens: int | None
    """Its output limit, None where nothing sets one."""


@dataclass(frozen=True)
class Need:
    """What is to come: the next calls, and the answer after them."""

    tokens: int
    """Of the next calls, prompts and outputs."""
    answer: Reserve
    num_calls: int = 1
    rounds: int = 1
    """Calls one after the other among the next ones."""


def limit_reached(spent: Spent, need: Need, max_calls: int | None) -> str | None:
    """Returns which limit the next calls and the answer would exceed; None where all is well."""
    if max_calls is not None and spent.num_calls + need.num_calls + 1 > max_calls:
        return "max_calls"
    limits = _limits()
    if limits is None:
        return None
    left = tokens_left(spent)
    if left is not None and need.tokens * spent.scale + _reserved(need.answer, spent) > left:
        return "token_limit"
    turns = limits.turn.limit
    if turns is not None and turns - max(limits.turn.usage, spent.num_calls) < need.num_calls + 1:
        return "turn_limit"
    seconds = (need.rounds + 1) * TIME_FACTOR * spent.longest_seconds
    for name, one in (("time_limit", limits.time), ("working_limit", limits.working)):
        if one.limit is not None and one.limit - max(one.usage, spent.seconds) < seconds:
            return name
    cost = limits.cost
    if cost.limit is not None and spent.live_calls:
        # Inspect knows the price of this process's calls only; earlier ones cost as much each.
        each = cost.usage / spent.live_calls
        if cost.limit < (spent.num_calls + need.num_calls + 1) * each:
            return "cost_limit"
    return None


def clipped(
    max_tokens: int | None, prompt_tokens: int, reserve: Reserve | None, spent: Spent
) -> int | None:
    """Returns an output limit that leaves the reserve within the sample's token limit.

    Where nothing else limits the output and there is much room, none is set: providers refuse
    limits above their own.
    """
    left = tokens_left(spent)
    if left is None:
        return max_tokens
    left -= prompt_tokens * spent.scale + (_reserved(reserve, spent) if reserve else 0)
    room = max(MIN_OUTPUT_TOKENS, int(left))
    if max_tokens is None:
        return None if room > DEFAULT_ANSWER_TOKENS else room
    return min(max_tokens, room)


def _reserved(reserve: Reserve, spent: Spent) -> float:
    """Returns the tokens kept for the answer, as the provider counts them."""
    output = reserve.output_tokens or DEFAULT_ANSWER_TOKENS
    limits = _limits()
    limit = limits.token.limit if limits else None
    if limit is not None:
        output = min(output, max(MIN_OUTPUT_TOKENS, int(limit * MAX_ANSWER_SHARE)))
    return reserve.prompt_tokens * spent.scale + output


def tokens_left(spent: Spent) -> float | None:
    """Returns what the sample's token limit leaves; None without one."""
    limits = _limits()
    if limits is None or limits.token.limit is None:
        return None
    return limits.token.limit - max(limits.token.usage, spent.tokens)


def _limits() -> SampleLimits | None:
    try:
        return sample_limits()
    except RuntimeError:  # no sample is running
        return None
