"""The text of a memory turn: what the policy is shown and what it must write back.

Two protocols. The *recipe*: a turn shows the core question, the memory and plan so far, and one
chunk; the policy answers with a new memory and a new plan between tags (arXiv 2512.12967, section
2.3). Two layouts: `question_first` is the paper's order; `chunk_first` puts the chunk before the
question, so that rollouts that read the same chunk share its prefix. *MemAgent* (arXiv 2507.02259):
no plan, the whole problem with its format instructions at every turn, the memory before the
section, and what the policy writes is the memory. The wording is ours in both.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from longspan.harness.prompts import render_question

Layout = Literal["question_first", "chunk_first"]

EMPTY_MEMORY = "empty"
"""Memory before the first chunk, and the memory of a reader that found nothing yet."""
EMPTY_PLAN = "none"
"""Plan before the first chunk."""

BRIEF_INSTRUCTION = (
    "Rewrite the memory and the plan: keep in the memory what the question needs, "
    "and say in the plan what to look for next."
)
"""For a policy that was trained to write the form: the packaged ones know few words more."""
TURN_INSTRUCTION = (
    f"{BRIEF_INSTRUCTION} Write both in full, in this form:\n"
    "<memory>\n...\n</memory>\n<plan>\n...\n</plan>"
)
"""Says the form, which a policy cannot guess."""
FINAL_INSTRUCTION = "Answer the question from the memory."

SECTION_INSTRUCTION = (
    "Rewrite the memory: keep what it holds and add what the text says about the question. "
    "Write nothing but the memory."
)
_TAG = re.compile(r"</?(?:memory|plan|text|think)>", re.IGNORECASE)
_FIELD_TAG = re.compile(r"<(/?)(memory|plan)>", re.IGNORECASE)
_KINDS = ("</memory>", "<plan>", "</plan>")
_THINKING = re.compile(r"\s*<think>", re.IGNORECASE)
_THINKING_END = re.compile(r"</think>", re.IGNORECASE)


@dataclass(frozen=True)
class MemoryState:
    """What the agent carries from chunk to chunk."""

    memory: str = EMPTY_MEMORY
    plan: str = EMPTY_PLAN
    is_partial: bool = field(default=False, compare=False)
    """Whether the output declared it in part: a memory without an end, or without a whole plan."""
    num_removed_tags: int = field(default=0, compare=False)
    """Tags of the prompt that stood in it, which a document may have put there."""


def render_state(state: MemoryState) -> str:
    """Returns memory and plan between their tags, in the form that the policy must write."""
    return f"<memory>\n{state.memory}\n</memory>\n<plan>\n{state.plan}\n</plan>"


def render_turn(
    chunk: str,
    question: str,
    state: MemoryState,
    layout: Layout = "question_first",
    instruction: str = TURN_INSTRUCTION,
) -> str:
    """Returns the prompt of one reading turn."""
    text = f"<text>\n{chunk.strip()}\n</text>"
    asked = f"Question: {question.strip()}"
    carried = render_state(state)
    if layout == "chunk_first":
        parts = (text, asked, carried, instruction)
    else:
        parts = (asked, carried, text, instruction)
    return "\n\n".join(parts)


def render_final(question: str, instructions: str, state: MemoryState) -> str:
    """Returns the prompt of the last turn: the answer from memory alone."""
    memory = f"<memory>\n{state.memory}\n</memory>"
    return f"{FINAL_INSTRUCTION}\n\n{memory}\n\n{render_question(question, instructions)}"


def parse_state(completion: str, before: MemoryState | None = None) -> MemoryState | None:
    """Returns the state that a completion declares, None when it declares no memory.

    Of several memories that stand one after the other the last counts, since a model that quotes
    its old state or thinks aloud does so before it writes the new one. A block within a block is a
    quotation: it neither ends the outer one nor counts. A memory without an end goes as far as it
    goes, as one above its budget does; a plan that is missing is the one before. Blank fields read
    as empty. Takes linear time whatever the completion repeats.

    Args:
        completion: What the policy wrote.
        before: The state before this turn, for its plan.
    """
    text = _after_thinking(completion)
    found = _fields(text)
    if not found.is_balanced and not text.lstrip()[:8].lower().startswith("<memory>"):
        # Thinking that the chat template opened, and that speaks of the tags.
        thought = _THINKING_END.search(text)
        after = _fields(text[thought.end() :]) if thought else found
        found = after if after.is_balanced and after.memory is not None else found
    if found.memory is None:
        return None
    plan = found.plan
    if plan is None:
        plan = (before or MemoryState()).plan
    is_partial = not found.is_balanced or found.plan is None
    return _without_tags(found.memory, plan, is_partial)


def parse_memory(completion: str) -> MemoryState | None:
    """Returns the memory that a completion is, None where it is blank.

    A policy that puts it between tags all the same is taken at its word. Without tags, and without
    an opening `<think>`, what stands before `</think>` counts as thinking.
    """
    text = _after_thinking(completion)
    if (found := _fields(text)).memory is not None:
        return _without_tags(found.memory, "", not found.is_balanced)
    thought = _THINKING_END.search(text)
    if thought and text[thought.end() :].strip():
        text = text[thought.end() :]
    return _without_tags(text, "", False) if text.strip() else None


@dataclass(frozen=True)
class _Fields:
    """Memory and plan as they stand in an output, None where there is none."""

    memory: str | None
    plan: str | None
    is_balanced: bool


def _fields(text: str) -> _Fields:
    """Returns the last blocks that stand in no other block."""
    last: dict[str, tuple[int, int]] = {}
    first_memory = -1
    opened: list[tuple[str, int]] = []
    num_open = {"memory": 0, "plan": 0}
    for tag in _FIELD_TAG.finditer(text):
        name = tag[2].lower()
        if not tag[1]:
            opened.append((name, tag.end()))
            num_open[name] += 1
        elif num_open[name]:
            start, inner = tag.end(), ""
            while inner != name:
                inner, start = opened.pop()
                num_open[inner] -= 1
            if not opened:
                last[name] = start, tag.start()
                first_memory = start if name == "memory" and first_memory < 0 else first_memory
        elif not opened and name in last:  # the end before it was a quotation
            if name == "memory":
                last = {"memory": (first_memory, tag.start())}
            else:
                last["plan"] = last["plan"][0], tag.start()
    if not opened:
        memory, plan = (text[slice(*last[n])] if n in last else None for n in ("memory", "plan"))
        return _Fields(memory, plan, True)
    return _unbalanced(text, opened[0], last.get("memory"))


def _unbalanced(text: str, opened: tuple[str, int], memory: tuple[int, int] | None) -> _Fields:
    """Returns the fields where the first tag that is open at the end has no end of its own.

    Either the output was cut off there, or it quotes tags without their ends: the block then ends
    at the last tag that could end it.
    """
    name, start = opened
    tags = {kind: [*re.finditer(kind, text[start:], re.IGNORECASE)] for kind in _KINDS}
    plan = start if name == "plan" else None
    if name == "memory":
        ends = tags["</memory>"] or tags["<plan>"]
        end = start + ends[-1].start() if ends else len(text)
        memory = start, end
        plan = next((start + p.end() for p in tags["<plan>"] if start + p.start() >= end), None)
    if memory is None or not _TAG.sub("", text[slice(*memory)]).strip():
        return _Fields(None, None, False)  # nothing was noted: not a memory that is empty
    if plan is None:
        return _Fields(text[slice(*memory)], None, False)
    last = start + tags["</plan>"][-1].start() if tags["</plan>"] else len(text)
    return _Fields(text[slice(*memory)], text[plan : max(plan, last)], False)


def _after_thinking(completion: str) -> str:
    """Returns an output without the thinking that it begins with."""
    opening = _THINKING.match(completion)
    if not opening:
        return completion
    end = _THINKING_END.search(completion, opening.end())
    return completion[end.end() :] if end else ""


def _without_tags(memory: str, plan: str, is_partial: bool) -> MemoryState:
    # A space: what stands on both sides must not make another tag.
    memory, in_memory = _TAG.subn(" ", memory)
    plan, in_plan = _TAG.subn(" ", plan)
    return MemoryState(
        memory.strip() or EMPTY_MEMORY, plan.strip() or EMPTY_PLAN, is_partial, in_memory + in_plan
    )


def render_section_turn(
    chunk: str, problem: str, state: MemoryState, instruction: str = SECTION_INSTRUCTION
) -> str:
    """Returns the prompt of one turn of MemAgent's protocol."""
    memory = f"<memory>\n{state.memory}\n</memory>"
    text = f"<text>\n{chunk.strip()}\n</text>"
    return "\n\n".join((f"Question: {problem.strip()}", memory, text, instruction))


