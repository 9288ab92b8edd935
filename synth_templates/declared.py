"""What a task set says of its samples beside their proofs: ids, kinds, relations, lengths, counts.

An id is a digest of what is asked over which documents, so a sample whose question, answer, context
or split was changed no longer has its own. A sample's `seed` is not checked: it repeats the draw
only in the version, and with the tokenizer and models, that made the sample; the proof needs none.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from longspan.harness.errors import DataError
from longspan.harness.passport import (
    AnyProof,
    ArithmeticProof,
    CompareProof,
    MentionsProof,
    PathProof,
    RepeatProof,
    SelectProof,
    TranscriptProof,
    num_hops,
)
from longspan.harness.taskset import SampleRow, TaskSet
from longspan.harness.tokens import EstimatedTokens
from longspan.synth_templates.corpus import Corpus
from longspan.synth_templates.triples.relations import family

_DIGEST_CHARS = 8
_OF_KIND = ("task_type", "scorer", "instructions")


def sample_id(
    split: str, kind: str, question: str, target: Sequence[str], documents: Sequence[str]
) -> str:
    """Returns the id of a sample: its split, a digest of what is asked, its kind."""
    text = "\0".join((question, *target, *documents))
    digest = hashlib.blake2b(text.encode(), digest_size=_DIGEST_CHARS // 2).hexdigest()
    return f"{split}-{digest}-{kind}"


def declared_kinds(taskset: TaskSet) -> dict[str, Mapping[str, Any]]:
    """Returns the kinds of a manifest by name.

    Raises:
        DataError: the manifest does not list them.
    """
    try:
        return {str(kind["name"]): {**kind} for kind in taskset.manifest["kinds"]}
    except (KeyError, TypeError) as error:
        raise DataError(
            f"manifest of {taskset.folder} has no kinds ({error}); build it again"
        ) from error


def check_declared(
    row: SampleRow, kinds: Mapping[str, Mapping[str, Any]], corpus: Corpus
) -> list[str]:
    """Checks a sample against its id, its kind and the lexicon."""
    kind = kinds.get(row.kind)
    if kind is None:
        return [f"kind {row.kind!r} is not in the manifest"]
    problems = [
        f"{name} is {getattr(row, name)!r}, but kind {row.kind} says {kind.get(name)!r}"
        for name in _OF_KIND
        if getattr(row, name) != kind.get(name)
    ]
    options = row.passport.options if row.passport else ()
    if len(options) != (kind.get("num_options") or 0):
        problems.append(
            f"has {len(options)} options, but kind {row.kind} {kind.get('num_options') or 0}"
        )
    if row.id != sample_id(row.split, row.kind, row.question, row.target, row.documents):
        problems.append(
            "id is not that of its split, kind, question, target and documents: one was changed"
        )
    return problems + _check_parameters(row, kind) + _check_relations(row, corpus)


def check_lengths(row: SampleRow, corpus: Corpus, *, is_estimated: bool) -> list[str]:
    """Checks depths and length: computed again where lengths are estimated, else their order.

    A tokenizer may not be at hand offline.
    """
    evidence = [span.document for span in row.passport.evidence] if row.passport else []
    depths = row.passport.depths if row.passport else ()
    if row.target_tokens is not None and (row.input_tokens or 0) > row.target_tokens:
        return [f"input_tokens is {row.input_tokens}, above target_tokens {row.target_tokens}"]
    if len(depths) != len(evidence):
        return [f"{len(evidence)} evidence spans but {len(depths)} depths"]
    lengths = corpus.lengths(EstimatedTokens())
    expected = lengths.depths(evidence, row.documents)
    if is_estimated:
        problems = [] if depths == expected else [f"depths are {depths}, not {expected}"]
        if row.input_tokens != (found := lengths.count(row.documents)):
            problems.append(f"input_tokens is {row.input_tokens}, but the context has {found}")
        return problems
    order = sorted(range(len(depths)), key=expected.__getitem__)
    is_ordered = all(
        (depths[a] < depths[b]) == (expected[a] < expected[b])
        for a, b in zip(order, order[1:], strict=False)
    )
    return [] if is_ordered else ["depths are in another order than the documents"]


def check_counts(taskset: TaskSet, num_samples: int) -> list[str]:
    """Checks that no document is stored twice and that as many samples are there as were made."""
    stored = Counter(n for names in taskset.document_groups().values() for n in names)
    problems = [f"document {name} is stored {n} times" for name, n in stored.items() if n > 1]
    wanted = taskset.manifest.get("num_samples")
    if num_samples != wanted:
        problems.append(f"has {num_samples} samples, but the manifest says {wanted}")
    return problems


def _check_parameters(row: SampleRow, kind: Mapping[str, Any]) -> list[str]:
    """Checks the proof against the parameters of its kind, and the sample's hops against it."""
    if row.passport is None:
        return []
    problems = [
        f"{name} of the proof is {found!r}, but kind {row.kind} says {kind[name]!r}"
        for name, found in _parameters(row.passport.proof).items()
        if name in kind and found != kind[name]
    ]
    hops = num_hops(row.passport.proof, row.passport.obfuscations)
    if row.hops != hops:
        problems.append(f"hops is {row.hops}, but the proof has {hops}")
    return problems


def _parameters(proof: AnyProof) -> dict[str, object]:
    """Returns what a proof tells of the parameters that its kind declares."""
    shape = "evolve" if isinstance(proof, TranscriptProof) else proof.type
    shared = ("answer", "operation", "pick", "ranked")
    found = {"shape": shape} | {n: getattr(proof, n) for n in shared if hasattr(proof, n)}
    if isinstance(proof, PathProof):
        found["hops"] = len(proof.steps)
    elif isinstance(proof, SelectProof):
        found |= {"hops": len(proof.path), "num_candidates": len(proof.candidates)}
    elif isinstance(proof, CompareProof | ArithmeticProof):
        found["num_sides"] = len(proof.sides)
        found["num_bridged"] = sum(len(side) > 1 for side in proof.sides)
    elif isinstance(proof, MentionsProof):
        found["num_mentions"] = len(proof.steps)
    elif isinstance(proof, RepeatProof):
        found["prefixed"] = bool(proof.prefix)
    return found


def _check_relations(row: SampleRow, corpus: Corpus) -> list[str]:
    proof = row.passport.proof if row.passport else None
    if not isinstance(proof, PathProof | CompareProof | ArithmeticProof | SelectProof):
        return []
    for step in proof.steps:
        if family(corpus.lexicon.canonical(step.triple)) not in corpus.lexicon.forms:
            return [f"relation {step.relation!r} is not in the lexicon"]
    return []
