"""The state of one reading on disk, so that a killed run goes on at the chunk where it stopped.

One JSON file per (sample, epoch, document, model, settings), replaced as a whole after every chunk
and removed once the answer is there: a later run starts afresh instead of finding an old run's
memory. A file is named by a hash, so that no sample id becomes a path. Meant for evaluation: turns
made before a kill are not in a trainer's record.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from longspan.agents.memory_format import MemoryState

FORMAT_VERSION = 1


class Step(BaseModel):
    """Indices of the evidence in a turn's chunk, and in the memory after it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    in_chunk: tuple[int, ...] = ()
    in_memory: tuple[int, ...] = ()


class Reading(BaseModel):
    """Everything that the agent carries after `next_chunk` chunks, the document left out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    next_chunk: int = 0
    memory: str = MemoryState().memory
    plan: str = MemoryState().plan
    num_calls: int = 0
    num_malformed: int = 0
    """Turns whose output declared no state; the state before them was kept."""
    num_empty_outputs: int = 0
    """Malformed turns that returned no text at all."""
    num_cut_off: int = 0
    """Turns that hit their output limit."""
    num_memory_cuts: int = 0
    num_plan_cuts: int = 0
    trace: tuple[Step, ...] = ()


def reading_key(identity: Mapping[str, Any]) -> str:
    """Returns the file name for a reading: a hash of everything that its states depend on."""
    text = json.dumps({"format": FORMAT_VERSION, **identity}, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()


def text_hash(text: str) -> str:
    """Returns the identity of a document's text."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


class ReadingFile:
    """One reading's file in a folder; the folder is made on the first save."""

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self.path = folder / f"{reading_key(identity)}.json"

    def load(self) -> Reading:
        """Returns the saved reading, or the beginning of one where none can be read."""
        try:
            return Reading.model_validate(json.loads(self.path.read_bytes()))
        except (FileNotFoundError, ValueError):
            return Reading()

    def save(self, reading: Reading) -> None:
        """Replaces the file in one step: a kill leaves the state before or after it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(json.dumps(reading.model_dump()), encoding="ascii")
        os.replace(temporary, self.path)

    def remove(self) -> None:
        """Removes the file; nothing happens where there is none."""
        self.path.unlink(missing_ok=True)
