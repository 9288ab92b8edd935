"""The retrieval baseline: BM25 chooses passages by the question, one call reads them.

Passages are ranked by the words that they share with the question (bm25s, Lucene's BM25), the best
ones that fit the window are shown in the document's order. What only a found passage names, the
second hop of a question, is not searched for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from inspect_ai.solver import Generate, Solver, TaskState, solver

from longspan.agents.chunks import Chunk
from longspan.agents.memory_budget import MAX_CHUNK_TOKENS
from longspan.agents.options import check_sizes
from longspan.agents.room import input_room, template_tokens
from longspan.agents.run import AgentRun, RunOptions, open_run
from longspan.harness.errors import SpecError, WindowError, without_traceback

STORE_KEY = "longspan:retrieval"
MAX_PASSAGE_TOKENS = 512
PASSAGE_SHARE = 1 / 8
SEPARATOR = "\n...\n"


@solver
def retrieval(
    passage_tokens: int | None = None,
    top_k: int | None = None,
    tokenizer: str | None = None,
    state_dir: str | None = None,
) -> Solver:
    """Solver that reads only the passages that BM25 finds for the question.

    Args:
        passage_tokens: Most tokens of a passage; by default an eighth of the window, at most 512.
        top_k: Most passages; by default as many as fit.
        tokenizer: Name of the tokenizer that counts, for models that do not bring their own.
        state_dir: Folder of one run's calls; see `memory_agent`.

    Raises:
        SpecError: The package bm25s is not installed, or an option is no size or text.
        WindowError: The question leaves no room for a passage.
    """
    check_sizes(passage_tokens=passage_tokens, top_k=top_k)
    _bm25s()
    options = RunOptions(tokenizer, state_dir)

    @without_traceback
    async def solve(state: TaskState, generate: Generate) -> TaskState:
        run = await open_run(state, "retrieval", options, [passage_tokens, top_k])
        if run.is_whole:
            return await run.ask_whole(generate)
        room = _room(run)
        most = passage_tokens or _default_passage(run.window)
        passages = run.chunks(min(most, room))
        scores = bm25_scores([run.text(one) for one in passages], run.query.question)
        chosen = _best(passages, scores, room, top_k, run.counter.count(SEPARATOR))
        state.store.set(STORE_KEY, _record(run, passages, chosen))
        shown = SEPARATOR.join(run.text(one) for one in chosen)
        prompt = run.query.prompt(shown)
        return await run.answer(prompt, generate, 0, run.max_output_tokens, chosen)

    return solve


def bm25_scores(texts: Sequence[str], question: str) -> list[float]:
    """Returns the BM25 score of each text for a question; words are compared in lower case."""
    bm25s = _bm25s()
    if not texts:
        return []
    corpus = bm25s.tokenize(list(texts), stopwords="en", show_progress=False)
    words = bm25s.tokenize([question], stopwords="en", return_ids=False, show_progress=False)[0]
    known = [word for word in words if word in corpus.vocab]
    if not known:
        return [0.0] * len(texts)
    index = bm25s.BM25(method="lucene")
    index.index(corpus, show_progress=False)
    return [float(score) for score in index.get_scores(known)]


def _bm25s() -> Any:
    try:
        import bm25s  # optional: only this agent needs it
    except ModuleNotFoundError as error:
        raise SpecError(
            "the solver retrieval needs the package bm25s; run: pip install 'longspan[retrieval]'"
        ) from error
    return bm25s


def _default_passage(window: int | None) -> int:
    if window is None:
        return MAX_PASSAGE_TOKENS
    return max(1, min(MAX_PASSAGE_TOKENS, int(window * PASSAGE_SHARE)))


def _room(run: AgentRun) -> int:
    """Returns how many tokens of text fit beside question, template and output."""
    room = input_room(run.window, run.max_output_tokens)
    if room is None:
        return MAX_CHUNK_TOKENS
    frame = run.counter.count(run.query.prompt("")) + template_tokens(run.counter)
    if room - frame < 1:
        raise WindowError(
            f"the question leaves no room for a passage: it has {frame} tokens with its "
            f"instructions, the room for the input is {room}; use a larger window"
        )
    return room - frame


def _best(
    passages: Sequence[Chunk],
    scores: Sequence[float],
    room: int,
    top_k: int | None,
    separator_tokens: int,
) -> list[Chunk]:
    """Returns the best passages that fit together, in the document's order."""
    order = sorted(range(len(passages)), key=lambda i: (-scores[i], i))
    chosen: list[int] = []
    for i in order[:top_k]:
        # One token more for a merge that is undone where the passage is cut out.
        size = passages[i].num_tokens + separator_tokens + 1
        if size > room:
            break
        room -= size
        chosen.append(i)
    return [passages[i] for i in sorted(chosen or order[:1])]


def _record(run: AgentRun, passages: Sequence[Chunk], chosen: Sequence[Chunk]) -> dict[str, Any]:
    record: dict[str, Any] = {
        "num_passages": len(passages),
        "num_shown": len(chosen),
        "document_tokens": sum(one.num_tokens for one in passages),
        "shown_tokens": sum(one.num_tokens for one in chosen),
    }
    evidence = run.query.evidence
    if evidence:
        kept = [
            any(one.start <= span.start and span.end <= one.end for one in chosen)
            for span in evidence
        ]
        record["evidence_kept"] = sum(kept) / len(kept)
    return record
