"""A stage's metrics as TensorBoard events, beside the JSON lines that they repeat."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from longspan.harness.errors import RecipeError


class TensorBoard:
    """Events of one stage, to be closed at its end."""

    def __init__(self, folder: Path, rows: Iterable[Mapping[str, Any]]) -> None:
        """Writes what a resumed stage has already, in place of what is there.

        Args:
            folder: of the stage's events; TensorBoard shows its name.
            rows: metrics of the steps that are done.

        Raises:
            RecipeError: tensorboard is not installed.
        """
        try:
            # An extra; torch's writer needs it.
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise RecipeError(
                "--tensorboard needs the package tensorboard; pip install 'longspan[tensorboard]'"
            ) from error
        shutil.rmtree(folder, ignore_errors=True)
        self._writer = SummaryWriter(str(folder))
        for row in rows:
            self.append(row)

    def append(self, row: Mapping[str, Any]) -> None:
        """Writes a step's metrics; what is not a number is left out."""
        for name, value in scalars(row):
            self._writer.add_scalar(name, value, row["step"])
        self._writer.flush()

    def close(self) -> None:
        """Closes the files; no more steps can follow."""
        self._writer.close()


def scalars(row: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Yields the numbers of a step's metrics by name; those of a mapping as `name/key`."""
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from scalars(value, f"{prefix}{name}/")
        elif isinstance(value, (bool, int, float)) and prefix + name != "step":
            yield prefix + name, float(value)
