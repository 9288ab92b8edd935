"""Readers of chats: the chat is kept as it is, and its text form says the same."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.harness.datasets import conversations
from longspan.harness.datasets.conversations import MRCR_BINS
from longspan.harness.datasets.documents import render_context
from longspan.harness.datasets.readers import READERS, make_reader
from longspan.harness.errors import SpecError
from longspan.harness.spec import SpecFile, TaskSpec

CHAT = [
    {"role": "user", "content": "Write a poem about tapirs"},
    {"role": "assistant", "content": "First poem. "},
    {"role": "user", "content": "Write a poem about tapirs"},
    {"role": "assistant", "content": "Second\npoem."},
    {"role": "user", "content": "Prepend aYooSG8CQg to the 2nd (1 indexed) poem about tapirs."},
]
MRCR = {
    "prompt": json.dumps(CHAT),
    "answer": "aYooSG8CQgSecond\npoem.",
    "random_string_to_prepend": "aYooSG8CQg",
    "n_needles": 2,
    "desired_msg_index": 3,
    "total_messages": 5,
    "n_chars": 49_000,
    "date_added": "2025-04-12",
}
CORPUS_PROMPT = (
    "# Document 1:\nA College has 1,200 staff.\n# Document 2:\nB College\n# not a document: 3\n"
    "# Question:\nWhich schools exceed 1000 staff?\n# Output requirements: A list of strings. "
    "End with `The answer is: xxx`."
)
CORPUSQA = {
    "id": "education_en_synthetic_1",
    "prompt": [
        {"role": "system", "content": "You are an analyst."},
        {"role": "user", "content": CORPUS_PROMPT},
    ],
    "question": "Which schools exceed 1000 staff?",
    "answer": '["A College"]',
}
LONGMEMEVAL = {
    "question_id": "syn_0001",
    "question_type": "temporal-reasoning",
    "question": "How many days between my two trips?",
    "answer": 12,
    "question_date": "2023/05/30 (Tue) 23:40",
    "haystack_session_ids": ["answer_syn_1", "s1"],
    "haystack_dates": ["2023/05/21 (Sun) 10:02", "2023/05/20 (Sat) 02:21"],
    "haystack_sessions": [
        [
            {"role": "user", "content": "I flew to Oslo", "has_answer": True},
            {"role": "assistant", "content": "nice "},
        ],
        [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}],
    ],
    "answer_session_ids": ["answer_syn_1"],
}


def read(name, row, **options):
    return READERS[name].read([row], READERS[name].options(**options))(row)


def test_the_chat_of_mrcr_is_kept_exactly_and_its_answer_not_stripped():
    record = read("mrcr", MRCR)
    assert list(record.messages) == CHAT
    assert record.targets == (MRCR["answer"],)
    assert record.values["question"] == CHAT[-1]["content"]
    assert [document.title for document in record.documents] == ["User", "Assistant"] * 2
    assert render_context(record.documents).endswith("Assistant\nSecond\npoem.")
    assert read("mrcr", {**MRCR, "answer": MRCR["answer"] + " "}).targets[0].endswith(" ")
    assert record.extra["random_string_to_prepend"] == "aYooSG8CQg"
    assert record.extra["n_needles"] == 2
    assert read("mrcr", {**MRCR, "prompt": CHAT}).messages == record.messages


@pytest.mark.parametrize(
    ("n_chars", "upper"),
    [(100, 8192), (40_140, 8192), (40_144, 16384), (642_252, 131072), (642_256, 262144)]
    + [(5_138_022, 1048576), (9_000_000, 1048576)],
)
def test_bins_are_estimated_from_characters_and_say_so(n_chars, upper):
    extra = read("mrcr", {**MRCR, "n_chars": n_chars}).extra
    assert extra["bin"] == upper and upper in MRCR_BINS
    assert extra["bin_rule"] == "estimated: n_chars/4.9"


def test_a_row_that_says_its_tokens_is_binned_by_them():
    extra = read("mrcr", {**MRCR, "n_tokens": 8193}).extra
    assert (extra["bin"], extra["bin_rule"], extra["num_tokens"]) == (16384, "field n_tokens", 8193)
    without = {key: value for key, value in MRCR.items() if key != "n_chars"}
    assert read("mrcr", without).extra["num_tokens"] == round(
        sum(len(message["content"]) for message in CHAT) / 4.9
    )


def test_options_choose_needles_and_lengths():
    assert read("mrcr", MRCR, num_needles=2) and read("mrcr", MRCR, num_needles=8) is None
    assert read("mrcr", MRCR, bin=16384) and read("mrcr", MRCR, bin=8192) is None
    assert read("mrcr", MRCR, max_tokens_bin=16384) and read("mrcr", MRCR, min_tokens_bin=16384)
    assert read("mrcr", MRCR, max_tokens_bin=8192) is None
    assert read("mrcr", MRCR, min_tokens_bin=32768) is None
    spec = {"name": "t", "description": "d", "scorer": "letter", "dataset": {"reader": "mrcr"}}
    file = SpecFile(spec=TaskSpec.model_validate(spec), path="t.yaml")
    with pytest.raises(SpecError, match="task t: bin: .*8192, 16384.*got 5000"):
        make_reader(file, {"bin": 5000})


def test_exact_bins_count_prompt_and_answer_with_the_vocabulary(monkeypatch):
    monkeypatch.setattr(conversations, "_o200k", lambda: lambda text: 3000)
    extra = read("mrcr", MRCR, exact_bins=True).extra
    assert (extra["num_tokens"], extra["bin"], extra["bin_rule"]) == (18_000, 32768, "o200k_base")


def test_exact_bins_without_the_vocabulary_is_one_line(monkeypatch, tmp_path):
    tiktoken = pytest.importorskip("tiktoken")

    def refuse(name):
        raise OSError(f"no network for {name}")

    monkeypatch.setattr(tiktoken, "get_encoding", refuse)
    with pytest.raises(SpecError, match="exact_bins needs tiktoken .*no network for o200k_base"):
        read("mrcr", MRCR, exact_bins=True)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"prompt": "[{"}, "'prompt' is not the JSON of a chat"),
        ({"prompt": "[]"}, "holds no chat"),
        ({"prompt": json.dumps(CHAT[:-1])}, "does not end with a user message"),
        ({"prompt": [{"role": "tool", "content": "x"}]}, "a message of role 'tool'"),
        ({"prompt": [{"role": "user", "content": ["x"]}]}, "a message of role 'user'"),
        ({"answer": "Second poem"}, "does not begin with the hash: 'aYooSG8CQg'"),
        ({"answer": None}, "does not begin with the hash"),
    ],
)
def test_rows_of_mrcr_that_cannot_be_used(change, reason):
    with pytest.raises(ValueError, match=reason):
        read("mrcr", {**MRCR, **change})


def test_corpusqa_keeps_its_prompt_and_splits_its_text_form():
    record = read("corpusqa", CORPUSQA)
    assert list(record.messages) == CORPUSQA["prompt"]
    assert [document.text for document in record.documents] == [
        "# Document 1:\nA College has 1,200 staff.",
        "# Document 2:\nB College\n# not a document: 3",
    ]
    assert record.instructions.startswith("# Output requirements: A list of strings.")
    assert record.targets == ('["A College"]',)
    assert (record.extra["domain"], record.extra["level"]) == ("education_en", None)


@pytest.mark.parametrize(
    ("answer", "target"),
    [(["A", "Bé"], '["A", "Bé"]'), ([], "[]"), ("12.50", "12.50"), (7, "7"), ("[]", "[]")],
)
def test_corpusqa_answers_are_text_and_an_empty_list_is_gold(answer, target):
    assert read("corpusqa", {**CORPUSQA, "answer": answer}).targets == (target,)


def test_corpusqa_prompts_of_another_form_lose_nothing():
    user = {"role": "user", "content": "Preface.\n# Document 1:\nText. What now?"}
    record = read("corpusqa", {**CORPUSQA, "prompt": [user], "level": "hard"})
    assert (
        "\n\n".join(d.text for d in record.documents)
        == "Preface.\n\n# Document 1:\nText. What now?"
    )
    assert (record.instructions, record.extra["level"]) == ("", "hard")
    with pytest.raises(ValueError, match="no gold answer"):
        read("corpusqa", {**CORPUSQA, "answer": ""})


def test_longmemeval_shows_sessions_by_date_without_the_marks_of_the_answer():
    record = read("longmemeval", LONGMEMEVAL)
    assert render_context(record.documents) == (
        "Session 1, 2023/05/20 (Sat) 02:21\nuser: hi\nassistant: hello\n\n"
        "Session 2, 2023/05/21 (Sun) 10:02\nuser: I flew to Oslo\nassistant: nice"
    )
    assert "has_answer" not in repr(record)
    assert record.values["question_date"] == "2023/05/30 (Tue) 23:40"
    assert (record.targets, record.supporting) == (("12",), ("answer_syn_1",))
    assert record.extra["question_type"] == "temporal-reasoning"
    assert record.extra["is_abstention"] is False
    abstaining = read("longmemeval", {**LONGMEMEVAL, "question_id": "syn_1_abs_2"})
    assert abstaining.extra["is_abstention"] is True


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"haystack_dates": []}, "differ in number: 2, 0, 2"),
        ({"answer": None}, "no gold answer"),
        ({"question": ""}, "'question' holds no text"),
    ],
)
def test_rows_of_longmemeval_that_cannot_be_used(change, reason):
    with pytest.raises(ValueError, match=reason):
        read("longmemeval", {**LONGMEMEVAL, **change})


@given(st.lists(st.sampled_from(["# Document 1:", "# Question:", "x", "\n", "Why?"]), max_size=12))
def test_no_character_of_a_stored_prompt_is_lost_or_doubled_before_the_question(parts):
    content = "".join(parts)
    documents, rules = conversations._corpus_parts(content, "Why?")
    joined = "".join("".join(documents).split())
    assert "".join(content.split()).startswith(joined)
    assert "".join(rules.split()) in "".join(content.split())
