"""Where corpora come from: generated worlds, or the user's documents partitioned over the splits.

Both give a corpus for (split, target length, part): worlds a fresh one for every part, documents
the one of the split. A document belongs to one split only.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Protocol

from longspan.harness.datasets.document_files import read_documents
from longspan.harness.datasets.documents import (
    DOCUMENT_SEPARATOR,
    Document,
    render_document,
)
from longspan.harness.errors import SynthesisError
from longspan.harness.files import by_reason
from longspan.harness.taskset import SPLITS, Split
from longspan.harness.tokens import TokenCounter
from longspan.synth_templates.corpus import Corpus
from longspan.synth_templates.curation.filters import filter_documents
from longspan.synth_templates.extend import LOOSE_TOLERANCE
from longspan.synth_templates.kind_files import Kinds
from longspan.synth_templates.models.model_steps import ModelSteps
from longspan.synth_templates.plan import (
    DocumentsSource,
    FictionSource,
    Plan,
    WorldSource,
    kind_weights,
    largest_remainder,
)
from longspan.synth_templates.triples.relations import Lexicon
from longspan.synth_templates.worlds.fiction_corpora import FictionCorpora
from longspan.synth_templates.worlds.world import NAMES, WorldSize, draw_world

SAMPLES_PER_PART = 200
"""Samples in a part of a documents source: what a kill can lose."""
NUM_NAMED = 20
"""Documents left out that the report names; the rest are counted."""
_WORLD_MARGIN = 1.25
"""A world holds at least this many times the target length, so that contexts differ."""
_SMALLEST_WORLD = 24
_GROWTH = 1.1
"""Slack over proportional growth, so that the second world drawn is nearly always large enough."""


class CorpusSource(Protocol):
    """Gives the corpora of a plan."""

    samples_per_part: int
    """Samples drawn from one part."""
    renews: bool
    """Whether a later part has other documents, so that a kind that is used up can come back."""

    def corpus(self, split: Split, tokens: int, part: int) -> Corpus:
        """Returns the corpus of a part."""
        ...

    def report(self) -> dict[str, object]:
        """Returns what the manifest says about the source."""
        ...


def open_source(plan: Plan, kinds: Kinds, counter: TokenCounter, steps: ModelSteps) -> CorpusSource:
    """Returns the source of a plan; `steps` asks models what the plan wants to know of them.

    Raises:
        DataError: there are no documents, or a file cannot be read.
        SynthesisError: nothing can be asked about the documents.
    """
    if isinstance(plan.source, WorldSource):
        return WorldCorpora(plan.seed, plan.source, kinds.lexicon(), counter)
    if isinstance(plan.source, FictionSource):
        by_name = kinds.by_name()
        asked = [by_name[name] for name in kind_weights(plan, kinds)]
        return FictionCorpora(plan.seed, plan.source, asked, kinds.lexicon(), counter)
    corpora = DocumentCorpora(plan.seed, plan.source, kinds.lexicon(), steps)
    if plan.evolve is None:
        corpora.require_statements()
    corpora.require_room(plan.splits, counter)
    return corpora


class WorldCorpora:
    """A fresh world for every part."""

    renews = True

    def __init__(
        self, seed: int, source: WorldSource, lexicon: Lexicon, counter: TokenCounter
    ) -> None:
        self.seed, self.source, self.lexicon, self.counter = seed, source, lexicon, counter
        self.samples_per_part = source.samples_per_world

    def corpus(self, split: Split, tokens: int, part: int) -> Corpus:
        """Returns a world that is large enough for contexts of `tokens`.

        Raises:
            SynthesisError: the largest world is too small.
        """
        group = f"{split}-{tokens}-{part:05d}"
        pool = self.source.names[split]
        persons = self.source.persons or _SMALLEST_WORLD
        while True:
            rng = random.Random(f"{self.seed}/world/{group}")
            size = _world_size(persons)
            documents = draw_world(rng, size, pool).documents(group)
            corpus = Corpus(group, documents, self.lexicon)
            room = corpus.lengths(self.counter).total
            if room >= _WORLD_MARGIN * tokens:
                return corpus
            if self.source.persons is not None or persons >= len(NAMES["person"]):
                if room >= tokens:
                    return corpus
                raise SynthesisError(
                    f"target length {tokens} exceeds a world of {size.persons} persons, which "
                    f"holds {room} tokens ({self.counter.name}); lower the length or raise "
                    f"source.persons (at most {len(NAMES['person'])})"
                )
            persons = max(persons + 1, math.ceil(persons * _GROWTH * _WORLD_MARGIN * tokens / room))

    def report(self) -> dict[str, object]:
        """Returns nothing: a world has no dirty input."""
        return {}


class DocumentCorpora:
    """The user's documents: one corpus per split."""

    samples_per_part = SAMPLES_PER_PART
    renews = False

    def __init__(
        self, seed: int, source: DocumentsSource, lexicon: Lexicon, steps: ModelSteps
    ) -> None:
        reading = read_documents(source.path, source.reading)
        self.num_read = len(reading.documents)
        self.reading_problems = reading.problems
        self.left_out: Counter[str] = Counter()
        self.filter_notes: list[str] = []
        documents = tuple(
            filter_documents(reading.documents, source.filters, self.left_out, self.filter_notes)
        )
        self.num_documents = len(documents)
        if not documents:
            reason, num = self.left_out.most_common(1)[0]
            raise SynthesisError(
                f"the filters leave none of {self.num_read} documents in {source.path}: {num} are "
                f"left out for {reason!r}; give other documents or change source.filters in a plan"
            )
        if source.extract is not None:
            documents = tuple(steps.extract(documents, source.extract, lexicon))
        whole = Corpus("all", documents, lexicon)
        links = whole.links()
        parts = partition(documents, source.shares, seed, links)
        self._corpora = {
            split: Corpus(split, part, lexicon, whole.readings) for split, part in parts.items()
        }
        self._path = source.path

    def require_room(
        self, splits: Mapping[Split, Mapping[int, int]], counter: TokenCounter
    ) -> None:
        """Checks that each split holds as many tokens as a context that is asked of it.

        Args:
            splits: Split -> target length -> number of samples.
            counter: Counts lengths.

        Raises:
            SynthesisError: a split has too few documents.
        """
        every = [document for corpus in self._corpora.values() for document in corpus.documents]
        for split, lengths in splits.items():
            target = max((tokens for tokens, num in lengths.items() if num), default=0)
            fewest = (1 - LOOSE_TOLERANCE) * target
            documents = self._corpora[split].documents
            room = _room(documents, target, counter)
            if room >= fewest:
                continue
            whole = _room(every, target, counter)
            remedy = "lower the target length (--tokens) or give more documents"
            if whole >= fewest:
                remedy += (
                    "; or ask for one split only and give it all documents, in a plan: splits: "
                    f"{{train: {{{target}: 200}}}}, source: {{type: documents, path: {self._path}, "
                    "shares: {train: 1}}"
                )
            raise SynthesisError(
                f"split {split} has {len(documents)} of the {len(every)} documents in "
                f"{self._path}, {room} tokens in all: too few for a context of {target}; {remedy}"
            )

    def require_statements(self) -> None:
        """Checks that something can be asked about the documents without models.

        Raises:
            SynthesisError: there is neither a supported triple nor a table.
        """
        num_edges = sum(corpus.graph.counts["supported"] for corpus in self._corpora.values())
        if not num_edges and not any(
            corpus.tables or corpus.table_index.tables for corpus in self._corpora.values()
        ):
            raise SynthesisError(
                f"nothing to ask about {self.num_documents} documents in {self._path}: questions "
                'are built from supplied triples (JSON lines with "triples": [[subject, relation, '
                "object], ...]), tables and Python sources, and by models (source.extract, evolve)"
            )

    def corpus(self, split: Split, tokens: int, part: int) -> Corpus:
        """Returns the documents of the split."""
        return self._corpora[split]

    def report(self) -> dict[str, object]:
        """Returns what was left out while reading, and the fate of the triples."""
        counts: dict[str, int] = {}
        for corpus in self._corpora.values():
            for fate, num in corpus.graph.counts.items():
                counts[fate] = counts.get(fate, 0) + num
        return {
            "documents_read": self.num_read,
            "left_out_by_filters": dict(self.left_out.most_common()),
            "documents": self.num_documents,
            "documents_per_split": {s: len(c.documents) for s, c in self._corpora.items()},
            "triples": dict(sorted(counts.items())),
            "tables": self._report_tables(),
            "problems": len(self.reading_problems),
            "problems_by_reason": {
                found[0].reason.partition(": ")[0]: len(found)
                for found in by_reason(self.reading_problems)
            },
            "first_problems": [str(problem) for problem in self.reading_problems[:NUM_NAMED]],
            "first_left_out": self.filter_notes[:NUM_NAMED],
        }

    def _report_tables(self) -> dict[str, object]:
        """Returns how many tables there are, of how many shared schemas, and what was left out."""
        indexes = [corpus.table_index for corpus in self._corpora.values()]
        left_out = sum((Counter(index.left_out) for index in indexes), Counter[str]())
        return {
            "found": sum(len(index.tables) for index in indexes),
            "shared_schemas": sum(len(index.clusters) for index in indexes),
            "left_out": dict(left_out.most_common()),
        }


