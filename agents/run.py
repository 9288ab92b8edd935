"""One agent's run on one sample: what is asked, how it is counted, and every call of the model.

All agents make their calls here, so that each of them is resumable, stays within the sample's
limits, keeps the document out of the log, and says what it cost. A new agent needs this module,
and `chunks` where it reads piece by piece; `docs/agents.md` shows one.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from inspect_ai.log import transcript
from inspect_ai.model import (
    ChatMessageUser,
    GenerateConfig,
    Model,
    ModelOutput,
    get_model,
)
from inspect_ai.solver import Generate, TaskState
from pydantic import JsonValue

from longspan.agents.chunks import Chunk, split_chunks
from longspan.agents.decompose import (
    edges,
    edges_prompt,
    last_paragraph,
    parts_by_model,
    parts_by_rule,
)
from longspan.agents.journal import Entry, Journal
from longspan.agents.limits import Need, Reserve, Spent, clipped, limit_reached
from longspan.agents.query import Query, read_query
from longspan.agents.room import output_limit
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

DECOMPOSE_TURN = -1
"""Number of the call that asks for the question of an input that declares none."""
MAX_QUESTION_TOKENS = 1024
MAX_PLAIN_TOKENS = 32_768
"""An input that declares no document is asked as it is up to this length, or half of the window."""

_SPLIT: WeakKeyDictionary[StoredText, dict[Hashable, list[Chunk]]] = WeakKeyDictionary()
"""Chunks of the documents that runs hold: the rollouts of a sample ask for the same ones."""
_OPERATIONAL = {"max_connections", "adaptive_connections", "max_retries", "timeout", "cache"}


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
    """The model's window in tokens, None where it is not known."""
    max_output_tokens: int | None
    """The run's output limit, None where nothing sets one."""
    max_calls: int | None = None
    journal: Journal | None = None
    spent: Spent = field(default_factory=Spent)
    cut_off: str | None = None
    """The limit that ended the reading, None where it came to its end."""
    depth: int = 0
    """Calls one after the other so far."""

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
        need = Need(tokens, answer, num_calls)
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
        done = self._replayed(turn, prompt, passages)
        if done is None:
            counted = self._num_tokens(prompt, passages)
            limit = clipped(max_tokens, counted, reserve, self.spent)
            started = time.monotonic()
            output = await self.model.generate(
                [self._message(prompt, turn, passages)], config=GenerateConfig(max_tokens=limit)
            )
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

        Its messages are the last call's only.
        """
        state = self.state
        state.messages = [self._message(prompt, turn, passages)]
        self.depth += 1
        done = self._replayed(turn, prompt, passages)
        if done is not None:
            state.output = done
            state.messages.append(done.message)
        else:
            counted = self._num_tokens(prompt, passages)
            limit = clipped(max_tokens, counted, None, self.spent)
            started = time.monotonic()
            # An unset limit stays unset: the provider's own default then holds.
            if limit is None:
                state = await generate(state)
            else:
                state = await generate(state, max_tokens=limit)
            self._keep(turn, prompt, state.output, time.monotonic() - started, counted)
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

    def _num_tokens(self, prompt: str, passages: Sequence[Chunk]) -> int:
        """Returns a prompt's tokens; its passages were counted when they were cut."""
        for chunk in passages:
            prompt = prompt.replace(self.text(chunk), "", 1)
        return self.counter.count(prompt) + sum(chunk.num_tokens for chunk in passages)

    def _replayed(self, turn: int, prompt: str, passages: Sequence[Chunk]) -> ModelOutput | None:
        entry = self.journal.find(turn, prompt) if self.journal else None
        if entry is None:
            return None
        spent = self.spent
        before = (spent.input_tokens, spent.output_tokens)
        self._count(entry, self._num_tokens(prompt, passages))
        spent.replayed_input_tokens += spent.input_tokens - before[0]
        spent.replayed_output_tokens += spent.output_tokens - before[1]
        completion: dict[str, JsonValue] = {"turn": turn, "completion": entry.output.completion}
        transcript().info(completion, source=REPLAY_SOURCE)
        return entry.output

    def _keep(
        self, turn: int, prompt: str, output: ModelOutput, seconds: float, counted: int
    ) -> ModelOutput:
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


async def open_run(
    state: TaskState, agent: str, options: RunOptions, settings: Any = None
) -> AgentRun:
    """Returns an agent's run on a sample, with the calls that an earlier process made for it.

    An input that declares no document and exceeds half of the window is taken apart first, by rule
    or with one call.

    Args:
        state: The sample's state.
        agent: The agent's name.
        options: What the caller chose.
        settings: Everything else that the agent's prompts depend on.

    Raises:
        DataError: The context's documents or the passport are missing or damaged.
    """
    model = get_model()
    query = read_query(state)
    run = AgentRun(
        state=state,
        agent=agent,
        model=model,
        counter=counter_for(model, options.tokenizer),
        query=query,
        document=stored_text(query.context),
        window=window_of(model),
        max_output_tokens=output_limit(model),
        max_calls=options.max_calls,
    )
    folder = Path(options.state_dir) if options.state_dir else calls_folder()
    if folder is not None and not is_recording():
        # A trainer needs the token ids of every turn: those from before a kill are gone.
        run.journal = Journal(folder, _identity(run, settings))
    if query.is_plain and _is_too_long(run):
        await _take_apart(run)
    return run


def _is_too_long(run: AgentRun) -> bool:
    most = MAX_PLAIN_TOKENS if run.window is None else run.window // 2
    return run.counter.count(run.query.question) > most


async def _take_apart(run: AgentRun) -> None:
    text = run.query.question
    parts = parts_by_rule(text)
    if parts is None:
        prompt = edges_prompt(*edges(text, run.window, run.counter))
        most = MAX_QUESTION_TOKENS if run.window is None else run.window // 4
        output = await run.ask(prompt, DECOMPOSE_TURN, min(most, MAX_QUESTION_TOKENS))
        parts = parts_by_model(text, output.completion)
    if parts is None:
        most = MAX_QUESTION_TOKENS if run.window is None else max(1, run.window // 8)
        parts = last_paragraph(text, most, run.counter)
    run.query = parts.query(text, run.query)
    run.document = stored_text(run.query.context)


def _identity(run: AgentRun, settings: Any) -> dict[str, Any]:
    """Returns everything that the calls of a run depend on."""
    api, config = run.model.api, run.model.config
    return {
        "agent": run.agent,
        "sample": str(run.state.sample_id),
        "epoch": run.state.epoch,
        "document": run.document.sha256,
        "question": [run.query.question, run.query.instructions],
        "model": str(run.model),
        "checkpoint": getattr(api, "checkpoint_hash", None),
        "generation": config.model_dump(exclude_none=True, exclude=_OPERATIONAL),
        "settings": settings,
        "counter": run.counter.name,
    }
