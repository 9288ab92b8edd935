"""The cross-document graph of triples, with the passage that supports each of them.

Real extractor output is dirty: empty parts, self loops and triples that their document does not say
are counted, never fatal. Two rules keep questions safe. *Evidence* is only a triple whose subject
and object stand in its document. *Uniqueness* looks at every claim, supported or not: a relation
with two claimed objects is not functional. This module does not know how a relation is worded (see
`relations`).
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from longspan.harness.datasets.documents import Document, Triple
from longspan.synth_templates.code.graph import CodeStatement, code_statements
from longspan.synth_templates.readings import Readings

_ARTICLE = re.compile(r"^(?:the|a|an)\s+")
_ABBREVIATIONS = tuple(
    "St Mr Dr Ms Jr Sr Co Lt No vs Rev Gen Col Sgt Mrs Inc Ltd Mt Ft Prof Capt".split()  # noqa: SIM905
)
_SENTENCE_END = re.compile(
    r"(?<!\b[A-Z]\.)"
    + "".join(rf"(?<!\b{word}\.)" for word in _ABBREVIATIONS)
    + r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[A-Z0-9])|\n+"
)
_WORD = re.compile(r"\w+")
_PARENTHESIS = re.compile(r"\s*\([^()]*\)$")

Canonical = Callable[[Triple], str]
"""Names the relation of a triple; relations that mean the same get one name."""
Key = Callable[[str], str]
"""Names the entity that a text means; names that mean the same entity get one key."""


@lru_cache(maxsize=1 << 18)
def normalise_entity(name: str) -> str:
    """Returns the key of an entity: case, white space, articles, outer punctuation dropped.

    Deliberately conservative: "New York" and "New York City" stay apart, since joining two things
    into one makes a wrong question and missing an alias only loses one.
    """
    key = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
    key = key.strip("\"'`.,;:()[] ")
    return _ARTICLE.sub("", key)


@lru_cache(maxsize=1 << 18)
def words_of(key: str) -> frozenset[str]:
    """Returns the words of an entity's key; the key itself where it has none."""
    return frozenset(_WORD.findall(key)) or frozenset({key})


@dataclass(frozen=True, slots=True)
class Edge:
    """A supported triple.

    Attributes:
        subject: Key of the subject.
        relation: Canonical relation.
        object: Key of the object.
        stated: The triple as the document states it.
        document: Document id.
        start: First character of the supporting passage in the document's text.
        end: One past its last character.
    """

    subject: str
    relation: str
    object: str
    stated: Triple
    document: str
    start: int
    end: int


