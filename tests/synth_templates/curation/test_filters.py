from collections import Counter

import pytest

from longspan.harness.datasets.documents import Document
from longspan.synth_templates.curation.filters import (
    Filters,
    filter_documents,
    letter_share,
    repeated_share,
)

PROSE = "The river Tastal flows through the town of Karo and on to the sea."
HINDI = "\u0928\u0926\u0940 \u0928\u0917\u0930 \u0938\u0947 \u0938\u092e\u0941\u0926\u094d\u0930 "
CHINESE = "\u6cb3\u6d41\u7a7f\u8fc7\u57ce\u5e02\u6d41\u5411\u5927\u6d77\u3002"


def document(text: str, name: str = "d", kind: str = "text") -> Document:
    return Document(id=name, title=name, text=text, format=kind)


@pytest.mark.parametrize("text", [PROSE, HINDI * 4, CHINESE * 5], ids=["latin", "hindi", "chinese"])
def test_prose_of_any_script_passes(text):
    assert Filters().reason(document(text)) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Short.", "too short"),
        (PROSE * 40_000, "too long"),
        (PROSE + "\ufffd\ufffd", "damaged characters"),
        (PROSE + "\x00\x1b", "damaged characters"),
        ("0123 4567 8910 --- === 1112 1314 1516 1718 1920", "few letters"),
        ("Accept all cookies\n" * 3 + PROSE, "repeated lines"),
    ],
)
def test_a_document_is_left_out_for_a_reason(text, reason):
    assert Filters().reason(document(text)) == reason


@pytest.mark.parametrize("kind", ["csv", "tsv", "python", "dialogue"])
def test_tables_code_and_dialogues_may_be_short_numeric_and_repetitive(kind):
    assert Filters().reason(document("1,2\n1,2\n1,2\n", kind=kind)) is None
    assert Filters().reason(document("1\ufffd", kind=kind)) == "damaged characters"


def test_shares_by_hand():
    assert letter_share("ab 1") == 2 / 3
    assert letter_share("| 1 | 2 |\nab") == 1.0
    assert repeated_share("abcd\nxy\n abcd \n") == 4 / 10
    assert letter_share("") == 1.0 and repeated_share("\n") == 0.0


def test_what_is_left_out_is_counted_and_named():
    left_out, notes = Counter(), []
    long = " ".join(f"word{n}" for n in range(200))
    given = [document(long, "a"), document("no", "b"), document(long + " more", "c")]
    kept = list(filter_documents(given, Filters(), left_out, notes))
    assert [d.id for d in kept] == ["a"]
    assert left_out == {"too short": 1, "near-duplicate": 1}
    assert notes == ["b: too short", "c: near-duplicate of a"]


def test_near_duplicates_stay_where_they_are_not_searched():
    given = [document(PROSE, "a"), document(PROSE + "!", "b")]
    filters = Filters(near_duplicates=None)
    assert list(filter_documents(given, filters, Counter(), [])) == given
