"""The card of a task set: what is in it, how it was made, what was left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def render_card(manifest: Mapping[str, Any]) -> str:
    """Returns the card (Markdown) of a manifest."""
    counter = manifest["counter"]
    exactness = "exact" if counter["exact"] else "estimated"
    lines = [
        f"# Task set {manifest['name']}",
        "",
        f"{manifest['num_samples']} samples over {manifest['num_documents']} documents in "
        f"{manifest['num_groups']} groups; seed {manifest['seed']}; lengths in tokens of "
        f"{counter['name']} ({exactness}). {_part_of_models(manifest)} Every passport can be "
        "re-executed with `longspan check`.",
        "",
        "## Samples",
        "",
        "| split | kind | samples |",
        "|---|---|---:|",
    ]
    for split, by_kind in manifest["counts"].items():
        lines += [f"| {split} | {kind} | {num} |" for kind, num in sorted(by_kind.items())]
    lines += [
        "",
        "## Yields",
        "",
        "| step | wanted | drawn | accepted | rejected, by reason |",
        "|---|---:|---:|---:|---|",
    ]
    for step, facts in manifest["yields"].items():
        reasons = "; ".join(f"{_cell(reason)} {num}" for reason, num in facts["rejected"].items())
        lines.append(
            f"| {step} | {facts['wanted']} | {facts['drawn']} | {facts['accepted']} "
            f"| {reasons or '-'} |"
        )
    if manifest["source"]:
        lines += ["", "## Source", ""]
        lines += [f"- {_cell(key)}: {_cell(value)}" for key, value in manifest["source"].items()]
    lines += [
        "",
        "## Use",
        "",
        "    longspan check DIR",
        "    inspect eval longspan/taskset -T path=DIR -T split=test --model MODEL",
        "",
    ]
    return "\n".join(lines)


def _part_of_models(manifest: Mapping[str, Any]) -> str:
    cost = manifest["cost"]
    if not cost["model_calls"]:
        return "No model took part: every answer follows from a graph or a table."
    return (
        f"Models took part ({', '.join(manifest.get('models', ()))}): {cost['model_calls']} calls, "
        f"{cost['prompt_tokens']} prompt and {cost['sampled_tokens']} sampled tokens."
    )


def _cell(value: object) -> str:
    """Returns a value for a line or table cell: one line, no pipes."""
    return " ".join(str(value).replace("|", "/").split())
