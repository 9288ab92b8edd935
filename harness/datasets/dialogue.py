"""Chats as text: one line a turn, under a line for each session."""

from __future__ import annotations

from typing import Any


def render_dialogue(turns: Any) -> str | None:
    """Returns the turns as lines "speaker: text", None where they are no dialogue.

    A turn is an object with `role` or `speaker` and `content`, and may have `session` and
    `timestamp`; where one of these changes, a line in brackets says so. White space within a turn
    becomes single spaces, so that a turn cannot pass for two.
    """
    if not isinstance(turns, list) or not turns:
        return None
    lines: list[str] = []
    place: tuple[str, ...] = ()
    for turn in turns:
        if not isinstance(turn, dict):
            return None
        speaker = turn.get("speaker") or turn.get("role")
        content = turn.get("content")
        if not isinstance(speaker, str) or not isinstance(content, str):
            return None
        here = tuple(_label(key, turn[key]) for key in ("session", "timestamp") if key in turn)
        if here != place:
            lines.append(f"[{', '.join(here)}]")
            place = here
        lines.append(f"{_line(speaker)}: {_line(content)}")
    return "\n".join(lines)


def _label(key: str, value: Any) -> str:
    text = _line(str(value))
    return f"session {text}" if key == "session" and text.isdigit() else text


def _line(text: str) -> str:
    return " ".join(text.split())
