"""Reading a document with a memory, turn by turn: what is carried, counted and recorded.

A turn whose output declares no state keeps the state before it, a memory or plan above its budget
is cut, and both are counted: the agent always answers. This module knows no solver and no store.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from inspect_ai.model import ModelOutput

from longspan.agents.chunks import Chunk, split_chunks
from longspan.agents.limits import Reserve
from longspan.agents.memory_budget import MemoryBudget, turn_frame
from longspan.agents.memory_format import MemoryState, ReadingProtocol, render_final
from longspan.agents.retention import Step, evidence_in, fates, in_words, noted_in, retention
from longspan.agents.run import AgentRun


@dataclass
class Counts:
    """What happened in the turns of a reading; its fields are the log's."""

    num_calls: int = 0
    """Reading turns."""
    num_malformed: int = 0
    """Turns whose output declared no memory; the state before them was kept."""
    num_partial: int = 0
    """Turns whose output declared a memory without an end, or without a whole plan."""
    num_removed_tags: int = 0
    """Tags of the prompt that outputs held within memory or plan."""
    num_empty_outputs: int = 0
    """Malformed turns that returned no text at all."""
    num_cut_off: int = 0
    """Turns that hit their output limit."""
    num_memory_cuts: int = 0
    num_plan_cuts: int = 0


@dataclass
class MemoryReader:
    """One sample's reading: what stays the same from turn to turn, and what is carried."""

    run: AgentRun
    protocol: ReadingProtocol
    budget: MemoryBudget
    chunks: list[Chunk]
    state: MemoryState = MemoryState()
    counts: Counts = field(default_factory=Counts)
    trace: list[Step] = field(default_factory=list)
    memory_chars: list[int] = field(default_factory=list)
    """Characters of the memory that was carried after each turn; its text is in the output."""
    plan_chars: list[int] = field(default_factory=list)
    resumed_at: int = 0
    """First turn that this process made itself."""

    async def read(self) -> None:
        """Reads all chunks, or as many as the sample's limits allow beside an answer."""
        frame = turn_frame(self.run.query, self.protocol, self.run.counter)
        frame_of_answer = self.run.counter.count(self.answer_prompt(MemoryState("", "")))
        reserve = Reserve(
            frame_of_answer + self.budget.memory_tokens, self.budget.max_answer_tokens
        )
        written = self.budget.memory_tokens + self.budget.plan_tokens
        for index, chunk in enumerate(self.chunks):
            # Memory and plan are read and written.
            if self.run.must_stop(frame + chunk.num_tokens + 2 * written, reserve):
                return
            await self._turn(index, chunk, reserve)

    def answer_prompt(self, state: MemoryState | None = None) -> str:
        """Returns the last prompt: the answer from the memory alone."""
        query = self.run.query
        return render_final(query.question, query.instructions, state or self.state)

    async def _turn(self, index: int, chunk: Chunk, reserve: Reserve) -> None:
        query, live = self.run.query, self.run.spent.live_calls
        asked = self.protocol.asked(query.question, query.instructions)
        output = await self.run.ask(
            self.protocol.turn(self.run.text(chunk), asked, self.state),
            turn=index,
            max_tokens=self.budget.max_turn_tokens,
            passages=(chunk,),
            reserve=reserve,
        )
        if self.run.spent.live_calls == live:
            self.resumed_at = index + 1
        self._take(output)
        # The answer of a run that a limit ends in the middle of a call.
        self.run.state.output = ModelOutput.from_content(str(self.run.model), self.state.memory)
        if query.evidence:
            step = Step(
                in_chunk=evidence_in(query.evidence, chunk.start, chunk.end),
                in_memory=noted_in(query.evidence, self.state.memory),
                start=chunk.start,
                end=chunk.end,
                memory_chars=len(self.state.memory),
            )
            self.trace.append(step)

    def _take(self, output: ModelOutput) -> None:
        """Carries the state that an output declares, within its budgets."""
        parsed = self.protocol.parse(output.completion, self.state)
        state = parsed or self.state
        memory = self._cut(state.memory, self.budget.memory_tokens)
        plan = self._cut(state.plan, self.budget.plan_tokens) if self.protocol.has_plan else ""
        counts = self.counts
        counts.num_calls += 1
        counts.num_malformed += parsed is None
        counts.num_partial += parsed is not None and parsed.is_partial
        counts.num_removed_tags += parsed.num_removed_tags if parsed is not None else 0
        counts.num_empty_outputs += not output.completion.strip()
        counts.num_cut_off += not output.empty and output.stop_reason == "max_tokens"
        counts.num_memory_cuts += memory != state.memory
        counts.num_plan_cuts += self.protocol.has_plan and plan != state.plan
        self.state = MemoryState(memory, plan)
        self.memory_chars.append(len(memory))
        self.plan_chars.append(len(plan))

    def _cut(self, text: str, max_tokens: int) -> str:
        """Returns the beginning of a text that fits; a full memory loses what came last."""
        if self.run.counter.count(text) <= max_tokens:
            return text
        first = split_chunks(text, max_tokens, self.run.counter)[0]
        return text[first.start : first.end]

    def record(self, answer: str | None) -> dict[str, Any]:
        """Returns what the log keeps about a reading: no part of the document but the memory.

        Args:
            answer: The last call's completion, None where there was none.
        """
        evidence = self.run.query.evidence
        record: dict[str, Any] = {
            **asdict(self.counts),
            "num_chunks": len(self.chunks),
            "document_tokens": sum(chunk.num_tokens for chunk in self.chunks),
            "memory_tokens": self.run.counter.count(self.state.memory),
            "memory_chars": self.memory_chars,
            "plan_chars": self.plan_chars,
            "empty_document": not self.chunks,
            "resumed_at": self.resumed_at,
            "cut_off": self.run.cut_off,
            "protocol": self.protocol.name,
            "budget": asdict(self.budget),
            "token_counter": self.run.counter.name,
        }
        if evidence:
            answer = answer and in_words(answer, self.run.state.metadata.get("passport"))
            record |= retention(self.trace, evidence, answer)
            record["fates"] = fates(self.trace, evidence, answer)
            record["trace"] = [asdict(step) for step in self.trace]
        return record
