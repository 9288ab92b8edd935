"""The map-reduce baseline: every chunk is noted by itself, in parallel, and the notes are answered.

    n_i ~ policy(empty, empty, x_i, q_core)    i = 1..K, at the same time
    y   ~ policy(n_1 .. n_K, q_core, q_inst)

Notes that do not fit the last prompt together are chunked and noted again, until they do. A turn is
the memory agent's with an empty memory and plan, so the two differ only in what is carried on: no
chunk knows what another holds.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import get_args

from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.util import collect

from longspan.agents.chunks import Chunk, split_chunks
from longspan.agents.limits import Reserve, tokens_left
from longspan.agents.memory_budget import (
    MAX_CHUNK_TOKENS,
    MemoryBudget,
    MemoryOptions,
    memory_budget,
    turn_frame,
)
from longspan.agents.memory_format import (
    EMPTY_MEMORY,
    Layout,
    MemoryState,
    ReadingProtocol,
    recipe_protocol,
    render_final,
)
from longspan.agents.room import input_room, template_tokens
from longspan.agents.run import AgentRun, RunOptions, open_run
from longspan.harness.datasets.documents import ContextText
from longspan.harness.errors import SpecError, without_traceback

STORE_KEY = "longspan:map_reduce"
MAX_ROUNDS = 8
MAX_NOTE_SHARE = 0.5
"""Most of a chunk that its note may take, so that every round of notes is shorter."""


@solver
def map_reduce(
    chunk_tokens: int | None = None,
    note_tokens: int | None = None,
    layout: Layout = "question_first",
    max_turn_tokens: int | None = None,
    max_calls: int | None = None,
    tokenizer: str | None = None,
    state_dir: str | None = None,
) -> Solver:
    """Solver that notes all chunks at the same time and answers from the notes.

    Args:
        chunk_tokens: As of `memory_agent`.
        note_tokens: Most tokens of one chunk's note; by default as a memory of `memory_agent`, and
            at most half of the chunk.
        layout: As of `memory_agent`.
        max_turn_tokens: As of `memory_agent`.
        max_calls: As of `memory_agent`.
        tokenizer: As of `memory_agent`.
        state_dir: As of `memory_agent`.

    Raises:
        SpecError: The layout is unknown.
        WindowError: Chunk, note or question do not fit the model's window.
    """
    if layout not in get_args(Layout):
        raise SpecError(f"unknown layout of map-reduce: {layout!r}; use one of {get_args(Layout)}")
    protocol = recipe_protocol(layout)
    options = MemoryOptions(chunk_tokens, note_tokens, max_turn_tokens, protocol)
    run_options = RunOptions(tokenizer, state_dir, max_calls)
    asked = [chunk_tokens, note_tokens, max_turn_tokens, layout]

    @without_traceback
    async def solve(state: TaskState, generate: Generate) -> TaskState:
        run = await open_run(state, "map_reduce", run_options, asked)
        budget = memory_budget(run.query, options, run.window, run.max_output_tokens, run.counter)
        mapper = _Mapper(run, protocol, budget, _room(run))
        try:
            notes = await mapper.notes()
            query = run.query
            prompt = render_final(query.question, query.instructions, MemoryState(notes, ""))
            turn, limit = mapper.num_turns, run.max_output_tokens
            state = await run.answer(prompt, generate, turn, limit)
        finally:
            run.save_record()
            state.store.set(STORE_KEY, mapper.record())
        return state

    return solve


@dataclass
class _Counts:
    num_chunks: int = 0
    document_tokens: int = 0
    num_rounds: int = 0
    num_malformed: int = 0
    num_empty_notes: int = 0
    num_note_cuts: int = 0
    num_final_cuts: int = 0
    """Whether the notes were cut because rounds did not make them short enough."""


@dataclass
class _Mapper:
    """One sample being noted."""

    run: AgentRun
    protocol: ReadingProtocol
    budget: MemoryBudget
    room: int
    """Tokens that the notes may have together."""
    num_turns: int = 0
    counts: _Counts = field(default_factory=_Counts)

    async def notes(self) -> str:
        """Returns the notes on the whole document, short enough for the last prompt."""
        chunks = self.run.chunks(self.budget.chunk_tokens)
        self.counts.num_chunks = len(chunks)
        self.counts.document_tokens = sum(chunk.num_tokens for chunk in chunks)
        text: str | ContextText = self.run.query.context
        for first in (True, *[False] * (MAX_ROUNDS - 1)):
            text = notes = await self._round(text, chunks, is_document=first)
            if self.run.counter.count(notes) <= self.room:
                return notes or EMPTY_MEMORY
            if self.run.cut_off:
                break
            chunks = split_chunks(notes, self.budget.chunk_tokens, self.run.counter)
        self.counts.num_final_cuts = 1
        return self._cut(notes, self.room)

    async def _round(self, text: str | ContextText, chunks: list[Chunk], is_document: bool) -> str:
        """Returns the notes on each chunk of a text, a line or more each."""
        self.counts.num_rounds += 1
        notes: list[str] = []
        # Under a limit one call goes first: it tells how the provider counts tokens.
        probe = 1 if tokens_left(self.run.spent) is not None and not self.num_turns else 0
        for part in (chunks[:probe], chunks[probe:]):
            affordable = part[: self._num_affordable(part)]
            base = self.num_turns
            self.num_turns += len(affordable)
            notes += await collect(
                *(
                    self._note(text[chunk.start : chunk.end], base + i, [chunk] * is_document)
                    for i, chunk in enumerate(affordable)
                )
            )
        return "\n".join(note for note in notes if note)

    async def _note(self, text: str, turn: int, passages: list[Chunk]) -> str:
        question = self.run.query.question
        output = await self.run.ask(
            self.protocol.turn(text, question, MemoryState()),
            turn,
            self.budget.max_turn_tokens,
            passages,
        )
        parsed = self.protocol.parse(output.completion)
        note = "" if parsed is None or parsed.memory == EMPTY_MEMORY else parsed.memory
        most = min(
            self.budget.memory_tokens, max(1, int(self.budget.chunk_tokens * MAX_NOTE_SHARE))
        )
        cut = self._cut(note, most)
        self.counts.num_malformed += parsed is None
        self.counts.num_empty_notes += not note
        self.counts.num_note_cuts += cut != note
        return cut

    def _num_affordable(self, chunks: list[Chunk]) -> int:
        """Returns how many of the next calls the sample's limits hold beside the answer."""
        run, budget = self.run, self.budget
        frame = turn_frame(run.query, self.protocol, run.counter)
        reserve = Reserve(self.room, run.max_output_tokens)
        each = [frame + c.num_tokens + budget.memory_tokens + budget.plan_tokens for c in chunks]
        low, high = 0, len(chunks)
        while low < high:
            middle = (low + high + 1) // 2
            if run.must_stop(sum(each[:middle]), reserve, middle):
                high = middle - 1
            else:
                low = middle
        if low < len(chunks):
            run.must_stop(sum(each), reserve, len(chunks))
        return low

    def _cut(self, text: str, max_tokens: int) -> str:
        if self.run.counter.count(text) <= max_tokens:
            return text
        first = split_chunks(text, max_tokens, self.run.counter)[0]
        return text[first.start : first.end]

    def record(self) -> dict[str, object]:
        """Returns what the log keeps: counts and budgets."""
        return {**asdict(self.counts), "cut_off": self.run.cut_off, "budget": asdict(self.budget)}


def _room(run: AgentRun) -> int:
    """Returns how many tokens of notes fit the last prompt."""
    room = input_room(run.window, run.max_output_tokens)
    if room is None:
        return MAX_CHUNK_TOKENS
    query = run.query
    frame = render_final(query.question, query.instructions, MemoryState("", ""))
    return max(1, room - run.counter.count(frame) - template_tokens(run.counter))
