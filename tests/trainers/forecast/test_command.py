"""`longspan forecast train`: what it says of the shipped recipes, and wrong options."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from longspan.harness.cli import main
from longspan.trainers.forecast.forecast import scaled
from longspan.trainers.openrlhf.cluster import ClusterSettings, load_cluster

PAPER = "qwenlong_l1_5_30b"
NODE = ("--engine", "openrlhf", "--cluster", "node_of_8")


def forecast(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Returns what the command prints."""
    assert main(["forecast", "train", *arguments]) == 0
    return capsys.readouterr().out


def stages(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """Returns the stages of the command's JSON by name."""
    found = json.loads(forecast(capsys, *arguments, "--json"))["stages"]
    return {one["stage"]: one for one in found}


def cluster(folder: Path, **settings: Any) -> tuple[str, ...]:
    """Returns the options of a cluster of one machine of eight with these settings."""
    path = folder / "machines.yaml"
    content = {"gpus_per_node": 8, "rollout_engines": 4, "gpus_per_engine": 2, **settings}
    path.write_text(yaml.safe_dump(content))
    return ("--engine", "openrlhf", "--cluster", str(path))


def test_the_paper_does_not_fit_a_node_without_spreading_the_weights(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = stages(capsys, PAPER, *NODE)
    assert set(found) == {
        "naive_grpo", "select_1", "full_context_1", "select_2", "full_context_2", "select_3",
        "full_context_3", "memory_rl", "full_context_4",
    }  # fmt: skip
    trained = {one["verdict"] for one in found.values() if one["kind"] == "train"}
    assert trained == {"too large"}
    assert found["select_1"]["engine"] == "local" and found["select_1"]["training"] is None


def test_what_is_spread_and_offloaded_decides_what_fits(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    settings = {"offload_optimizer": True, "zero_stage": 3, "engine_memory_share": 0.6}
    options = cluster(tmp_path, **settings)
    on_80, on_141 = (
        stages(capsys, PAPER, *options, "--gpu-memory", size)["full_context_3"]
        for size in ("80", "141")
    )
    assert (on_80["verdict"], on_141["verdict"]) == ("tight", "fits")
    assert on_80["training"] == on_141["training"]
    weights = on_80["training"]["holding"]["weights"]
    assert weights == 2 * 30_532_122_624 // 8
    assert on_80["training"]["forward"] == {"tokens": 170_000, "sampled": 50_000}
    assert 0.9 * 80 * 2**30 < on_80["training_total"] < 80 * 2**30


def test_the_table_names_what_it_was_computed_from(capsys: pytest.CaptureFixture[str]) -> None:
    shown = forecast(capsys, PAPER, *NODE)
    assert "30.53B parameters, 3.35B for a token, 96.0 KiB of keys and values" in shown
    assert "training on 8 GPUs of 80 GiB (ZeRO 2, moments in main memory)" in shown
    assert "filters and evaluations run in the embedded engine" in shown
    assert "computed, not measured" in shown
    assert "time: not known; state --train-tflops" in shown


def test_more_gpus_are_more_machines_of_the_kind(capsys: pytest.CaptureFixture[str]) -> None:
    shown = forecast(capsys, PAPER, *NODE, "--gpus", "32")
    assert "on 32 GPUs of 80 GiB" in shown and "16 engines of 2 GPUs, taking turns" in shown


def test_a_step_at_stated_rates(capsys: pytest.CaptureFixture[str]) -> None:
    rates = ("--prefill-rate", "50000", "--decode-rate", "4000", "--train-tflops", "200")
    found = stages(capsys, PAPER, *NODE, *rates, "--output-tokens", "3000")["full_context_1"]
    # 128 prompts of 32,000 tokens, 1,024 outputs of 3,000, on four engines
    assert found["sampling_seconds"] == (128 * 32_000 / 50_000 + 1024 * 3000 / 4000) / 4
    assert found["training_seconds"] > 0
    assert found["workload"]["output_tokens"] == 12_000  # memory is that of the longest
    shown = forecast(capsys, PAPER, *NODE, *rates)
    row = next(line for line in shown.splitlines() if line.startswith("full_context_1  ") and
               line.split()[3] == "110")  # fmt: skip
    _, sampling, training, steps, hours = row.split()
    seconds = float(sampling.replace(",", "")) + float(training.replace(",", ""))
    assert float(hours.replace(",", "")) == pytest.approx(int(steps) * seconds / 3600, abs=0.1)


def test_the_embedded_engine_on_one_gpu_and_on_a_cpu(capsys: pytest.CaptureFixture[str]) -> None:
    found = stages(capsys, "single_gpu")
    assert {one["verdict"] for one in found.values()} == {"fits"}
    assert found["select_1"]["num_steps"] == 38  # 1,200 samples, 32 at once
    found = stages(capsys, "laptop")
    assert {one["verdict"] for one in found.values()} == {None}
    assert found["memory_rl"]["workload"]["num_turns"] == 13  # 768 tokens in chunks of 64


def test_what_is_longer_than_the_window_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    options = cluster(tmp_path, max_window_tokens=100_000)
    shown = forecast(capsys, PAPER, *options)
    line = next(line for line in shown.splitlines() if line.startswith("longer than the window"))
    assert (
        line
        == "longer than the window of 100,000 tokens: naive_grpo, full_context_3, full_context_4"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "no recipe 'nothing'"),
        ([PAPER, "--gpus", "8"], "--cluster and --gpus need --engine openrlhf"),
        ([PAPER, "--engine", "verl"], "unknown engine: verl"),
        ([PAPER, *NODE, "--gpus", "12"], "multiple of the cluster's 8: got 12"),
        ([PAPER, "--engine", "openrlhf", "--cluster", "cpu"], "are of GPUs"),
        (["single_gpu", "--engine", "openrlhf"], "does not have model.lora"),
        (["laptop", "--engine", "openrlhf"], "the cluster says gpu"),
        ([PAPER, "--checkpoint", "Some/Model"], "the sizes of Some/Model are not known here"),
        ([PAPER, "--gpu-memory", "inf"], "--gpu-memory must be a finite number: got inf"),
        ([PAPER, "--prefill-rate", "inf"], "--prefill-rate must be a finite number: got inf"),
    ],
)
def test_wrong_options_are_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["forecast", "train", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_more_than_the_models_window_is_refused_as_training_refuses_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    options = cluster(tmp_path, max_window_tokens=300_000)
    assert main(["forecast", "train", PAPER, *options]) == 2
    assert "must be at most the model's own 262144: got 300000" in capsys.readouterr().err


def test_machines_apart_are_multiplied_with_their_engines() -> None:
    apart = ClusterSettings(colocate=False, gpus_per_node=8, rollout_engines=2, gpus_per_engine=4)
    twice = scaled(apart, 32)
    assert (twice.num_nodes, twice.rollout_engines, twice.num_gpus) == (2, 4, 32)
    assert scaled(load_cluster("node_of_8"), 8) == load_cluster("node_of_8")
