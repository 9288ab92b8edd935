"""What a vote is shown of a sample: no documents, titles and one of them, or all."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

from inspect_ai.dataset import Sample

from longspan.harness.datasets.documents import (
    DOCUMENT_SEPARATOR,
    Document,
    render_document,
    resolve_documents,
)
from longspan.harness.passport import Passport, VoteCheck


def blind(sample: Sample) -> Sample:
    """Returns the sample without its documents: only the question is asked."""
    return _with_context(sample, None)


def scarce(sample: Sample) -> Sample:
    """Returns the sample with the titles of its documents and at most one of its evidence.

    The last document of the evidence, where the answer stands; none where it is the only one.
    """
    documents = resolve_documents(sample.metadata or {})
    evidence = _of_proof(Passport.model_validate((sample.metadata or {})["passport"]))
    last: Document | None = None
    if len(set(evidence)) > 1:
        last = next(document for document in documents if document.id == evidence[-1])
    titles = "\n".join(document.title for document in documents if document.title)
    parts = [titles, render_document(last) if last else ""]
    text = DOCUMENT_SEPARATOR.join(part for part in parts if part)
    return _with_context(sample, {"text": text} if text else None)


VIEWS: dict[VoteCheck, Callable[[Sample], Sample]] = {
    "grounding": blind,
    "scarce": scarce,
    "robustness": copy,
}
"""Check -> what of a sample is shown."""


def _of_proof(passport: Passport) -> list[str]:
    """Returns the documents of the proof's evidence; those of descriptions come after it."""
    named = [span.document for span in passport.evidence]
    steps = getattr(passport.proof, "steps", named)
    return named[: len(steps)]


def _with_context(sample: Sample, context: dict[str, Any] | None) -> Sample:
    metadata = {
        k: v for k, v in (sample.metadata or {}).items() if k not in ("context", "passport")
    }
    if context is not None:
        metadata["context"] = context
    return sample.model_copy(update={"metadata": metadata})
