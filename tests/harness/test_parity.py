"""Training rewards equal evaluation scores, for every registered task."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import typer
from inspect_ai import Task
from inspect_ai.dataset import Sample
from inspect_ai.log import read_eval_log
from inspect_ai.scorer import Score, match, mean, scorer

from longspan.harness import parity
from longspan.harness.cli import load_command
from longspan.harness.datasets.documents import Document
from longspan.harness.errors import DataError, ModelError
from longspan.harness.evaluate import EvaluationSettings, evaluate
from longspan.harness.generation import GenerationSettings
from longspan.harness.harvest import Outcome
from longspan.harness.parity import hostile_completions, parity_command, replay_parity
from longspan.harness.registry import SPECS, find_task, load_registry
from longspan.harness.replay import Completion, read_completions
from longspan.harness.resolve import named_task
from longspan.harness.scoring.exploits import EXPLOITS, VARIANTS
from longspan.harness.taskset import SampleRow, write_taskset
from tests.harness.datasets.test_benchmarks import DOCMATH, FRAMES, LONGBENCH, LONGBENCH_V2, TWOWIKI
from tests.harness.datasets.test_conversations import CORPUSQA, LONGMEMEVAL, MRCR

COMPLETIONS_PER_TASK = len(VARIANTS) + len(EXPLOITS)
SHARED = Path(__file__).parents[3] / "shared" / "data"
REAL_DATA = {
    "hotpotqa": "hotpotqa_train_sample.jsonl.gz",
    "kv_retrieval": "kv_retrieval_140.jsonl.gz",
    "musique": "musique_train_sample.jsonl.gz",
    "nq_distractors": "nq_open_oracle.jsonl.gz",
}
NAMES = ["Arnor", "Belfalas", "Cardolan", "Dorwinion", "Eriador", "Forodwaith"]
load_registry()


def musique_row(i: int, name: str) -> dict:
    paragraph = {"title": f"River {i}", "paragraph_text": f"It rises in {name}."}
    return {
        "id": f"m{i}",
        "question": f"Where does river {i} rise?",
        "answer": name,
        "answer_aliases": [f"the land of {name}"],
        "paragraphs": [{**paragraph, "is_supporting": True}],
    }


def hotpotqa_row(i: int, name: str) -> dict:
    question = f"Where does river {i} rise?"
    context = [[f"River {i}", [f"It rises in {name}."]], ["Hills", ["They are green."]]]
    facts = [[f"River {i}", 0]]
    row = {"_id": f"h{i}", "question": question, "answer": name, "context": context}
    return {**row, "supporting_facts": facts, "type": "bridge", "level": "easy"}


def nq_row(i: int, name: str) -> dict:
    passage = {"title": f"River {i}", "text": f"It rises in {name}.", "hasanswer": True}
    return {
        "question": f"where does river {i} rise",
        "answers": [name],
        "ctxs": [{**passage, "isgold": True}],
        "nq_annotated_gold": {},
    }


def kv_row(i: int, name: str) -> dict:
    pairs = [[f"key-{i}-{k}", f"{name}-{k}"] for k in range(5)]
    return {"key": pairs[2][0], "value": pairs[2][1], "ordered_kv_records": pairs}


ROWS = {
    "musique": musique_row,
    "hotpotqa": hotpotqa_row,
    "nq_distractors": nq_row,
    "kv_retrieval": kv_row,
    "twowiki": lambda i, name: {**TWOWIKI, "_id": f"w{i}", "answer": name},
    "longbench": lambda i, name: {**LONGBENCH, "_id": f"l{i}", "answers": [name, f"land {name}"]},
    "longbench_v2": lambda i, name: {**LONGBENCH_V2, "_id": f"v{i}", "answer": "ABCD"[i % 4]},
    "frames": lambda i, name: {**FRAMES, "Prompt": f"Where does river {i} rise?", "Answer": name},
    "docmath": lambda i, name: {
        **DOCMATH,
        "question_id": f"complong-testmini-{i}",
        "ground_truth": [20.5, -31.0, 1e-05, True][i % 4],
    },
    "mrcr": lambda i, name: {**MRCR, "answer": f"{MRCR['random_string_to_prepend']}{name}"},
    "corpusqa": lambda i, name: {
        **CORPUSQA,
        "id": f"education_en_{i}",
        "answer": [[name], [], "12.50", name][i % 4],
    },
    "longmemeval": lambda i, name: {**LONGMEMEVAL, "question_id": f"q{i}", "answer": name},
}
GENERATED = {
    "ruler": {"tasks": "niah_single_1,vt", "length_tokens": 512, "num_samples": 4},
    "niah": {"lengths_tokens": "512", "num_depths": 3},
}


def taskset_folder(folder: Path) -> Path:
    """Writes a task set with every task type and scorer that a sample can have."""
    kinds = [
        ("multiple_choice", "letter", ("B",)),
        ("multi_hop", "cover_exact_match", ("Arnor", "the land of Arnor")),
        ("corpus_numeric", "numeric", ("-1234.5",)),
        ("dialogue_memory", "sequence_ratio", ("Arnor then Belfalas",)),
        ("reading_comprehension", "cover_exact_match", ("Eriador",)),
    ]
    rows = [
        SampleRow(
            id=f"s{i}",
            split="test",
            kind=task_type,
            task_type=task_type,
            question=f"Question {i}?",
            target=target,
            scorer=name,
            documents=("d0",),
            document_group="w0",
            seed=i,
        )
        for i, (task_type, name, target) in enumerate(kinds)
    ]
    documents = [("w0", Document(id="d0", title="Lands", text="Arnor lies north of Belfalas."))]
    write_taskset(folder, rows, documents, {"name": "made-up"}, "card")
    return folder


def task_with_data(name: str, folder: Path) -> Task:
    reader = SPECS[name].spec.dataset.reader
    if reader == "taskset":
        return find_task(name, path=str(taskset_folder(folder / "taskset")))
    if reader in GENERATED:
        return find_task(name, **GENERATED[reader])
    rows = [ROWS[reader](i, f"{land} {i}") for i, land in enumerate(NAMES * 4)]
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return find_task(name, data=str(path))


@pytest.mark.parametrize("name", sorted(SPECS))
def test_rewards_equal_scores_for_every_registered_task(name, tmp_path):
    task = task_with_data(name, tmp_path)
    completions = hostile_completions(task, COMPLETIONS_PER_TASK)
    report = replay_parity(task, completions)
    assert report.differences == ()
    assert report.num_completions == COMPLETIONS_PER_TASK
    assert report.num_scored >= 0.9 * COMPLETIONS_PER_TASK, "hostile text must not break a scorer"


def test_200_completions_are_compared_over_the_registry():
    assert COMPLETIONS_PER_TASK * len(SPECS) >= 200


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data is missing")
@pytest.mark.parametrize("name", sorted(REAL_DATA))
def test_200_completions_that_a_real_model_gave_to_real_data_are_worth_the_same_in_both(name):
    # SmolLM2-135M-Instruct on 2026-11-24: full context, 700 input and 32 output tokens, temperature
    # 0.7, top-p 0.95, seed 0, the first 50 samples of each task.
    lines = (Path(__file__).parent / "recorded_completions.jsonl").read_text("utf-8").splitlines()
    recorded = [row for row in map(json.loads, lines) if row.pop("task") == name]
    assert len(recorded) == 50
    report = replay_parity(
        find_task(name, data=str(SHARED / REAL_DATA[name])), [Completion(**row) for row in recorded]
    )
    assert (report.differences, report.num_scored) == ((), 50)


def test_what_the_embedded_policy_says_about_all_task_types_is_worth_the_same_in_both(tmp_path):
    plan = {"name": "w", "seed": 3, "tokenizer": "nano", "splits": {"test": {160: 40}}}
    (tmp_path / "plan.yaml").write_text(json.dumps(plan))
    folder = tmp_path / "taskset"
    load_command("synth")(plan=tmp_path / "plan.yaml", out=folder, quiet=True)
    settings = EvaluationSettings(generation=GenerationSettings(temperature=1.0, max_tokens=48))
    log = evaluate(named_task(str(folder), None, {}), "longspan-local/nano", tmp_path, settings)
    recorded = read_completions(Path(log.location))
    report = replay_parity(named_task(str(folder), None, {}), recorded)
    assert (report.differences, report.num_completions) == ((), 40)
    scores = [one.scores for one in read_eval_log(log.location).samples]
    values = {score.value for by_name in scores for score in by_name.values()}
    assert {0.0, 1.0} <= values, "the recording holds right and wrong answers"


def test_a_log_that_holds_no_completion_is_one_line(tmp_path):
    (tmp_path / "damaged.eval").write_bytes(b"PK not a log")
    with pytest.raises(DataError, match="cannot read eval log .*damaged.eval"):
        read_completions(tmp_path / "damaged.eval")


def made_up(scoring, name: str = "made_up") -> Task:
    samples = [Sample(id=f"s{i}", input=f"Question {i}?", target=NAMES[i]) for i in range(3)]
    return Task(dataset=samples, scorer=scoring, name=name)


def test_a_scorer_that_is_not_a_function_of_the_completion_is_caught():
    generator = random.Random(0)

    @scorer(metrics=[mean()])
    def moody():
        async def score(state, target):
            return Score(value=generator.random(), answer="x")

        return score

    completions = [Completion("s0", "Arnor"), Completion("s1", "Belfalas", "max_tokens")]
    report = replay_parity(made_up(moody()), completions)
    assert [one.completion for one in report.differences] == completions
    assert "sample s0, completion 'Arnor'" in str(report.differences[0])


@pytest.mark.parametrize("where", [{3}, {1}])
def test_a_sample_that_has_a_score_on_one_side_only_is_a_difference(where):
    num_calls = 0

    @scorer(metrics=[mean()])
    def judged_in_vain():
        async def score(state, target):
            nonlocal num_calls
            num_calls += 1
            return Score(
                value=0.0,
                metadata={"validity": "judge_failed" if num_calls in where else "answered"},
            )

        return score

    completions = [Completion("s0", "x"), Completion("s1", "y")]
    report = replay_parity(made_up(judged_in_vain()), completions)
    assert [one.completion for one in report.differences] == completions[:1]
    assert "no score (judge_failed)" in str(report.differences[0])


def test_scorers_that_fail_fail_alike():
    @scorer(metrics=[mean()])
    def brittle():
        async def score(state, target):
            if not state.output.completion:
                raise ValueError("nothing to score")
            return Score(value=float("nan") if state.output.completion == "?" else 1.0)

        return score

    completions = [Completion("s0", ""), Completion("s0", "?"), Completion("s0", "x")]
    report = replay_parity(made_up(brittle()), completions)
    assert (report.differences, report.num_scored) == ((), 1)
    with pytest.raises(ModelError, match="not one of 2"):
        replay_parity(made_up(brittle()), completions[:2])


def test_letter_grades_of_other_packages_are_numbers_in_both():
    completions = [Completion("s0", "Arnor"), Completion("s1", "wrong"), Completion("s0", "Arnor")]
    report = replay_parity(made_up(match()), completions)
    assert (report.differences, report.num_scored) == ((), 3)


def test_completions_of_unknown_samples_are_refused():
    with pytest.raises(DataError, match="has no sample 'other'"):
        replay_parity(made_up(match()), [Completion("other", "x")])
    with pytest.raises(DataError, match="no completion"):
        replay_parity(made_up(match()), [])


def test_hostile_completions_hold_right_answers_and_cover_the_samples():
    completions = hostile_completions(made_up(match()), 40)
    texts = [one.text for one in completions]
    assert {one.sample_id for one in completions} == {"s0", "s1", "s2"}
    assert "" in texts and any(len(text) > 50_000 for text in texts)
    assert any("Arnor." in one.text for one in completions if one.sample_id == "s0")
    assert {one.stop_reason for one in completions} == {"stop", "max_tokens"}


def test_completions_are_read_from_json_lines(tmp_path):
    path = tmp_path / "completions.jsonl"
    path.write_text('{"sample_id": "s0", "text": "x"}\n{"sample_id": "s1", "text": ""}\n')
    assert read_completions(path) == [Completion("s0", "x"), Completion("s1", "")]
    path.write_text('{"sample": "s0"}\n')
    with pytest.raises(DataError, match="not a completion"):
        read_completions(path)


def test_the_command_exits_with_1_if_anything_differs(tmp_path, capsys, monkeypatch):
    folder = taskset_folder(tmp_path / "taskset")
    parity_command([str(folder)], count=10)
    assert "10 completions, 10 scored, 0 differences" in capsys.readouterr().out
    monkeypatch.setattr(parity, "sample_outcome", lambda *arguments: Outcome(2.0, "answered"))
    with pytest.raises(typer.Exit) as ended:
        parity_command([str(folder)], count=10)
    assert ended.value.exit_code == 1
    assert "10 differences" in capsys.readouterr().out
    with pytest.raises(DataError, match="belong to one task"):
        parity_command(["a", "b"], completions=tmp_path / "x.jsonl")
