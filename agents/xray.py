"""`longspan xray`: what a memory agent read, noted, kept and used, as a page per sample of a log.

Everything is in the log: the passport, the trace, and the outputs from which the memories follow.
Texts of documents and models are escaped, and the pages' policy allows neither scripts nor anything
from elsewhere. Pages are numbered; a sample's id is never a path.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from inspect_ai.log import EvalSample, read_eval_log, read_eval_log_samples
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import ValidationError

from longspan.agents.memory import STORE_KEY
from longspan.agents.memory_format import (
    EMPTY_MEMORY,
    MemoryState,
    parse_memory,
    parse_state,
)
from longspan.agents.recorded_calls import calls_of
from longspan.agents.retention import (
    SHARES,
    Evidence,
    noting_sentences,
    stated_evidence,
)
from longspan.harness.errors import DataError, one_line
from longspan.harness.passport import Passport

PAGES = Path(__file__).parent / "pages"
FATE_WORDS = {
    "never_read": "never read",
    "not_noted": "read, not noted",
    "overwritten": "noted, then lost",
    "not_used": "kept, not used",
    "used": "used in the answer",
}
SHOWN = (
    *("num_calls", "num_chunks", "num_malformed", "num_memory_cuts"),
    *("document_tokens", "memory_tokens", "resumed_at", "cut_off"),
)
"""What a page shows of a reading's record."""
MAX_MEMORY_CHARS = 20_000
NUM_COLOURS = 6


@dataclass(frozen=True)
class Piece:
    """A sentence of a memory, the evidence that it notes, and whether it is new or gone."""

    text: str
    noted: tuple[int, ...]
    change: str = ""
    """"new", "gone" or nothing."""


@dataclass(frozen=True)
class Turn:
    """Turns with one and the same memory after them."""

    first: int
    last: int
    pieces: tuple[Piece, ...]
    plan: str
    in_chunk: tuple[int, ...]
    """Evidence in the chunk of the first one."""
    is_malformed: bool
    hidden_chars: int


def xray_command(
    log: Annotated[Path, typer.Argument(help="Log of a memory agent (.eval).")],
    out: Annotated[Path, typer.Option(help="Folder for the pages; must be new or empty.")],
    limit: Annotated[int, typer.Option(min=1, help="Pages at most; metrics are of all.")] = 200,
) -> None:
    """Show what a memory agent noted, kept and lost: a page per sample, and the metrics."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} exists already; choose another --out or remove it")
    name, samples = _memory_samples(log)
    out.mkdir(parents=True, exist_ok=True)
    environment = _environment()
    rows: list[dict[str, Any]] = []
    for number, sample in enumerate(samples, 1):
        view = sample_view(sample)
        rows.append(view["row"] | {"page": f"{number:04d}.html" if number <= limit else ""})
        if number <= limit:
            page = environment.get_template("xray.html.jinja").render(**view, log=name)
            (out / f"{number:04d}.html").write_text(page, "utf-8", errors="replace")
    metrics = summarize(rows)
    index = environment.get_template("xray_index.html.jinja").render(
        rows=rows, metrics=metrics, log=name, words=FATE_WORDS
    )
    (out / "index.html").write_text(index, "utf-8", errors="replace")
    content = {"log": name, "metrics": metrics, "samples": rows}
    (out / "metrics.json").write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    print(_summary_line(metrics))
    print(f"{out / 'index.html'}")


def summarize(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the means of the retention shares over samples with evidence, and how many."""
    with_evidence = [row["shares"] for row in rows if row["shares"]]
    count = len(with_evidence)
    means = {
        name: sum(float(one.get(name, 0.0)) for one in with_evidence) / count if count else None
        for name in SHARES
    }
    return {"num_samples": len(rows), "num_with_evidence": count, **means}


def sample_view(sample: EvalSample) -> dict[str, Any]:
    """Returns everything that a sample's page shows."""
    metadata, record = sample.metadata or {}, sample.store.get(STORE_KEY) or {}
    passport, evidence = _evidence_of(metadata)
    fates = [str(one) for one in record.get("fates", ())]
    trace = [one for one in record.get("trace", ()) if isinstance(one, Mapping)]
    score = next(iter((sample.scores or {}).values()), None)
    shares = {name: record[name] for name in SHARES if name in record}
    quotes = passport.evidence if passport else ()
    return {
        "row": {
            "sample": str(sample.id),
            "epoch": sample.epoch,
            "question": one_line(str(metadata.get("question") or sample.id), 160),
            "score": score.value if score else None,
            "validity": ((score.metadata or {}).get("validity") if score else None) or "",
            "fates": fates,
            "shares": shares,
        },
        "question": str(metadata.get("question") or ""),
        "targets": [sample.target] if isinstance(sample.target, str) else list(sample.target),
        "answer": (score.answer if score else None) or "",
        "completion": sample.output.completion if sample.output.choices else "",
        "record": record,
        "evidence": [
            {
                "number": i + 1,
                "colour": i % NUM_COLOURS,
                "quote": span.quote,
                "document": span.document,
                "fate": fates[i] if i < len(fates) else "",
                "words": FATE_WORDS.get(fates[i], "") if i < len(fates) else "",
                "cells": _cells(i, trace),
            }
            for i, span in enumerate(quotes)
        ],
        "num_steps": len(trace),
        "turns": turns_of(sample, record, evidence),
    }


