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
from dataclasses import dataclass, replace
from typing import Literal

from longspan.harness.prompts import render_question

Layout = Literal["question_first", "chunk_first"]

EMPTY_MEMORY = "empty"
"""Memory before the first chunk, and the memory of a reader that found nothing yet."""
EMPTY_PLAN = "none"
"""Plan before the first chunk."""

TURN_INSTRUCTION = (
    "Rewrite the memory and the plan: keep in the memory what the question needs, "
    "and say in the plan what to look for next."
)
FINAL_INSTRUCTION = "Answer the question from the memory."

SECTION_INSTRUCTION = (
    "Rewrite the memory: keep what it holds and add what the text says about the question. "
    "Write nothing but the memory."
)
MAX_BLOCKS = 32
"""Memory blocks that are looked at in an output, from its end: parsing stays linear."""

_TAG = re.compile(r"</?(?:memory|plan|text|think)>")
_STATE = re.compile(r"<memory>(.*?)</memory>\s*<plan>(.*?)</plan>", re.DOTALL)
_THINKING_END = "</think>"


@dataclass(frozen=True)
class MemoryState:
    """What the agent carries from chunk to chunk."""

    memory: str = EMPTY_MEMORY
    plan: str = EMPTY_PLAN


def render_state(state: MemoryState) -> str:
    """Returns memory and plan between their tags, in the form that the policy must write."""
    return f"<memory>\n{state.memory}\n</memory>\n<plan>\n{state.plan}\n</plan>"


def render_turn(
    chunk: str, question: str, state: MemoryState, layout: Layout = "question_first"
) -> str:
    """Returns the prompt of one reading turn."""
    text = f"<text>\n{chunk.strip()}\n</text>"
    asked = f"Question: {question.strip()}"
    carried = render_state(state)
    if layout == "chunk_first":
        parts = (text, asked, carried, TURN_INSTRUCTION)
    else:
        parts = (asked, carried, text, TURN_INSTRUCTION)
    return "\n\n".join(parts)


def render_final(question: str, instructions: str, state: MemoryState) -> str:
    """Returns the prompt of the last turn: the answer from memory alone."""
    memory = f"<memory>\n{state.memory}\n</memory>"
    return f"{FINAL_INSTRUCTION}\n\n{memory}\n\n{render_question(question, instructions)}"


def parse_state(completion: str) -> MemoryState | None:
    """Returns the state that a completion declares, or None when it is malformed.

    Thinking before `</think>` is ignored; of several well-formed states the last counts, because a
    model that quotes its old state does so before writing the new one. A memory or plan that is
    blank reads as empty. Takes linear time whatever the completion repeats; tags of ours within the
    state, which a document may have put there, are removed, and a memory that quotes an earlier
    memory block counts from its last opening tag.
    """
    text = completion.rpartition(_THINKING_END)[2]
    before, end, _ = text.rpartition("</plan>")
    blocks = (before + end).rsplit("<memory>", MAX_BLOCKS)
    if len(blocks) > MAX_BLOCKS:
        blocks[0] = ""
    found = _STATE.findall("<memory>".join(blocks))
    if not found:
        return None
    memory, plan = found[-1]
    return _without_tags(MemoryState(memory, plan))


def parse_memory(completion: str) -> MemoryState | None:
    """Returns the memory that a completion is, None where it is blank.

    A policy that puts it between tags all the same is taken at its word.
    """
    text = completion.rpartition(_THINKING_END)[2]
    before, closing, _ = text.rpartition("</memory>")
    memory = (before if closing else text).rpartition("<memory>")[2]
    if not memory.strip():
        return None
    return _without_tags(MemoryState(memory, ""))


def _without_tags(state: MemoryState) -> MemoryState:
    memory = _TAG.sub("", state.memory.rpartition("<memory>")[2]).strip()
    plan = _TAG.sub("", state.plan.rpartition("<plan>")[2]).strip()
    return replace(state, memory=memory or EMPTY_MEMORY, plan=plan or EMPTY_PLAN)


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
    asked: Callable[[str, str], str]
    """Question and instructions -> what every turn asks."""
    turn: Callable[[str, str, MemoryState], str]
    """Chunk, what is asked, state -> prompt of a turn."""
    parse: Callable[[str], MemoryState | None]
    """Output -> state, None where it declares none."""

    def written(self) -> str:
        """Returns the form that a turn's output has, without its content."""
        return render_state(MemoryState("", "")) if self.has_plan else "<memory>\n\n</memory>"


def recipe_protocol(layout: Layout) -> ReadingProtocol:
    """Returns the recipe's protocol in a layout."""
    return ReadingProtocol(
        name="recipe",
        has_plan=True,
        asked=lambda question, _: question,
        turn=lambda chunk, asked, state: render_turn(chunk, asked, state, layout),
        parse=parse_state,
    )


def memagent_protocol(instruction: str = SECTION_INSTRUCTION) -> ReadingProtocol:
    """Returns MemAgent's protocol, with what stands at the end of a turn."""
    return ReadingProtocol(
        name="memagent",
        has_plan=False,
        asked=render_question,
        turn=lambda chunk, asked, state: render_section_turn(chunk, asked, state, instruction),
        parse=parse_memory,
    )
