"""The calls of one run on disk: a killed run goes on where it stopped and pays no call twice.

One file of JSON lines per (agent, sample, epoch, document, question, model, settings): every output
is added as it arrives and found again by its turn and prompt. Agents are functions of the outputs,
so replaying these leads to the state before the kill, whatever the agent. A file is named by a
hash, so that no sample id becomes a path; half a line at its end is dropped, and a line that is no
whole call is passed over.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inspect_ai.model import ModelOutput

from longspan.harness.errors import DataError

FORMAT_VERSION = 2


@dataclass(frozen=True)
class Entry:
    """One call: its output and the seconds that it took."""

    output: ModelOutput
    seconds: float


def journal_key(identity: Mapping[str, Any]) -> str:
    """Returns the file name for a run: a hash of everything that its calls depend on."""
    text = json.dumps({"format": FORMAT_VERSION, **identity}, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()


class Journal:
    """One run's calls in a folder, which is made where it is not there."""

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        """Reads the calls that were made before.

        Raises:
            DataError: The folder cannot be made, read or written.
        """
        self.path = folder / f"{journal_key(identity)}.jsonl"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._entries = dict(self._read())
            place = self.path if self.path.exists() else folder
            if not os.access(place, os.W_OK):
                raise PermissionError("no permission to write")
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise DataError(
                f"the folder of a run's calls cannot be used: got {str(folder)!r} ({why}); "
                "give state_dir a folder that can be written"
            ) from error

    def find(self, turn: int, prompt: str) -> Entry | None:
        """Returns the call of a turn with this prompt, None where it has not been made."""
        return self._entries.get(_call_key(turn, prompt))

    def add(self, turn: int, prompt: str, entry: Entry) -> None:
        """Adds a call; a kill leaves the file without it or with it."""
        key = _call_key(turn, prompt)
        self._entries[key] = entry
        if not entry.output.choices:
            return  # nothing was said: it is asked again
        output = entry.output.model_dump(mode="json", exclude={"metadata"}, exclude_none=True)
        line = json.dumps({"call": key, "seconds": entry.seconds, "output": output})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="ascii") as file:
            file.write(line + "\n")

    def _read(self) -> Iterator[tuple[str, Entry]]:
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            # What is added next must not become the end of half a line.
            with self.path.open("r+b") as file:
                file.truncate(len(whole))
        for line in whole.splitlines():
            if (found := _parsed(line)) is not None:
                yield found


def _parsed(line: bytes) -> tuple[str, Entry] | None:
    """Returns the call of a line, None for a line that is no whole call."""
    try:
        record = json.loads(line)
        key, seconds = record["call"], float(record["seconds"])
        output = ModelOutput.model_validate(record["output"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    if not isinstance(key, str) or not output.choices or not 0 <= seconds < math.inf:
        return None
    return key, Entry(output, seconds)


def _call_key(turn: int, prompt: str) -> str:
    digest = hashlib.blake2b(prompt.encode("utf-8", "surrogatepass"), digest_size=16)
    return f"{turn}-{digest.hexdigest()}"
