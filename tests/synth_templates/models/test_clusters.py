import random
import sys

import pytest

from longspan.harness.datasets.documents import Document
from longspan.harness.errors import SynthesisError
from longspan.synth_templates.models.clusters import cluster_documents

TOPICS = {
    "sea": "ships harbours tides sailors anchors storms",
    "bread": "flour ovens yeast bakers loaves crusts",
    "stars": "planets comets telescopes orbits galaxies dust",
}


def documents(num: int = 4) -> list[Document]:
    return [
        Document(id=f"{topic}{i}", title=f"{topic} {i}", text=f"{text} number{topic}{i}")
        for i in range(num)
        for topic, text in TOPICS.items()
    ]


def clusters(size: int, seed: int = 0) -> list[tuple[str, ...]]:
    found = cluster_documents(documents(), size, random.Random(seed))
    return [tuple(document.id for document in cluster) for cluster in found]


def test_documents_of_one_topic_come_together_and_none_is_used_twice():
    found = clusters(4)
    assert sorted(name for cluster in found for name in cluster) == sorted(
        document.id for document in documents()
    )
    assert [len({name.rstrip("0123") for name in cluster}) for cluster in found] == [1, 1, 1]


def test_clusters_are_at_most_as_large_as_asked_and_seeded():
    assert max(map(len, clusters(3))) == 3
    assert clusters(2, seed=1) == clusters(2, seed=1) != clusters(2, seed=2)


def test_a_document_like_no_other_is_alone():
    odd = Document(id="odd", text="zyx wvu tsr")
    found = list(cluster_documents([*documents(), odd], 4, random.Random(0)))
    assert (odd,) in found


@pytest.mark.parametrize("text", ["", "...", "a"])
def test_documents_without_words_do_not_make_it_fail(text: str):
    few = [Document(id=str(i), text=text) for i in range(3)]
    assert sum(map(len, cluster_documents(few, 2, random.Random(0)))) == 3
    assert list(cluster_documents([], 2, random.Random(0))) == []


def test_without_the_library_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "sklearn.feature_extraction.text", None)
    with pytest.raises(SynthesisError, match=r"pip install longspan\[synth\]"):
        list(cluster_documents(documents(), 2, random.Random(0)))
