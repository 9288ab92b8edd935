"""The memory agents: read chunk by chunk with a memory, answer from the memory.

    (m_t, p_t) ~ policy(m_{t-1}, p_{t-1}, x_t, q_core)    t = 1..K
    y          ~ policy(m_K, q_core, q_inst)              arXiv 2512.12967, section 2.3

Every turn is a fresh prompt of one message; the K+1 prompts of a rollout share nothing but the
question. `memagent` is the peer's protocol (arXiv 2507.02259) over the same chunks and budgets: no
plan, no split of question and format.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple

from inspect_ai.model import get_model
from inspect_ai.solver import Generate, Solver, TaskState, solver

from longspan.agents.memory_budget import MemoryOptions, memory_budget
from longspan.agents.memory_format import (
    SECTION_INSTRUCTION,
    Layout,
    ReadingProtocol,
    memagent_protocol,
    recipe_protocol,
)
from longspan.agents.memory_reading import MemoryReader
from longspan.agents.options import check_texts
from longspan.agents.run import AgentRun, RunOptions, open_run
from longspan.agents.wording import check_wording, wording_for
from longspan.harness.errors import without_traceback

STORE_KEY = "longspan:memory"


@solver
def memory_agent(
    chunk_tokens: int | None = None,
    memory_tokens: int | None = None,
    layout: Layout | None = None,
    max_turn_tokens: int | None = None,
    max_calls: int | None = None,
    instruction: str | None = None,
    tokenizer: str | None = None,
    state_dir: str | None = None,
) -> Solver:
    """Solver that reads a document of any length within the model's window.

    Args:
        chunk_tokens: Most document tokens per turn; by default half the window, at most 32,768.
        memory_tokens: Most tokens of the memory; by default 5/32 of the window, at most 15,360.
        layout: `question_first` (the paper's order) or `chunk_first` (rollouts share the chunk's
            prefix); by default what the checkpoint declares, else the paper's order.
        max_turn_tokens: Output limit of a reading turn; by default what memory and plan need, or
            the run's output limit where that is more and fits.
        max_calls: Most calls of a sample; what is unread then stays unread.
        instruction: What stands at the end of a reading turn; by default what the checkpoint
            declares, else our words, which say the form of the output.
        tokenizer: Name of the tokenizer that counts, for models that do not bring their own.
        state_dir: Folder of one run's calls, with which a killed run goes on where it stopped;
            `longspan eval` gives one itself.

    Raises:
        SpecError: An option is no size or text, or the layout is unknown.
        WindowError: Chunk, memory or question do not fit the model's window (raised before any
            reading turn).
    """
    check_wording(layout, instruction)
    sizes = MemoryOptions(chunk_tokens, memory_tokens, max_turn_tokens)

    def protocol() -> tuple[ReadingProtocol, Layout]:
        wording = wording_for(get_model(), layout, instruction)
        return recipe_protocol(wording.layout, wording.instruction), wording.layout

    return _reading_solver(sizes, RunOptions(tokenizer, state_dir, max_calls), protocol)


@solver
def memagent(
    chunk_tokens: int | None = None,
    memory_tokens: int | None = None,
    max_turn_tokens: int | None = None,
    max_calls: int | None = None,
    instruction: str = SECTION_INSTRUCTION,
    tokenizer: str | None = None,
    state_dir: str | None = None,
) -> Solver:
    """Solver with MemAgent's protocol: a memory without a plan, the whole problem at every turn.

    Args:
        chunk_tokens: As of `memory_agent`; MemAgent's own figure is 5,000.
        memory_tokens: As of `memory_agent`; MemAgent's own figure is 1,024.
        max_turn_tokens: As of `memory_agent`.
        max_calls: As of `memory_agent`.
        instruction: What stands at the end of a turn; a policy that was trained with other words,
            or knows few, is given those.
        tokenizer: As of `memory_agent`.
        state_dir: As of `memory_agent`.

    Raises:
        SpecError: An option is no size or text.
        WindowError: Chunk, memory or question do not fit the model's window.
    """
    check_texts(instruction=instruction)
    sizes = MemoryOptions(chunk_tokens, memory_tokens, max_turn_tokens)
    protocol = memagent_protocol(instruction)
    run_options = RunOptions(tokenizer, state_dir, max_calls)
    return _reading_solver(sizes, run_options, lambda: (protocol, None))


def _reading_solver(
    sizes: MemoryOptions,
    run_options: RunOptions,
    protocol_of_model: Callable[[], tuple[ReadingProtocol, Layout | None]],
) -> Solver:
    @without_traceback
    async def solve(state: TaskState, generate: Generate) -> TaskState:
        protocol, layout = protocol_of_model()
        agent = "memory_agent" if protocol.has_plan else "memagent"
        asked = [*astuple(sizes), layout, protocol.instruction]
        run = await open_run(state, agent, run_options, asked, sizes.chunk_tokens)
        if run.is_whole:
            return await run.ask_whole(generate)
        reader = _open_reader(run, sizes, protocol)
        answer = None
        try:
            await reader.read()
            prompt, turn = reader.answer_prompt(), len(reader.chunks)
            state = await run.answer(prompt, generate, turn, reader.budget.max_answer_tokens)
            answer = state.output.completion
        finally:
            # A limit of Inspect's, or a failing model, ends a run here; the log says how far.
            run.save_record()
            state.store.set(STORE_KEY, reader.record(answer) | {"layout": layout})
        return state

    return solve


def _open_reader(run: AgentRun, sizes: MemoryOptions, protocol: ReadingProtocol) -> MemoryReader:
    budget = memory_budget(
        run.query, sizes, protocol, run.window, run.max_output_tokens, run.counter
    )
    return MemoryReader(run, protocol, budget, run.chunks(budget.chunk_tokens))
