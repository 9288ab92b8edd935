from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.synth_templates.curation.deduplicate import (
    NEAR,
    NEAR_OTHER_NAMES,
    NEAR_PERCENT,
    REPEATED,
    Asked,
    NearIndex,
)
from longspan.synth_templates.curation.ngrams import jaccard, ngrams, words
from longspan.synth_templates.pipeline import synthesize
from longspan.synth_templates.plan import parse_plan

LONG = "According to the text, what is the founding date of the company that built {}?"


def grams(text: str) -> set[str]:
    return set(ngrams(words(text)))


def near(*texts: str) -> str | None:
    *earlier, last = texts
    index = NearIndex(NEAR_PERCENT)
    for text in earlier:
        index.add(text)
    return index.nearest(last)


def test_a_name_at_the_end_of_a_long_question_leaves_a_near_duplicate():
    # 15 words, 13 3-grams, of which the last differs: 12 shared of 14.
    one, two = LONG.format("Oslo"), LONG.format("Rome")
    assert jaccard(grams(one), grams(two)) == 12 / 14
    assert near(one, two) == one


def test_a_name_in_the_middle_of_a_short_question_makes_another_question():
    # 6 words, 4 3-grams, of which 3 hold the name.
    assert near("Who is Karo Bel's first teacher?", "Who is Mira Sul's first teacher?") is None


def test_of_several_the_most_similar_is_named_and_of_equals_the_first():
    one, two = LONG.format("Oslo"), LONG.format("Rome")
    assert near(one, two, LONG.format("Rome") + "!") == two
    assert near(one, two, LONG.format("Lima")) == one


texts = st.lists(
    st.lists(st.sampled_from("abcd"), min_size=0, max_size=9).map(" ".join), max_size=12
)


@given(texts, st.lists(st.sampled_from("abcd"), max_size=9).map(" ".join))
def test_the_search_finds_exactly_what_comparing_all_pairs_finds(earlier: list[str], text: str):
    similarities = [jaccard(grams(other), grams(text)) for other in earlier]
    best = max(similarities, default=0.0)
    expected = earlier[similarities.index(best)] if 100 * best >= NEAR_PERCENT else None
    assert near(*earlier, text) == expected


@given(texts, texts)
def test_what_was_only_looked_up_changes_nothing(earlier: list[str], looked_up: list[str]):
    index = NearIndex(NEAR_PERCENT)
    for text in looked_up:
        index.nearest(text)
    for text in earlier:
        index.add(text)
    assert [index.nearest(t) for t in earlier] == [near(*earlier, t) for t in earlier]


def asked(distinct: str, *samples: tuple[str, str]) -> Asked:
    made = Asked(distinct)  # type: ignore[arg-type]
    for question, target in samples:
        made.add(question, target)
    return made


def test_the_reason_says_in_what_a_question_repeats_another():
    before = asked("near", (LONG.format("Oslo"), "1900"))
    assert before.repeats(LONG.format("Oslo").upper(), "other") == REPEATED
    assert before.repeats(LONG.format("Rome"), "1900") == NEAR_OTHER_NAMES
    assert before.repeats(LONG.format("Oslo in winter"), "1900") == NEAR
    assert before.repeats("Who built Oslo?", "1900") is None


def test_of_questions_that_name_the_same_less_similarity_is_enough():
    # 9 words, 7 3-grams, of which the last differs: 6 shared of 8, less than 0.8.
    before = asked("near", ("In how many towns are Karo's sales above 12?", "3"))
    assert before.repeats("In how many towns are Karo's sales above 14?", "2") == NEAR
    before = asked("near", ("What is the birthplace of the founder of Karo?", "Oslo"))
    assert before.repeats("What is the birthplace of the founder of Mira?", "Rome") is None


def test_a_choice_with_other_options_is_the_same_question():
    before = asked("near")
    before.add("Who built it? Options: A1 (A), B1 (B)", "A", "Who built it? Options:")
    other = "Who built it? Options: C1 (A), D1 (B), A1 (C)"
    assert before.repeats(other, "C", "Who built it? Options:") == REPEATED
    assert before.repeats("Who built it?", "A1") is None


def test_less_strict_plans_allow_what_they_name():
    question = ("What is Karo's age?", "7")
    assert asked("question", question).repeats(question[0], "8") == REPEATED
    assert asked("answer", question).repeats(question[0], "8") is None
    assert asked("answer", question).repeats(*question) == REPEATED
    long = (LONG.format("Oslo"), "1")
    assert asked("question", long).repeats(LONG.format("Rome"), "1") is None


def test_generated_questions_pass_a_minhash_filter(tmp_path: Path):
    datasketch = pytest.importorskip("datasketch")
    plan = {"distinct": "near", "splits": {"train": {200: 300}, "test": {200: 100}}}
    rows = synthesize(parse_plan(plan, "test"), tmp_path / "set", quiet=True).rows()
    index = datasketch.MinHashLSH(threshold=0.8, num_perm=128)
    hashes, num_near = {}, 0
    for row in rows:
        made = datasketch.MinHash(num_perm=128)
        made.update_batch([gram.encode() for gram in grams(row.question)])
        num_near += any(hashes[found].jaccard(made) >= 0.8 for found in index.query(made))
        index.insert(row.id, made)
        hashes[row.id] = made
    assert len(rows) == 400 and num_near < 4
    assert len({words(row.question) for row in rows}) == 400


def test_kinds_that_run_out_of_questions_leave_their_share_to_others(tmp_path: Path):
    # One kind asks for companies' highest sales, of which there are only so many names.
    plan = {"distinct": "near", "splits": {"train": {200: 1200}}}
    rows = synthesize(parse_plan(plan, "test"), tmp_path / "set", quiet=True).rows()
    num_of = {kind: sum(row.kind == kind for row in rows) for kind in {row.kind for row in rows}}
    assert len(rows) == 1200 and num_of["world_sales_max"] < 100 < num_of["world_hop2"]
