import random
import time
import tracemalloc

from longspan.harness.datasets.documents import Document
from longspan.synth_templates.corpus import Corpus
from longspan.synth_templates.kind_files import Kinds
from longspan.synth_templates.triples.graph import find_support, split_sentences
from longspan.synth_templates.worlds.fiction_pages import fiction_documents, fiction_prose
from longspan.synth_templates.worlds.prose import capitalised, fill
from longspan.synth_templates.worlds.sessions import is_session


def sentences_of(document: Document) -> list[str]:
    return [document.text[a:b] for a, b in split_sentences(document.text)]


def test_the_evidence_of_every_fact_is_the_sentence_that_was_written_for_it():
    facts = 0
    for document in fiction_documents(3, 1500):
        sentences = split_sentences(document.text)
        for triple in document.triples:
            given = {
                "s": triple.subject,
                "S": capitalised(triple.subject),
                "o": triple.object,
                "O": capitalised(triple.object),
            }
            templates = fiction_prose().facts[triple.relation]
            written = {fill(template, given, {}, random.Random(0)) for template in templates}
            start, end = find_support(document, triple, sentences) or (0, 0)
            assert document.text[start:end] in written, triple
            facts += 1
    assert facts > 4000


def test_every_relation_is_in_the_lexicon_under_its_name(fiction: Corpus, fiction_kinds: Kinds):
    lexicon = fiction_kinds.lexicon()
    assert {name.replace("_", " ") for name in lexicon.forms} == set(fiction_prose().facts)
    for document in fiction.documents:
        for triple in () if is_session(document) else document.triples:
            assert lexicon.canonical(triple) == triple.relation.replace(" ", "_")


def test_evidence_is_not_only_on_the_page_of_the_subject(fiction: Corpus):
    titles = {document.id: document.title for document in fiction.documents}
    edges = [
        edge
        for by_relation in fiction.graph.edges.values()
        for found in by_relation.values()
        for edge in found
    ]
    own = [e for e in edges if titles[e.document] == capitalised(e.stated.subject)]
    assert 0.4 < len(own) / len(edges) < 0.8


def test_documents_are_of_readable_length():
    words = [
        len(d.text.split()) for d in fiction_documents(0, 1000) if not d.title.startswith("Notice")
    ]
    assert sum(100 <= num <= 400 for num in words) > 0.75 * len(words)
    assert max(words) <= 400


def test_the_same_seed_gives_the_same_documents():
    one, two, other = (list(fiction_documents(seed, 300)) for seed in (1, 1, 2))
    assert one == two != other
    assert len({document.id for document in one}) == 300


def test_names_are_distinct_over_all_worlds_of_a_stream():
    titles = [d.title for d in fiction_documents(0, 2000) if d.triples]
    pages = [t for t in titles if "199" not in t]
    assert len(set(pages)) == len(pages)


def test_a_stream_takes_the_memory_of_one_world():
    def peak(num: int) -> int:
        tracemalloc.start()
        for _ in fiction_documents(0, num):
            pass
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    # What grows is the set of names that were given: some hundred bytes a document.
    small, large = peak(500), peak(3000)
    assert large - small < 2500 * 600


def test_a_hundred_thousand_documents_take_less_than_a_minute():
    started = time.thread_time()
    for _ in fiction_documents(0, 2000):
        pass
    assert 50 * (time.thread_time() - started) < 60
