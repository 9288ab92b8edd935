"""What a board is asked to be, and whether it can be: checked before the work, not after it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from longspan.harness.errors import BoardError


@dataclass(frozen=True)
class BoardOptions:
    """What beside the logs makes a board."""

    title: str | None = None
    baseline: str | None = None
    training: Path | None = None
    """Folder of a training run, or its metrics.jsonl."""
    tasksets: tuple[Path, ...] = ()
    declared: str | None = None
    """Name or file of a declared board."""
    extra: Path | None = None
    """JSON file with notes."""
    refresh_seconds: int | None = None
    """How often an open page loads itself again; None: never."""

    def training_folder(self) -> Path | None:
        """Returns the folder of the training run.

        Raises:
            BoardError: there is none.
        """
        path = self.training
        if path is not None and not path.exists():
            raise BoardError(
                f"no such training run: {path}; give its folder, or leave --training out"
            )
        return path.parent if path is not None and path.is_file() else path

    def notes(self) -> list[str]:
        """Returns the notes of the JSON file.

        Raises:
            BoardError: it is of another form.
        """
        path = self.extra
        if path is None:
            return []
        try:
            notes = json.loads(path.read_text("utf-8")).get("notes", [])
        except (ValueError, AttributeError) as error:
            raise BoardError(
                f'{path} is not JSON of the form {{"notes": [...]}} ({error})'
            ) from error
        if not isinstance(notes, list):
            kind = type(notes).__name__
            raise BoardError(f"notes of {path} are not a list but {kind}; use a list")
        return [str(note) for note in notes]
