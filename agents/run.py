"""One agent's run on one sample: what is asked, how it is counted, and every call of the model.

All agents make their calls here, so that each of them is resumable, stays within the sample's
limits, keeps the document out of the log, and says what it cost. A new agent needs this module,
and `chunks` where it reads piece by piece; `docs/agents.md` shows one.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal
from weakref import WeakKeyDictionary

from anyio.lowlevel import checkpoint
from inspect_ai.log import transcript
from inspect_ai.model import (
    ChatMessage,
    ChatMessageUser,
    GenerateConfig,
    Model,
    ModelOutput,
    get_model,
)
from inspect_ai.solver import Generate, TaskState
from pydantic import JsonValue

from longspan.agents.choices import mark_choices
from longspan.agents.chunks import Chunk, split_chunks
from longspan.agents.identity import model_identity, sample_identity
from longspan.agents.journal import Entry, Journal
from longspan.agents.limits import Need, Reserve, Spent, clipped, limit_reached
from longspan.agents.messages import (
    as_key,
    encodable,
    encodable_output,
    system_messages,
    tagged,
    window_beside,
)
from longspan.agents.options import check_sizes, check_texts
from longspan.agents.query import Query, read_query
from longspan.agents.room import TEMPLATE_TOKENS, output_limit, template_tokens
from longspan.agents.undeclared import MAX_QUESTION_TOKENS, WHOLE_INPUT, open_undeclared
from longspan.harness.prompts import user_message
from longspan.harness.references import StoredText, expands_references, refer, stored_text
from longspan.harness.resuming import calls_folder
from longspan.harness.rollout import is_recording
from longspan.harness.scoring.validity import CUT_OFF_KEY
from longspan.harness.tokens import TokenCounter, counter_for, window_of

STORE_KEY = "longspan:agent"
"""Key of a sample's store with what the agent's run cost and how it ended."""
REPLAY_SOURCE = "longspan:replayed"
"""Source of the log's entries for calls that an earlier process made."""

ToolCalls = Literal["loop", "none"]
DECOMPOSE_TURN = -1
"""Number of the call that asks for the question of an input that declares none."""

_SPLIT: WeakKeyDictionary[StoredText, dict[Hashable, list[Chunk]]] = WeakKeyDictionary()
"""Chunks of the documents that runs hold: the rollouts of a sample ask for the same ones."""


