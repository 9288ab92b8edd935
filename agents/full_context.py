"""The full-context solver: the whole text in one prompt, cut where it exceeds the model's window.

What is cut is the text between question and instruction, never the question; how much, and whether
the evidence survived, stands in the sample's store (and in the score's metadata) under
`longspan:truncation`.

A benchmark that sends a chat of its own (MRCR, CorpusQA) is sent that chat where it fits the
window; where it does not, its text form is shown and cut like any other ("form" in the ledger).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, get_args

from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    get_model,
)
from inspect_ai.solver import Generate, Solver, TaskState, solver

from longspan.agents.choices import mark_choices, shows_choices, with_choices
from longspan.agents.messages import encodable, system_messages, tagged
from longspan.agents.options import check_sizes, check_texts
from longspan.agents.query import Query, read_query
from longspan.agents.room import chat_tokens, input_room, output_limit, template_tokens
from longspan.harness.errors import SpecError, WindowError, without_traceback
from longspan.harness.passport import share_that_survives
from longspan.harness.prompts import user_message
from longspan.harness.tokens import (
    TRUNCATION_KEY,
    Side,
    TokenCounter,
    Truncated,
    counter_for,
    truncate,
    window_of,
)

Cut = Literal["context", "prompt"]
"""What is cut where the prompt is too long."""
_ROLES: dict[str, type[ChatMessageSystem | ChatMessageUser | ChatMessageAssistant]] = {
    "system": ChatMessageSystem,
    "user": ChatMessageUser,
    "assistant": ChatMessageAssistant,
}


@solver
def full_context(
    max_input_tokens: int | None = None,
    truncation: Side = "middle",
    tokenizer: str | None = None,
    cut: Cut = "context",
) -> Solver:
    """Solver that shows the whole text and asks once.

    A sample that declares no context (a task of another harness) is asked as it is, with the
    options of a multiple choice, and the answer is marked on them.

    Args:
        max_input_tokens: Most tokens of the prompt; by default what the window leaves beside the
            output limit.
        truncation: Which part a cut drops: the middle, the left (beginning) or the right (end).
        tokenizer: Name of the tokenizer that counts, for models that do not bring their own.
        cut: What is cut: the `context` between question and instructions, or the whole `prompt`
            before the chat template, as the reference code of QwenLong-L1 and LongBench-V2 does.

    Raises:
        SpecError: The side of truncation, or what is cut, is unknown, or an option is no size or
            text.
        WindowError: The question alone exceeds the window.
    """
    check_sizes(max_input_tokens=max_input_tokens)
    check_texts(tokenizer=tokenizer)
    if truncation not in get_args(Side):
        raise SpecError(
            f"unknown truncation {truncation!r}; use one of {', '.join(get_args(Side))}"
        )

    if cut not in get_args(Cut):
        raise SpecError(f"unknown cut {cut!r}; use one of {', '.join(get_args(Cut))}")

    @without_traceback
    async def solve(state: TaskState, generate: Generate) -> TaskState:
        model = get_model()
        counter, window, limit = (
            counter_for(model, tokenizer),
            window_of(model),
            output_limit(model),
        )
        window_room = input_room(window, limit)
        room = _smaller(max_input_tokens, window_room)
        query = read_query(state)
        own = system_messages(state.messages)
        own_tokens = sum(counter.count(one.text) for one in own)
        chat = fitting_chat(query, room and room - own_tokens, counter)
        if query.is_plain:
            if shows_choices(state):
                state.messages = with_choices(state)
            left, num_tokens = _plain(state, room, counter)
            state.messages = tagged(state.messages, state)
        elif chat is not None:
            messages, num_tokens = [*own, *chat[0]], chat[1] + own_tokens
            left = Truncated("", num_tokens, num_tokens, 0, truncation, ())
            state.messages = tagged(messages, state)
        else:
            system = [*_system_of(query), *own]
            overhead = template_tokens(counter) + sum(counter.count(m.text) for m in system)
            if cut == "prompt":
                most = _smaller(max_input_tokens, window_room and window_room - overhead)
                prompt, left = cut_prompt(query, most, counter, truncation)
                num_tokens = counter.count(prompt) + overhead
            else:
                prompt, left, num_tokens = fit_prompt(query, room, overhead, counter, truncation)
            state.messages = [*system, user_message(encodable(prompt), state)]
        ledger = _ledger(query, left, num_tokens, room, counter) | {"cut": cut}
        ledger["form"] = "text" if chat is None else "chat"
        state.store.set(TRUNCATION_KEY, ledger)
        if not query.is_plain:
            state.tools, state.tool_choice = [], None
        # A sample of another package keeps its tools, and Inspect's loop of calls of them.
        tool_calls: Literal["loop", "none"] = "loop" if query.is_plain else "none"
        if window is None or limit is None:
            state = await generate(state, tool_calls=tool_calls)
        else:
            most = min(limit, max(1, window - num_tokens))
            state = await generate(state, tool_calls=tool_calls, max_tokens=most)
        if query.is_plain and state.choices:
            mark_choices(state)
        return state

    return solve


def fitting_chat(
    query: Query, room: int | None, counter: TokenCounter
) -> tuple[list[ChatMessage], int] | None:
    """Returns a benchmark's own chat and its tokens; None without one, or where it does not fit."""
    if not query.messages:
        return None
    num_tokens = chat_tokens(query.messages, counter)
    if room is not None and num_tokens > room:
        return None
    return [_ROLES[m["role"]](content=m["content"]) for m in query.messages], num_tokens


