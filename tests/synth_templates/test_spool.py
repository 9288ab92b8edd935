from pathlib import Path

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


def test_documents_wait_on_disk_as_they_wait_in_memory(tmp_path: Path):
    spools = Spool.in_work_folder(tmp_path), Spool(None)
    for spool in spools:
        for corpus in (*corpora(), corpora()[0]):  # a group is kept once
            spool.add(corpus)
    on_disk, in_memory = (list(spool.documents()) for spool in spools)
    assert on_disk == in_memory
    assert [document.id for _, document in on_disk] == ["b0", "b1", "b2", "a0", "a1", "a2"]
    assert {(spool.num_groups, spool.num_documents) for spool in spools} == {(2, 6)}


def test_what_a_killed_run_left_is_made_anew(tmp_path: Path):
    first = Spool.in_work_folder(tmp_path)
    first.add(corpora()[0])
    again = Spool.in_work_folder(tmp_path)
    assert list(again.documents()) == []
    again.add(corpora()[1])
    assert [group for group, _ in again.documents()] == ["a"] * 3
