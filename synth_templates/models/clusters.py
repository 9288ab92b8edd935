"""Clusters of documents that speak of the same things, for questions over several of them.

Likeness is the cosine of TF-IDF vectors (scikit-learn). Greedy from a seeded order: each document
that is still free takes the most similar free ones, so that clusters share no document.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

from longspan.harness.datasets.documents import Document
from longspan.harness.errors import SynthesisError

MIN_LIKENESS = 0.05
"""Cosine below which documents do not belong together."""
MAX_TERMS = 50_000
_DECIMALS = 9
"""Likeness is rounded, so that ties are broken alike on every machine."""


def cluster_documents(
    documents: Sequence[Document], size: int, rng: random.Random
) -> Iterator[tuple[Document, ...]]:
    """Yields clusters of at most `size` documents; a document that is like no other is alone.

    Raises:
        SynthesisError: scikit-learn is not installed.
    """
    if not documents:
        return
    vectors = _vectors(documents)
    order = list(range(len(documents)))
    rng.shuffle(order)
    free = set(order)
    for head in order:
        if head not in free:
            continue
        free.discard(head)
        row = (vectors @ vectors[head].T).tocoo()
        near = [
            (-round(float(value), _DECIMALS), int(index))
            for index, value in zip(row.row, row.data, strict=True)
            if int(index) in free and value >= MIN_LIKENESS
        ]
        members = [index for _, index in sorted(near)[: size - 1]]
        free.difference_update(members)
        yield tuple(documents[index] for index in (head, *members))


def _vectors(documents: Sequence[Document]) -> Any:
    """Returns the sparse matrix of TF-IDF vectors of length 1, one row a document."""
    try:
        # Heavy and optional: only plans with `evolve` cluster documents.
        from sklearn.feature_extraction.text import TfidfVectorizer
    except ImportError as error:
        raise SynthesisError(
            "clusters of documents need scikit-learn, which is not installed; "
            "run: pip install longspan[synth]"
        ) from error
    texts = [f"{document.title}\n{document.text}" for document in documents]
    vectorizer = TfidfVectorizer(max_features=MAX_TERMS, sublinear_tf=True, token_pattern=r"\w+")
    try:
        return vectorizer.fit_transform(texts)
    except ValueError:  # not one word in all documents
        return TfidfVectorizer(analyzer="char").fit_transform([text + "." for text in texts])
