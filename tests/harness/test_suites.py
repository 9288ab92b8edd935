"""Suites: read whole or refused, and what of their settings reaches a task."""

import inspect
from importlib.resources import files
from pathlib import Path

import pytest
from inspect_ai.log import list_eval_logs, read_eval_log

from longspan.harness.cli import main
from longspan.harness.errors import SpecError
from longspan.harness.registry import TASKS, load_registry
from longspan.harness.resolve import resolve_solver
from longspan.harness.spec import TASKS_VARIABLE
from longspan.harness.suites import (
    all_suites,
    find_suite,
    merged,
    read_suite,
    suite_files,
    suites_of_tasks,
)
from tests.harness.scripted import scripted_model
from tests.harness.test_parity import taskset_folder

OURS = sorted((Path(str(files("longspan.tasks"))) / "suites").glob("*.yaml"))
TEXT = """
name: mine
description: Two views of one task set
generation: {{temperature: 0.3, top_p: 0.9, max_tokens: 30}}
epochs: 2
tasks:
  - {{task: taskset, args: {{path: {path}, task_types: multi_hop}}}}
  - {{task: taskset, args: {{path: {path}, task_types: multiple_choice}}, epochs: 1, max_tokens: 9}}
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    folder = tmp_path / "specs"
    (folder / "suites").mkdir(parents=True)
    (folder / "suites" / "mine.yaml").write_text(
        TEXT.format(path=taskset_folder(tmp_path / "taskset"))
    )
    monkeypatch.setenv(TASKS_VARIABLE, str(folder))
    return folder / "suites" / "mine.yaml"


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.stem)
def test_every_suite_of_ours_can_be_read(path):
    suite = read_suite(path)
    assert suite.name in suite_files()


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.stem)
def test_every_task_of_a_suite_exists_and_takes_its_arguments(path):
    load_registry()
    for one in read_suite(path).tasks:
        assert set(one.args) <= set(inspect.signature(TASKS[one.task]).parameters), one.label
        if one.solver:
            resolve_solver(one.solver, dict(one.solver_args))


def test_long_inputs_are_cut_at_the_papers_length():
    suite = find_suite("paper_long_context")
    (memory,) = [one for one in find_suite("paper_general").tasks if "longmemeval" in one.task]
    assert suite.solver_args == memory.solver_args == {"max_input_tokens": 131_072}


PAPER = {
    "paper_long_context": {  # Table 7
        *("docmath", "longbench_v2", "frames", "corpusqa_128k"),
        *(f"mrcr_{needles}needle" for needles in (2, 4, 8)),
        *(f"longbench_{name}" for name in ("2wikimqa", "hotpotqa", "musique")),
        *("longbench_narrativeqa", "longbench_qasper"),
    },
    "paper_general": {  # Table 8
        *("mmlu_pro", "aime24", "aime25", "gpqa_diamond", "bfcl_memory", "longmemeval_s"),
    },
    "paper_ultra_long": {  # Table 9
        *(f"mrcr_{needles}needle" for needles in (2, 4, 8)),
        *("corpusqa_1m", "corpusqa_4m"),
    },
}


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_suites_hold_the_papers_benchmarks_at_its_settings(name):
    suite = find_suite(name)
    assert {one.task for one in suite.tasks} == PAPER[name]
    settings = suite.generation
    assert (settings.temperature, settings.top_p, settings.max_tokens) == (0.7, 0.95, 50_000)


def test_tasks_whose_published_figures_need_a_judge_say_so():
    for name in PAPER:
        for one in find_suite(name).tasks:
            judged = ("docmath", "frames", "corpusqa", "longbench_", "longmemeval")
            wanted = one.task.startswith(judged) and one.task != "longbench_v2"
            assert one.grader == wanted, one.task


def test_an_argument_may_name_the_model():
    (bfcl,) = [one for one in find_suite("paper_general").tasks if one.task == "bfcl_memory"]
    assert bfcl.arguments("openai/gpt-5") == {"snapshot_id": "openai/gpt-5"}
    (mrcr,) = [one for one in find_suite("paper_long_context").tasks if "2needle" in one.task]
    assert mrcr.arguments("openai/gpt-5") == mrcr.args


def test_the_command_line_wins_over_the_task_over_the_suite(mine):
    suite = find_suite("mine")
    first, second = suite.tasks
    settings, epochs = merged(suite, first, {})
    assert (settings.temperature, settings.max_tokens, epochs) == (0.3, 30, 2)
    settings, epochs = merged(suite, second, {})
    assert (settings.temperature, settings.max_tokens, epochs) == (0.3, 9, 1)
    settings, epochs = merged(suite, second, {"temperature": 0.0, "max_tokens": 5, "epochs": 3})
    assert (settings.temperature, settings.max_tokens, epochs) == (0.0, 5, 3)
    assert suites_of_tasks(all_suites()[0])["taskset"] == ["mine"]


def test_a_suite_runs_with_its_settings_and_a_second_time_does_nothing(mine, tmp_path, capsys):
    scripted_model("Therefore, the answer is Arnor.", name="suite")
    command = ["eval", "mine", "--model", "scripted/suite", "--log-dir", str(tmp_path / "logs")]
    assert main(command) == 0
    logs = [read_eval_log(info) for info in list_eval_logs(str(tmp_path / "logs"))]
    by_type = {log.samples[0].metadata["task_type"]: log for log in logs}
    assert by_type["multi_hop"].plan.config.max_tokens == 30
    assert by_type["multi_hop"].eval.config.epochs == 2
    assert by_type["multiple_choice"].plan.config.max_tokens == 9
    assert {log.eval.metadata["longspan_suite"] for log in logs} == {"mine"}
    assert main(command) == 0
    assert len(list_eval_logs(str(tmp_path / "logs"))) == 2
    assert capsys.readouterr().out.count("longspan/taskset |") == 4


def test_missing_data_are_named_before_anything_runs_unless_only_available_is_asked(
    mine, tmp_path, capsys
):
    gone = f"  - {{task: musique, args: {{data: {tmp_path / 'gone.jsonl'}}}}}\n"
    mine.write_text(mine.read_text() + gone)
    scripted_model("Therefore, the answer is Arnor.", name="suite")
    command = ["eval", "mine", "--model", "scripted/suite", "--log-dir", str(tmp_path / "logs")]
    assert main(command) == 2
    assert "suite mine lacks data: musique (data=" in capsys.readouterr().err
    assert not (tmp_path / "logs").exists()
    assert main([*command, "--available"]) == 0
    out, err = capsys.readouterr()
    assert out.count("longspan/taskset |") == 2 and "left out: musique" in err


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("epochs: 2", "epoch: 2", "unknown key 'epoch'"),
        ("name: mine", "name: other", "names itself 'other'"),
        ("temperature: 0.3", "temperature: -1", "generation.temperature"),
        ("tasks:", "tasks: []\nmore:", "tasks: .*at least 1"),
    ],
)
def test_a_suite_with_a_mistake_is_one_line(mine, old, new, message):
    mine.write_text(mine.read_text().replace(old, new, 1))
    with pytest.raises(SpecError, match=message):
        find_suite("mine")
    found, problems = all_suites()
    assert suites_of_tasks(found).get("taskset") is None and len(problems) == 1


def test_a_suites_solver_is_that_of_tasks_that_name_none(mine, tmp_path, capsys):
    solver = "solver: longspan/full_context\nsolver_args: {max_input_tokens: 999}\n"
    mine.write_text(solver + mine.read_text().replace("epochs: 1, max_tokens: 9", "grader: true"))
    scripted_model("Therefore, the answer is Arnor.", name="suite")
    command = ["eval", "mine", "--model", "scripted/suite", "--log-dir", str(tmp_path / "logs")]
    assert main(command) == 0
    logs = [read_eval_log(info) for info in list_eval_logs(str(tmp_path / "logs"))]
    assert [log.eval.solver_args for log in logs] == [{"max_input_tokens": 999}] * 2
    assert "no --grader, so only its rule scores" in capsys.readouterr().err
    assert main(["eval", "mina", "--model", "scripted/suite"]) == 2
    assert "did you mean mine" in capsys.readouterr().err


def test_a_task_that_fails_does_not_stop_the_suite(mine, tmp_path, capsys):
    def script(call):
        if "Question 0?" in str(call):  # the multiple choice question
            raise ValueError("engine down")
        return "Therefore, the answer is Arnor."

    text = mine.read_text().replace("task_types: multi_hop", "task_types: TYPE", 1)
    text = text.replace("task_types: multiple_choice", "task_types: multi_hop", 1)
    mine.write_text(text.replace("TYPE", "multiple_choice"))
    scripted_model(script, name="suite")
    command = ["eval", "mine", "--model", "scripted/suite", "--log-dir", str(tmp_path / "logs")]
    assert main(command) == 2
    out, err = capsys.readouterr()
    assert out.count("longspan/taskset |") == 1, "the second task ran"
    assert "1 of 2 tasks of suite mine failed" in err and "engine down" in err


def test_arguments_of_a_task_are_refused_for_a_suite(mine, capsys):
    assert main(["eval", "mine", "--model", "scripted/suite", "-T", "limit=3"]) == 2
    assert "mine is a suite, whose tasks have their own arguments" in capsys.readouterr().err
