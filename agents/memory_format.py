"""The text of a memory turn: what the policy is shown and what it must write back.

A turn shows the question, the memory and plan so far, and one chunk; the policy answers with a new
memory and a new plan between tags (arXiv 2512.12967, section 2.3). Two layouts: `question_first` is
the paper's order; `chunk_first` puts the chunk before the question, so that rollouts that read the
same chunk share its prefix.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
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
    blank reads as empty.
    """
    text = completion.rpartition(_THINKING_END)[2]
    found = _STATE.findall(text)
    if not found:
        return None
    memory, plan = (part.strip() for part in found[-1])
    return MemoryState(memory or EMPTY_MEMORY, plan or EMPTY_PLAN)