def turns_of(
    sample: EvalSample, record: Mapping[str, Any], evidence: Sequence[Evidence]
) -> list[Turn]:
    """Returns the memory's evolution as it was carried, turns that change nothing together."""
    has_plan = record.get("protocol") != "memagent"
    trace = list(record.get("trace", ()))
    memory_chars = record.get("memory_chars") or [step.get("memory_chars") for step in trace]
    plan_chars = record.get("plan_chars") or []
    num_chunks = int(record.get("num_chunks") or 0)
    state, shown = MemoryState(), [Piece(MemoryState().memory, ())]
    turns: list[Turn] = []
    for call in calls_of(sample):
        if not 0 <= call.turn < num_chunks:
            continue
        said = call.completion
        parsed = parse_state(said, before=state) if has_plan else parse_memory(said)
        after = parsed or state
        step = trace[call.turn] if call.turn < len(trace) else {}
        memory = after.memory[: _at(memory_chars, call.turn)]
        plan = after.plan[: _at(plan_chars, call.turn)]
        pieces = _pieces(memory[:MAX_MEMORY_CHARS], evidence)
        changed = _with_changes(shown, pieces)
        in_chunk = tuple(int(i) for i in step.get("in_chunk", ()))
        is_same = not in_chunk and parsed is not None and (memory, plan) == _text(state)
        if turns and is_same:
            turns[-1] = _longer(turns[-1], call.turn)
        else:
            hidden = max(0, len(memory) - MAX_MEMORY_CHARS)
            turns.append(
                Turn(call.turn, call.turn, changed, plan, in_chunk, parsed is None, hidden)
            )
        state, shown = MemoryState(memory, plan), pieces
    return turns


def _memory_samples(log: Path) -> tuple[str, Iterable[EvalSample]]:
    try:
        header = read_eval_log(str(log), header_only=True)
        samples = read_eval_log_samples(str(log), all_samples_required=False)
        found = [one for one in samples if one.store.get(STORE_KEY)]
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise DataError(f"cannot read log {log} ({error}); give an .eval file") from error
    if not found:
        raise DataError(
            f"log {log} of {header.eval.solver or header.eval.task} has no memory agent's samples; "
            "give one that was made with --solver longspan/memory_agent or longspan/memagent"
        )
    missing = [key for one in found for key in SHOWN if key not in one.store[STORE_KEY]]
    if missing:
        raise DataError(
            f"log {log} lacks {missing[0]!r} of its reading, as logs of an earlier longspan do; "
            "evaluate again"
        )
    return f"{header.eval.task} · {header.eval.model}", found


def _evidence_of(metadata: Mapping[str, Any]) -> tuple[Passport | None, tuple[Evidence, ...]]:
    if not metadata.get("passport"):
        return None, ()
    try:
        passport = Passport.model_validate(metadata["passport"])
    except ValidationError:
        return None, ()
    return passport, stated_evidence(passport)


def _cells(index: int, trace: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns for each turn what is to be seen of a piece of evidence."""
    cells, is_read = [], False
    for step in trace:
        in_chunk = index in step.get("in_chunk", ())
        is_read = is_read or in_chunk
        noted = index in step.get("in_memory", ())
        kind = ("noted" if noted else "absent") if is_read else "unread"
        cells.append(f"{kind} chunk" if in_chunk else kind)
    return cells


def _pieces(memory: str, evidence: Sequence[Evidence]) -> list[Piece]:
    return [Piece(text, noted) for text, noted in noting_sentences(evidence, memory)]


def _with_changes(before: Sequence[Piece], after: Sequence[Piece]) -> tuple[Piece, ...]:
    """Returns the pieces after a turn, new ones marked, followed by those that are gone."""
    old, new = {p.text.strip() for p in before}, {p.text.strip() for p in after}
    marked = [Piece(p.text, p.noted, "" if p.text.strip() in old else "new") for p in after]
    gone = [
        Piece(p.text, p.noted, "gone")
        for p in before
        if p.text.strip() not in new and p.text != EMPTY_MEMORY
    ]
    return (*marked, *gone)


def _at(chars: Sequence[int | None], turn: int) -> int | None:
    """Returns how many characters were carried after a turn, None where the log does not say."""
    return chars[turn] if turn < len(chars) else None


def _text(state: MemoryState) -> tuple[str, str]:
    return state.memory, state.plan


def _longer(turn: Turn, last: int) -> Turn:
    return Turn(
        turn.first,
        last,
        turn.pieces,
        turn.plan,
        turn.in_chunk,
        turn.is_malformed,
        turn.hidden_chars,
    )


def _summary_line(metrics: Mapping[str, Any]) -> str:
    count = metrics["num_with_evidence"]
    if not count:
        return f"{metrics['num_samples']} samples, none with a passport"
    shares = ", ".join(f"{name} {100 * metrics[name]:.1f}%" for name in SHARES)
    return f"{count} samples with evidence: {shares}"


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(PAGES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = (PAGES / "xray.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    environment.globals |= {"style": style, "style_hash": f"sha256-{digest}"}
    return environment
