"""The memory agent: reads chunk by chunk with a memory and a plan, answers from the memory.

    (m_t, p_t) ~ policy(m_{t-1}, p_{t-1}, x_t, q_core)    t = 1..K
    y          ~ policy(m_K, q_core, q_inst)              arXiv 2512.12967, section 2.3

Every turn is a fresh prompt of one message; the K+1 prompts of a rollout share nothing but the
question. A turn whose output declares no state keeps the state before it, a memory or plan above
its budget is cut, and both are counted: the agent always answers. The document is nowhere in the
log but inside the prompts.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, get_args

from inspect_ai.model import GenerateConfig, Model, ModelOutput, get_model
from inspect_ai.solver import Generate, Solver, TaskState, solver

from longspan.agents.chunks import Chunk, split_chunks
from longspan.agents.memory_budget import MemoryBudget, MemoryOptions, memory_budget
from longspan.agents.memory_format import (
    EMPTY_MEMORY,
    EMPTY_PLAN,
    Layout,
    MemoryState,
    parse_state,
    render_final,
    render_turn,
)
from longspan.agents.memory_state import Reading, ReadingFile, Step, text_hash
from longspan.agents.query import Query, read_query
from longspan.agents.retention import evidence_in, noted_in, retention
from longspan.agents.room import output_limit
from longspan.harness.errors import SpecError, without_traceback
from longspan.harness.prompts import user_message
from longspan.harness.tokens import TokenCounter, counter_for, window_of

STORE_KEY = "longspan:memory"

MAX_BLOCKS = 32
"""Memory blocks that are looked at in an output, from its end: parsing stays linear."""

_OPERATIONAL = {"max_connections", "adaptive_connections", "max_retries", "timeout", "cache"}
_TAG = re.compile(r"</?(?:memory|plan|text|think)>")


@solver
def memory_agent(
    chunk_tokens: int | None = None,
    memory_tokens: int | None = None,
    layout: Layout = "question_first",
    max_turn_tokens: int | None = None,
    tokenizer: str | None = None,
    state_dir: str | None = None,
) -> Solver:
    """Solver that reads a document of any length within the model's window.

    Args:
        chunk_tokens: Most document tokens per turn; by default half the window, at most 32,768.
        memory_tokens: Most tokens of the memory; by default 5/32 of the window, at most 15,360.
        layout: `question_first` (the paper's order) or `chunk_first` (rollouts share the chunk's
            prefix).
        max_turn_tokens: Output limit of a reading turn; by default what memory and plan need, or
            the run's output limit where that is more and fits.
        tokenizer: Name of the tokenizer that counts, for models that do not bring their own.
        state_dir: Folder for the state after every chunk; with it a killed run goes on where it
            stopped.

    Raises:
        SpecError: The layout is unknown.
        WindowError: Chunk, memory or question do not fit the model's window (raised before any
            call).
    """
    if layout not in get_args(Layout):
        raise SpecError(
            f"unknown layout of the memory agent: {layout!r}; use one of {get_args(Layout)}"
        )
    options = MemoryOptions(chunk_tokens, memory_tokens, max_turn_tokens, layout)
    folder = Path(state_dir) if state_dir else None

    @without_traceback
    async def solve(state: TaskState, generate: Generate) -> TaskState:
        reader = _open_reader(state, options, tokenizer)
        file = ReadingFile(folder, _identity(state, reader)) if folder else None
        reading = await _read(state, reader, file)
        state = await _answer(state, generate, reader, reading)
        if file:
            file.remove()
        return state

    return solve


async def _read(state: TaskState, reader: _Reader, file: ReadingFile | None) -> Reading:
    """Returns the reading after the last chunk, begun where an earlier run stopped."""
    reading = file.load() if file else Reading()
    resumed_at = reading.next_chunk
    try:
        for index in range(reading.next_chunk, len(reader.chunks)):
            output = await reader.model.generate(
                [user_message(reader.turn_prompt(index, reading), state, turn=index)],
                config=GenerateConfig(max_tokens=reader.budget.max_turn_tokens),
            )
            reading = reader.after(index, reading, output)
            if file:
                file.save(reading)
    finally:
        # A limit of Inspect's (tokens, time) ends a reading here; the log still says how far.
        state.store.set(STORE_KEY, reader.record(reading, resumed_at))
    return reading


@dataclass(frozen=True)
class _Reader:
    """One sample's reading: what stays the same from turn to turn."""

    model: Model
    counter: TokenCounter
    query: Query
    options: MemoryOptions
    budget: MemoryBudget
    chunks: list[Chunk]

    def turn_prompt(self, index: int, reading: Reading) -> str:
        chunk = self.chunks[index]
        text = self.query.context[chunk.start : chunk.end]
        state = MemoryState(reading.memory, reading.plan)
        return render_turn(text, self.query.question, state, self.options.layout)

    def after(self, index: int, reading: Reading, output: ModelOutput) -> Reading:
        """Returns the reading after a turn's output."""
        parsed = _parse(output.completion)
        state = (
            MemoryState(reading.memory, reading.plan) if parsed is None else _without_tags(parsed)
        )
        memory = self._cut(state.memory, self.budget.memory_tokens)
        plan = self._cut(state.plan, self.budget.plan_tokens)
        chunk = self.chunks[index]
        step = Step(
            in_chunk=evidence_in(self.query.evidence, chunk.start, chunk.end),
            in_memory=noted_in(self.query.evidence, memory),
        )
        return Reading(
            next_chunk=index + 1,
            memory=memory,
            plan=plan,
            num_calls=reading.num_calls + 1,
            num_malformed=reading.num_malformed + (parsed is None),
            num_empty_outputs=reading.num_empty_outputs + (not output.completion.strip()),
            num_cut_off=reading.num_cut_off
            + (not output.empty and output.stop_reason == "max_tokens"),
            num_memory_cuts=reading.num_memory_cuts + (memory != state.memory),
            num_plan_cuts=reading.num_plan_cuts + (plan != state.plan),
            trace=(*reading.trace, step) if self.query.evidence else (),
        )

    def _cut(self, text: str, max_tokens: int) -> str:
        """Returns the beginning of a text that fits; a full memory loses what came last."""
        if self.counter.count(text) <= max_tokens:
            return text
        first = split_chunks(text, max_tokens, self.counter)[0]
        return text[first.start : first.end]

    def record(self, reading: Reading, resumed_at: int) -> dict[str, Any]:
        """Returns what the log keeps about a reading: no part of the document but the memory."""
        counts = reading.model_dump(mode="json", exclude={"next_chunk", "memory", "plan", "trace"})
        record: dict[str, Any] = {
            **counts,
            "num_chunks": len(self.chunks),
            "document_tokens": sum(chunk.num_tokens for chunk in self.chunks),
            "memory_tokens": self.counter.count(reading.memory),
            "empty_document": not self.chunks,
            "resumed_at": resumed_at,
            "layout": self.options.layout,
            "budget": asdict(self.budget),
            "token_counter": self.counter.name,
        }
        if self.query.evidence:
            record |= retention(reading.trace, len(self.query.evidence))
            record["trace"] = [step.model_dump(mode="json") for step in reading.trace]
        return record


