"""RULER: what every task hides is there, once, at the length that was asked for."""

import functools
import re
from collections import Counter
from importlib.resources import files

import pytest
from pydantic import ValidationError

from longspan.harness.datasets.documents import render_context
from longspan.harness.datasets.generated.haystack import DEPTHS
from longspan.harness.datasets.generated.ruler import TASK_NAMES, TASKS, RulerOptions, ruler_records
from longspan.harness.errors import DataError
from longspan.harness.prompts import render_prompt
from longspan.harness.tokens import EstimatedTokens, load_tokenizer
from tests.harness.datasets.generated.material import essays, hotpot_rows, squad_articles
from tests.harness.words import WordTokens

NEEDLE_TASKS = [name for name in TASK_NAMES if name.startswith("niah_")]
NEEDLE = re.compile(r"A special magic (\w+) of (\S+) is (\S+)\.(?:\s|$)")
ENTRY = re.compile(r"\d+\. (\S+)")
OVERHEAD = 32


@functools.cache
def material(task):
    return {"essays": essays, "squad": squad_articles, "hotpotqa": hotpot_rows, None: tuple}[
        TASKS[task].material
    ]()


def records(task, length=4096, num_samples=2, counter=None, corpus=None, **options):
    return drawn(task, length, num_samples, counter, corpus, **options)[0]


def drawn(task, length, num_samples, counter=None, corpus=None, **options):
    chosen = RulerOptions(length_tokens=length, num_samples=num_samples, **options)
    corpus = material(task) if corpus is None else corpus
    return ruler_records(task, chosen, counter or EstimatedTokens(), corpus)


def context(record):
    return render_context(record.documents)


def score(task, answer, targets):
    """RULER's measure of an answer."""
    found = [target.lower() in answer.lower() for target in targets]
    return float(any(found)) if TASKS[task].references == "part" else sum(found) / len(found)


class Recording(EstimatedTokens):
    """Remembers how long the texts were that it counted."""

    def __init__(self):
        self.counts = []

    def count(self, text):
        self.counts.append(super().count(text))
        return self.counts[-1]


def test_there_are_13_tasks_with_the_room_for_answers_that_ruler_gives_and_more_for_vt():
    assert list(TASKS) == list(TASK_NAMES)
    assert [TASKS[name].answer_tokens for name in TASK_NAMES] == [128] * 8 + [50, 120, 50, 32, 32]
    part = [name for name in TASK_NAMES if TASKS[name].references == "part"]
    assert part == ["qa_1", "qa_2"]


@pytest.mark.parametrize("task", TASK_NAMES)
def test_a_seed_fixes_everything_and_another_seed_changes_every_context(task):
    first, again, other = records(task), records(task), records(task, seed=43)
    assert first == again
    assert not {context(record) for record in first} & {context(record) for record in other}
    assert len({record.id for record in (*first, *other)}) == 4


@pytest.mark.parametrize("task", TASK_NAMES)
def test_fewer_samples_are_the_first_of_more(task):
    assert records(task, num_samples=1) == records(task, num_samples=3)[:1]


@pytest.mark.parametrize("task", TASK_NAMES)
def test_all_references_get_full_marks_and_nothing_gets_none(task):
    for record in records(task):
        gold = f"Therefore, the answer is ({', '.join(record.targets)})."
        assert score(task, gold, record.targets) == 1.0
        assert score(task, gold.upper(), record.targets) == 1.0
        assert score(task, "", record.targets) == 0.0


def check_length(task, length, counter, num_samples=2):
    for record in records(task, length, num_samples, counter):
        question = record.values["question"]
        prompt = render_prompt(context(record), question, TASKS[task].instructions)
        used = counter.count(prompt)
        assert used == record.extra["prompt_tokens"]
        total = used + TASKS[task].answer_tokens + OVERHEAD
        slack = 0.1 * length if task.startswith("qa_") and length < 4096 else 0.02 * length
        assert length - max(40, slack) <= total <= length


@pytest.mark.parametrize("length", [700, 4096, 20_000])
@pytest.mark.parametrize("counter", [EstimatedTokens(), WordTokens()], ids=lambda c: c.name)
@pytest.mark.parametrize("task", TASK_NAMES)
def test_prompt_answer_and_overhead_come_close_to_the_length_and_never_exceed_it(
    task, counter, length
):
    check_length(task, length, counter)


@pytest.mark.parametrize("task", TASK_NAMES)
def test_lengths_in_tokens_of_a_real_tokenizer_are_kept_too(task):
    nano = str(files("longspan.trainers") / "checkpoints" / "nano")
    check_length(task, 4096, load_tokenizer(nano), num_samples=1)


