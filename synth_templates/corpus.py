"""A corpus: the documents that one group of samples may use, with graph, tables and sizes.

Uniqueness is a property of a corpus: an answer is unique when no other document of the same corpus
says otherwise. So contexts never mix corpora.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache

from longspan.harness.datasets.documents import DOCUMENT_SEPARATOR, Document, render_document
from longspan.harness.tokens import TokenCounter
from longspan.synth_templates.aliases import Aliases, find_aliases
from longspan.synth_templates.graph import (
    Edge,
    Graph,
    find_mentions,
    is_page_of,
    normalise_entity,
    split_sentences,
)
from longspan.synth_templates.paths import Hop, PathSampler
from longspan.synth_templates.proposals import Accepted
from longspan.synth_templates.relations import Lexicon, RelationForm, is_name, numeric_value
from longspan.synth_templates.tables import Table, find_tables

MAX_ANSWER_CHARS = 60
_LOWER_WORD = re.compile(r"(?<![\w-])[^\W\dA-Z_][\w-]*")


class Corpus:
    """Documents of one group, indexed on demand."""

    def __init__(self, group: str, documents: Sequence[Document], lexicon: Lexicon) -> None:
        self.group = group
        self.documents = tuple(documents)
        self.lexicon = lexicon
        self.proposals: Mapping[str, tuple[Accepted, ...]] = {}
        """Questions that models made about the documents, by kind."""
        self._functional: dict[str, list[Edge]] = {}
        self._samplers: dict[tuple[str, bool], PathSampler] = {}
        self._selections: dict[str, dict[str, list[Edge]]] = {}
        self._years: dict[str, list[tuple[str, int | None]]] = {}
        self._ends: dict[tuple[str, bool], tuple[str, ...]] = {}
        self._sizes: dict[str, dict[str, int]] = {}

    @cached_property
    def by_id(self) -> dict[str, Document]:
        """Documents by id."""
        return {document.id: document for document in self.documents}

    @cached_property
    def graph(self) -> Graph:
        """The graph of all triples."""
        return Graph.build(self.documents, self.lexicon.canonical, self.key)

    @cached_property
    def aliases(self) -> Aliases:
        """The names that mean the same entity."""
        return find_aliases(self.documents, self.lexicon.aliases)

    def key(self, name: str) -> str:
        """Returns the key of the entity that a name means."""
        return self.aliases.key(name)

    @cached_property
    def tables(self) -> tuple[Table, ...]:
        """The tables whose subject and column are unique in the corpus."""
        return tuple(found[0] for found in self.tables_by_key.values() if len(found) == 1)

    @cached_property
    def tables_by_key(self) -> dict[tuple[str, str], list[Table]]:
        """All tables by what they are about."""
        found: dict[tuple[str, str], list[Table]] = {}
        for document in self.documents:
            for table in find_tables(document):
                found.setdefault((table.subject, table.column), []).append(table)
        return found

    @cached_property
    def common_words(self) -> frozenset[str]:
        """Every word that stands somewhere in the texts without a capital."""
        words = _LOWER_WORD.findall("\n".join(document.text for document in self.documents))
        return frozenset(words)

    def is_entity(self, text: str) -> bool:
        """Returns whether a text is a proper name that readers can tell from a common noun.

        A single word that the corpus also writes without a capital is none: "Church", "Movie".
        """
        return is_name(text) and normalise_entity(text) not in self.common_words

    def ends(self, relation: str, *, inverse: bool = False) -> tuple[str, ...]:
        """Returns the distinct objects of a relation as first stated, or subjects, in order."""
        key = (relation, inverse)
        if key not in self._ends:
            surfaces: dict[str, str] = {}
            for by_relation in self.graph.edges.values():
                for edge in by_relation.get(relation, ()):
                    hop = Hop(edge, inverse)
                    surfaces.setdefault(hop.target, hop.stated_target)
            self._ends[key] = tuple(surfaces.values())
        return self._ends[key]

    def functional_edges(self, relation: str) -> list[Edge]:
        """Returns one edge for each named subject of which the corpus claims exactly one object."""
        if relation not in self._functional:
            self._functional[relation] = [
                by_relation[relation][0]
                for subject, by_relation in self.graph.edges.items()
                if relation in by_relation
                and self.graph.is_functional(subject, relation)
                and self._is_askable(Hop(by_relation[relation][0]), True)
            ]
        return self._functional[relation]

    def selections(self, relation_group: str) -> dict[str, list[Edge]]:
        """Returns by object the statements of relations with a clause, of functional subjects."""
        if relation_group not in self._selections:
            found: dict[str, list[Edge]] = {}
            for relation in sorted(self.lexicon.invertible(relation_group)):
                for edge in self.functional_edges(relation):
                    found.setdefault(edge.object, []).append(edge)
            self._selections[relation_group] = found
        return self._selections[relation_group]

    def sampler(self, relation_group: str, *, inverse: bool = False) -> PathSampler:
        """Returns the sampler of paths over a group of relations, also backwards if asked."""
        key = (relation_group, inverse)
        if key not in self._samplers:
            names = self.lexicon.names(relation_group)
            backwards = self.lexicon.invertible(relation_group) if inverse else frozenset[str]()
            self._samplers[key] = PathSampler(self.graph, names, self._is_askable, backwards)
        return self._samplers[key]

    def sizes(self, counter: TokenCounter) -> dict[str, int]:
        """Returns the tokens of each document in a context, its separator included."""
        if counter.name not in self._sizes:
            self._sizes[counter.name] = {
                document.id: counter.count(render_document(document) + DOCUMENT_SEPARATOR)
                for document in self.documents
            }
        return self._sizes[counter.name]

    def years(self, relation: str) -> list[tuple[str, int | None]]:
        """Returns each claimed date of a relation as (key of the subject, year if understood)."""
        if relation not in self._years:
            self._years[relation] = [
                (subject, None if (year := numeric_value(object_)) is None else int(year))
                for object_, subjects in self.graph.claimants.get(relation, {}).items()
                for subject in subjects
            ]
        return self._years[relation]

    def is_stated(self, hop: Hop) -> bool:
        """Returns whether a statement about a named entity can be trusted as it stands."""
        return self._is_askable(hop, True)

    def _is_askable(self, hop: Hop, last: bool) -> bool:
        """Whether a step can be asked: names, a short answer, a statement that can be trusted.

        Extractors turn statements round ("Atlantic City, United States" -> the United States are in
        Atlantic City). So a statement whose subject is not its page's must name the subject before
        the object, and the passage must hold a cue of its relation.
        """
        if last and len(hop.stated_target) > MAX_ANSWER_CHARS:
            return False
        form = self.lexicon.forms[hop.edge.relation]
        if form.is_parsed:
            return True
        named = [hop.edge.stated.subject]
        if hop.inverse or not last:
            named.append(hop.edge.stated.object)
        return all(map(self.is_entity, named)) and self._is_stated(hop.edge, form)

    def _is_stated(self, edge: Edge, form: RelationForm) -> bool:
        document = self.by_id[edge.document]
        passage = document.text[edge.start : edge.end]
        if form.cues and not _has_cue(edge.stated.object, form.cues, passage):
            return False
        if form.event and _is_agent(edge.stated.subject, form.cues, passage):
            return False
        if is_page_of(document, edge.stated.subject):
            return True
        if len(edge.subject.split()) == 1 and edge.stated.subject not in document.title:
            return False  # "Ruth died in 1992": who is Ruth?
        subjects = find_mentions(edge.stated.subject, passage)
        objects = find_mentions(edge.stated.object, passage)
        return bool(subjects and objects) and subjects[0] < objects[0]


def _has_cue(object_: str, cues: tuple[str, ...], passage: str) -> bool:
    """Whether a sentence that names the object holds a cue."""
    return any(
        _cue_pattern(cues).search(passage[start:end])
        for start, end in split_sentences(passage)
        if find_mentions(object_, passage[start:end])
    )


@lru_cache(maxsize=1024)
def _cue_pattern(cues: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(r"\b(?:" + "|".join(map(re.escape, cues)) + ")", re.IGNORECASE)


def _is_agent(subject: str, cues: tuple[str, ...], passage: str) -> bool:
    """Whether the subject did it rather than had it done: "Admiral Twin released their album"."""
    name = re.escape(subject)
    done = f"{name} (?:{'|'.join(map(re.escape, cues))})\\w* (?!in\\b|on\\b|at\\b|around\\b|\\d)"
    by = f"\\bby (?:\\S+ )?{name}"
    return bool(re.search(f"{done}|{by}", passage, re.IGNORECASE))
