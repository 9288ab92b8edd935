"""How many tokens each part of a memory turn may take, so that prompt and output fit the window.

Defaults follow the paper (window 128K: chunk 32K, memory 15K): a chunk is half the window and at
most 32,768 tokens, a memory 5/32 of the window and at most 15,360, a plan a quarter of the memory.
A default chunk shrinks where question, memory and output leave less room; a chunk or memory that
was asked for is refused instead.

    turn prompt   frame (question, tags, instruction) + memory + plan + chunk
    turn output   tags + memory + plan, or more for a policy that thinks first
    last prompt   frame (question, instructions) + memory
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from longspan.agents.memory_format import MemoryState, ReadingProtocol, render_final
from longspan.agents.options import check_sizes
from longspan.agents.query import Query
from longspan.agents.room import template_tokens
from longspan.harness.errors import WindowError
from longspan.harness.tokens import TokenCounter

MAX_CHUNK_TOKENS = 32_768
MAX_MEMORY_TOKENS = 15_360
MIN_PLAN_TOKENS = 8
MIN_CHUNK_TOKENS = 16
MIN_ANSWER_TOKENS = 8

_BLANK = MemoryState("", "")


@dataclass(frozen=True)
class MemoryOptions:
    """What the caller asked for, in tokens; None means the default for the window.

    Raises:
        SpecError: one is no positive whole number.
    """

    chunk_tokens: int | None = None
    memory_tokens: int | None = None
    max_turn_tokens: int | None = None

    def __post_init__(self) -> None:
        check_sizes(**asdict(self))


@dataclass(frozen=True)
class MemoryBudget:
    """Token budgets of one sample; None for an output that only run and provider limit."""

    chunk_tokens: int
    memory_tokens: int
    plan_tokens: int
    max_turn_tokens: int | None
    max_answer_tokens: int | None


def memory_budget(
    query: Query,
    options: MemoryOptions,
    protocol: ReadingProtocol,
    window: int | None,
    max_output_tokens: int | None,
    counter: TokenCounter,
) -> MemoryBudget:
    """Returns the budgets for one sample.

    Without a known window the paper's sizes hold and nothing can be checked.

    Raises:
        WindowError: Chunk, memory or question leave no room for the rest.
    """
    memory = options.memory_tokens or _share(window, 5 / 32, MAX_MEMORY_TOKENS)
    plan = max(MIN_PLAN_TOKENS, memory // 4) if protocol.has_plan else 0
    if window is None:
        chunk = options.chunk_tokens or MAX_CHUNK_TOKENS
        return MemoryBudget(chunk, memory, plan, options.max_turn_tokens, max_output_tokens)
    overhead = template_tokens(counter)
    frame = turn_frame(query, protocol, counter) + overhead
    written = counter.count(protocol.written()) + memory + plan + 1
    output = options.max_turn_tokens or written
    room = window - frame - memory - plan - output
    chunk = options.chunk_tokens or min(_share(window, 1 / 2, MAX_CHUNK_TOKENS), room)
    _require_room(options, window, frame, memory, chunk, room)
    spare = room - chunk
    if options.max_turn_tokens is None:
        output += max(0, min(spare, (max_output_tokens or 0) - output))
    answer = _answer_room(query, window, memory + overhead, counter)
    most = min(max_output_tokens, answer) if max_output_tokens else None
    return MemoryBudget(chunk, memory, plan, output, most)


def turn_frame(query: Query, protocol: ReadingProtocol, counter: TokenCounter) -> int:
    """Returns the tokens of a turn's prompt without chunk, memory and plan."""
    asked = protocol.asked(query.question, query.instructions)
    return counter.count(protocol.turn("", asked, _BLANK))


def _share(window: int | None, share: float, most: int) -> int:
    return most if window is None else max(1, min(most, int(window * share)))


def _require_room(
    options: MemoryOptions, window: int, frame: int, memory: int, chunk: int, room: int
) -> None:
    if options.chunk_tokens is not None and chunk >= window:
        raise WindowError(
            f"chunk_tokens must be below the model's window: got {chunk} >= {window}; "
            "lower chunk_tokens or leave it out"
        )
    least = MIN_CHUNK_TOKENS if options.chunk_tokens is None else chunk
    if room >= least:
        return
    if options.memory_tokens is not None and room < MIN_CHUNK_TOKENS:
        raise WindowError(
            f"memory_tokens leaves no room for a chunk in the model's window of {window} tokens: "
            f"got {memory}, "
            "which every turn reads and writes; lower memory_tokens or leave it out"
        )
    if options.chunk_tokens is not None:
        raise WindowError(
            f"chunk_tokens exceeds the room beside question, memory, plan and output: got {chunk} "
            f"> {room} in a "
            f"window of {window}; lower chunk_tokens, memory_tokens or max_turn_tokens"
        )
    raise WindowError(
        f"the question leaves no room for a chunk: question and turn instructions have {frame} "
        "tokens, the "
        f"model's window {window}; shorten the question or use a model with a larger window"
    )


def _answer_room(query: Query, window: int, carried: int, counter: TokenCounter) -> int:
    frame = counter.count(render_final(query.question, query.instructions, _BLANK))
    room = window - frame - carried
    if room < MIN_ANSWER_TOKENS:
        raise WindowError(
            f"question, instructions and memory leave {room} tokens for the answer in the model's "
            "window of "
            f"{window}; shorten the question or lower memory_tokens"
        )
    return room