@pytest.mark.parametrize("task", TASK_NAMES)
def test_the_gold_answer_fits_into_the_room_for_the_answer(task):
    nano = load_tokenizer(str(files("longspan.trainers") / "checkpoints" / "nano")).count

    def spelling(text):
        """A tokenizer that knows common words, and spells capitals and splits all others."""
        known = r"Therefore|the|answer|is"
        return len(re.findall(rf"\b(?:{known})\b|[a-z]{{1,3}}|[A-Z]|\d|[^\w\s]", text))

    for record in records(task, num_samples=5, answer_tokens=None):
        listed = record.targets if TASKS[task].references == "all" else record.targets[:1]
        answer = f"Therefore, the answer is ({', '.join(listed)})."
        for count in (EstimatedTokens().count, nano, spelling):
            assert count(answer) < TASKS[task].answer_tokens


def test_room_for_answer_and_overhead_can_be_set():
    (record,) = records("vt", 1000, 1, answer_tokens=500, overhead_tokens=0)
    assert 460 <= record.extra["prompt_tokens"] <= 500
    assert record.extra["answer_tokens"] == 500


@pytest.mark.parametrize("task", TASK_NAMES)
def test_long_texts_are_counted_only_a_few_times(task):
    counter = Recording()
    num_samples = 3
    records(task, 200_000, num_samples, counter=counter)
    assert sum(count > 70_000 for count in counter.counts) <= 3 * num_samples
    assert sum(counter.counts) <= 3 * num_samples * 200_000


@pytest.mark.parametrize(
    ("task", "num_needles", "num_asked", "value"),
    [
        ("niah_single_1", 1, 1, r"\d{7}"),
        ("niah_single_2", 1, 1, r"\d{7}"),
        ("niah_single_3", 1, 1, r"[0-9a-f-]{36}"),
        ("niah_multikey_1", 4, 1, r"\d{7}"),
        ("niah_multikey_2", 1, 1, r"\d{7}"),
        ("niah_multikey_3", 1, 1, r"[0-9a-f-]{36}"),
        ("niah_multivalue", 4, 4, r"\d{7}"),
        ("niah_multiquery", 4, 4, r"\d{7}"),
    ],
)
def test_needles_are_those_of_the_variant(task, num_needles, num_asked, value):
    for record in records(task):
        hidden = NEEDLE.findall(context(record))
        question = record.values["question"]
        asked = [held for _, key, held in hidden if key in re.findall(r"[\w-]+", question)]
        assert sorted(asked) == sorted(record.targets)
        assert len(record.targets) == len(set(record.targets)) == num_asked
        assert all(re.fullmatch(value, target) for target in record.targets)
        assert record.extra["num_needles"] == num_needles
        in_lines = task in ("niah_multikey_2", "niah_multikey_3")
        assert len(hidden) > 50 if in_lines else len(hidden) == num_needles
        assert record.hops == 1 and record.kind == task


@pytest.mark.parametrize("task", NEEDLE_TASKS)
def test_every_needle_that_is_asked_for_stands_once_and_no_other_has_its_key_or_value(task):
    for record in records(task, num_samples=4):
        text = context(record)
        assert all(text.count(target) == 1 for target in record.targets)
        hidden = NEEDLE.findall(text)
        asked = {key for _, key, held in hidden if held in record.targets}
        rest = [(key, held) for _, key, held in hidden if held not in record.targets]
        assert len(hidden) == len(rest) + len(record.targets)
        assert not {key for key, _ in rest} & asked


def test_lines_of_the_haystack_avoid_the_value_that_is_asked_for(monkeypatch):
    monkeypatch.setattr(
        "longspan.harness.datasets.generated.needles._NUMBERS", range(10**6, 10**6 + 9)
    )
    for record in records("niah_multikey_2", num_samples=9):
        assert context(record).count(f"is {record.targets[0]}.") == 1


@pytest.mark.parametrize("task", [*NEEDLE_TASKS, "vt"])
def test_depths_are_different_ones_of_the_forty_and_where_the_needle_is(task):
    for record in records(task, 20_000, 3):
        depths = record.extra["depths"]
        assert depths == sorted(set(depths)) and {*depths} < {*DEPTHS}
        text = context(record)
        places = sorted(text.index(target) / len(text) for target in record.targets)
        assert places == pytest.approx(depths, abs=0.02)


def test_needles_stand_between_sentences_of_the_essays():
    for record in records("niah_multikey_1", num_samples=8):
        for match in NEEDLE.finditer(context(record)):
            before = context(record)[: match.start()].rstrip()
            assert before == "" or before.endswith(".")
            assert not before.endswith("Dr.")


def test_the_same_sample_is_asked_at_every_length():
    short, long = records("niah_multiquery", 2000), records("niah_multiquery", 8000)
    for one, other in zip(short, long, strict=True):
        assert (one.values, one.targets) == (other.values, other.targets)
        assert one.extra["index"] == other.extra["index"]
        assert one.id != other.id


def test_essays_are_repeated_to_reach_the_length():
    corpus = ["It is late. We go home. Nobody waits for us."]
    (record,) = records("niah_single_2", 3000, 1, corpus=corpus)
    assert context(record).count("Nobody waits for us.") > 100


