"""Paths through the graph whose answer is unique and whose evidence stands in distinct documents.

A path of h hops is start -> relation 1 -> ... -> answer; a hop may run against its statement ("the
film directed by X"). Its answer is unique when following the same relations from the same start
over *all* claims of the corpus reaches nothing else. This module does not know how paths are
worded.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from longspan.synth_templates.triples.graph import Edge, Graph
from longspan.synth_templates.triples.relations import family

MAX_TRIES = 40


@dataclass(frozen=True, slots=True)
class Hop:
    """One step of a path: an edge, walked from subject to object or back.

    Attributes:
        edge: The supported statement.
        inverse: Whether the step leads from its object to its subject.
    """

    edge: Edge
    inverse: bool = False

    @property
    def source(self) -> str:
        """Key of the entity that the step leaves."""
        return self.edge.object if self.inverse else self.edge.subject

    @property
    def target(self) -> str:
        """Key of the entity that the step reaches."""
        return self.edge.subject if self.inverse else self.edge.object

    @property
    def stated_source(self) -> str:
        """The entity that the step leaves, as its document names it."""
        return self.edge.stated.object if self.inverse else self.edge.stated.subject

    @property
    def stated_target(self) -> str:
        """The entity that the step reaches, as its document names it."""
        return self.edge.stated.subject if self.inverse else self.edge.stated.object


Accepts = Callable[[Hop, bool], bool]
"""Whether a hop may be a step; the flag says that it is the last one."""


@dataclass
class PathSampler:
    """Draws paths of a graph over some relations.

    Attributes:
        graph: The graph of the whole corpus.
        relations: Canonical relations that a path may use.
        accepts: Further condition on a hop.
        inverse_relations: Relations that a path may also use from object to subject.
    """

    graph: Graph
    relations: frozenset[str]
    accepts: Accepts = lambda hop, last: True
    inverse_relations: frozenset[str] = frozenset()
    _steps: dict[str, list[Hop]] = field(default_factory=dict, init=False)
    _last_steps: dict[str, list[Hop]] = field(default_factory=dict, init=False)
    _backwards: dict[str, list[Hop]] | None = field(default=None, init=False)
    _reach: list[frozenset[str]] = field(default_factory=list, init=False)
    _starts: list[list[str]] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        for subject, by_relation in self.graph.edges.items():
            for relation, edges in by_relation.items():
                if family(relation) not in self.relations:
                    continue
                functional = self.graph.is_functional(subject, relation)
                for edge in edges:
                    if functional:
                        self._add(Hop(edge))
                    if relation in self.inverse_relations:
                        self._add(Hop(edge, inverse=True))
        self._add_reach(frozenset(self._last_steps))

    def sample(
        self, rng: random.Random, hops: int, *, distinct_relations: bool = False
    ) -> tuple[Hop, ...] | None:
        """Returns a random walk of `hops` steps that is a valid path, None where no try was."""
        if not self.has_paths(hops):
            return None
        starts = self._starts[hops - 1]
        for _ in range(MAX_TRIES):
            path = self._walk(rng, rng.choice(starts), hops)
            if path is None or not is_unique(self.graph, path):
                continue
            if not distinct_relations or len({hop.edge.relation for hop in path}) == hops:
                return path
        return None

    def has_paths(self, hops: int) -> bool:
        """Returns whether some walk of `hops` steps exists (conditions on whole paths aside)."""
        self._extend_reach(hops)
        return bool(self._starts[hops - 1])

    def leading_to(self, node: str) -> list[Hop]:
        """Returns the steps that reach a node."""
        if self._backwards is None:
            self._backwards = {}
            for hops in self._steps.values():
                for hop in hops:
                    self._backwards.setdefault(hop.target, []).append(hop)
        return self._backwards.get(node, [])

    def links(self) -> list[tuple[str, str]]:
        """Returns the pairs of documents that two steps of some path stand in, sorted."""
        return sorted(
            {
                (hop.edge.document, following.edge.document)
                for hops in self._steps.values()
                for hop in hops
                for following in self._last_steps.get(hop.target, ())
                if following.edge.document != hop.edge.document
            }
        )

    def _add(self, hop: Hop) -> None:
        if self.accepts(hop, False):
            self._steps.setdefault(hop.source, []).append(hop)
        if self.accepts(hop, True):
            self._last_steps.setdefault(hop.source, []).append(hop)

    def _walk(self, rng: random.Random, start: str, hops: int) -> tuple[Hop, ...] | None:
        path: list[Hop] = []
        seen, documents, node = {start}, set[str](), start
        for left in range(hops - 1, -1, -1):
            found = [
                hop
                for hop in (self._steps if left else self._last_steps).get(node, ())
                if hop.target not in seen
                and hop.edge.document not in documents
                and (not left or hop.target in self._reach[left - 1])
            ]
            if not found:
                return None
            path.append(rng.choice(found))
            node = path[-1].target
            seen.add(node)
            documents.add(path[-1].edge.document)
        return tuple(path)

    def _extend_reach(self, hops: int) -> None:
        """Breadth-first from the answers backwards: the nodes with a walk of 1, 2, ... steps."""
        while len(self._reach) < hops:
            nearer = self._reach[-1]
            further = {
                s for s, found in self._steps.items() if any(h.target in nearer for h in found)
            }
            self._add_reach(frozenset(further))

    def _add_reach(self, nodes: frozenset[str]) -> None:
        self._reach.append(nodes)
        self._starts.append(sorted(nodes))


def is_unique(graph: Graph, path: Sequence[Hop]) -> bool:
    """Returns whether the path's relations lead from its start to its answer and nothing else."""
    steps = [(hop.edge.relation, hop.inverse) for hop in path]
    return graph.follow(path[0].source, steps) == {path[-1].target}