@dataclass(frozen=True)
class ReadingProtocol:
    """How turns are worded and read: what differs between agents that read with a memory."""

    name: str
    has_plan: bool
    instruction: str
    """What stands at the end of a turn."""
    asked: Callable[[str, str], str]
    """Question and instructions -> what every turn asks."""
    turn: Callable[[str, str, MemoryState], str]
    """Chunk, what is asked, state -> prompt of a turn."""
    parse: Callable[[str, MemoryState], MemoryState | None]
    """Output and the state before it -> state, None where it declares none."""

    def written(self) -> str:
        """Returns the form that a turn's output has, without its content."""
        return render_state(MemoryState("", "")) if self.has_plan else "<memory>\n\n</memory>"


def recipe_protocol(layout: Layout, instruction: str = TURN_INSTRUCTION) -> ReadingProtocol:
    """Returns the recipe's protocol in a layout, with what stands at the end of a turn."""
    return ReadingProtocol(
        name="recipe",
        has_plan=True,
        instruction=instruction,
        asked=lambda question, _: question,
        turn=lambda chunk, asked, state: render_turn(chunk, asked, state, layout, instruction),
        parse=parse_state,
    )


def memagent_protocol(instruction: str = SECTION_INSTRUCTION) -> ReadingProtocol:
    """Returns MemAgent's protocol, with what stands at the end of a turn."""
    return ReadingProtocol(
        name="memagent",
        has_plan=False,
        instruction=instruction,
        asked=render_question,
        turn=lambda chunk, asked, state: render_section_turn(chunk, asked, state, instruction),
        parse=lambda output, _: parse_memory(output),
    )
