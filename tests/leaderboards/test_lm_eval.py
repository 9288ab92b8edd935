"""lm-eval's files on the board, from recorded runs.

Recorded on 2026-11-24 in `tests/harness/lm_eval`, with nano and nano-ceiling, by `longspan lm-eval
world_answer,world_choice --include-path . --model MODEL --temperature 0 --apply-chat-template`;
paths and the description of the machine were taken out of the results.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from longspan.harness.lm_eval.record import RECORD_FILE
from longspan.leaderboards.lm_eval import read_lm_eval
from longspan.leaderboards.logs import Logs, read_logs
from longspan.leaderboards.site import board_command
from longspan.leaderboards.views import build_board

RECORDED = Path(__file__).parent / "lm_eval"
HASHES = {"nano": "2e02ced776e2c8ff", "nano-ceiling": "28f0bd1f0fd97e76"}


@pytest.fixture(scope="module")
def recorded() -> Logs:
    return read_logs([RECORDED])


@pytest.fixture
def answer(tmp_path: Path) -> Path:
    """Returns a copy of nano's run of `world_answer`, without its record: as of a plain lm_eval."""
    (folder,) = RECORDED.glob("nano/world_answer-*")
    shutil.copytree(folder, tmp_path / "out")
    (tmp_path / "out" / RECORD_FILE).unlink()
    return tmp_path / "out"


def results_of(folder: Path) -> Path:
    return next(folder.glob("results_*.json"))


