"""A stage's driver is started, followed, ended and resumed; what stops it is one line."""

from __future__ import annotations

import json
import math
import re
import socket
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from longspan.harness.cli import main
from longspan.harness.errors import ModelError, RecipeError
from longspan.trainers.local.stage import StageRun
from longspan.trainers.local.trainer import train_stage as train_locally
from longspan.trainers.openrlhf import contract, launch, states
from longspan.trainers.openrlhf.cluster import load_cluster
from longspan.trainers.openrlhf.run_file import read_run
from longspan.trainers.openrlhf.states import StageError
from longspan.trainers.pipeline import RECIPES, train_command
from longspan.trainers.stages import TrainStage
from tests.trainers.openrlhf import fake_driver
from tests.trainers.tiny import save_tiny
from tests.trainers.toy import toy_stage


def sampling(**changes: float) -> dict[str, Any]:
    """Returns the quickstart's stages with other settings of sampling."""
    stages = yaml.safe_load((RECIPES / "quickstart.yaml").read_text())["stages"]
    stages[0]["sampling"] |= changes
    return {"stages": stages}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StageRun[TrainStage]:
    monkeypatch.setattr(launch, "check_installed", lambda: None)
    monkeypatch.setattr(launch, "DRIVER", (sys.executable, fake_driver.__file__))
    monkeypatch.setattr(launch, "POLL_SECONDS", 0.02)
    stage = toy_stage(num_steps=3)
    folder = tmp_path / "stage"
    (folder / "openrlhf").mkdir(parents=True)
    return StageRun(
        stage=stage,
        folder=folder,
        start=str(save_tiny(tmp_path / "start")),
        sources=stage.tasks,
        quiet=True,
    )


def train(run: StageRun[TrainStage], behaviour: str = "finish") -> Path:
    (run.folder / "openrlhf" / "BEHAVIOUR").write_text(behaviour)
    return launch.Launcher(load_cluster("cpu")).train_stage(run)


def test_a_finished_stage_has_a_checkpoint_its_command_and_no_states(
    run: StageRun[TrainStage],
) -> None:
    checkpoint = train(run)
    assert (checkpoint / "config.json").is_file()
    left = {path.name for path in (run.folder / "openrlhf").iterdir()}
    assert left == {"BEHAVIOUR", "run.json", "command.txt", "log.txt"}
    command = (run.folder / "openrlhf" / "command.txt").read_text()
    assert "--rollout.n_samples_per_prompt 4" in command and "--vllm.sync_backend gloo" in command
    assert train(run, "fail") == checkpoint  # done is done


def test_steps_and_alarms_are_shown(
    run: StageRun[TrainStage], capsys: pytest.CaptureFixture[str]
) -> None:
    train(replace(run, quiet=False))
    shown = capsys.readouterr().out
    assert "toy 3/3  reward 0.500" in shown
    assert "ALARM step 1: 50% of rollouts have no score (scorer_failed 4)" in shown
    assert "--actor.model_name_or_path" in shown


