"""The documents of a task set that is being built: in memory, or in the work folder.

Documents that the user gave are in memory anyway. Worlds are made for a part and not needed again
until the task set is written, so that theirs wait on disk, a file for each group.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from longspan.harness.datasets.documents import Document, stored_documents, write_documents
from longspan.synth_templates.corpus import Corpus

SPOOL_FOLDER = "documents"


@dataclass
class Spool:
    """Documents by group, in the order in which groups were added.

    Attributes:
        folder: Where they wait; None keeps them in memory.
    """

    folder: Path | None
    num_documents: int = 0
    _groups: dict[str, tuple[Document, ...] | Path] = field(default_factory=dict)

    @classmethod
    def in_work_folder(cls, work: Path) -> Spool:
        """Returns an empty spool on disk; what an earlier run left there is made anew."""
        folder = work / SPOOL_FOLDER
        shutil.rmtree(folder, ignore_errors=True)
        return cls(folder)

    @property
    def num_groups(self) -> int:
        """How many groups were added."""
        return len(self._groups)

    def add(self, corpus: Corpus) -> None:
        """Adds the documents of a group, if they are not there yet."""
        if corpus.group in self._groups:
            return
        self.num_documents += len(corpus.documents)
        if self.folder is None:
            self._groups[corpus.group] = corpus.documents
            return
        place = self.folder / f"{len(self._groups):06d}"
        place.mkdir(parents=True)
        write_documents(place, ((corpus.group, document) for document in corpus.documents))
        self._groups[corpus.group] = place

    def documents(self) -> Iterator[tuple[str, Document]]:
        """Yields (group, document), one group in memory at a time."""
        for group, kept in self._groups.items():
            if isinstance(kept, Path):
                yield from stored_documents(kept)
            else:
                yield from ((group, document) for document in kept)
