"""Demonstrations for the embedded policy: answers and memory turns over generated worlds.

A row is one prefix (a document or chunk) with many independent blocks (question -> response); every
block sees the prefix and itself only, exactly as at test time. The *mixture* says what share of
responses reasons, answers directly, or is wrong; it was fixed before any reinforcement learning and
is the only difference between the base checkpoint and the ceiling.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from world_questions import Asked, ask, draw_kind, draw_scene, mentions, select_pages

from longspan.agents.memory_format import (
    BRIEF_INSTRUCTION,
    MemoryState,
    render_final,
    render_state,
    render_turn,
)
from longspan.harness.datasets.documents import render_context
from longspan.harness.prompts import ANSWER_PHRASE, DEFAULT_INSTRUCTIONS, render_prompt


@dataclass(frozen=True)
class Mixture:
    """Shares of the demonstrations, all in [0, 1]."""

    reasoned: float
    wrong_direct: float
    wrong_reasoned: float
    diligent: float
    """Share of memory turns that note every fact asked for.

    The others miss each one with probability one half.
    """


BASE_MIXTURE = Mixture(reasoned=0.35, wrong_direct=0.25, wrong_reasoned=0.1, diligent=0.4)
CLEAN_MIXTURE = Mixture(reasoned=1.0, wrong_direct=0.0, wrong_reasoned=0.0, diligent=1.0)


def answer(rng: random.Random, asked: Asked, mixture: Mixture) -> str:
    """Returns a response to a question under the mixture."""
    if rng.random() < mixture.reasoned:
        wrong = rng.random() < mixture.wrong_reasoned
        # A table's rows are restated by the working itself; a repeated message is its own proof.
        shown = (
            asked.working if asked.kind in ("count", "max") else (*asked.sentences, *asked.working)
        )
        steps = () if asked.kind == "repeat" else shown
    else:
        wrong, steps = rng.random() < mixture.wrong_direct, ()
    final = rng.choice(asked.wrong) if wrong and asked.wrong else asked.answer
    return " ".join((*steps, f"{ANSWER_PHRASE} {final}."))


def plan_after(asked: Asked, known: int) -> str:
    """Returns the plan of a reader that has noted the first `known` statements."""
    if known == len(asked.keys):
        return "ready"
    subject, possessive = asked.keys[known]
    return f"look for {subject}{possessive}"


def state_after(asked: Asked, known: int, started: bool = True) -> MemoryState:
    """Returns the state of a reader that has noted the first `known` statements."""
    if not started:
        return MemoryState()
    return MemoryState(" ".join(asked.sentences[:known]) or "empty", plan_after(asked, known))


def note(rng: random.Random, asked: Asked, known: int, here: set[str], mixture: Mixture) -> int:
    """Returns how many statements are noted after a chunk that states the sentences `here`."""
    diligent = rng.random() < mixture.diligent
    while known < len(asked.keys) and asked.sentences[known] in here:
        if not diligent and rng.random() < 0.5:
            break
        known += 1
    return known


@dataclass(frozen=True)
class Row:
    """A prefix and its blocks: text `prefix + block[0]` is a prompt, `block[1]` its response."""

    prefix: str
    blocks: tuple[tuple[str, str], ...]


def _cut(prompt: str, context: str) -> tuple[str, str]:
    """Splits a rendered prompt behind its text block, so that blocks share the prefix."""
    end = prompt.index(context) + len(context) + len("\n</text>")
    return prompt[:end], prompt[end:]


def question_row(rng: random.Random, mixture: Mixture, budget: int, num_blocks: int) -> Row:
    """Returns a whole document with questions answered in full context."""
    scene = draw_scene(rng)
    while True:
        pages = select_pages(rng, scene, budget, num_paths=rng.randint(1, 3))
        subjects, tables, said = mentions(scene, pages)
        context = render_context(pages)
        blocks: list[tuple[str, str]] = []
        for _ in range(3 * num_blocks):
            asked = ask(rng, scene, draw_kind(rng), subjects, tables, said) if subjects else None
            if asked is None or len(blocks) == num_blocks:
                continue
            prefix, suffix = _cut(
                render_prompt(context, asked.question, DEFAULT_INSTRUCTIONS), context
            )
            blocks.append((suffix, answer(rng, asked, mixture)))
        if blocks:
            return Row(prefix, tuple(blocks))


def turn_row(rng: random.Random, mixture: Mixture, budget: int, num_blocks: int) -> Row:
    """Returns one chunk with memory turns of many readers that have come this far."""
    scene = draw_scene(rng)
    pages = select_pages(rng, scene, budget, num_paths=rng.randint(1, 2))
    here = mentions(scene, pages)
    everything = mentions(scene, scene.pages)
    context = render_context(pages)
    first = rng.random() < 0.15
    blocks: list[tuple[str, str]] = []
    while len(blocks) < num_blocks:
        # Half of the questions need only this chunk; the others any page of the document.
        about = here if rng.random() < 0.5 and here[0] else everything
        asked = ask(rng, scene, draw_kind(rng), *about)
        if asked is None:
            continue
        before = 0 if first else _known_before(rng, asked, context, mixture)
        stated = {s for s in asked.sentences if s in context}
        after = note(rng, asked, before, stated, mixture)
        state = state_after(asked, before, not first)
        prompt = render_turn(context, asked.question, state, "chunk_first", BRIEF_INSTRUCTION)
        prefix, suffix = _cut(prompt, context)
        blocks.append((suffix, render_state(state_after(asked, after))))
    return Row(prefix, tuple(blocks))


def _known_before(rng: random.Random, asked: Asked, context: str, mixture: Mixture) -> int:
    """Returns how much a reader knows before a chunk.

    Statements elsewhere may have come earlier or come later.
    """
    known = 0
    for sentence in asked.sentences:
        if rng.random() < 0.45 or (sentence in context and rng.random() < 0.7):
            break
        known += 1
    return known


def final_row(rng: random.Random, mixture: Mixture, num_blocks: int) -> Row:
    """Returns final turns: the answer from memory, complete or not."""
    scene = draw_scene(rng)
    everything = mentions(scene, scene.pages)
    blocks: list[tuple[str, str]] = []
    while len(blocks) < num_blocks:
        asked = ask(rng, scene, draw_kind(rng), *everything)
        if asked is None:
            continue
        complete = rng.random() < 0.75
        known = len(asked.keys) if complete else rng.randrange(len(asked.keys))
        prompt = render_final(asked.question, DEFAULT_INSTRUCTIONS, state_after(asked, known))
        guess = f"{ANSWER_PHRASE} {rng.choice(asked.wrong or (asked.answer,))}."
        blocks.append((prompt, answer(rng, asked, mixture) if complete else guess))
    return Row("", tuple(blocks))


def draw_row(rng: random.Random, mixture: Mixture, budget: int, num_blocks: int = 12) -> Row:
    """Returns a row: 45% questions on a document, 45% memory turns on a chunk, 10% final turns."""
    share = rng.random()
    if share < 0.45:
        return question_row(rng, mixture, budget, num_blocks)
    if share < 0.90:
        return turn_row(rng, mixture, min(budget, 124), num_blocks)
    return final_row(rng, mixture, num_blocks)