def test_following_the_assignments_gives_exactly_the_references():
    for record in records("vt", num_samples=4):
        values = {}
        for name, given in re.findall(r"^LET (\w+) = (\w+)$", context(record), re.MULTILINE):
            values[name] = values.get(given, given)
        (asked,) = re.findall(r"\d{5}", record.values["question"])
        assert {name for name, value in values.items() if value == asked} == {*record.targets}
        assert len(values) == len(record.targets) == 5 and record.hops == 4
        assert all(re.fullmatch("[A-Z]{5}", name) for name in values)


@pytest.mark.parametrize(
    ("length", "often", "seldom"), [(8192, 30, 3), (4096, 30, 3), (4000, 6, 1)]
)
def test_common_words_occur_as_often_as_ruler_says(length, often, seldom):
    for record in records("cwe", length):
        entries = context(record).split(" ")
        assert entries[::2] == [f"{number}." for number in range(1, len(entries) // 2 + 1)]
        counts = Counter(entries[1::2])
        assert {word for word, count in counts.items() if count == often} == {*record.targets}
        assert {count for word, count in counts.items() if word not in record.targets} == {seldom}
        assert len(record.targets) == 10


@pytest.mark.parametrize("length", [700, 8192])
def test_frequent_words_follow_the_zeta_distribution(length):
    for record in records("fwe", length):
        (dots, most), *ranked = Counter(context(record).split()).most_common()
        assert dots == "..."
        assert {word for word, _ in ranked[:3]} == {*record.targets}
        assert ranked[2][1] > ranked[3][1]
        assert all(re.fullmatch("[a-z]{6}", word) for word, _ in ranked)
        for rank, (_, count) in enumerate(ranked[:3], 2):
            assert abs(count - most / rank**2) <= 1


@pytest.mark.parametrize("task", ["qa_1", "qa_2"])
def test_the_passages_of_a_question_stand_once_among_numbered_others(task):
    for record in records(task, num_samples=5):
        ids = [document.id for document in record.documents]
        assert record.supporting and all(ids.count(name) == 1 for name in record.supporting)
        held = " ".join(d.text for d in record.documents if d.id in record.supporting)
        assert all(target in held for target in record.targets)
        titles = [document.title for document in record.documents]
        assert titles == [f"Document {number}:" for number in range(1, len(titles) + 1)]
        assert len(titles) > 10
        assert record.hops == {"qa_1": 1, "qa_2": 2}[task]


def test_questions_without_answer_are_passed_over_and_answers_are_alternatives():
    first, second = records("qa_1")
    assert first.values == {"question": "What is the code of item 0-0?"}
    assert first.targets == ("C0000", "is C0000")
    assert second.values == {"question": "What is the code of item 0-1?"}


def test_questions_whose_passages_do_not_fit_are_left_out_and_counted():
    rows = squad_articles()
    rows[0]["paragraphs"][0]["context"] += " It rains." * 1000
    (first, _), left_out = drawn("qa_1", 1000, 2, corpus=rows)
    assert first.values == {"question": "What is the code of item 0-1?"}
    assert first.extra["index"] == 1
    assert [str(one) for one in left_out] == ["qa_1 question 1: its passages exceed 1000 tokens"]


def test_too_few_questions_are_an_error():
    with pytest.raises(DataError, match="too few questions for qa_2: 6 fit .* num_samples is 7"):
        records("qa_2", num_samples=7)


@pytest.mark.parametrize(
    ("task", "corpus", "message"),
    [
        ("niah_single_2", [], "niah_single_2 hides its needles in essays: got no corpus"),
        ("niah_single_2", [{}], "got 1 items of type dict; give texts"),
        ("niah_single_2", ["no end of a sentence"], "no sentence ends"),
        ("qa_1", [], "qa_1 needs rows of SQuAD: got no corpus"),
        ("qa_2", ["text"], "qa_2 needs rows of HotpotQA: got 1 items of type str"),
        ("qa_1", [{"title": "A"}], "row 1 is not one of SQuAD 2.0"),
        ("qa_2", [{"question": "Who?"}], "row 1 is not one of HotpotQA"),
    ],
)
def test_a_corpus_that_is_not_what_a_task_needs_is_one_line(task, corpus, message):
    with pytest.raises(DataError, match=message):
        records(task, corpus=corpus)


@pytest.mark.parametrize("task", ["cwe", "vt", "niah_single_1", "niah_multikey_3"])
def test_a_length_without_room_for_the_question_is_an_error(task):
    with pytest.raises(DataError, match=f"too small for {task}: got 256, of which .* raise it"):
        records(task, 256, overhead_tokens=150)


@pytest.mark.parametrize("options", [{"length_tokens": 10}, {"hops": 2}])
def test_short_lengths_and_unknown_options_are_refused(options):
    with pytest.raises(ValidationError):
        RulerOptions(**options)
