import random
from typing import get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from longspan.synth_templates.triples.relations import is_name
from longspan.synth_templates.worlds.fiction_names import NameKind, Names, in_pool

KINDS = get_args(NameKind)


@settings(max_examples=20, deadline=None)
@given(st.integers())
def test_names_never_repeat_and_no_stem_serves_two(seed):
    names = Names(random.Random(seed))
    drawn = [names.draw(kind) for _ in range(30) for kind in KINDS]
    assert len(set(drawn)) == len(drawn)
    assert all(is_name(name) for name in drawn)


def test_training_never_sees_a_quarter_of_the_stems():
    stems = [Names(random.Random(seed), "all").stem().lower() for seed in range(2000)]
    held_out = [stem for stem in stems if not in_pool(stem, "train")]
    assert 0.2 < len(held_out) / len(stems) < 0.3
    trained = Names(random.Random(0), "train")
    assert all(in_pool(trained.stem().lower(), "train") for _ in range(500))


def test_a_stem_that_spells_something_real_is_refused():
    assert not in_pool("berlin", "all") and in_pool("bolrin", "all")


def test_kin_share_a_surname():
    names = Names(random.Random(1))
    father = names.draw("person")
    child = names.kin(father)
    assert child != father and child.split()[-1] == father.split()[-1]
