"""Length extension: evidence among other documents of its corpus, up to a target in tokens.

The length is never above the target, and short of it by less than 3% or one document. Evidence
order and depth are drawn from the seed. Distractors come from the same corpus, whose graph has
shown that the answer is unique: so none of them states another one.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from longspan.harness.datasets.documents import Document, render_context
from longspan.harness.tokens import TokenCounter
from longspan.synth_templates.corpus import Corpus
from longspan.synth_templates.shapes.draft import Rejected

TOLERANCE = 0.03
MAX_MISFITS = 24
"""Documents in a row that do not fit before the context counts as full."""


@dataclass(frozen=True, slots=True)
class Context:
    """A context by reference.

    Attributes:
        documents: The documents in order.
        input_tokens: Tokens of the rendered context.
        depths: For each evidence document asked for, the fraction of tokens that stand before it.
    """

    documents: tuple[Document, ...]
    input_tokens: int
    depths: tuple[float, ...]


def extend(
    evidence: Sequence[str],
    corpus: Corpus,
    target_tokens: int,
    counter: TokenCounter,
    rng: random.Random,
) -> Context | Rejected:
    """Returns a context of `target_tokens` around the evidence documents, or why there is none."""
    sizes = corpus.sizes(counter)
    used = sum(sizes[name] for name in evidence)
    if used > target_tokens and _count(corpus, evidence, counter) > target_tokens:
        return Rejected("evidence exceeds target length")
    distractors, left_out = _fill(evidence, corpus, sizes, target_tokens - used, rng)
    order = _place(evidence, distractors, rng)
    total = _count(corpus, order, counter)
    # Sizes are summed per document; a tokenizer that merges across documents makes the sum inexact.
    while total > target_tokens and distractors:
        left_out.append(distractors.pop())
        order = _place(evidence, distractors, rng)
        total = _count(corpus, order, counter)
    short = target_tokens - total
    smallest = min((sizes[name] for name in left_out), default=None)
    if total > target_tokens:
        return Rejected("evidence exceeds target length")
    if short > TOLERANCE * target_tokens and smallest is None:
        return Rejected("corpus shorter than target length")
    documents = tuple(corpus.by_id[name] for name in order)
    return Context(documents, total, _depths(evidence, order, sizes))


def _fill(
    evidence: Sequence[str],
    corpus: Corpus,
    sizes: dict[str, int],
    room: int,
    rng: random.Random,
) -> tuple[list[str], list[str]]:
    """Returns distractors drawn without replacement while they fit, and some that did not."""
    chosen: list[str] = []
    misfits: list[str] = []
    taken = set(evidence)
    for name in _shuffled(corpus, rng):
        if name in taken:
            continue
        if sizes[name] <= room:
            chosen.append(name)
            room -= sizes[name]
        else:
            misfits.append(name)
            if len(misfits) >= MAX_MISFITS:
                break
    return chosen, misfits


def _shuffled(corpus: Corpus, rng: random.Random) -> Iterator[str]:
    """Yields document ids in random order, drawing only as many as are asked for."""
    names = [document.id for document in corpus.documents]
    for i in range(len(names)):
        j = rng.randrange(i, len(names))
        names[i], names[j] = names[j], names[i]
        yield names[i]


def _place(evidence: Sequence[str], distractors: Sequence[str], rng: random.Random) -> list[str]:
    """Returns all documents with the evidence at random positions in random order."""
    num = len(evidence) + len(distractors)
    positions = rng.sample(range(num), len(evidence))
    at = dict(zip(positions, evidence, strict=True))
    others = iter(distractors)
    return [at[i] if i in at else next(others) for i in range(num)]


def _count(corpus: Corpus, names: Sequence[str], counter: TokenCounter) -> int:
    return counter.count(render_context(corpus.by_id[name] for name in names))


def _depths(
    evidence: Sequence[str], order: Sequence[str], sizes: dict[str, int]
) -> tuple[float, ...]:
    total = sum(sizes[name] for name in order)
    before, depth = 0, dict[str, float]()
    for name in order:
        depth[name] = round(before / total, 4)
        before += sizes[name]
    return tuple(depth[name] for name in evidence)