@dataclass
class AgentRun:
    """One sample being read by an agent."""

    state: TaskState
    agent: str
    """Name of the agent."""
    model: Model
    counter: TokenCounter
    query: Query
    document: StoredText
    window: int | None
    """The model's window in tokens, what the system messages take left out; None: not known."""
    max_output_tokens: int | None
    """The run's output limit, None where nothing sets one."""
    max_calls: int | None = None
    journal: Journal | None = None
    spent: Spent = field(default_factory=Spent)
    cut_off: str | None = None
    """The limit that ended the reading, None where it came to its end."""
    depth: int = 0
    """Calls one after the other so far."""
    system: tuple[ChatMessage, ...] = ()
    """The task's own system messages, which stand in front of every prompt."""
    system_tokens: int = 0
    has_choices: bool = False
    """Whether the answer is marked on the sample's options."""

    @property
    def is_whole(self) -> bool:
        """Whether the sample declares no document and is asked as it is: see `ask_whole`."""
        return self.query.declared_by == WHOLE_INPUT

    def chunks(self, max_tokens: int) -> list[Chunk]:
        """Returns the pieces of the document in reading order, each of at most so many tokens."""
        context, starts = self.query.context, self.query.document_starts
        known = _SPLIT.setdefault(self.document, {})
        key = (max_tokens, self.counter.name, starts)
        if key not in known:
            known[key] = split_chunks(context, max_tokens, self.counter, starts)
        return list(known[key])

    def text(self, chunk: Chunk) -> str:
        """Returns the text of a piece of the document."""
        return self.query.context[chunk.start : chunk.end]

    def must_stop(self, tokens: int, answer: Reserve, num_calls: int = 1) -> bool:
        """Returns whether the sample's limits hold no further calls beside the answer.

        Args:
            tokens: Of the next calls, prompts and outputs.
            answer: To be left for the answer.
            num_calls: How many calls are next.
        """
        tokens += num_calls * self.system_tokens
        need = Need(tokens, self._with_system(answer), num_calls)
        self.cut_off = limit_reached(self.spent, need, self.max_calls)
        return self.cut_off is not None

    async def ask(
        self,
        prompt: str,
        turn: int,
        max_tokens: int | None = None,
        passages: Sequence[Chunk] = (),
        reserve: Reserve | None = None,
    ) -> ModelOutput:
        """Returns the model's output for a fresh prompt of one message.

        Args:
            prompt: The whole text, with its passages.
            turn: Number of the call in the run; seeds and resuming go by it.
            max_tokens: Output limit.
            passages: Pieces of the document that stand in the prompt, in its order; where the
                model's provider can put them in, the log refers to them.
            reserve: To be left of the sample's token limit for the answer.
        """
        depth = self.depth + 1
        # Calls that are made at the same time are all here before the first of them is done.
        await checkpoint()
        prompt = encodable(prompt)
        counted = self._num_tokens(prompt, passages)
        done = self._replayed(turn, prompt, counted)
        if done is None:
            left = reserve and self._with_system(reserve)
            limit = clipped(max_tokens, counted, left, self.spent)
            started = time.monotonic()
            messages = [*self.system, self._message(prompt, turn, passages)]
            output = await self.model.generate(messages, config=GenerateConfig(max_tokens=limit))
            done = self._keep(turn, prompt, output, time.monotonic() - started, counted)
        self.depth = max(self.depth, depth)
        return done

    async def answer(
        self,
        prompt: str,
        generate: Generate,
        turn: int,
        max_tokens: int | None = None,
        passages: Sequence[Chunk] = (),
    ) -> TaskState:
        """Returns the sample's state after the last call, whose output is the answer.

        Its messages are the system's and the last call's only; no tools are shown.
        """
        prompt = encodable(prompt)
        self.state.messages = [*self.system, self._message(prompt, turn, passages)]
        self.state.tools, self.state.tool_choice = [], None
        counted = self._num_tokens(prompt, passages)
        limit = clipped(max_tokens, counted, None, self.spent)
        return await self._last_call(generate, turn, prompt, counted, limit)

    async def ask_whole(self, generate: Generate) -> TaskState:
        """Returns the sample's state after the only call, for its own messages unchanged.

        For a run that `is_whole`. Where the task gave the sample tools, Inspect's loop of tool
        calls holds; such a run is not resumed.
        """
        state = self.state
        key = as_key(state.messages)
        size = self.counter.count(self.query.question) + template_tokens(self.counter)
        most = None
        if self.window is not None and self.max_output_tokens is not None:
            most = min(self.max_output_tokens, max(1, self.window - size))
        counted = size + self.system_tokens
        limit = clipped(most, counted, None, self.spent)
        state.messages = tagged(state.messages, state)
        if state.tools:
            self.journal = None
        tool_calls: ToolCalls = "loop" if state.tools else "none"
        return await self._last_call(generate, 0, key, counted, limit, tool_calls)

    async def _last_call(
        self,
        generate: Generate,
        turn: int,
        prompt: str,
        counted: int,
        limit: int | None,
        tool_calls: ToolCalls = "none",
    ) -> TaskState:
        state = self.state
        self.depth += 1
        done = self._replayed(turn, prompt, counted)
        if done is not None:
            state.output = done
            state.messages.append(done.message)
        else:
            started = time.monotonic()
            # An unset limit stays unset: the provider's own default then holds.
            limits: dict[str, Any] = {} if limit is None else {"max_tokens": limit}
            state = await generate(state, tool_calls=tool_calls, **limits)
            seconds = time.monotonic() - started
            output = self._keep(turn, prompt, state.output, seconds, counted)
            if output is not state.output:
                state.output = output
                state.messages[-1] = output.message
        if self.has_choices:
            mark_choices(state)
        self.save_record()
        return state

    def save_record(self) -> None:
        """Writes what the run cost so far into the sample's store."""
        self.state.store.set(STORE_KEY, self.record())
        if self.cut_off:
            self.state.store.set(CUT_OFF_KEY, self.cut_off)

    def record(self) -> dict[str, Any]:
        """Returns what the log keeps about the run: counts, no text."""
        spent = self.spent
        return {
            "agent": self.agent,
            "num_calls": spent.num_calls,
            "replayed_calls": spent.num_calls - spent.live_calls,
            "replayed_input_tokens": spent.replayed_input_tokens,
            "replayed_output_tokens": spent.replayed_output_tokens,
            "input_tokens": spent.input_tokens,
            "output_tokens": spent.output_tokens,
            "seconds": round(spent.seconds, 3),
            "sequential_calls": self.depth,
            "cut_off": self.cut_off,
            "document_sha256": self.document.sha256,
            "document_chars": len(self.query.context),
            "query_by": self.query.declared_by,
            "token_counter": self.counter.name,
        }

    def _message(self, prompt: str, turn: int, passages: Sequence[Chunk]) -> ChatMessageUser:
        message = user_message(prompt, self.state, turn)
        if not passages or not expands_references(self.model):
            return message
        return refer(message, self.document, [(chunk.start, chunk.end) for chunk in passages])

    def _with_system(self, answer: Reserve) -> Reserve:
        return replace(answer, prompt_tokens=answer.prompt_tokens + self.system_tokens)

    def _num_tokens(self, prompt: str, passages: Sequence[Chunk]) -> int:
        """Returns a prompt's tokens; its passages were counted when they were cut."""
        for chunk in passages:
            prompt = prompt.replace(self.text(chunk), "", 1)
        rest = self.counter.count(prompt) + self.system_tokens
        return rest + sum(chunk.num_tokens for chunk in passages)

    def _replayed(self, turn: int, prompt: str, counted: int) -> ModelOutput | None:
        entry = self.journal.find(turn, prompt) if self.journal else None
        if entry is None:
            return None
        spent = self.spent
        before = (spent.input_tokens, spent.output_tokens)
        self._count(entry, counted)
        spent.replayed_input_tokens += spent.input_tokens - before[0]
        spent.replayed_output_tokens += spent.output_tokens - before[1]
        completion: dict[str, JsonValue] = {"turn": turn, "completion": entry.output.completion}
        transcript().info(completion, source=REPLAY_SOURCE)
        return entry.output

    def _keep(
        self, turn: int, prompt: str, output: ModelOutput, seconds: float, counted: int
    ) -> ModelOutput:
        output = encodable_output(output)
        entry = Entry(output, output.time or seconds)
        self._count(entry, counted)
        self.spent.live_calls += 1
        if self.journal:
            self.journal.add(turn, prompt, entry)
        return output

    def _count(self, entry: Entry, counted: int) -> None:
        usage, spent = entry.output.usage, self.spent
        spent.num_calls += 1
        spent.counted_tokens += counted
        spent.input_tokens += usage.input_tokens if usage else counted
        spent.output_tokens += (
            usage.output_tokens if usage else self.counter.count(entry.output.completion)
        )
        spent.seconds += entry.seconds
        spent.longest_seconds = max(spent.longest_seconds, entry.seconds)


