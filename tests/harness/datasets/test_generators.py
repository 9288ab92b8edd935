"""Generated tasks: made from parameters, counted with the tokenizer of the model."""

import gzip
import json

import pytest
from inspect_ai import eval

from longspan.harness.datasets import generators
from longspan.harness.datasets.data import DATA_VARIABLE
from longspan.harness.datasets.generated.ruler import TASK_NAMES, TASKS
from longspan.harness.errors import DataError, SpecError
from longspan.harness.registry import find_task
from longspan.harness.tokens import EstimatedTokens, active_counter, counting_for
from tests.harness.datasets.generated.material import essays, hotpot_rows, squad_articles
from tests.harness.scripted import scripted_model
from tests.harness.words import WordTokens

FREE = [name for name in TASK_NAMES if TASKS[name].material is None]


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    with gzip.open(tmp_path / "wiki_corpus.jsonl.gz", "wt") as file:
        file.writelines(json.dumps({"title": "t", "text": text}) + "\n" for text in essays())
    (tmp_path / "dev-v2.0.json").write_text(json.dumps({"data": squad_articles()}))
    (tmp_path / "hotpot_dev_distractor_v1.json").write_text(json.dumps(hotpot_rows()))
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))


def gold(sample) -> str:
    every = sample.target if isinstance(sample.target, list) else [sample.target]
    together = sample.metadata.get("reference_rule") != "part"
    return ", ".join(every) if together else every[0]


def test_ruler_has_all_13_tasks_and_the_gold_answers_score_one(mirror, tmp_path):
    task = find_task("ruler", length_tokens=1500, num_samples=1)
    assert [sample.metadata["kind"] for sample in task.dataset] == list(TASK_NAMES)
    golds = iter([gold(sample) for sample in task.dataset])
    model = scripted_model(lambda call: f"Therefore, the answer is ({next(golds)}).")
    (log,) = eval(task, model=model, log_dir=str(tmp_path / "logs"), max_connections=1)
    values = {s.metadata["kind"]: s.scores["ruler"].value for s in log.samples}
    assert values == dict.fromkeys(TASK_NAMES, 1.0)
    assert log.results.scores[0].metrics["compat"].value == 1.0


def test_lengths_are_counted_with_the_model_that_is_evaluated(tmp_path):
    with counting_for(lambda: scripted_model("x", token_counter=WordTokens())):
        task = find_task("niah", lengths_tokens="400", num_depths=3)
    for sample in task.dataset:
        facts = sample.metadata
        assert facts["tokenizer"] == WordTokens().name
        assert 200 < facts["prompt_tokens"] <= 400 - 128 - 32
    assert {sample.metadata["depth"] for sample in task.dataset} == {0.0, 0.5, 1.0}
    assert active_counter().name == EstimatedTokens.name


def test_the_version_of_a_task_tells_its_options_apart_and_not_its_runs():
    def version(**options):
        return find_task("niah", lengths_tokens="400", num_depths=2, **options).version

    assert version() == version() != version(seed=1)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"tasks": "qa_1"}, DataError, "qa_1 needs squad: none of dev-v2.0.json"),
        ({"tasks": "niah_single_2"}, DataError, "needs essays: .*pass -T essays=FILE"),
        ({"tasks": "niah"}, SpecError, "unknown task 'niah'; RULER has niah_single_1"),
        ({"tasks": "vt", "length_tokens": 10}, SpecError, "length_tokens"),
        ({"tasks": "vt", "bogus": 1}, SpecError, "no parameter 'bogus'"),
    ],
)
def test_mistakes_are_one_line(options, error, message, monkeypatch):
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    with pytest.raises(error, match=message):
        find_task("ruler", **options)


def test_questions_left_out_are_counted_in_the_log_and_said(mirror, tmp_path, caplog):
    rows = squad_articles()
    rows[0]["paragraphs"][0]["context"] += " It rains." * 1000
    (tmp_path / "dev-v2.0.json").write_text(json.dumps({"data": rows}))
    facts = find_task("ruler", tasks="qa_1", length_tokens=1000, num_samples=2).metadata
    assert (facts["num_samples"], facts["num_rows_left_out"]) == (2, 1)
    assert facts["reasons_left_out"][0]["first_rows"] == ["qa_1 question 1"]
    assert "1 rows left out: its passages exceed 1000 tokens (qa_1 question 1)" in caplog.text
    assert find_task("niah", lengths_tokens=400, num_depths=2).metadata["num_rows_left_out"] == 0


def test_depths_of_the_needle_may_be_given():
    task = find_task("niah", lengths_tokens=400, depths="0.25,0.5")
    assert [sample.metadata["depth"] for sample in task.dataset] == [0.25, 0.5]


def test_tasks_without_material_need_no_data(monkeypatch):
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    task = find_task("ruler", tasks=",".join(FREE), length_tokens=1500, num_samples=1)
    assert len(task.dataset) == len(FREE) == 6


def test_material_in_a_json_array_is_read_once(tmp_path, monkeypatch):
    path = tmp_path / "hotpot_dev_distractor_v1.json"
    path.write_text(json.dumps(hotpot_rows()))
    monkeypatch.setattr(generators, "read_rows", lambda *arguments: pytest.fail("read again"))
    task = find_task("ruler", tasks="qa_2", length_tokens=1024, num_samples=1, hotpotqa=str(path))
    assert len(task.dataset) == 1
