import json
from pathlib import Path

import pytest

from longspan.harness.errors import DataError, SpecError
from longspan.synth_templates.curation.benchmark_questions import read_benchmarks
from longspan.synth_templates.pipeline import synthesize
from longspan.synth_templates.plan import parse_plan

SHARED = Path(__file__).parents[3] / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.exists(), reason="../shared/data is missing")


def lines(path: Path, *rows: object) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_json_lines_are_read_under_the_usual_keys(tmp_path: Path):
    name = lines(
        tmp_path / "bench.jsonl",
        {"question": "Who is Karo?", "answers": ["Belo", 7], "id": "q1", "context": "Karo is."},
        {"input": "Who is Belo? ", "target": "Karo"},
        {"text": "no question"},
        {"question": ["not", "text"]},
    )
    (found,) = read_benchmarks([name, name])
    first, second = found.questions
    assert (first.id, first.answers, first.context) == ("q1", ("Belo", "7"), "Karo is.")
    assert (second.id, second.question, second.answers) == ("row 2", "Who is Belo?", ("Karo",))
    assert found.facts()["num_left_out"] == 2


def test_the_hash_depends_on_what_is_asked(tmp_path: Path):
    names = [
        lines(tmp_path / f"{i}.jsonl", {"question": "Who?", "answer": a, "id": "q"})
        for i, a in enumerate("AAB")
    ]
    one, two, other = (found.hash for found in read_benchmarks(names))
    assert one == two != other


def test_a_task_set_is_a_benchmark_whose_choices_have_answers_in_words(tmp_path: Path):
    plan = {"kinds": {"world_choice1": 1}, "splits": {"test": {200: 3}}}
    synthesize(parse_plan(plan, "test"), tmp_path / "set", quiet=True)
    (found,) = read_benchmarks([str(tmp_path / "set")])
    assert len(found.questions) == 3
    assert all(len(question.answers[0]) > 1 for question in found.questions)


@needs_shared
def test_a_registered_task_is_read_as_evaluations_read_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LONGSPAN_DATA", str(SHARED))
    musique, hotpotqa = read_benchmarks(["musique", "longspan/hotpotqa"])
    assert len(musique.questions) > 40 and len(hotpotqa.questions) > 40
    assert all(question.answers and question.context for question in musique.questions)


@pytest.mark.parametrize(
    ("name", "error", "what"),
    [
        ("nowhere.jsonl", DataError, "nowhere.jsonl"),
        ("no_such_task", SpecError, "unknown task"),
    ],
)
def test_what_is_not_there_is_one_line(tmp_path: Path, name, error, what):
    with pytest.raises(error, match=what) as caught:
        read_benchmarks([name])
    assert "\n" not in str(caught.value)


def test_a_file_without_questions_is_one_line(tmp_path: Path):
    name = lines(tmp_path / "empty.jsonl", {"text": "nothing"})
    with pytest.raises(DataError, match="no questions in"):
        read_benchmarks([name])


@pytest.mark.parametrize("name", ["", "  "])
def test_an_empty_name_is_no_folder(name: str):
    with pytest.raises(DataError, match="has the name ' ?'; name a registered task"):
        read_benchmarks([name])