@dataclass
class Graph:
    """Edges and claims by subject.

    Attributes:
        edges: subject -> relation -> supported edges.
        claims: (subject, relation) -> keys of every claimed object, supported or not.
        claimants: relation -> object -> keys of every subject that claims it, supported or not.
        counts: Triples by fate ("supported", "unsupported", "empty", "self_loop", "repeated"; of
            source code also "unresolved").
    """

    edges: dict[str, dict[str, list[Edge]]] = field(default_factory=dict)
    claims: dict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))
    claimants: dict[str, dict[str, set[str]]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    _roles: dict[str, set[str]] = field(default_factory=dict)
    _by_word: dict[str, dict[str, list[str]]] = field(default_factory=dict)

    @classmethod
    def build(
        cls,
        documents: Iterable[Document],
        canonical: Canonical,
        key: Key = normalise_entity,
        readings: Readings | None = None,
    ) -> Graph:
        """Returns the graph of all triples of the documents; `key` names the entities."""
        graph, readings = cls(), readings or Readings()
        documents = tuple(documents)
        for document in documents:
            graph._add_document(document, canonical, key, readings.of(document, find_supports))
        for statement in code_statements(documents, readings):
            graph._add_code(statement, key)
        return graph

    def follow(self, start: str, steps: Iterable[tuple[str, bool]]) -> set[str]:
        """Returns the keys of all that (relation, is inverse) lead to, over all claims.

        An inverse step never leads back to where the path began: "who was born where A was born"
        asks for others than A.
        """
        reached = {start}
        for relation, inverse in steps:
            targets = self._subjects if inverse else self._objects
            reached = {found for node in reached for found in targets(node, relation)}
            if inverse:
                reached.discard(start)
        return reached

    def is_functional(self, subject: str, relation: str) -> bool:
        """Returns whether the documents claim exactly one object."""
        return len(self.claims.get((subject, relation), ())) == 1

    def has_edge(self, edge: Edge) -> bool:
        """Returns whether the documents hold just this edge."""
        return edge in self.edges.get(edge.subject, {}).get(edge.relation, ())

    def roles(self, object_: str) -> frozenset[str]:
        """Returns the relations that are claimed with an entity as their object."""
        if not self._roles:
            for relation, claimed in self.claimants.items():
                for name in claimed:
                    self._roles.setdefault(name, set()).add(relation)
        return frozenset(self._roles.get(object_, ()))

    def _objects(self, subject: str, relation: str) -> Iterable[str]:
        return self.claims.get((subject, relation), ())

    def _subjects(self, object_: str, relation: str) -> Iterable[str]:
        """Yields who claims an object, or one that may mean the same ("Chicago, Illinois")."""
        claimants = self.claimants.get(relation, {})
        for similar in self._similar(object_, relation):
            yield from claimants[similar]

    def _similar(self, object_: str, relation: str) -> list[str]:
        """Returns the objects of a relation whose words hold, or are held by, those of another."""
        if relation not in self._by_word:
            index: dict[str, list[str]] = {}
            for name in self.claimants.get(relation, {}):
                for word in words_of(name):
                    index.setdefault(word, []).append(name)
            self._by_word[relation] = index
        words = words_of(object_)
        near = {name for word in words for name in self._by_word[relation].get(word, ())}
        return [name for name in near if words <= words_of(name) or words_of(name) <= words]

    def _add_code(self, statement: CodeStatement, key: Key) -> None:
        subject, object_ = key(statement.subject), key(statement.object)
        if not (subject and object_) or subject == object_:
            self.counts["empty" if subject != object_ else "self_loop"] += 1
            return
        relation = statement.relation
        self.claims[subject, relation].add(object_)
        self.claimants.setdefault(relation, {}).setdefault(object_, set()).add(subject)
        if statement.span is None:
            self.counts["unresolved"] += 1
            return
        stated = Triple(subject=statement.subject, relation=relation, object=statement.object)
        edge = Edge(subject, relation, object_, stated, statement.document, *statement.span)
        edges = self.edges.setdefault(subject, {}).setdefault(relation, [])
        if all(other.stated != stated or other.document != edge.document for other in edges):
            self.counts["supported"] += 1
            edges.append(edge)

    def _add_document(
        self,
        document: Document,
        canonical: Canonical,
        key: Key,
        supports: Mapping[Triple, tuple[int, int] | None],
    ) -> None:
        for triple, span in supports.items():
            subject, object_ = key(triple.subject), key(triple.object)
            if not (subject and object_ and triple.relation.strip()):
                self.counts["empty"] += 1
                continue
            if subject == object_:
                self.counts["self_loop"] += 1
                continue
            relation = canonical(triple)
            self.claims[subject, relation].add(object_)
            self.claimants.setdefault(relation, {}).setdefault(object_, set()).add(subject)
            if span is None:
                self.counts["unsupported"] += 1
                continue
            self.counts["supported"] += 1
            edge = Edge(subject, relation, object_, triple, document.id, *span)
            self.edges.setdefault(subject, {}).setdefault(relation, []).append(edge)
        self.counts["repeated"] += len(document.triples) - len(supports)


def find_supports(document: Document) -> dict[Triple, tuple[int, int] | None]:
    """Returns for each triple of a document the passage that supports it, None where none does."""
    sentences = split_sentences(document.text) if document.triples else []
    return {
        triple: find_support(document, triple, sentences)
        if all(part.strip() for part in (triple.subject, triple.relation, triple.object))
        else None
        for triple in document.triples
    }


def split_sentences(text: str) -> list[tuple[int, int]]:
    """Returns the [start, end) of each sentence: up to a stop before a capital, or a line's end."""
    spans, start = [], 0
    for match in _SENTENCE_END.finditer(text):
        spans.append((start, match.start()))
        start = match.end()
    spans.append((start, len(text)))
    return [(a, b) for a, b in spans if text[a:b].strip()]


def find_support(
    document: Document, triple: Triple, sentences: Sequence[tuple[int, int]]
) -> tuple[int, int] | None:
    """Returns the passage that supports a triple, or None.

    The best sentence that holds subject and object (most words of the relation, then the first);
    else the shortest run of sentences that holds both; else, on a page whose title is the subject,
    the best sentence with the object.
    """
    text = document.text
    objects = _sentences_with(triple.object, text, sentences)
    subjects = _sentences_with(triple.subject, text, sentences)
    both = objects & subjects
    if objects and subjects and not both:
        first, last = min(
            ((min(s, o), max(s, o)) for s in subjects for o in objects),
            key=lambda run: (run[1] - run[0], run[0]),
        )
        return sentences[first][0], _end(last, triple, text, sentences)
    candidates = both or (objects if is_page_of(document, triple.subject) else set())
    if not candidates:
        return None
    words = set(_WORD.findall(triple.relation.casefold()))
    best = min(candidates, key=lambda i: (-_overlap(text, sentences[i], words), i))
    return sentences[best][0], _end(best, triple, text, sentences)


def is_page_of(document: Document, name: str) -> bool:
    """Returns whether a document is about an entity: its title, with or without a parenthesis."""
    key = normalise_entity(name)
    title = document.title
    return key in (normalise_entity(title), normalise_entity(_PARENTHESIS.sub("", title)))


def _end(last: int, triple: Triple, text: str, sentences: Sequence[tuple[int, int]]) -> int:
    """Returns the end of a passage with this last sentence; names cut there are made whole."""
    end = sentences[last][1]
    for name in (triple.subject, triple.object):
        for place in find_mentions(name, text):
            if sentences[last][0] <= place < end < place + len(name.strip()):
                end = place + len(name.strip())
    return end


def find_mentions(name: str, text: str) -> list[int]:
    """Returns where a name stands in a text as whole words; case counts where that finds it."""
    needle = name.strip()
    found = _whole_words(needle, text) if needle else []
    if needle[:1].islower():  # "The Orlen Flood" at the beginning of a sentence
        found = sorted(found + _whole_words(needle[0].upper() + needle[1:], text))
    return found or (_whole_words(needle.casefold(), text.casefold()) if needle else [])


def _whole_words(needle: str, text: str) -> list[int]:
    found, position = [], text.find(needle)
    while position >= 0:
        end = position + len(needle)
        before = position > 0 and text[position - 1].isalnum() and needle[0].isalnum()
        after = end < len(text) and text[end].isalnum() and needle[-1].isalnum()
        if not (before or after):
            found.append(position)
        position = text.find(needle, position + 1)
    return found


def _sentences_with(name: str, text: str, sentences: Sequence[tuple[int, int]]) -> set[int]:
    found = (bisect_right(sentences, (p, len(text))) - 1 for p in find_mentions(name, text))
    return {i for i in found if i >= 0}


def _overlap(text: str, sentence: tuple[int, int], words: set[str]) -> int:
    return len(words.intersection(_WORD.findall(text[slice(*sentence)].casefold())))
