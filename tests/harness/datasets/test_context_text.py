"""A context that is joined only where it is read: the same characters at every slice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from longspan.harness.datasets.documents import ContextText, Document, render_context

documents = st.lists(
    st.builds(lambda title, text: Document(id="d", title=title, text=text), st.text(), st.text()),
    max_size=6,
)


@given(documents=documents, start=st.integers(-5, 80), end=st.integers(-5, 80))
def test_every_slice_is_that_of_the_rendered_context(
    documents: list[Document], start: int, end: int
) -> None:
    whole, text = render_context(documents), ContextText(documents)
    assert len(text) == len(whole) and str(text) == whole
    assert text[start:end] == whole[start:end]
    assert text[:] == whole


def test_nothing_is_joined_but_what_is_asked_for() -> None:
    parts = [Document(id=str(i), title=f"T{i}", text=f"text {i}") for i in range(3)]
    text = ContextText(parts)
    assert text[0:2] == "T0" and text[3:9] == "text 0" and text[9:11] == "\n\n"
    assert text[11:] == "T1\ntext 1\n\nT2\ntext 2"
    assert len(ContextText([])) == 0 and ContextText([])[0:5] == ""
