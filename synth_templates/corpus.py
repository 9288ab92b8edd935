"""A corpus: the documents that one group of samples may use, with graph, tables and sizes.

Uniqueness is a property of a corpus: an answer is unique when no other document of the same corpus
says otherwise. So contexts never mix corpora.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from longspan.harness.datasets.documents import Document
from longspan.harness.passport import (
    AnyProof,
    RepeatProof,
    SqlProof,
    TableProof,
    TranscriptProof,
)
from longspan.harness.tokens import TokenCounter
from longspan.synth_templates.lengths import Lengths
from longspan.synth_templates.models.proposals import Accepted
from longspan.synth_templates.readings import Readings
from longspan.synth_templates.tables.corpus_tables import TableIndex
from longspan.synth_templates.tables.sentence_lists import Table, find_tables
from longspan.synth_templates.triples.aliases import Aliases, find_aliases
from longspan.synth_templates.triples.graph import Edge, Graph, normalise_entity
from longspan.synth_templates.triples.paths import Hop, PathSampler
from longspan.synth_templates.triples.relations import Lexicon, family, is_name, numeric_value
from longspan.synth_templates.triples.trust import is_trusted
from longspan.synth_templates.words import WordIndex
from longspan.synth_templates.worlds.sessions import Sessions

MAX_ANSWER_CHARS = 60
_LOWER_WORD = re.compile(r"(?<![\w-])[^\W\dA-Z_][\w-]*")


class Corpus:
    """Documents of one group, indexed on demand."""

    def __init__(
        self,
        group: str,
        documents: Sequence[Document],
        lexicon: Lexicon,
        readings: Readings | None = None,
    ) -> None:
        self.group = group
        self.documents = tuple(documents)
        self.lexicon = lexicon
        self.readings = readings or Readings()
        self.proposals: Mapping[str, tuple[Accepted, ...]] = {}
        """Questions that models made about the documents, by kind."""
        self._functional: dict[str, list[Edge]] = {}
        self._samplers: dict[tuple[str, bool, str], PathSampler] = {}
        self._selections: dict[str, dict[str, list[Edge]]] = {}
        self._years: dict[str, list[tuple[str, int | None]]] = {}
        self._ends: dict[tuple[str, bool], tuple[str, ...]] = {}
        self._lengths: dict[str, Lengths] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Returns what travels to another process: samplers are functions, and made again there."""
        return {**self.__dict__, "_samplers": {}}

    @cached_property
    def by_id(self) -> dict[str, Document]:
        """Documents by id."""
        return {document.id: document for document in self.documents}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Ids of the documents."""
        return tuple(document.id for document in self.documents)

    @cached_property
    def graph(self) -> Graph:
        """The graph of all triples but those of dialogues, which change over time."""
        pages = [d for d in self.documents if d.id not in self.sessions.place]
        return Graph.build(pages, self.lexicon.canonical, self.key, self.readings)

    @cached_property
    def aliases(self) -> Aliases:
        """The names that mean the same entity."""
        return find_aliases(self.documents, self.lexicon.aliases)

    def key(self, name: str) -> str:
        """Returns the key of the entity that a name means."""
        return self.aliases.key(name)

    @cached_property
    def words(self) -> WordIndex:
        """Which documents hold a name."""
        return WordIndex(self.documents)

    @cached_property
    def session_names(self) -> tuple[str, ...]:
        """Ids of the sessions of a dialogue."""
        return tuple(name for name in self.names if name in self.sessions.place)

    @cached_property
    def page_names(self) -> tuple[str, ...]:
        """Ids of the other documents."""
        return tuple(name for name in self.names if name not in self.sessions.place)

    @cached_property
    def sessions(self) -> Sessions:
        """The sessions of a dialogue; contexts keep their order and mix them with nothing else."""
        return Sessions(self.documents)

    @cached_property
    def tables(self) -> tuple[Table, ...]:
        """The tables in a sentence whose subject and column are unique in the corpus."""
        return tuple(found[0] for found in self.tables_by_key.values() if len(found) == 1)

    @cached_property
    def tables_by_key(self) -> dict[tuple[str, str], list[Table]]:
        """All tables in a sentence by what they are about."""
        found: dict[tuple[str, str], list[Table]] = {}
        for document in self.documents:
            for table in find_tables(document):
                found.setdefault((table.subject, table.column), []).append(table)
        return found

    @cached_property
    def table_index(self) -> TableIndex:
        """Tables with typed columns, and those of one schema across documents."""
        return TableIndex(self.documents, self.readings)

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

    def sampler(
        self, relation_group: str, *, inverse: bool = False, last_group: str | None = None
    ) -> PathSampler:
        """Returns the sampler of paths over a group of relations, also backwards if asked.

        With `last_group` the last step, and no other, is of that group.
        """
        last_group = last_group or relation_group
        key = (relation_group, inverse, last_group)
        if key not in self._samplers:
            names, last_names = map(self.lexicon.names, (relation_group, last_group))
            backwards = self.lexicon.invertible(relation_group) if inverse else frozenset[str]()

            def accepts(hop: Hop, last: bool) -> bool:
                allowed = last_names if last else names
                return family(hop.edge.relation) in allowed and self._is_askable(hop, last)

            self._samplers[key] = PathSampler(self.graph, names | last_names, accepts, backwards)
        return self._samplers[key]

    def links(self) -> list[tuple[str, str]]:
        """Returns the pairs of documents that steps of one path or parts of one table stand in."""
        every = frozenset(self.lexicon.forms)
        paths = PathSampler(self.graph, every, self._is_askable).links()
        return [*paths, *self.table_index.links()]

    def lengths(self, counter: TokenCounter) -> Lengths:
        """Returns the lengths of the documents in a counter's tokens."""
        if counter.name not in self._lengths:
            self._lengths[counter.name] = Lengths(self.documents, counter)
        return self._lengths[counter.name]

    def related(self, proof: AnyProof) -> list[str]:
        """Returns the documents that are about a proof's entities or relations, in their order.

        They state one of its relations of another subject, anything about one of its entities, or
        have a column of the same name.
        """
        if isinstance(proof, TableProof):
            wanted = {("column", proof.column)}
        elif isinstance(proof, SqlProof):
            wanted = {("measure", name) for name in proof.measures}
        elif isinstance(proof, RepeatProof | TranscriptProof):
            return []
        else:
            wanted = {
                pair
                for step in proof.steps
                for pair in (
                    ("relation", self.lexicon.canonical(step.triple)),
                    ("entity", self.key(step.subject)),
                    ("entity", self.key(step.object)),
                )
            }
        names = {name for pair in wanted for name in self._topics.get(pair, ())}
        return [name for name in self.names if name in names]

    @cached_property
    def _topics(self) -> dict[tuple[str, str], list[str]]:
        topics: dict[tuple[str, str], dict[str, None]] = {}
        for table in (table for tables in self.tables_by_key.values() for table in tables):
            topics.setdefault(("column", table.column), {})[table.document] = None
        for source in self.table_index.tables:
            for column in source.columns:
                topics.setdefault(("measure", column.name), {})[source.document] = None
        for by_relation in self.graph.edges.values():
            for relation, edges in by_relation.items():
                for edge in edges:
                    pairs = (("relation", relation), ("entity", edge.subject))
                    for pair in (*pairs, ("entity", edge.object)):
                        topics.setdefault(pair, {})[edge.document] = None
        return {pair: list(names) for pair, names in topics.items()}

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
        """Whether a step can be asked: names, a short answer, a statement that can be trusted."""
        if last and len(hop.stated_target) > MAX_ANSWER_CHARS:
            return False
        form = self.lexicon.form(hop.edge.relation)
        if form.is_parsed:
            return True
        named = [hop.edge.stated.subject]
        if hop.inverse or not last:
            named.append(hop.edge.stated.object)
        return all(map(self.is_entity, named)) and is_trusted(
            hop.edge, form, self.by_id[hop.edge.document]
        )
