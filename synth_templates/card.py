"""The card of a task set (Markdown), for people who never saw the project.

What is in it with an example of each kind, how it was made and what was left out, how to use it.
Documents and questions are data: whatever Markdown or HTML would read in them is escaped.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from longspan.harness.taskset import SPLITS, SampleRow, answers_of

MAX_CHARS = 300
"""Characters of a quoted text at most."""
MAX_QUOTES = 4
MAX_REASONS = 8
_SPECIAL = re.compile(r"[\\`*\[\]|~]|(?<![^\W_])_|_(?![^\W_])")
"""What Markdown reads as markup within a line; an underscore within a word is none."""


def render_card(manifest: Mapping[str, Any], rows: Sequence[SampleRow]) -> str:
    """Returns the card of a manifest and its samples."""
    parts = [
        _introduction(manifest),
        _lengths(rows),
        _kinds(rows),
        _yields(manifest),
        _checks(manifest),
        _source(manifest),
        _use(manifest),
    ]
    return "\n".join(line for part in parts for line in [*part, ""])


def escape(value: object, max_chars: int = MAX_CHARS) -> str:
    """Returns a value as one line of Markdown that shows it as it is, cut where it is long."""
    text = " ".join(str(value).split())
    if len(text) > max_chars:
        text = text[: max_chars - 3].rstrip() + "..."
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(lambda found: f"\\{found[0]}", text)


def _introduction(manifest: Mapping[str, Any]) -> list[str]:
    counter = manifest["counter"]
    exactness = "exact" if counter["exact"] else "estimated"
    calls = manifest["cost"]["model_calls"]
    names = ", ".join(map(escape, manifest.get("models", ())))
    models = f"Models ({names})" if names else "Models"
    model = f"{models} were called {calls} times." if calls else "No model took part."
    return [
        f"# Task set {escape(manifest['name'])}",
        "",
        f"{manifest['num_samples']} questions, each over a long context of several documents, from "
        f"{manifest['num_documents']} documents in {manifest['num_groups']} groups. A model reads "
        "the context and answers; a scorer compares the answer with the gold answer. "
        f"{model} Every sample carries a passport: the passages that hold the evidence and a proof "
        "of the answer, which `longspan check` computes again offline.",
        "",
        f"Lengths are in tokens of {escape(counter['name'])} ({exactness}). Seed "
        f"{manifest['seed']}: the same plan and documents give the same bytes.",
        *_lineage(manifest.get("lineage", ())),
    ]


def _lineage(steps: Iterable[Mapping[str, Any]]) -> list[str]:
    lines = []
    for step in steps:
        parent = step["parent"]
        facts = ", ".join(
            f"{escape(key)} {escape(value)}"
            for key, value in step.items()
            if key not in ("parent", "operation") and isinstance(value, str | int | float)
        )
        lines += [
            "",
            f"Made by {escape(step['operation'])} from {escape(parent['name'])} "
            f"({escape(parent['hash'])}, {parent['num_samples']} samples)"
            + (f": {facts}." if facts else "."),
        ]
    return lines


def _lengths(rows: Sequence[SampleRow]) -> list[str]:
    """Returns the table of task types by target lengths, and of splits."""
    lengths = sorted({row.target_tokens or 0 for row in rows})
    types = sorted({row.task_type or "-" for row in rows})
    counts = Counter((row.task_type or "-", row.target_tokens or 0) for row in rows)
    header = [str(length or "any") for length in lengths]
    lines = ["## What is in it", ""]
    lines += _table(["task type", *header, "all"], "l" + "r" * (len(lengths) + 1))
    for name in types:
        numbers = [counts[name, length] for length in lengths]
        lines.append(_line([name.replace("_", " "), *numbers, sum(numbers)]))
    splits = Counter(row.split for row in rows)
    told = ", ".join(f"{split} {splits[split]}" for split in SPLITS if splits[split])
    documents = "no document is in two of them" if len(splits) > 1 else "one split"
    return [*lines, "", f"Columns are target lengths of the context. Splits: {told}; {documents}."]


def _kinds(rows: Sequence[SampleRow]) -> list[str]:
    """Returns every kind with its number and an example."""
    lines = ["## Kinds of question", ""]
    by_kind: dict[str, list[SampleRow]] = {}
    for row in rows:
        by_kind.setdefault(row.kind, []).append(row)
    for kind, members in sorted(by_kind.items()):
        example = members[0]
        hops = f", {example.hops} step{'s'[: example.hops > 1]}" if example.hops else ""
        task_type = escape(example.task_type).replace("_", " ")
        lines += [
            f"### {escape(kind)}",
            "",
            f"{len(members)} samples: {task_type}{hops}, scored by {escape(example.scorer)}.",
            "",
            f"- Question: {escape(example.question)}",
            f"- Answer: {escape('; '.join(example.target))}{_in_words(example)}",
        ]
        evidence = example.passport.evidence if example.passport is not None else ()
        lines += [f"- Evidence: “{escape(span.quote)}”" for span in evidence[:MAX_QUOTES]]
        if len(evidence) > MAX_QUOTES:
            lines.append(f"- and {len(evidence) - MAX_QUOTES} more passages")
        lines.append("")
    return lines[:-1]


def _in_words(row: SampleRow) -> str:
    answers = answers_of(row)
    return "" if answers == row.target else f" ({escape('; '.join(answers))})"


def _yields(manifest: Mapping[str, Any]) -> list[str]:
    lines = [
        "## How many draws became samples",
        "",
        "A draw is dropped when its answer is not unique or not supported, when it repeats another "
        "one, or when it does not fit the length. The most frequent reasons are named.",
        "",
        *_table(["split/length", "wanted", "drawn", "accepted", "rejected, by reason"], "lrrrl"),
    ]
    for step, facts in manifest["yields"].items():
        reasons = sorted(facts["rejected"].items(), key=lambda item: -item[1])
        told = "; ".join(f"{escape(reason)} {num}" for reason, num in reasons[:MAX_REASONS])
        rest = sum(num for _, num in reasons[MAX_REASONS:])
        told += f"; other {rest}" if rest else ""
        cells = [step, facts["wanted"], facts["drawn"], facts["accepted"], told or "-"]
        lines.append(_line(cells))
    return lines


def _checks(manifest: Mapping[str, Any]) -> list[str]:
    """Returns what is known about duplicates, contamination and cost."""
    lines = ["## Duplicates, contamination, cost", ""]
    duplicates = manifest.get("duplicates")
    if duplicates:
        rule = {
            "near": "no question repeats another, nor shares 80% of its word 3-grams with one",
            "question": "no question repeats another word for word",
            "answer": "no question with the same answer repeats another word for word",
        }[duplicates["distinct"]]
        told = ", ".join(f"{escape(r)} {n}" for r, n in duplicates["dropped"].items() if n)
        lines.append(f"- Duplicates: {rule}. Draws dropped: {told or 'none'}.")
    contamination = manifest.get("contamination")
    if contamination:
        against = ", ".join(
            f"{escape(one['name'])} ({one['num_questions']} questions, {escape(one['hash'])})"
            for one in contamination["against"]
        )
        lines.append(
            f"- Contamination: compared with {against}; {contamination['matches_dropped']} matches "
            f"dropped, {contamination['matches_kept']} kept as other questions; see "
            "`contamination.html`."
        )
    else:
        lines.append(
            "- Contamination: not compared with any benchmark (`longspan decontaminate DIR "
            "--against TASK`)."
        )
    cost = manifest["cost"]
    lines.append(
        f"- Cost: {cost['model_calls']} model calls, {cost['prompt_tokens']} prompt tokens, "
        f"{cost['sampled_tokens']} sampled tokens."
    )
    return lines


def _source(manifest: Mapping[str, Any]) -> list[str]:
    plan = manifest.get("plan") or {}
    generated = (plan.get("source") or {}).get("type") in ("world", "fiction")
    licence = (
        "The documents are generated: they describe a fictional world and hold no text of others."
        if generated
        else "The documents are copies of the source's, under its licence; who passes "
        "the task set on passes them on."
    )
    lines = ["## Source and licence", "", licence]
    if manifest["source"]:
        lines.append("")
        lines += [f"- {escape(k)}: {_told(v)}" for k, v in manifest["source"].items()]
    return lines


def _told(value: object) -> str:
    """Returns a fact of the source in words: counts by name, the first entries of a list."""
    if isinstance(value, Mapping):
        return ", ".join(f"{escape(name)} {escape(num)}" for name, num in value.items()) or "none"
    if isinstance(value, list | tuple):
        more = f"; {len(value) - MAX_QUOTES} more" if len(value) > MAX_QUOTES else ""
        return ("; ".join(map(escape, value[:MAX_QUOTES])) or "none") + more
    return escape(value)


def _use(manifest: Mapping[str, Any]) -> list[str]:
    split = next((name for name in reversed(SPLITS) if name in manifest["counts"]), "test")
    return [
        "## Use",
        "",
        f"    inspect eval longspan/taskset -T path=DIR -T split={split} --model MODEL",
        "    longspan check DIR                        # computes every proof again, offline",
        "    longspan export DIR --out samples.jsonl   # prompts with their contexts, for others",
        "",
        "`samples.parquet` has a row for each question, `documents.parquet` each document once; a "
        "context is a list of document ids. `manifest.json` has the plan, versions and hashes.",
    ]


def _table(names: Sequence[str], alignment: str) -> list[str]:
    rule = "|".join("---:" if side == "r" else "---" for side in alignment)
    return [_line(names), f"|{rule}|"]


def _line(cells: Iterable[object]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"
