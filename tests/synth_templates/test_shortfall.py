"""The remedy that a short plan names follows from why its draws were rejected."""

import pytest

from longspan.harness.errors import SynthesisError
from longspan.synth_templates.shortfall import empty_splits, explain

NO_LENGTH = "no documents that fill the target length"


def part(wanted: int, accepted: int, **rejected: int) -> dict:
    reasons = {name.replace("__", ": ").replace("_", " "): n for name, n in rejected.items()}
    return {"wanted": wanted, "accepted": accepted, "rejected": reasons}


def test_kinds_that_find_nothing_are_no_cause_where_others_got_further():
    rejected = {"a: no unique path": 400, f"b: {NO_LENGTH}": 30, f"c: {NO_LENGTH}": 20}
    assert explain(rejected) == (
        f"50 of 450 draws: {NO_LENGTH}; lower the target length (--tokens) or give more documents"
    )


def test_one_draw_that_got_further_does_not_name_the_cause_of_its_kind():
    found = explain({"a: no unique path": 199, "a: answer in question": 1})
    assert found.startswith("199 of 200 draws: no unique path; give more documents or other ones")


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        ("evidence exceeds target length", "raise the target length"),
        ("answer in question", "reword the kind"),
        ("statement used too often", "max_statement_uses"),
        ("near-duplicate question, other names", "fewer samples"),
        ("repeats a question", "fewer samples"),
        ("in musique: same question", "decontaminate"),
        ("query refused: it writes", "correct the query"),
        ("verification: path has a cycle", "correct the kind"),
        ("no such table", "other ones, or choose other kinds"),
    ],
)
def test_each_reason_has_its_remedy(reason: str, remedy: str):
    assert remedy in explain({f"kind: {reason}": 3})


def test_nothing_drawn_has_a_remedy_too():
    assert explain({}).startswith("nothing was drawn; give more documents")


def test_a_split_without_samples_is_named_with_the_reason_of_its_own():
    yields = {
        "train/300": part(80, 60, a__answer_in_question=900),
        "test/300": part(10, 0, a__evidence_exceeds_target_length=200),
        "test/900": part(10, 0, a__evidence_exceeds_target_length=100),
    }
    assert empty_splits(yields) == [
        "no sample could be built for split test: 300 of 300 draws: evidence exceeds target "
        "length; raise the target length (--tokens); or give its documents to the other splits "
        "(source.shares in a plan)"
    ]


def test_no_sample_at_all_is_said_without_splits():
    yields = {"train/300": part(8, 0, a__answer_in_question=7), "test/300": part(1, 0)}
    with pytest.raises(SynthesisError, match="^no sample could be built: 7 of 7 draws: answer in"):
        empty_splits(yields)


def test_splits_that_nothing_is_asked_of_may_be_empty_and_one_length_may_come_short():
    yields = {"train/300": part(8, 1), "train/900": part(8, 0), "test/300": part(0, 0)}
    assert empty_splits(yields) == []
