"""The contamination report: each match side by side, and what was decided. A page and JSON.

The page is one file without scripts. Questions and answers are data: the template escapes all of
them, and the page's policy forbids everything but its own style.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from longspan.synth_templates.curation.contamination import Match
from longspan.synth_templates.curation.ngrams import names, ngrams, words

PAGE_FILE, JSON_FILE = "contamination.html", "contamination.json"
MAX_SHOWN = 1000
"""Matches on the page; the JSON file has all of them."""
_HERE = Path(__file__).parent
_TOKEN = re.compile(r"\w+")


def render_reports(
    taskset: Mapping[str, Any],
    benchmarks: Sequence[Mapping[str, Any]],
    matches: Sequence[Match],
    documents: Sequence[Mapping[str, Any]] = (),
) -> dict[str, str]:
    """Returns the report as texts by the names of their files.

    Args:
        taskset: "name" and "num_samples" of what was compared.
        benchmarks: Facts of the benchmarks.
        matches: All matches.
        documents: Documents that benchmarks show, too: "document", "title", "benchmark", "id",
            "share", "num_samples", "dropped".
    """
    content = {
        "taskset": {name: taskset[name] for name in ("name", "num_samples")},
        "benchmarks": [dict(one) for one in benchmarks],
        "matches": [asdict(match) for match in matches],
        "documents": [dict(one) for one in documents],
    }
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    return {PAGE_FILE: _render_page(content, matches), JSON_FILE: text}


def summary(benchmarks: Sequence[Mapping[str, Any]], matches: Sequence[Match]) -> list[str]:
    """Returns a line for each benchmark: how many questions it has, what matched."""
    dropped = Counter(match.benchmark for match in matches if match.dropped)
    kept = Counter(match.benchmark for match in matches if not match.dropped)
    return [
        f"{one['name']}: {one['num_questions']} questions; {dropped[one['name']]} matches dropped, "
        f"{kept[one['name']]} kept"
        for one in benchmarks
    ]


def pieces(text: str, shared: frozenset[str]) -> list[tuple[str, bool]]:
    """Returns a text in pieces, each with whether its words stand in a shared 3-gram."""
    found = list(_TOKEN.finditer(text))
    tokens = [match[0].casefold() for match in found]
    marked = [token in shared for token in tokens]
    for i in range(len(tokens)):
        gram = tokens[i : i + 3]
        if " ".join(gram) in shared:
            marked[i : i + len(gram)] = [True] * len(gram)
    made: list[tuple[str, bool]] = []
    end = 0
    for i, match in enumerate(found):
        joined = marked[i] and i > 0 and marked[i - 1]
        _append(made, text[end : match.start()], joined)
        _append(made, match[0], marked[i])
        end = match.end()
    _append(made, text[end:], False)
    return made


def _append(made: list[tuple[str, bool]], text: str, marked: bool) -> None:
    if text and made and made[-1][1] == marked:
        made[-1] = (made[-1][0] + text, marked)
    elif text:
        made.append((text, marked))


def _render_page(content: Mapping[str, Any], matches: Sequence[Match]) -> str:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = (_HERE / "pages" / "contamination.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    ordered = sorted(matches, key=lambda match: (not match.dropped, -match.similarity))
    return environment.get_template("contamination.html.jinja").render(
        **content,
        style=style,
        style_hash=f"sha256-{digest}",
        summary=summary(content["benchmarks"], matches),
        num_dropped=sum(match.dropped for match in matches),
        num_kept=sum(not match.dropped for match in matches),
        shown=[_shown(match) for match in ordered[:MAX_SHOWN]],
        num_hidden=max(0, len(matches) - MAX_SHOWN),
        reasons=Counter((match.dropped, match.reason) for match in matches).most_common(),
    )


def _shown(match: Match) -> dict[str, Any]:
    ours = frozenset(ngrams(words(match.question)))
    shared = ours & frozenset(ngrams(words(match.benchmark_question)))
    shared |= names(match.question) & names(match.benchmark_question)
    return {
        **asdict(match),
        "ours": pieces(match.question, shared),
        "theirs": pieces(match.benchmark_question, shared),
        "percent": round(100 * match.similarity),
    }