def _room(documents: Iterable[Document], limit: int, counter: TokenCounter) -> int:
    """Returns the tokens of documents in a context, counted until they reach a limit."""
    room = 0
    for document in documents:
        if room >= limit:
            break
        room += counter.count(render_document(document) + DOCUMENT_SEPARATOR)
    return room


def partition(
    documents: Sequence[Document],
    shares: dict[Split, float],
    seed: int,
    links: Iterable[tuple[str, str]] = (),
) -> dict[Split, list[Document]]:
    """Returns the documents of each split: clusters shuffled by the seed, dealt by the shares.

    Linked documents (two steps of one path) stay in one cluster while it is small, so that
    splitting does not cut the paths that a corpus has.
    """
    sizes = largest_remainder({split: shares.get(split, 0.0) for split in SPLITS}, len(documents))
    limit = max(2, min((size for size in sizes.values() if size), default=2) // 4)
    clusters = _cluster([document.id for document in documents], links, limit)
    random.Random(f"{seed}/partition").shuffle(clusters)
    split_of: dict[str, Split] = {}
    room = dict(sizes)
    for cluster in sorted(clusters, key=len, reverse=True):
        split = max(SPLITS, key=lambda s: room[s] / max(1, sizes[s]))
        room[split] -= len(cluster)
        split_of.update(dict.fromkeys(cluster, split))
    return {s: [d for d in documents if split_of[d.id] == s] for s in SPLITS}


def _cluster(names: Sequence[str], links: Iterable[tuple[str, str]], limit: int) -> list[list[str]]:
    """Returns clusters of linked names; a link that would make one larger than `limit` is cut."""
    cluster_of = {name: [name] for name in names}
    for first, second in links:
        one, other = cluster_of[first], cluster_of[second]
        if one is not other and len(one) + len(other) <= limit:
            one.extend(other)
            cluster_of.update(dict.fromkeys(other, one))
    distinct = {id(cluster): cluster for cluster in cluster_of.values()}
    return [sorted(cluster) for cluster in distinct.values()]


@lru_cache(maxsize=64)
def _world_size(persons: int) -> WorldSize:
    persons = min(persons, len(NAMES["person"]))
    half = max(2, persons // 2)
    return WorldSize(persons=persons, towns=half, companies=half, messages=persons * 4 // 3)
