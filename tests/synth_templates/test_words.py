from hypothesis import given, settings
from hypothesis import strategies as st

from longspan.harness.datasets.documents import Document, render_document
from longspan.synth_templates.triples.graph import find_mentions
from longspan.synth_templates.words import WordIndex

TEXT = st.text(alphabet="abAB _-.é1", max_size=12)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=8), TEXT)
def test_the_index_finds_what_a_look_at_every_document_finds(pages, name):
    documents = [Document(id=f"d{i}", title=t, text=x) for i, (t, x) in enumerate(pages)]
    expected = {d.id for d in documents if find_mentions(name, render_document(d))}
    index = WordIndex(documents)
    for few in ({d.id for d in documents[::2]}, set()):
        assert index.is_held(name, few) == bool(expected & few)
    assert index.holders(name) == expected