def test_what_a_driver_writes_down_is_the_error_and_the_run_goes_on(
    run: StageRun[TrainStage], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(StageError, match=r"loss is nan; lower the learning rate \[log: "):
        train(run, "fail")
    assert not run.checkpoint.exists()
    train(replace(run, quiet=False))
    shown = capsys.readouterr().out
    assert "resuming after step 2 of 3" in shown
    assert "toy 3/3" in shown and "toy 2/3" not in shown
    steps = [json.loads(line)["step"] for line in (run.folder / "metrics.jsonl").open()]
    assert steps == [1, 2, 3]


def test_a_step_without_a_whole_state_is_shown_once_it_is_repeated(
    run: StageRun[TrainStage], capsys: pytest.CaptureFixture[str]
) -> None:
    (run.folder / "metrics.jsonl").write_text(
        json.dumps({**fake_driver.STEP, "step": 1, "reward_mean": 0.25}) + "\n" + '{"step": 2, "re'
    )
    train(replace(run, quiet=False))
    shown = capsys.readouterr().out
    assert "toy 1/3  reward 0.500" in shown and "0.250" not in shown


def test_a_crash_is_told_by_its_last_line(run: StageRun[TrainStage]) -> None:
    with pytest.raises(StageError, match=r"stopped with code 139: Segmentation fault"):
        train(run, "crash")


def test_a_full_disk_is_named_where_nothing_could_be_written_down(
    run: StageRun[TrainStage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch.shutil, "disk_usage", lambda path: SimpleNamespace(free=4096))
    with pytest.raises(StageError, match=r"no space is left; the last whole state is kept"):
        train(run, "crash")


def test_an_interrupt_reaches_the_driver(
    run: StageRun[TrainStage], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(seconds: float) -> None:
        if (run.folder / "openrlhf" / "hanging").exists():
            raise KeyboardInterrupt

    monkeypatch.setattr(launch, "time", SimpleNamespace(sleep=interrupt))
    with pytest.raises(KeyboardInterrupt):
        train(run, "hang")
    assert (run.folder / "openrlhf" / "interrupted").exists()


def test_changed_tasks_are_refused(run: StageRun[TrainStage]) -> None:
    with pytest.raises(StageError):
        train(run, "fail")
    path = run.folder / "openrlhf" / "run.json"
    content = json.loads(path.read_text())
    content["versions"] = {"toy_words": "0"}
    path.write_text(json.dumps(content))
    with pytest.raises(RecipeError, match="tasks have changed"):
        train(run)


def test_every_process_reads_the_same_run(run: StageRun[TrainStage]) -> None:
    train(run)
    found = read_run(run.folder / "openrlhf" / "run.json")
    assert found.window == 256
    assert {len(keys) for keys in found.pools.values()} == {4}
    assert found.stage_run().stage_seed == run.stage_seed


def test_a_half_written_state_is_forgotten_and_the_last_whole_one_stays(tmp_path: Path) -> None:
    for step in (8, 9, 10):
        (tmp_path / f"global_step{step}").mkdir()
    (tmp_path / "whole").write_text("global_step9\n")
    (tmp_path / "latest").write_text("global_step10")  # by one process, before another failed
    (tmp_path / "global_step9.bak").mkdir()  # somebody's own
    assert states.last_whole_state(tmp_path) == 9
    states.forget_states_after(9, tmp_path)
    kept = {"global_step8", "global_step9", "global_step9.bak"}
    assert {path.name for path in tmp_path.glob("global*")} == kept
    assert (tmp_path / "latest").read_text() == "global_step9"


def test_the_first_state_half_written_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "global_step1").mkdir()
    (tmp_path / "latest").write_text("global_step1")
    assert states.last_whole_state(tmp_path) == 0
    states.forget_states_after(0, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("note", [None, "", "global_step7", "\0\0", "latest"])
def test_states_of_which_none_is_noted_are_never_removed(tmp_path: Path, note: str | None) -> None:
    for step in (8, 9):
        (tmp_path / f"global_step{step}").mkdir()
    if note is not None:
        (tmp_path / "whole").write_text(note)
    with pytest.raises(StageError, match="is not known: .* there are global_step8, global"):
        states.last_whole_state(tmp_path)
    assert len(list(tmp_path.glob("global*"))) == 2


def test_a_stage_that_another_engine_began_is_not_gone_on_with(run: StageRun[TrainStage]) -> None:
    (run.folder / "states").mkdir()
    with pytest.raises(RecipeError, match="begun by the embedded engine; go on with --engine loc"):
        train(run)
    (run.folder / "states").rmdir()
    with pytest.raises(StageError):
        train(run, "fail")
    with pytest.raises(RecipeError, match="begun by the OpenRLHF engine; go on with --engine open"):
        train_locally(run)


def test_a_path_that_others_take_for_a_pattern_is_refused(
    run: StageRun[TrainStage], tmp_path: Path
) -> None:
    folder = tmp_path / "lr[1e-5]"
    (folder / "openrlhf").mkdir(parents=True)
    with pytest.raises(RecipeError, match=r"cannot use a path with \[ \]: .*lr\[1e-5\]"):
        train(replace(run, folder=folder))


def test_what_is_infinite_is_read_back(run: StageRun[TrainStage]) -> None:
    optimizer = run.stage.optimizer.model_copy(update={"max_gradient_norm": math.inf})
    stage = run.stage.model_copy(update={"optimizer": optimizer})
    train(replace(run, stage=stage))
    assert read_run(run.folder / "openrlhf" / "run.json").stage == stage


def test_a_reason_of_an_earlier_run_is_not_given_again(run: StageRun[TrainStage]) -> None:
    with pytest.raises(StageError, match="loss is nan"):
        train(run, "fail")
    with pytest.raises(StageError, match="stopped with code 137: it printed nothing"):
        train(run, "killed")


@pytest.mark.parametrize("line", ["null", "garbage", '{"reward_mean": 1}', '{"step": "x"}'])
def test_damaged_metrics_end_where_they_are_damaged(run: StageRun[TrainStage], line: str) -> None:
    with pytest.raises(StageError):
        train(run, "fail")
    metrics = run.folder / "metrics.jsonl"
    metrics.write_text(metrics.read_text() + line + "\n")
    train(run)
    assert [json.loads(one)["step"] for one in metrics.open()] == [1, 2, 3]


def test_a_state_is_not_read_by_another_number_of_training_processes(
    run: StageRun[TrainStage], tmp_path: Path
) -> None:
    with pytest.raises(StageError):
        train(run, "fail")
    other = load_cluster("cpu").model_copy(update={"gpus_per_node": 2, "zero_stage": 3})
    message = r"has 1 with ZeRO 2, the cluster says 2 with ZeRO 3; use that cluster again"
    with pytest.raises(RecipeError, match=message):
        launch.Launcher(other).train_stage(run)
    assert train(run).is_dir()  # nothing was lost


def test_gpus_without_flash_attention_are_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "check_installed", lambda: None)
    monkeypatch.setattr(contract, "find_spec", lambda name: None)
    with pytest.raises(RecipeError, match="imports flash-attn .* not installed; pip install"):
        launch.Launcher(load_cluster("single_gpu"))
    launch.Launcher(load_cluster("cpu"))


def test_a_checkpoint_with_code_of_its_own_is_refused(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "start")
    path = folder / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "auto_map": {"AutoModelForCausalLM": "evil.Model"}}))
    with pytest.raises(ModelError, match="code of the checkpoint's own"):
        launch.check_checkpoint(folder, None)
    path.write_text(json.dumps({**config, "configuration_files": ["config.4.0.0.json"]}))
    with pytest.raises(ModelError, match=r"config.json may name code .*configuration_files"):
        launch.check_checkpoint(folder, None)
    path.write_text(json.dumps(config))
    processor = folder / "processor_config.json"
    processor.write_text(json.dumps({"auto_map": {"AutoProcessor": "evil.Processor"}}))
    with pytest.raises(ModelError, match=r"processor_config.json may name code"):
        launch.check_checkpoint(folder, None)


