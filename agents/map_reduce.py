"""The map-reduce baseline: every chunk is noted by itself, in parallel, and the notes are answered.

    n_i ~ policy(empty, empty, x_i, q_core)    i = 1..K, at the same time
    y   ~ policy(n_1 .. n_K, q_core, q_inst)

Notes that do not fit the last prompt together are chunked and noted again, until they do. A turn is
the memory agent's with an empty memory and plan, so the two differ only in what is carried on: no
chunk knows what another holds.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, field

from inspect_ai.model import get_model
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.util import collect

from longspan.agents.chunks import Chunk, split_chunks
from longspan.agents.limits import DEFAULT_ANSWER_TOKENS, Reserve, clipped, tokens_left
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
from longspan.agents.options import check_sizes
from longspan.agents.room import input_room, template_tokens
from longspan.agents.run import AgentRun, RunOptions, open_run
from longspan.agents.wording import check_wording, wording_for
from longspan.harness.datasets.documents import ContextText
from longspan.harness.errors import without_traceback

STORE_KEY = "longspan:map_reduce"
MAX_ROUNDS = 8
MAX_NOTE_SHARE = 0.5
"""Most of a chunk that its note may take, so that every round of notes is shorter."""


@solver
def map_reduce(
    chunk_tokens: int | None = None,
    note_tokens: int | None = None,
    layout: Layout | None = None,
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
        SpecError: An option is no size or text, or the layout is unknown.
        WindowError: Chunk, note or question do not fit the model's window.
    """
    check_sizes(chunk_tokens=chunk_tokens, note_tokens=note_tokens, max_turn_tokens=max_turn_tokens)
    check_wording(layout, None)
    options = MemoryOptions(chunk_tokens, note_tokens, max_turn_tokens)
    run_options = RunOptions(tokenizer, state_dir, max_calls)

    @without_traceback
    async def solve(state: TaskState, generate: Generate) -> TaskState:
        wording = wording_for(get_model(), layout, None)
        protocol = recipe_protocol(wording.layout, wording.instruction)
        asked = [*astuple(options), *astuple(wording)]
        run = await open_run(state, "map_reduce", run_options, asked, chunk_tokens)
        if run.is_whole:
            return await run.ask_whole(generate)
        budget = memory_budget(
            run.query, options, protocol, run.window, run.max_output_tokens, run.counter
        )
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

    @property
    def max_note_tokens(self) -> int:
        """Most tokens of a note: of the budget, and at most half of the chunk."""
        half = max(1, int(self.budget.chunk_tokens * MAX_NOTE_SHARE))
        return min(self.budget.memory_tokens, half)

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
        """Returns the notes on each chunk of a text, a line or more each.

        Notes that the limits leave no call for stay as they are; such parts of the document are
        not read.
        """
        self.counts.num_rounds += 1
        notes: list[str] = []
        # Under a limit one call goes first: it tells how the provider counts tokens.
        probe = 1 if tokens_left(self.run.spent) is not None and not self.num_turns else 0
        for rest, most in ((chunks, probe), (chunks[probe:], len(chunks))):
            affordable = rest[: self._num_affordable(rest, notes, is_document)]
            limit = self._output_limit(affordable, notes, is_document)
            part, base = affordable[:most], self.num_turns
            self.num_turns += len(part)
            notes += await collect(
                *(
                    self._note(
                        text[chunk.start : chunk.end], base + i, limit, [chunk] * is_document
                    )
                    for i, chunk in enumerate(part)
                )
            )
        if not is_document:
            notes += [text[chunk.start : chunk.end] for chunk in chunks[len(notes) :]]
        return "\n".join(note for note in notes if note)

    async def _note(
        self, text: str, turn: int, max_tokens: int | None, passages: list[Chunk]
    ) -> str:
        question = self.run.query.question
        output = await self.run.ask(
            self.protocol.turn(text, question, MemoryState()),
            turn,
            max_tokens,
            passages,
        )
        parsed = self.protocol.parse(output.completion, MemoryState())
        note = "" if parsed is None or parsed.memory == EMPTY_MEMORY else parsed.memory
        cut = self._cut(note, self.max_note_tokens)
        self.counts.num_malformed += parsed is None
        self.counts.num_empty_notes += not note
        self.counts.num_note_cuts += cut != note
        return cut

    def _num_affordable(self, chunks: list[Chunk], notes: list[str], is_document: bool) -> int:
        """Returns how many of the next calls the sample's limits hold beside the answer."""
        run = self.run
        low, high = 0, len(chunks)
        while low < high:
            middle = (low + high + 1) // 2
            reserve = self._reserve(middle, notes, is_document)
            if run.must_stop(self._prompt_tokens(chunks[:middle], written=True), reserve, middle):
                high = middle - 1
            else:
                low = middle
        if low < len(chunks):
            reserve = self._reserve(len(chunks), notes, is_document)
            run.must_stop(self._prompt_tokens(chunks, written=True), reserve, len(chunks))
        return low

    def _reserve(self, num_calls: int, notes: Sequence[str], is_document: bool) -> Reserve:
        """Returns what the answer needs after so many further calls: its frame and all notes."""
        run, room = self.run, self.room
        if is_document:
            most = num_calls * (self.max_note_tokens + 1)
            room = min(room, most + sum(run.counter.count(note) + 1 for note in notes))
        return Reserve(_answer_frame(run) + room, run.max_output_tokens)

    def _prompt_tokens(self, chunks: Sequence[Chunk], written: bool = False) -> int:
        """Returns the tokens of the prompts of calls, and of the notes that they may write."""
        run, budget = self.run, self.budget
        each = turn_frame(run.query, self.protocol, run.counter) + template_tokens(run.counter)
        if written:
            each += run.counter.count(self.protocol.written()) + 1
            each += budget.memory_tokens + budget.plan_tokens
        return sum(each + chunk.num_tokens for chunk in chunks)

    def _output_limit(
        self, chunks: Sequence[Chunk], notes: Sequence[str], is_document: bool
    ) -> int | None:
        """Returns the output limit of calls that are made at the same time.

        None of them sees what the others write, so each has its share of what a token limit leaves
        beside the answer. A share that is large sets no limit, as in `clipped`.
        """
        limit, spent = self.budget.max_turn_tokens, self.run.spent
        if not chunks or tokens_left(spent) is None:
            return limit
        reserve = self._reserve(len(chunks), notes, is_document)
        prompts = self._prompt_tokens(chunks) + (len(chunks) + 1) * self.run.system_tokens
        left = clipped(sys.maxsize, prompts, reserve, spent) or 0
        share = max(1, left // len(chunks))
        most = limit or self.run.max_output_tokens or DEFAULT_ANSWER_TOKENS
        return limit if share >= most else share

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
    return MAX_CHUNK_TOKENS if room is None else max(1, room - _answer_frame(run))


def _answer_frame(run: AgentRun) -> int:
    """Returns the tokens of the last prompt without the notes."""
    frame = render_final(run.query.question, run.query.instructions, MemoryState("", ""))
    return run.counter.count(frame) + template_tokens(run.counter)
