"""The whole stack: Ray, DeepSpeed and vLLM's CPU build train the packaged policy.

Minutes, so only with LONGSPAN_TEST_OPENRLHF=1 (make test-openrlhf, .ci/run).
"""

from __future__ import annotations

import math
import os
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from inspect_ai.log import list_eval_logs, read_eval_log

from longspan.trainers.local.checkpoint import load_checkpoint
from longspan.trainers.openrlhf import cpu
from tests.trainers.openrlhf.real import (
    RECIPE,
    TIMEOUT_SECONDS,
    steps,
    takes_minutes,
)

pytestmark = takes_minutes


def test_a_killed_run_goes_on_and_every_step_is_there_once(run: Path) -> None:
    assert [row["step"] for row in steps(run, "full_context")] == [1, 2, 3, 4]
    assert [row["step"] for row in steps(run, "memory_rl")] == [1, 2]


def test_rewards_are_the_scorers_and_aepo_switches(run: Path) -> None:
    rows = steps(run, "full_context")
    assert all(row["num_rollouts"] == 32 and row["num_invalid"] == 0 for row in rows)
    assert {row["aepo_masking"] for row in rows} == {True, False}
    assert len(rows[0]["reward_by_type"]) == 5


def test_the_engine_samples_from_the_weights_that_are_trained(run: Path) -> None:
    # Without a transfer the gap grows with every step; bfloat16 alone gives a few hundredths.
    assert all(row["logprob_gap"] < 0.05 for row in steps(run, "full_context"))


def test_a_memory_rollout_has_several_turns_and_one_reward(run: Path) -> None:
    for row in steps(run, "memory_rl"):
        assert row["turns"] > 5
        assert math.isfinite(row["loss"]) and row["num_trained"] == 32


def test_the_checkpoint_is_an_ordinary_one(run: Path) -> None:
    before = load_checkpoint(RECIPE.parents[2] / "trainers" / "checkpoints" / "nano")
    after = load_checkpoint(run / "final")
    moved = max(
        float((a.detach().double() - b.detach().double()).abs().max())
        for a, b in zip(before.model.parameters(), after.model.parameters(), strict=True)
    )
    assert 0 < moved < 0.1


def test_inspect_evaluates_the_checkpoint_with_vllm(run: Path, tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    server = [
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1"),
        *("--port", str(port), "--model", str(run / "final"), "--served-model-name", "final"),
        *("--api-key", "inspectai", "--enforce-eager", "--max-model-len", "256"),
    ]
    with (tmp_path / "server.txt").open("w") as output:
        started = subprocess.Popen(
            server, env={**os.environ, **cpu.ENVIRONMENT}, stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while socket.socket().connect_ex(("127.0.0.1", port)):
            assert started.poll() is None, (tmp_path / "server.txt").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.5)
        line = [
            *(str(Path(sys.executable).with_name("inspect")), "eval", "longspan/taskset"),
            *("-T", f"path={run / 'tasksets' / 'short'}", "-T", "split=train", "--limit", "20"),
            *("--model", "vllm/final", "--max-tokens", "32", "--temperature", "0"),
            *("--display", "none", "--log-dir", str(tmp_path / "logs")),
        ]
        place = f"http://127.0.0.1:{port}/v1"
        environment = {**os.environ, "VLLM_API_KEY": "inspectai", "VLLM_BASE_URL": place}
        subprocess.run(line, check=True, env=environment, timeout=TIMEOUT_SECONDS)
    finally:
        started.terminate()
        started.wait(60)
    (log,) = list_eval_logs(str(tmp_path / "logs"))
    header = read_eval_log(log)
    assert header.status == "success" and header.results is not None
    assert len(header.samples or []) == 20
    mean = header.results.scores[0].metrics["mean"].value
    assert 0.3 < mean <= 1  # the packaged policy, which the run hardly changed, has 0.74
