"""Retention: what was read, noted and kept, from passports."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longspan.agents.memory import memory_agent
from longspan.agents.retention import (
    Evidence,
    Step,
    content_words,
    evidence_in,
    fates,
    find_evidence,
    in_words,
    noted_in,
    retention,
)
from longspan.harness.datasets.documents import Document, render_context
from longspan.harness.errors import DataError

DOCUMENTS = (
    Document(id="a", title="Kukton", text="A town. Kukton's mayor is Tastal. It rains."),
    Document(id="b", title="", text="Tastal's employer is KaroCo."),
)
CONTEXT = render_context(DOCUMENTS)


def span(document: Document, quote: str) -> dict[str, Any]:
    start = document.text.index(quote)
    return {"document": document.id, "start": start, "end": start + len(quote), "quote": quote}


def passport() -> dict[str, Any]:
    steps = [
        {"subject": "Kukton", "relation": "mayor", "object": "Tastal", "document": "a"},
        {"subject": "Tastal", "relation": "employer", "object": "KaroCo", "document": "b"},
    ]
    evidence = [
        span(DOCUMENTS[0], "Kukton's mayor is Tastal."),
        span(DOCUMENTS[1], "Tastal's employer is KaroCo."),
    ]
    return {"evidence": evidence, "proof": {"type": "path", "steps": steps}}


def test_evidence_is_found_in_the_rendered_context() -> None:
    found = find_evidence(passport(), DOCUMENTS, CONTEXT)
    assert [CONTEXT[e.start : e.end] for e in found] == [
        "Kukton's mayor is Tastal.",
        "Tastal's employer is KaroCo.",
    ]


def test_evidence_of_a_context_by_value_is_found_by_its_quote() -> None:
    text = "Preface. " + CONTEXT
    found = find_evidence(passport(), (Document(id="x", text=text),), text)
    assert text[found[1].start : found[1].end] == "Tastal's employer is KaroCo."


def test_a_passport_of_another_context_is_refused() -> None:
    with pytest.raises(DataError, match="not in the sample's context"):
        find_evidence(passport(), (Document(id="x", text="Nothing."),), "Nothing.")
    with pytest.raises(DataError, match="malformed passport"):
        find_evidence({"evidence": 3}, DOCUMENTS, CONTEXT)


@pytest.mark.parametrize(
    ("memory", "noted"),
    [
        ("empty", ()),
        ("Kukton's mayor is Tastal.", (0,)),
        ("The mayor of Kukton: Tastal. KaroCo is the employer of Tastal", (0, 1)),
        ("Kukton's patron is Tastal.", ()),
        ("Kukton's mayor is known. Tastal is tall.", ()),
        ("KUKTON'S MAYOR IS TASTAL!", (0,)),
    ],
)
def test_a_memory_notes_what_it_states(memory: str, noted: tuple[int, ...]) -> None:
    assert noted_in(find_evidence(passport(), DOCUMENTS, CONTEXT), memory) == noted


def test_a_table_may_be_noted_in_several_sentences() -> None:
    words = frozenset(f"w{i}" for i in range(20))
    table = Evidence(0, 10, (words,))
    assert noted_in([table], ". ".join(sorted(words))) == (0,)
    assert noted_in([table], " ".join(sorted(words)[:13])) == ()


def test_worked_example_of_retention() -> None:
    """Four spans: 0 is kept, 1 is overwritten, 2 is read but not noted, 3 is never read."""
    trace = [
        Step(in_chunk=(0, 1), in_memory=(0, 1)),
        Step(in_chunk=(2,), in_memory=(0,)),
        Step(in_chunk=(), in_memory=(0, 3)),
    ]
    evidence = [Evidence(i, i + 1, (frozenset({f"fact{i}"}),)) for i in range(4)]
    assert fates(trace, evidence, "It is fact0.") == (
        "used",
        "overwritten",
        "not_noted",
        "never_read",
    )
    assert retention(trace, evidence, "It is fact0.") == {
        "read": 0.75,
        "noted": 0.5,
        "kept": 0.25,
        "used": 0.25,
        "lost_never_read": 0.25,
        "lost_not_noted": 0.25,
        "lost_overwritten": 0.25,
        "lost_not_used": 0.0,
    }
    assert fates(trace, evidence, "I do not know.")[0] == "not_used"
    assert fates(trace, evidence, None)[0] == "not_used"


@settings(max_examples=200)
@given(
    trace=st.lists(
        st.builds(
            Step,
            in_chunk=st.lists(st.integers(0, 3)).map(tuple),
            in_memory=st.lists(st.integers(0, 3)).map(tuple),
        )
    ),
    words=st.lists(st.integers(0, 3)),
)
def test_every_piece_of_evidence_has_one_fate(trace: list[Step], words: list[int]) -> None:
    evidence = [Evidence(i, i + 1, (frozenset({f"fact{i}"}),)) for i in range(4)]
    shares = retention(trace, evidence, " ".join(f"fact{i}" for i in words))
    assert shares["read"] >= shares["noted"] >= shares["kept"] >= shares["used"]
    lost = sum(value for name, value in shares.items() if name.startswith("lost_"))
    assert lost + shares["used"] == pytest.approx(1.0)


def test_a_short_answer_uses_the_chain_that_leads_to_it() -> None:
    evidence = find_evidence(passport(), DOCUMENTS, CONTEXT)
    trace = [Step(in_chunk=(0, 1), in_memory=(0, 1))]
    assert fates(trace, evidence, "Therefore, the answer is KaroCo.") == ("used", "used")
    assert fates(trace, evidence, "Therefore, the answer is Tastal.") == ("used", "not_used")
    assert fates(trace, evidence, "Therefore, the answer is Brem.") == ("not_used", "not_used")


def test_a_letter_stands_for_its_option() -> None:
    options = {"options": ["Brem", "KaroCo"]}
    assert in_words("Therefore, the answer is B.", options).endswith(" KaroCo")
    assert in_words("Therefore, the answer is (A)", options).endswith(" Brem")
    for answer, passport in (
        ("B", {}),
        ("the answer is C", options),
        ("the answer is Brem", options),
    ):
        assert in_words(answer, passport) == answer


def test_without_evidence_nothing_can_be_lost() -> None:
    assert retention([], [], "x") == {"read": 1.0, "noted": 1.0, "kept": 1.0, "used": 1.0}


def test_overlap_counts_as_in_the_chunk() -> None:
    evidence = [Evidence(10, 20, ()), Evidence(20, 30, ())]
    assert evidence_in(evidence, 0, 20) == (0,)
    assert evidence_in(evidence, 19, 21) == (0, 1)
    assert evidence_in(evidence, 30, 40) == ()


def test_function_words_do_not_count() -> None:
    assert content_words("The mayor of Kukton is Tastal.") == {"mayor", "kukton", "tastal"}


FACT = "Kukton's mayor is Tastal."


@pytest.mark.parametrize(
    ("notes", "expected"),
    [
        (FACT, {"read": 1.0, "noted": 1.0, "kept": 1.0}),
        ("nothing of interest", {"read": 1.0, "noted": 0.0, "kept": 0.0}),
    ],
)
def test_the_agent_records_the_trace(
    run: Any, make_sample: Any, notes: str, expected: dict[str, float]
) -> None:
    text = f"Grey days went by. {FACT} " + "The harbour lay quiet. " * 60
    quote = {"document": "d", "start": 19, "end": 19 + len(FACT), "quote": FACT}
    step = {"subject": "Kukton", "relation": "mayor", "object": "Tastal", "document": "d"}
    card = {"evidence": [quote], "proof": {"type": "path", "steps": [step]}}
    result = run(
        memory_agent(),
        make_sample(text, passport=card),
        lambda _: f"<memory>{notes}</memory><plan>go on</plan>",
        window=256,
    )
    record = result.memory
    assert {name: record[name] for name in expected} == expected
    assert len(record["trace"]) == record["num_chunks"] > 1
    assert record["fates"] == (["used"] if notes == FACT else ["not_noted"])
    assert record["trace"][0]["in_chunk"] == [0]
    assert all(not step["in_chunk"] for step in record["trace"][1:])


def test_samples_without_a_passport_have_no_retention(run: Any, make_sample: Any) -> None:
    result = run(memory_agent(), make_sample("A b."), lambda _: "", window=256)
    assert "read" not in result.memory
    assert "trace" not in result.memory