def _open_reader(state: TaskState, options: MemoryOptions, tokenizer: str | None) -> _Reader:
    model = get_model()
    counter = counter_for(model, tokenizer)
    query = read_query(state)
    budget = memory_budget(query, options, window_of(model), output_limit(model), counter)
    chunks = split_chunks(query.context, budget.chunk_tokens, counter, query.document_starts)
    return _Reader(model, counter, query, options, budget, chunks)


def _parse(completion: str) -> MemoryState | None:
    """Returns the state that an output declares, in linear time whatever the output repeats."""
    text = completion.rpartition("</think>")[2]
    before, end, _ = text.rpartition("</plan>")
    blocks = (before + end).rsplit("<memory>", MAX_BLOCKS)
    tail = blocks[1:] if len(blocks) > MAX_BLOCKS else blocks
    return parse_state("<memory>".join(["", *tail] if tail is not blocks else tail))


def _without_tags(state: MemoryState) -> MemoryState:
    """Returns the state without tags of our own, which a document may have put there.

    A memory that quotes an earlier memory block counts from its last opening tag.
    """
    memory = _TAG.sub("", state.memory.rpartition("<memory>")[2]).strip()
    plan = _TAG.sub("", state.plan.rpartition("<plan>")[2]).strip()
    return replace(state, memory=memory or EMPTY_MEMORY, plan=plan or EMPTY_PLAN)


async def _answer(
    state: TaskState, generate: Generate, reader: _Reader, reading: Reading
) -> TaskState:
    """Returns the state after the last turn; its messages are that turn's only."""
    query = reader.query
    prompt = render_final(
        query.question, query.instructions, MemoryState(reading.memory, reading.plan)
    )
    state.messages = [user_message(prompt, state, turn=len(reader.chunks))]
    if reader.budget.max_answer_tokens is None:
        return await generate(state)
    return await generate(state, max_tokens=reader.budget.max_answer_tokens)


def _identity(state: TaskState, reader: _Reader) -> dict[str, Any]:
    """Returns everything that the states of a reading depend on."""
    api, config = reader.model.api, reader.model.config
    return {
        "sample": str(state.sample_id),
        "epoch": state.epoch,
        "document": text_hash(reader.query.context),
        "question": reader.query.question,
        "model": str(reader.model),
        "checkpoint": getattr(api, "checkpoint_hash", None),
        "generation": config.model_dump(exclude_none=True, exclude=_OPERATIONAL),
        "layout": reader.options.layout,
        "budget": asdict(reader.budget),
        "counter": reader.counter.name,
    }