@pytest.mark.parametrize("content", ["", "{", "null", '{"model_type": "unheard_of"}', "\xff"])
def test_a_damaged_checkpoint_is_one_line(tmp_path: Path, content: str) -> None:
    folder = save_tiny(tmp_path / "start")
    (folder / "config.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(ModelError, match="copy"):
        launch.check_checkpoint(folder, None)


def test_the_window_is_the_models_own_or_less(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "start")
    assert launch.check_checkpoint(folder, None) == 256
    assert launch.check_checkpoint(folder, 128) == 128
    with pytest.raises(ModelError, match="at most the model's own 256: got 300"):
        launch.check_checkpoint(folder, 300)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "local", "cluster": "cpu"}, "need --engine openrlhf"),
        ({"engine": "verl"}, "use local or openrlhf"),
        ({"engine": "openrlhf", "cluster": "laptop"}, "no cluster 'laptop'"),
    ],
)
def test_wrong_options_are_one_line(tmp_path: Path, options: dict[str, str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        train_command("quickstart", tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"model": {"device": "cpu", "lora": {"rank": 4}}}, "full_context: .* model.lora"),
        ({"model": {"device": "cpu", "dtype": "float32"}}, "model.dtype float32"),
        ({"model": {"device": "cpu", "max_batch_rows": 4}}, "model.max_batch_rows"),
        ({"model": {"device": "cuda"}}, "the cluster says cpu"),
        ({"keep_batches_every_steps": 5}, "keep_batches_every_steps"),
        (sampling(temperature=0.001), "sampling.temperature 0.001 .*vLLM samples at 0.01 to 2"),
        (sampling(temperature=3.0), "sampling.temperature 3 "),
        ({"model": {"devise": "cpu"}}, "unknown key 'model.devise'"),
        ({"engine": "openrlhf"}, "unknown key 'engine'"),
    ],
)
def test_a_recipe_that_the_engine_cannot_run_is_refused_before_anything_is_built(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], keys: dict[str, Any], message: str
) -> None:
    content = yaml.safe_load((RECIPES / "quickstart.yaml").read_text())
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(yaml.safe_dump({**content, **keys}))
    options = ["--engine", "openrlhf", "--cluster", "cpu", "--out", str(tmp_path / "out")]
    assert main(["train", str(recipe), *options]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and re.search(message, error), error
    assert not (tmp_path / "out").exists()


def closed_port() -> int:
    """Returns a port of this machine where nobody listens."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (
            "127.0.0.1:{closed}",
            "no Ray cluster at 127.0.0.1:[0-9]+ [(]Connection refused[)]; start",
        ),
        ("no-host.invalid:6379", "no Ray cluster at no-host.invalid:6379 "),
        ("127.0.0.1:99999999", "no Ray cluster at 127.0.0.1:99999999 "),
        ("head-node", "must be HOST:PORT: got 'head-node'; ray start --head prints it"),
        ("10.0.0.1:", "must be HOST:PORT: got '10.0.0.1:'"),
        ("ray://head:10001", "must be HOST:PORT: got 'ray://head:10001'"),
    ],
)
def test_a_missing_cluster_is_said_at_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    address: str,
    message: str,
) -> None:
    monkeypatch.setattr(launch, "check_installed", lambda: None)
    options = ["--engine", "openrlhf", "--cluster", "cpu", "--out", str(tmp_path / "out")]
    place = address.format(closed=closed_port())
    assert main(["train", "quickstart", *options, "--ray-address", place]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and re.search(message, error), error
    assert not (tmp_path / "out").exists()


def test_an_address_where_somebody_listens_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "check_installed", lambda: None)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        launch.Launcher(load_cluster("cpu"), address)  # raises where nobody listens


def test_a_missing_openrlhf_is_said_before_anything_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contract, "_installed", lambda names: None)
    with pytest.raises(RecipeError, match="not installed; run: pip install"):
        train_command("quickstart", tmp_path / "out", engine="openrlhf", cluster="cpu")
    assert not (tmp_path / "out").exists()
