"""`longspan lm-eval`: real runs of lm-eval on the embedded policy, and one line for each mistake.

The tasks and their data lie in `tests/harness/lm_eval`.
"""

from __future__ import annotations

import asyncio
import functools
import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from inspect_ai.model import GenerateConfig
from jinja2 import Template

from longspan.harness.cli import main
from longspan.harness.errors import DataError, SpecError
from longspan.harness.generation import GenerationSettings
from longspan.harness.lm_eval import command as lm_eval
from longspan.harness.lm_eval.command import run_lm_eval, summary_line
from longspan.harness.lm_eval.record import COUNTS_KEY, RECORD_FILE, read_record
from longspan.harness.lm_eval.run import LmEvalSettings
from longspan.harness.resolve import resolve_model

TASKS = Path(__file__).parent
GREEDY = LmEvalSettings(generation=GenerationSettings(temperature=0.0), apply_chat_template=True)
needs_lm_eval = pytest.mark.skipif(
    any(find_spec(name) is None for name in lm_eval.PACKAGES),
    reason="the extra lm-eval is not installed",
)


@pytest.fixture
def own_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs where the tasks' data are, and leaves lm-eval's own 14,000 tasks out of the index."""
    from lm_eval import tasks

    manager = functools.partial(tasks.TaskManager, include_defaults=False)
    monkeypatch.setattr(tasks, "TaskManager", manager)
    monkeypatch.chdir(TASKS)


def run(log_dir: Path, *tasks: str, settings: LmEvalSettings = GREEDY, **more) -> list[Path]:
    """Returns the folders of tasks that were run on nano."""
    found = run_lm_eval(tasks, "nano", log_dir, settings, include_path=TASKS, quiet=True, **more)
    return list(found)


def rows_of(folder: Path) -> list[dict]:
    (path,) = folder.glob("samples_*.jsonl")
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@needs_lm_eval
def test_a_run_leaves_lm_evals_files_and_a_record_of_the_checkpoint(own_tasks, tmp_path):
    answer, choice = run(tmp_path, "world_answer,world_choice")
    assert answer.parent == choice.parent == tmp_path / "nano"
    record = read_record(answer)
    assert (record.task, record.checkpoint, record.model) == (
        "world_answer",
        "nano",
        "longspan-local/nano",
    )
    assert len(record.checkpoint_hash) == 16 and record.versions["lm_eval"]
    assert record.settings["temperature"] == 0.0 and record.settings["window"] == 256
    assert "temperature" not in read_record(choice).settings, "nothing is sampled there"
    names = sorted(path.name.split("_20")[0] for path in answer.iterdir())
    assert names == [RECORD_FILE, "results", "samples_world_answer"]
    results = json.loads(next(answer.glob("results_*.json")).read_text("utf-8"))
    assert results["model_source"] == "hf" and results["config"]["model_dtype"] == "torch.float32"
    assert results["configs"]["world_answer"]["generation_kwargs"]["do_sample"] is False
    assert summary_line(answer).startswith("lm-eval | nano | world_answer: exact_match,phrase 0.")


@needs_lm_eval
def test_the_same_prompt_gets_the_same_words_as_in_longspan_eval(own_tasks, tmp_path):
    (folder,) = run(tmp_path, "world_answer")
    model = resolve_model("nano")
    definition = yaml.safe_load((TASKS / "world_answer.yaml").read_text("utf-8"))
    template = Template(definition["doc_to_text"])
    for row in rows_of(folder):
        prompt = template.render(row["doc"])
        config = GenerateConfig(temperature=0.0, max_tokens=40)
        ours = asyncio.run(model.generate(prompt, config=config))
        assert row["resps"] == [[ours.completion]]


@needs_lm_eval
def test_rows_say_what_they_cost(own_tasks, tmp_path):
    answer, choice = run(tmp_path, "world_answer", "world_choice")
    for row in rows_of(answer):
        counts = row[COUNTS_KEY]
        assert counts["calls"] == 1 and counts["tokens_dropped"] == 0
        assert 50 < counts["input_tokens"] < 256 and 0 < counts["output_tokens"] <= 40
    counts = [row[COUNTS_KEY] for row in rows_of(choice)]
    assert {(one["calls"], one["output_tokens"]) for one in counts} == {(3, 0)}


@needs_lm_eval
def test_what_does_not_fit_into_the_window_is_counted(own_tasks, tmp_path):
    longest = GenerationSettings(temperature=0.0, max_tokens=200)
    (folder,) = run(
        tmp_path, "world_answer", settings=GREEDY.model_copy(update={"generation": longest})
    )
    for row in rows_of(folder):
        counts = row[COUNTS_KEY]
        assert counts["tokens_dropped"] == counts["input_tokens"] - (256 - 200) > 0


@needs_lm_eval
def test_a_finished_task_is_kept_and_another_setting_is_another_run(
    own_tasks, tmp_path, monkeypatch
):
    both = run(tmp_path, "world_answer", "world_choice")
    warm = GREEDY.model_copy(update={"generation": GenerationSettings(temperature=0.9)})
    (warmer,) = run(tmp_path, "world_answer", settings=warm)
    assert warmer not in both
    monkeypatch.setattr(lm_eval, "run_unit", None)
    assert run(tmp_path, "world_answer", "world_choice") == both
    assert run(tmp_path, "world_choice", settings=warm) == both[1:], "choices are not sampled"


@needs_lm_eval
def test_a_damaged_run_is_set_aside_and_done_again(own_tasks, tmp_path):
    (folder,) = run(tmp_path, "world_choice")
    (samples,) = folder.glob("samples_*")
    samples.write_bytes(samples.read_bytes()[:-50])
    assert run(tmp_path, "world_choice") == [folder]
    assert read_record(folder) is not None and len(rows_of(folder)) == 4
    assert sorted(path.name for path in folder.parent.iterdir()) == [
        folder.name,
        f"{folder.name}.damaged",
    ]


@needs_lm_eval
@pytest.mark.parametrize("lost", ["save_results_samples", "save_results_aggregated"])
def test_files_that_lm_eval_could_not_write_leave_nothing(own_tasks, tmp_path, monkeypatch, lost):
    from lm_eval.loggers import EvaluationTracker

    def fail(tracker, *arguments, **more):
        tracker.date_id = "2026-01-01T00-00-00"  # lm-eval logs the error and goes on

    monkeypatch.setattr(EvaluationTracker, lost, fail)
    with pytest.raises(DataError, match="could not write its files"):
        run(tmp_path, "world_choice")
    assert list((tmp_path / "nano").iterdir()) == []


@needs_lm_eval
@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("world_anwser", "no task world_anwser; did you mean world_answer?"),
        ("nonsense", "no task nonsense; see: lm_eval ls tasks"),
    ],
)
def test_an_unknown_task_names_the_nearest(own_tasks, tmp_path, task, message):
    with pytest.raises(SpecError) as error:
        run(tmp_path, task)
    assert message in str(error.value)


@needs_lm_eval
def test_missing_data_are_named_with_how_to_get_them(own_tasks, tmp_path, monkeypatch):
    def unreachable(path, **more):
        raise ConnectionError(f"Couldn't reach '{path}' on the Hub (OfflineModeIsEnabled)")

    (tmp_path / "hub.yaml").write_text(
        "task: hub\ndataset_path: nobody/nothing\ndataset_name: part\ntest_split: test\n"
        "output_type: generate_until\ndoc_to_text: q\ndoc_to_target: a\n"
    )
    with monkeypatch.context() as patched:
        patched.setattr("datasets.load_dataset", unreachable)
        with pytest.raises(DataError, match=r"load_dataset\('nobody/nothing', 'part'\)"):
            list(run_lm_eval(["hub"], "nano", tmp_path, GREEDY, include_path=tmp_path, quiet=True))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"world\.jsonl.*relative to the folder"):
        run(tmp_path, "world_answer")


@needs_lm_eval
def test_a_task_that_does_not_run_is_one_line(own_tasks, tmp_path):
    settings = LmEvalSettings(generation=GenerationSettings(max_tokens=300))
    with pytest.raises(SpecError, match="could not run world_answer on nano: .*256"):
        run(tmp_path, "world_answer", settings=settings)
    assert not list(tmp_path.iterdir())


def test_without_the_extra_one_line_names_it(capsys, monkeypatch):
    monkeypatch.setattr(lm_eval, "find_spec", lambda name: None)
    assert main(["lm-eval", "hellaswag", "--model", "nano"]) == 2
    assert capsys.readouterr().err == (
        "longspan: error: `longspan lm-eval` needs the package lm_eval, which is not installed; "
        "run: pip install 'longspan[lm-eval]'\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x", "--model", "openai/gpt-5"], "local checkpoints only: got openai/gpt-5"),
        (["x", "--model", "no_checkpoint"], "no packaged checkpoint or folder 'no_checkpoint'"),
        (["x", "--model", "nano", "--include-path", "nowhere"], "no such folder: nowhere"),
        (["x", "--model", "nano", "--top-p", "0"], "top_p"),
        ([",", "--model", "nano"], "no task is named"),
    ],
)
def test_every_mistake_is_one_line_and_a_failure(tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.setattr(lm_eval, "PACKAGES", ())
    monkeypatch.chdir(tmp_path)
    assert main(["lm-eval", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("longspan: error: ") and error.count("\n") == 1 and message in error
    assert not list(tmp_path.iterdir())
