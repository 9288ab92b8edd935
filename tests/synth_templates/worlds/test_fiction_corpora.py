import pytest

from longspan.harness.tokens import EstimatedTokens
from longspan.synth_templates.kind_files import Kinds
from longspan.synth_templates.plan import FictionSource
from longspan.synth_templates.worlds.fiction_corpora import FictionCorpora
from longspan.synth_templates.worlds.fiction_names import in_pool

COUNTER = EstimatedTokens()


def source(kinds: Kinds, *names: str) -> FictionCorpora:
    chosen = [kinds.by_name()[name] for name in names]
    return FictionCorpora(0, FictionSource(), chosen, kinds.lexicon(), COUNTER)


@pytest.mark.parametrize(
    ("names", "pages", "sessions"),
    [
        (["fiction_hop2"], True, False),
        (["dialogue_latest"], False, True),
        (["fiction_hop2", "dialogue_repeat"], True, True),
    ],
)
def test_a_corpus_holds_what_the_kinds_ask_about(fiction_kinds, names, pages, sessions):
    corpus = source(fiction_kinds, *names).corpus("test", 1000, 0)
    num_sessions = len(corpus.sessions.documents)
    assert (num_sessions > 0, num_sessions < len(corpus.documents)) == (sessions, pages)


def test_parts_differ_and_are_the_same_every_time(fiction_kinds):
    drawn = source(fiction_kinds, "fiction_hop2", "dialogue_latest")
    one, two = drawn.corpus("train", 1000, 0), drawn.corpus("train", 1000, 1)
    assert one.documents == drawn.corpus("train", 1000, 0).documents
    assert not {d.text for d in one.documents} & {d.text for d in two.documents if d.triples}


@pytest.mark.parametrize("tokens", [500, 20_000])
def test_pages_and_sessions_each_hold_more_than_the_target(fiction_kinds, tokens):
    corpus = source(fiction_kinds, "fiction_hop2", "dialogue_latest").corpus("test", tokens, 0)
    sizes = corpus.lengths(COUNTER).sizes
    sessions = sum(size for name, size in sizes.items() if name in corpus.sessions.place)
    assert sessions >= 1.25 * tokens
    assert sum(sizes.values()) - sessions >= 1.25 * tokens


def test_held_out_stems_stay_out_of_training(fiction_kinds):
    drawn = source(fiction_kinds, "fiction_hop2", "dialogue_latest")

    def stems(split: str) -> list[str]:
        objects = (t.object for d in drawn.corpus(split, 4000, 0).documents for t in d.triples)
        ends = (" Works", " Company", " Trading", " Holdings", " University")
        return [name.split()[0].lower() for name in objects if name.endswith(ends)]

    assert len(stems("train")) > 20
    assert all(in_pool(stem, "train") for stem in stems("train"))
    assert not all(in_pool(stem, "train") for stem in stems("test"))
