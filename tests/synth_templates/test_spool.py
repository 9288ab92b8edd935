from pathlib import Path

import pytest

from longspan.harness.datasets.documents import Document, Triple
from longspan.synth_templates.corpus import Corpus
from longspan.synth_templates.spool import Spool
from longspan.synth_templates.triples.relations import Lexicon


def corpora() -> list[Corpus]:
    made = []
    for group in ("b", "a"):
        documents = [
            Document(
                id=f"{group}{i}",
                title="T",
                text=f"text {i}",
                triples=(Triple(subject="s", relation="r", object=str(i)),),
                format="python",
            )
            for i in range(3)
        ]
        made.append(Corpus(group, documents, Lexicon([])))
    return made


def test_documents_wait_by_group_in_the_order_in_which_groups_are_used(tmp_path: Path):
    spool = Spool.in_work_folder(tmp_path)
    for corpus in (*corpora(), corpora()[0]):  # a group is kept once
        spool.write(corpus)
    for group in ("a", "b", "a"):
        spool.use(group)
    found = list(spool.documents())
    assert [group for group, _ in found] == ["a"] * 3 + ["b"] * 3
    assert [document for _, document in found] == [
        document for corpus in reversed(corpora()) for document in corpus.documents
    ]
    assert (spool.num_groups, spool.num_documents) == (2, 6)
    assert sorted(path.name for path in spool.folder.iterdir()) == ["a", "b"]


def test_what_a_killed_run_left_whole_is_used_and_the_rest_is_not(tmp_path: Path):
    first = Spool.in_work_folder(tmp_path)
    first.write(corpora()[0])
    (first.folder / ".partial-x").mkdir()  # of a writer that was killed
    again = Spool.in_work_folder(tmp_path)
    assert "b" in again and "a" not in again
    assert (again.num_groups, list(again.documents())) == (0, [])


def test_a_group_that_cannot_be_kept_is_an_error(tmp_path: Path, monkeypatch):
    spool = Spool.in_work_folder(tmp_path)
    monkeypatch.setattr(Path, "rename", raise_full)
    with pytest.raises(OSError, match="No space left"):
        spool.write(corpora()[0])
    assert list(spool.folder.iterdir()) == []


def raise_full(*arguments: object) -> None:
    raise OSError(28, "No space left on device")