@dataclass(frozen=True)
class RunOptions:
    """What every agent lets its caller choose."""

    tokenizer: str | None = None
    """Tokenizer that counts, for models that do not bring their own."""
    state_dir: str | None = None
    """Folder of one run's calls, with which it resumes; `longspan eval` gives one itself."""
    max_calls: int | None = None
    """Most calls of a sample, the answer's included."""

    def __post_init__(self) -> None:
        """Makes sure that the options are of their types.

        Raises:
            SpecError: One is not.
        """
        check_sizes(max_calls=self.max_calls)
        check_texts(tokenizer=self.tokenizer, state_dir=self.state_dir)


async def open_run(
    state: TaskState,
    agent: str,
    options: RunOptions,
    settings: Any = None,
    plain_tokens: int | None = None,
) -> AgentRun:
    """Returns an agent's run on a sample, with the calls that an earlier process made for it.

    An input that declares no document is asked as it is (`AgentRun.is_whole`) up to half of the
    window; a longer one is taken apart first, by rule or with one call.

    Args:
        state: The sample's state.
        agent: The agent's name.
        options: What the caller chose.
        settings: Everything else that the agent's prompts depend on.
        plain_tokens: Most tokens of an input that is asked as it is, where the caller asked for
            chunks of so many; half of the window is the most in any case.

    Raises:
        DataError: The context's documents or the passport are missing or damaged, or `state_dir`
            cannot be used.
        WindowError: The system messages alone fill the window.
    """
    model, query = get_model(), read_query(state)
    counter, system = counter_for(model, options.tokenizer), system_messages(state.messages)
    system_tokens = sum(counter.count(one.text) + TEMPLATE_TOKENS for one in system)
    run = AgentRun(
        state=state,
        agent=agent,
        model=model,
        counter=counter,
        query=query,
        document=stored_text(query.context),
        window=window_beside(window_of(model), system_tokens),
        max_output_tokens=output_limit(model),
        max_calls=options.max_calls,
        system=tuple(system),
        system_tokens=system_tokens,
        has_choices=query.is_plain and bool(state.choices),
    )
    folder = Path(options.state_dir) if options.state_dir else calls_folder()
    # A trainer needs the token ids of every turn: those from before a kill are gone.
    keeps = not (is_recording() or getattr(model.api, "keeps_no_journal", False))
    if folder is not None and keeps:
        depends_on = {
            "agent": agent,
            "settings": settings,
            "counter": counter.name,
            "document": run.document.sha256,
            **sample_identity(state, query),
            **model_identity(model),
        }
        run.journal = Journal(folder, depends_on)
    if query.is_plain:
        ask = partial(_ask_for_question, run)
        run.query = await open_undeclared(state, query, plain_tokens, run.window, counter, ask)
        run.document = stored_text(run.query.context)
    return run


async def _ask_for_question(run: AgentRun, prompt: str) -> str | None:
    """Returns what the model says of the ends of an input, None where limits leave no call."""
    most = min(MAX_QUESTION_TOKENS, max(1, (run.window or 4 * MAX_QUESTION_TOKENS) // 4))
    tokens = run.counter.count(prompt) + run.system_tokens + most
    # A question without a call that reads would be of no use.
    need = Need(tokens, Reserve(most + run.system_tokens, run.max_output_tokens), num_calls=2)
    if limit_reached(run.spent, need, run.max_calls):
        return None
    return (await run.ask(prompt, DECOMPOSE_TURN, most)).completion
