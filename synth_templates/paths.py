"""Paths through the graph whose answer is unique and whose evidence stands in distinct documents.

A path of h hops is start -> relation 1 -> ... -> answer. Its answer is unique when following the
same relations from the same start over *all* claims of the corpus reaches nothing else. This module
does not know how paths are worded.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from longspan.synth_templates.graph import Edge, Graph

MAX_TRIES = 40

Accepts = Callable[[Edge, bool], bool]
"""Whether an edge may be a step; the flag says that it is the last one."""


@dataclass
class PathSampler:
    """Draws paths of a graph over some relations.

    Attributes:
        graph: The graph of the whole corpus.
        relations: Canonical relations that a path may use.
        accepts: Further condition on an edge.
    """

    graph: Graph
    relations: frozenset[str]
    accepts: Accepts = lambda edge, last: True
    _steps: dict[str, list[Edge]] = field(default_factory=dict, init=False)
    _last_steps: dict[str, list[Edge]] = field(default_factory=dict, init=False)
    _reach: list[frozenset[str]] = field(default_factory=list, init=False)
    _starts: list[list[str]] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        for subject, by_relation in self.graph.edges.items():
            for relation, edges in by_relation.items():
                if relation not in self.relations or not self.graph.is_functional(
                    subject, relation
                ):
                    continue
                for edge in edges:
                    if self.accepts(edge, False):
                        self._steps.setdefault(subject, []).append(edge)
                    if self.accepts(edge, True):
                        self._last_steps.setdefault(subject, []).append(edge)
        self._add_reach(frozenset(self._last_steps))

    def sample(
        self, rng: random.Random, hops: int, *, distinct_relations: bool = False
    ) -> tuple[Edge, ...] | None:
        """Returns a random walk of `hops` edges that is a valid path, None where no try was."""
        if not self.has_paths(hops):
            return None
        starts = self._starts[hops - 1]
        for _ in range(MAX_TRIES):
            path = self._walk(rng, rng.choice(starts), hops)
            if path is None or not is_unique(self.graph, path):
                continue
            if not distinct_relations or len({edge.relation for edge in path}) == hops:
                return path
        return None

    def has_paths(self, hops: int) -> bool:
        """Returns whether some walk of `hops` edges exists (conditions on whole paths aside)."""
        self._extend_reach(hops)
        return bool(self._starts[hops - 1])

    def links(self) -> list[tuple[str, str]]:
        """Returns the pairs of documents that two steps of some path stand in, sorted."""
        return sorted(
            {
                (edge.document, following.document)
                for edges in self._steps.values()
                for edge in edges
                for following in self._last_steps.get(edge.object, ())
                if following.document != edge.document
            }
        )

    def _walk(self, rng: random.Random, start: str, hops: int) -> tuple[Edge, ...] | None:
        path: list[Edge] = []
        seen, documents, subject = {start}, set[str](), start
        for left in range(hops - 1, -1, -1):
            edges = [
                edge
                for edge in (self._steps if left else self._last_steps).get(subject, ())
                if edge.object not in seen
                and edge.document not in documents
                and (not left or edge.object in self._reach[left - 1])
            ]
            if not edges:
                return None
            path.append(rng.choice(edges))
            subject = path[-1].object
            seen.add(subject)
            documents.add(path[-1].document)
        return tuple(path)

    def _extend_reach(self, hops: int) -> None:
        """Breadth-first from the answers backwards: the subjects with a walk of 1, 2, ... hops."""
        while len(self._reach) < hops:
            nearer = self._reach[-1]
            further = {
                s for s, edges in self._steps.items() if any(e.object in nearer for e in edges)
            }
            self._add_reach(frozenset(further))

    def _add_reach(self, subjects: frozenset[str]) -> None:
        self._reach.append(subjects)
        self._starts.append(sorted(subjects))


def is_unique(graph: Graph, path: tuple[Edge, ...]) -> bool:
    """Returns whether the path's relations lead from its start to its answer and nothing else."""
    return graph.follow(path[0].subject, [edge.relation for edge in path]) == {path[-1].object}