def fit_prompt(
    query: Query, room: int | None, overhead: int, counter: TokenCounter, side: Side
) -> tuple[str, Truncated, int]:
    """Returns the prompt, the ledger of its cut, and its tokens with `overhead` (chat template).

    Raises:
        WindowError: The question alone exceeds the room.
    """
    frame = counter.count(query.prompt("")) + overhead
    if room is not None and frame >= room:
        raise WindowError(
            f"the question alone exceeds the window: question and instructions have {frame} "
            "tokens, the room for "
            f"the input is {room}; shorten the question, lower the output limit or use a larger "
            "window"
        )
    context = query.whole()
    if room is None or not context.strip():
        size = counter.count(context)
        cut = Truncated(context, size, size, 0, side, ((0, len(context)),))
        return query.prompt(cut.text), cut, size + frame
    budget = room - frame
    while True:
        cut = truncate(context, budget, counter, side)
        prompt = query.prompt(cut.text)
        num_tokens = counter.count(prompt) + overhead
        if num_tokens <= room:
            return prompt, cut, num_tokens
        # Cut text may have more tokens when it is encoded again.
        budget -= num_tokens - room


def cut_prompt(
    query: Query, max_tokens: int | None, counter: TokenCounter, side: Side
) -> tuple[str, Truncated]:
    """Returns the prompt cut as a whole, and the ledger of the cut, its ranges in the context.

    The reference's rule: `ids[:M//2] + ids[-M//2:]` of the prompt before the chat template.
    """
    context = query.whole()
    whole = query.prompt(context)
    found = truncate(
        whole, counter.count(whole) if max_tokens is None else max_tokens, counter, side
    )
    text = context.strip()
    start = whole.find(text) - context.find(text)
    ranges = [(max(0, a - start), min(len(context), b - start)) for a, b in found.kept_ranges]
    kept = tuple((a, b) for a, b in ranges if a < b)
    return found.text, replace(found, kept_ranges=kept)


def _plain(state: TaskState, room: int | None, counter: TokenCounter) -> tuple[Truncated, int]:
    """Returns the empty ledger of an input that is asked as it is, and its tokens."""
    size = sum(counter.count(message.text) for message in state.messages)
    num_tokens = size + template_tokens(counter)
    if room is not None and num_tokens > room:
        raise WindowError(
            f"the question alone exceeds the window: the sample's input has {num_tokens} tokens, "
            "the room for the "
            f"input is {room}, and the sample declares no context that could be cut; use a larger "
            "window"
        )
    return Truncated("", size, size, 0, "middle", ()), num_tokens


def _system_of(query: Query) -> list[ChatMessage]:
    """Returns the system messages of the benchmark's chat, for its text form."""
    return [
        ChatMessageSystem(content=m["content"]) for m in query.messages if m["role"] == "system"
    ]


def _ledger(
    query: Query, cut: Truncated, num_tokens: int, room: int | None, counter: TokenCounter
) -> dict[str, Any]:
    ledger = cut.ledger() | {
        "input_tokens": num_tokens,
        "max_input_tokens": room,
        "token_counter": counter.name,
        "exact": counter.exact,
    }
    if query.evidence:
        ranges = [(span.start, span.end) for span in query.evidence]
        ledger["evidence_kept"] = share_that_survives(ranges, cut.kept_ranges)
    return ledger


def _smaller(first: int | None, second: int | None) -> int | None:
    given = [value for value in (first, second) if value is not None]
    return min(given) if given else None
