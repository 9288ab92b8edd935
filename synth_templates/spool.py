"""The documents of a task set that is being built: they wait in the work folder, by group.

Worlds are made for a part and not needed again until the task set is written. A group is written
whole or not at all, so that what a killed run or a worker left there can be used.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from longspan.harness.datasets.documents import (
    Document,
    count_documents,
    stored_documents,
    write_documents,
)
from longspan.synth_templates.corpus import Corpus

SPOOL_FOLDER = "documents"


@dataclass
class Spool:
    """Documents by group.

    Attributes:
        folder: Where they wait, a folder for each group.
    """

    folder: Path
    _used: dict[str, None] = field(default_factory=dict)

    @classmethod
    def in_work_folder(cls, work: Path) -> Spool:
        """Returns the spool of a work folder, with what is there."""
        return cls((work / SPOOL_FOLDER).absolute())  # workers may run elsewhere

    def __contains__(self, group: str) -> bool:
        """Whether a group's documents are there."""
        return (self.folder / group).is_dir()

    def write(self, corpus: Corpus) -> None:
        """Writes the documents of a corpus; another process may do so at the same time."""
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=self.folder, prefix=".partial-"))
        write_documents(partial, ((corpus.group, document) for document in corpus.documents))
        try:
            partial.rename(self.folder / corpus.group)
        except OSError:
            if corpus.group not in self:  # no other process was first
                raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def clear(self) -> None:
        """Removes all groups."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def use(self, group: str) -> None:
        """Takes a group into the task set, after those that were taken before."""
        self._used[group] = None

    @property
    def num_groups(self) -> int:
        """How many groups are used."""
        return len(self._used)

    @property
    def num_documents(self) -> int:
        """How many documents they have."""
        return sum(count_documents(self.folder / group) for group in self._used)

    def documents(self) -> Iterator[tuple[str, Document]]:
        """Yields (group, document) of the groups that are used, one group in memory at a time."""
        for group in self._used:
            yield from stored_documents(self.folder / group)
