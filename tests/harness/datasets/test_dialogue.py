import pytest

from longspan.harness.datasets.dialogue import render_dialogue

TURNS = [
    {"role": "user", "content": "Hello.\nuser: I am two turns."},
    {"speaker": "Ada", "role": "assistant", "content": "Good day."},
]


def test_a_turn_is_one_line_under_its_speaker():
    assert render_dialogue(TURNS) == "user: Hello. user: I am two turns.\nAda: Good day."


def test_a_line_says_where_a_session_or_time_begins():
    turns = [
        {"speaker": "A", "content": "One.", "session": 1, "timestamp": "2024-05-01"},
        {"speaker": "B", "content": "Two.", "session": 1, "timestamp": "2024-05-01"},
        {"speaker": "A", "content": "Three.", "session": 2, "timestamp": "2024-06-01"},
    ]
    assert render_dialogue(turns) == (
        "[session 1, 2024-05-01]\nA: One.\nB: Two.\n[session 2, 2024-06-01]\nA: Three."
    )


@pytest.mark.parametrize(
    "turns", [None, [], "text", ["a"], [{"content": "x"}], [{"role": "user", "content": None}]]
)
def test_what_has_no_speaker_or_text_is_no_dialogue(turns):
    assert render_dialogue(turns) is None
