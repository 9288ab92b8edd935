"""`longspan eval`: its line of results, and one line with a non-zero exit code for each mistake."""

from __future__ import annotations

import json

import pytest
from inspect_ai.log import list_eval_logs, read_eval_log

from longspan.harness.cli import main
from tests.harness.scripted import scripted_model
from tests.harness.test_parity import taskset_folder
from tests.trainers.tiny import save_tiny, tiny_model, tiny_tokenizer


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("eval")
    save_tiny(folder / "tiny")
    tiny_model().save_pretrained(folder / "no_template")
    tiny_tokenizer(chat_template=None).save_pretrained(folder / "no_template")
    taskset_folder(folder / "taskset")
    return folder


def run(capsys, *arguments: object) -> tuple[int, str, str]:
    code = main(["eval", *map(str, arguments)])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_a_task_set_is_evaluated_by_its_folder(folders, tmp_path, capsys):
    scripted_model("Therefore, the answer is Arnor.", name="arnor")
    code, out, _ = run(
        capsys,
        *(folders / "taskset", "--model", "scripted/arnor", "--log-dir", tmp_path),
        *("--solver", "full_context", "-S", "truncation=left", "--max-tokens", 20),
        *("--checkpoint", "arnor", "--step", 3, "--input-over-window", 4, "--limit", 3),
    )
    assert code == 0
    assert "longspan/taskset | arnor | full_context" in out and "3 of 3 samples scored" in out
    (info,) = list_eval_logs(str(tmp_path))
    log = read_eval_log(info)
    assert log.eval.solver == "longspan/full_context"
    assert log.eval.solver_args == {"truncation": "left"}
    assert log.eval.metadata["longspan_step"] == 3
    assert log.eval.metadata["longspan_input_over_window"] == 4
    assert log.plan.config.max_tokens == 20
    multi_hop = next(one for one in log.samples if one.metadata["kind"] == "multi_hop")
    assert multi_hop.scores["by_sample"].value == 1.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense", "--model", "scripted/x"], "unknown task: nonsense"),
        (["./nowhere", "--model", "scripted/x"], "no such folder"),
        (["{taskset}", "--model", "missing_checkpoint"], "missing_checkpoint"),
        (["{taskset}", "--model", "{taskset}"], "no config.json"),
        (["{taskset}", "--model", "{no_template}"], "no chat template"),
        (["{taskset}", "--model", "openai/gpt-none"], "openai"),
        (["{taskset}", "--model", "{tiny}", "--solver", "nonsense"], "unknown solver: nonsense"),
        (["{taskset}", "--model", "{tiny}", "--split", "nonsense"], "nonsense"),
        (["{taskset}", "--model", "{tiny}", "-T", "bogus=1"], "no parameter 'bogus'"),
        (["{taskset}", "--model", "{tiny}", "--top-p", "0"], "top_p"),
        (["{taskset}", "--model", "{tiny}"], "does not know"),
    ],
)
def test_every_mistake_is_one_line_and_a_failure(folders, tmp_path, capsys, arguments, message):
    names = {name: folders / name for name in ("taskset", "tiny", "no_template")}
    filled = [argument.format(**names) for argument in arguments]
    code, _, err = run(capsys, *filled, "--log-dir", tmp_path, "--quiet")
    lines = [line for line in err.splitlines() if line.startswith("longspan: error:")]
    assert code == 2
    assert len(lines) == 1 and message in lines[0]
    assert not list(tmp_path.rglob("*.eval")), "nothing that could be taken for a result"


def test_a_log_folder_that_cannot_be_written_is_one_line(folders, tmp_path, capsys):
    (tmp_path / "file").write_text(json.dumps(1))
    scripted_model("x", name="arnor")
    code, _, err = run(
        capsys,
        *(folders / "taskset", "--model", "scripted/arnor", "--quiet"),
        *("--log-dir", tmp_path / "file"),
    )
    assert code == 2 and len(err.strip().splitlines()) == 1


def test_another_form_of_scoring_is_another_evaluation(folders, tmp_path, capsys):
    scripted_model("Arnor", name="forms")
    command = (folders / "taskset", "--model", "scripted/forms", "--log-dir", tmp_path)
    assert run(capsys, *command)[0] == 0
    assert run(capsys, *command, "-T", "require_phrase=false")[0] == 0
    assert run(capsys, *command)[0] == 0
    assert len(list_eval_logs(str(tmp_path))) == 2
