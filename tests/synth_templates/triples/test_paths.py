import random

from hypothesis import given, settings
from hypothesis import strategies as st

from longspan.harness.datasets.documents import Document, Triple
from longspan.synth_templates.triples.graph import Graph
from longspan.synth_templates.triples.paths import PathSampler, is_unique

NAMES = [f"N{i}" for i in range(6)]


def graph_of(facts: list[tuple[str, str, str]]) -> Graph:
    """One document per subject, so that distinct subjects are distinct documents."""
    documents = []
    for subject in dict.fromkeys(s for s, _, _ in facts):
        own = [fact for fact in facts if fact[0] == subject]
        documents.append(
            Document(
                id=subject,
                title=subject,
                text=" ".join(f"{s}'s {r} is {o}." for s, r, o in own),
                triples=tuple(Triple(subject=s, relation=r, object=o) for s, r, o in own),
            )
        )
    return Graph.build(documents, lambda triple: triple.relation)


def sampler(facts: list[tuple[str, str, str]]) -> PathSampler:
    return PathSampler(graph_of(facts), frozenset({"r", "q"}))


def test_the_only_path_is_found():
    found = sampler([("A", "r", "B"), ("B", "q", "C")]).sample(random.Random(0), 2)
    assert found is not None
    assert [(h.source, h.edge.relation, h.target) for h in found] == [
        ("a", "r", "b"),
        ("b", "q", "c"),
    ]


def test_a_second_answer_makes_a_path_invalid():
    two_answers = [("A", "r", "B"), ("B", "q", "C"), ("B", "q", "D")]
    assert sampler(two_answers).sample(random.Random(0), 2) is None


def test_a_path_does_not_return():
    circle = [("A", "r", "B"), ("B", "r", "A")]
    assert sampler(circle).sample(random.Random(0), 2) is None


def test_relations_may_be_required_to_differ():
    same = sampler([("A", "r", "B"), ("B", "r", "C")])
    assert same.sample(random.Random(0), 2) is not None
    assert same.sample(random.Random(0), 2, distinct_relations=True) is None


def test_reach_says_whether_paths_exist_at_all():
    chain = sampler([("A", "r", "B"), ("B", "r", "C")])
    assert chain.has_paths(2)
    assert not chain.has_paths(3)
    assert chain.links() == [("A", "B")]


facts_strategy = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(["r", "q"]), st.sampled_from(NAMES)),
    max_size=20,
)


@settings(max_examples=60, deadline=None)
@given(facts_strategy, st.integers(1, 3), st.integers(0, 5))
def test_sampled_paths_are_unique_acyclic_and_over_distinct_documents(facts, hops, seed):
    built = sampler(facts)
    path = built.sample(random.Random(seed), hops)
    if path is None:
        return
    nodes = [path[0].source, *(hop.target for hop in path)]
    assert len(path) == hops
    assert len(set(nodes)) == len(nodes)
    assert len({hop.edge.document for hop in path}) == hops
    assert is_unique(built.graph, path)
    # Independently of the graph: brute force over the facts.
    reached = {path[0].source.upper()}
    for hop in path:
        reached = {o for s, r, o in facts if s in reached and r == hop.edge.relation and s != o}
    assert reached == {path[-1].target.upper()}