def change_results(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    results = json.loads(results_of(folder).read_text("utf-8"))
    change(results)
    results_of(folder).write_text(json.dumps(results), "utf-8")


def change_rows(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = next(folder.glob("samples_*.jsonl"))
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    for row in rows:
        change(row)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def test_a_run_says_harness_task_checkpoint_and_settings(recorded):
    assert [(run.task, run.checkpoint) for run in recorded.runs] == [
        ("lm-eval/world_answer", "nano"),
        ("lm-eval/world_answer", "nano-ceiling"),
        ("lm-eval/world_choice", "nano"),
        ("lm-eval/world_choice", "nano-ceiling"),
    ]
    assert recorded.skipped == ()
    answer, choice = recorded.runs[0], recorded.runs[2]
    assert all(run.checkpoint_hash == HASHES[run.checkpoint] for run in recorded.runs)
    assert (answer.solver, choice.solver) == ("generate_until", "multiple_choice")
    assert answer.settings == {"temperature": 0.0, "max_tokens": 40}
    assert choice.settings == {} and not choice.generates
    asked = {"filter": "phrase", "num_fewshot": 0, "chat_template": True}
    assert answer.solver_args == asked
    assert answer.task_version.endswith(" (version 2.0)") and answer.num_samples == 4
    assert answer.created.startswith("2026-11-24T12:3") and answer.seconds > 0


def test_rows_hold_prompts_answers_and_scores(recorded):
    rows = recorded.samples[recorded.samples["run"] == 0]
    row = rows.iloc[0]
    assert row["sample"].startswith("00000-") and row["value"] in (0.0, 1.0)
    assert row["question"] == "What is Pemex's home town's main firm's owner?"
    assert (row["target"], row["answer"]) == ("Sekrul", "Sekrul")
    assert row["completion"].endswith("Therefore, the answer is Sekrul.")
    assert row["validity"] == "unknown", "lm-eval does not tell whether a text was cut off"
    assert row["truncation"] == {"tokens_dropped": 0}
    assert row["calls"] == 1 and row["input_tokens"] > 50 and row["output_tokens"] > 0


def test_a_choice_is_shown_as_text(recorded):
    rows = recorded.samples[recorded.samples["run"] == 2]
    assert list(rows["target"]) == ["Sekrul", "Pemex", "Bofun", "Pemex"]
    for row in rows.itertuples():
        assert (row.answer == row.target) == bool(row.value) and row.validity == "answered"
        assert row.answer in row.completion and row.calls == 3


def test_accuracies_are_those_that_lm_eval_reports(recorded):
    board = build_board(recorded)
    shown = {(row["task"], row["checkpoint"]): row["accuracy"] for row in board["numbers"]["rows"]}
    for path in RECORDED.rglob("results_*.json"):
        results = json.loads(path.read_text("utf-8"))
        ((task, values),) = results["results"].items()
        value = values.get("exact_match,phrase", values.get("acc,none"))
        assert shown[f"lm-eval/{task}", Path(results["model_name"]).name] == value


def test_checkpoints_are_compared_sample_by_sample(recorded):
    differences = build_board(recorded, baseline="nano")["numbers"]["differences"]
    assert {(row["task"], row["checkpoint"], row["num_samples"]) for row in differences} == {
        ("lm-eval/world_answer", "nano-ceiling", 4),
        ("lm-eval/world_choice", "nano-ceiling", 4),
    }


def test_only_the_same_document_is_the_same_sample(answer):
    def change(row):
        if row["doc_id"] == 2:
            row["doc_hash"] = "0" * 64

    change_rows(answer, change)
    (ceiling,) = RECORDED.glob("nano-ceiling/world_answer-*")
    (row,) = build_board(read_logs([answer, ceiling]), baseline="nano")["numbers"]["differences"]
    assert row["num_samples"] == 3


def test_the_files_of_a_plain_lm_eval_go_by_the_models_name(answer):
    change_rows(answer, lambda row: row.pop("longspan"))
    read = read_logs([answer])
    (run,) = read.runs
    assert (run.checkpoint, run.checkpoint_hash) == ("nano", None)
    assert read.samples["input_tokens"].isna().all() and (read.samples["calls"] == 1).all()
    board = build_board(read)
    assert board["cost"]["rows"][0]["input_tokens"] is None
    assert board["cost"]["totals"]["num_uncounted"] == 1


def test_several_tasks_in_one_file_are_runs_of_their_own(answer):
    (other,) = RECORDED.glob("nano/world_choice-*")
    choice = json.loads(results_of(other).read_text("utf-8"))

    def join(results):
        for key in ("configs", "n-samples", "n-shot", "versions", "higher_is_better"):
            results[key] |= choice[key]

    change_results(answer, join)
    time = results_of(answer).stem.removeprefix("results_")
    shutil.copy(next(other.glob("samples_*")), answer / f"samples_world_choice_{time}.jsonl")
    runs = read_logs([results_of(answer)]).runs
    assert [run.task for run in runs] == ["lm-eval/world_answer", "lm-eval/world_choice"]
    assert all(math.isnan(run.seconds) for run in runs), "the time is that of both"


def test_lm_eval_stands_beside_inspect_and_is_in_no_figure_of_its(run_log, tmp_path):
    run_log(tmp_path / "inspect", "nano", 0.5, count=6, name="world_answer")
    shutil.copytree(RECORDED / "nano", tmp_path / "lm-eval")
    board_command(logs=[tmp_path], out=tmp_path / "site")
    board = json.loads((tmp_path / "site" / "board.json").read_text("utf-8"))
    numbers = {row["task"]: row["num_samples"] for row in board["numbers"]["rows"]}
    assert numbers == {"world_answer": 6, "lm-eval/world_answer": 4, "lm-eval/world_choice": 4}
    assert all(
        row["task"] == "world_answer"
        for rows in board["numbers"]["breakdowns"].values()
        for row in rows
    )
    page = (tmp_path / "site" / "index.html").read_text("utf-8")
    assert "lm-eval/world_choice" in page and "No figure averages over tasks" in page


def test_of_two_runs_of_one_task_the_later_counts(answer, tmp_path):
    shutil.copytree(answer, tmp_path / "again")
    change_results(tmp_path / "again", lambda results: results.update(date=results["date"] + 60))
    change_rows(tmp_path / "again", lambda row: row.update(exact_match=1.0))
    read = read_logs([tmp_path])
    assert len(read.runs) == 1 and (read.samples["value"] == 1).all()
    assert "another log of the same evaluation is newer: again/" in read.skipped[0].reason


@pytest.mark.parametrize(
    ("given", "settings"),
    [
        ({}, {"temperature": 0.0}),
        ({"do_sample": False, "temperature": 0.7, "max_new_tokens": 8}, {"temperature": 0.0}),
        (
            {"do_sample": True, "temperature": 0.7, "top_p": 0.9, "top_k": 0},
            {"temperature": 0.7, "top_p": 0.9, "seed": 0},
        ),
        ({"temperature": 0.7, "top_k": 20}, {"temperature": 0.7, "top_k": 20, "seed": 0}),
    ],
)
def test_settings_are_what_lm_eval_makes_of_the_tasks(answer, given, settings):
    change_results(
        answer, lambda results: results["configs"]["world_answer"].update(generation_kwargs=given)
    )
    (run,) = read_logs([answer]).runs
    limit = {"max_tokens": 8} if "max_new_tokens" in given else {}
    assert run.settings == settings | limit


def test_the_first_metric_that_is_a_share_counts(answer):
    def more_metrics(row):
        row.update(perplexity=0.5, bleu=["a", "b"], rouge=27.5, f1=0.25, metrics=["f1"])

    change_rows(answer, more_metrics)
    directions = {"perplexity": False, "bleu": True, "rouge": True, "f1": True, "exact_match": True}
    change_results(
        answer, lambda results: results.update(higher_is_better={"world_answer": directions})
    )
    read = read_logs([answer])
    assert read.runs[0].metric == "f1" and set(read.samples["value"]) == {0.25}


def test_a_sample_without_a_value_lowers_the_coverage(answer):
    def lose(row):
        if row["doc_id"] == 0:
            row["exact_match"] = math.nan

    change_rows(answer, lose)
    read = read_logs([answer])
    assert list(read.samples["validity"]) == ["scorer_failed"] + ["unknown"] * 3
    (row,) = build_board(read)["numbers"]["rows"]
    assert row["coverage"] == 0.75 and row["num_samples"] == 3


def cut(path: Path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])


def drop_rows(folder: Path) -> None:
    path = next(folder.glob("samples_*"))
    path.write_text("".join(path.read_text("utf-8").splitlines(keepends=True)[:2]), "utf-8")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda folder: cut(results_of(folder), 0.5), "cannot be read as results of lm-eval"),
        (lambda folder: results_of(folder).write_text("[]"), "cannot be read as results"),
        (lambda folder: cut(next(folder.glob("samples_*")), 0.5), "damaged: samples_world_answer"),
        (drop_rows, "damaged: it holds 2 of 4 samples"),
        (lambda folder: next(folder.glob("samples_*")).unlink(), "run lm_eval with --log_samples"),
        (lambda folder: results_of(folder).unlink(), "without a results file of the same time"),
        (
            lambda folder: change_rows(folder, lambda row: row.update(exact_match=-3.5)),
            "no metric is better when higher and in [0, 1] for every sample (it has exact_match)",
        ),
        (
            lambda folder: change_rows(folder, lambda row: row.pop("arguments")),
            "cannot be read as samples of lm-eval ('arguments')",
        ),
        (
            lambda folder: change_results(
                folder, lambda results: results["configs"].update({"../../etc": {}})
            ),
            "run lm_eval with --log_samples",
        ),
        (lambda folder: folder.rename(folder.with_name("out.damaged")), "set aside by `longspan"),
        (lambda folder: folder.rename(folder.with_name(".out.partial-7")), "was interrupted"),
    ],
)
def test_what_is_not_whole_is_listed_with_its_reason(answer, damage, reason):
    damage(answer)
    skipped = read_logs([answer.parent]).skipped
    assert reason in skipped[0].reason and skipped[0].place.startswith((answer.name, ".out"))


def test_a_file_that_was_changed_after_its_run_is_left_out(tmp_path):
    shutil.copytree(RECORDED / "nano", tmp_path / "nano")
    (folder,) = (tmp_path / "nano").glob("world_answer-*")
    change_rows(folder, lambda row: row.update(exact_match=1.0))
    read = read_logs([tmp_path])
    assert [run.task for run in read.runs] == ["lm-eval/world_choice"]
    assert "is not as it was written" in read.skipped[0].reason


def test_a_results_file_beside_the_record_of_another_run_goes_by_its_own_name(tmp_path):
    shutil.copytree(RECORDED / "nano", tmp_path / "nano")
    (folder,) = (tmp_path / "nano").glob("world_answer-*")
    for path in list(folder.glob("*_2026*")):
        shutil.copy(path, path.with_name(path.name.replace("2026-11-24", "2026-11-25")))
    runs = [outcome[0] for path in folder.glob("results_*") for _, outcome in read_lm_eval(path)]
    assert {(run.log.split("_")[-1][:10], run.checkpoint_hash) for run in runs} == {
        ("2026-11-24", HASHES["nano"]),
        ("2026-11-25", None),
    }
