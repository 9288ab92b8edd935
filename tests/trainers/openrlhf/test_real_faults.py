"""Faults in real runs, a Ray cluster that was started by hand, and clusters of another shape.

A quarter of an hour, so only with LONGSPAN_TEST_OPENRLHF=1 (make test-openrlhf).
"""

from __future__ import annotations

import json
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from longspan.trainers.local.checkpoint import load_checkpoint
from tests.trainers.openrlhf.real import (
    RECIPE,
    TIMEOUT_SECONDS,
    Watched,
    command,
    last_state,
    steps,
    takes_minutes,
    title_of,
)

pytestmark = takes_minutes


Fault = Callable[[Watched], None]


def kill_training(run: Watched) -> None:
    run.process_of("ray::PolicyActor").kill()


def kill_engine(run: Watched) -> None:
    run.process_of("VLLM::EngineCore").kill()


def interrupt(run: Watched) -> None:
    run.process.send_signal(signal.SIGINT)


def fill_disk(run: Watched) -> None:
    """From now on no file of the training process grows."""
    actor = run.process_of("ray::PolicyActor")
    resource.prlimit(actor.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))


FAULTS: list[tuple[Fault, int, str]] = [
    (kill_training, 2, "a process of the run died"),
    (interrupt, 130, "interrupted; run the same command again"),
    (kill_engine, 2, "a vLLM engine died"),
    (fill_disk, 2, "no space is left; the last whole state is kept"),
]
"""What befalls a run, its exit code, and what it says."""


def test_whatever_befalls_a_run_is_one_line_and_costs_at_most_the_step_under_way(
    run: Path, tmp_path: Path
) -> None:
    recipe = yaml.safe_load(RECIPE.read_text())
    recipe["stages"] = recipe["stages"][:1]
    recipe["stages"][0]["num_steps"] = len(FAULTS) + 4
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    out, line = tmp_path / "out", command(tmp_path / "out", tmp_path / "recipe.yaml")
    for number, (befall, code, says) in enumerate(FAULTS):
        before = last_state(out)
        under_way = Watched(line, tmp_path / f"{befall.__name__}.txt")
        under_way.wait_for_state(out, before + 1)
        befall(under_way)
        found, text = under_way.end()
        assert found == code, text
        assert number == 0 or f"resuming after step {before} of" in text
        said = [one for one in text.splitlines() if one.startswith("longspan:")]
        assert len(said) == 1 and says in said[0] and "Traceback" not in text, text
        assert last_state(out) >= before + 1
        assert last_state(out) < len(FAULTS) + 4, "it was over before it was hit"
    subprocess.run(line, check=True, timeout=TIMEOUT_SECONDS)
    rows = steps(out, "full_context")
    assert [row["step"] for row in rows] == list(range(1, len(FAULTS) + 5))
    assert all(row["num_invalid"] == 0 for row in rows)
    # The same steps as the other run's; beyond the second rounding may change what is drawn.
    for mine, other in zip(rows[:2], steps(run, "full_context"), strict=False):
        assert mine["reward_mean"] == other["reward_mean"]
        assert mine["entropy"] == pytest.approx(other["entropy"], rel=0.02)


class Judge(BaseHTTPRequestHandler):
    """An OpenAI-compatible server that finds every answer right."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        message = {"role": "assistant", "content": "It is right.\n[[YES]]"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11}
        answer = {"id": "1", "object": "chat.completion", "created": 0, "model": "judge",
                  "choices": [choice], "usage": usage}  # fmt: skip
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Says nothing."""


@contextmanager
def judge() -> Iterator[str]:
    """Yields the address of a judge."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Judge) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


@contextmanager
def ray_cluster() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Yields address and process of a Ray that was started by hand."""
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    ray = Path(sys.executable).with_name("ray")
    line = [str(ray), "start", "--head", "--block", "--node-ip-address=127.0.0.1",
            f"--port={port}", "--num-gpus=2", "--num-cpus=6", "--include-dashboard=false",
            "--object-store-memory=536870912", "--disable-usage-stats"]  # fmt: skip
    cluster = subprocess.Popen(line, start_new_session=True)
    try:
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while socket.socket().connect_ex(("127.0.0.1", port)):
            assert cluster.poll() is None and time.monotonic() < deadline
            time.sleep(0.2)
        yield f"127.0.0.1:{port}", cluster
    finally:
        cluster.send_signal(signal.SIGTERM)
        cluster.wait(60)


PROVOKING = '''
from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.scorer import Score, mean, scorer
from inspect_ai.solver import generate


@scorer(metrics=[mean()])
def fails_on_every_third_length():
    async def score(state, target):
        length = len(state.output.completion)
        if length % 3 == 0:
            raise ValueError(f"no score for {length} letters")
        return Score(value=length % 5 / 5, answer=state.output.completion)

    return score


@task
def provoking():
    """Four prompts that fit and two that are longer than the window."""
    colours = ("gold", "red", "blue", "green")
    texts = [*(f"Repeat {one}" for one in colours), "gold " * 400, "red " * 400]
    samples = [Sample(id=f"s{number}", input=text, metadata={"task_type": "multi_hop"})
               for number, text in enumerate(texts)]
    return Task(MemoryDataset(samples), solver=generate(), scorer=fails_on_every_third_length())
'''


def test_a_cluster_that_was_started_by_hand_trains_with_a_judge_and_outlives_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # servers on 127.0.0.1 only
    recipe = yaml.safe_load(RECIPE.read_text())
    sampling = {**recipe["stages"][0]["sampling"], "batch_size": 6}
    provoked = {**recipe["stages"][0], "name": "provoked", "num_steps": 1, "sampling": sampling}
    provoked["tasks"] = [{"task": "provoking.py@provoking"}]
    (tmp_path / "provoking.py").write_text(PROVOKING)
    recipe["stages"] = [recipe["stages"][0] | {"num_steps": 3}, provoked]
    out = tmp_path / "out"
    with judge() as url, ray_cluster() as (address, cluster):
        monkeypatch.chdir(tmp_path)  # Ray began elsewhere
        grader = {"model": "openai-api/judge/any", "args": {"base_url": url, "api_key": "none"}}
        recipe["model_roles"] = {"grader": grader}
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
        line = [*command(Path("out"), Path("recipe.yaml")), "--ray-address", address]
        interrupted = Watched(line, tmp_path / "interrupted.txt")
        interrupted.wait_for_state(out, 1)
        interrupted.process.send_signal(signal.SIGINT)
        assert interrupted.end()[0] == 130
        subprocess.run(line, check=True, timeout=TIMEOUT_SECONDS)
        assert cluster.poll() is None
        deadline = time.monotonic() + 60
        while left := of_the_run(cluster):
            assert time.monotonic() < deadline, left
            time.sleep(0.5)
    rows = steps(out, "full_context")
    assert [row["step"] for row in rows] == [1, 2, 3]
    for row in rows:
        assert row["role_tokens"]["grader"] > 0 and row["num_invalid"] == 0
        # Whatever the rule refused the judge accepted.
        asked = [row["reward_by_type"][kind] for kind in ("multi_hop", "reading_comprehension")]
        assert asked == [1.0, 1.0]

    (row,) = steps(out, "provoked")
    failed = row["invalid_by_kind"]
    assert failed["engine_failed"] == 8 and 1 <= failed["scorer_failed"] < 16
    assert "window" in row["first_error_by_kind"]["engine_failed"]
    assert "no score for" in row["first_error_by_kind"]["scorer_failed"]
    assert row["num_invalid"] == sum(failed.values()) == 24 - row["num_trained"]


def of_the_run(cluster: subprocess.Popen[bytes]) -> list[str]:
    titles = map(title_of, psutil.Process(cluster.pid).children(recursive=True))
    return [one for one in titles if one.startswith(("ray::PolicyActor", "VLLM::EngineCore"))]


def other_run(folder: Path, changes: dict[str, Any], num_steps: int) -> Path:
    """Runs both stages undisturbed on a cluster of another shape; returns the run's folder."""
    recipe = yaml.safe_load(RECIPE.read_text())
    recipe["stages"][0]["num_steps"] = num_steps
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    cluster = {"device": "cpu", "colocate": False, "attention": "eager", **changes}
    (folder / "cluster.yaml").write_text(yaml.safe_dump(cluster))
    out = folder / "out"
    line = command(out, folder / "recipe.yaml", str(folder / "cluster.yaml"))
    subprocess.run(line, check=True, timeout=TIMEOUT_SECONDS)
    return out


@pytest.mark.parametrize(
    ("changes", "num_steps"),
    # Beyond two steps rounding may change what is drawn; the engines' steps are equal also after
    # those that the killed run made again.
    [({"gpus_per_node": 2, "zero_stage": 3}, 2), ({"rollout_engines": 2}, 4)],
    ids=["two training processes with ZeRO 3", "two engines"],
)
def test_a_larger_cluster_makes_the_steps_of_one_process_that_was_killed(
    changes: dict[str, Any], num_steps: int, run: Path, tmp_path: Path
) -> None:
    out = other_run(tmp_path, changes, num_steps)
    ours, theirs = steps(out, "full_context"), steps(run, "full_context")[:num_steps]
    assert len(ours) == num_steps
    for mine, other in zip(ours, theirs, strict=True):
        assert mine["aepo_masking"] == other["aepo_masking"]
        # On-policy the loss is a sum of weights: rewards, advantages and masks are the same.
        for key in ("reward_mean", "loss", "entropy", "masked_share"):
            assert mine[key] == pytest.approx(other[key], rel=0.02), key
        # In bfloat16 it differs by 2.4% between two runs of one process.
        assert mine["gradient_norm"] == pytest.approx(other["gradient_norm"], rel=0.05)
        assert mine["logprob_gap"] < 0.05
    memory = steps(out, "memory_rl")
    assert [row["num_trained"] for row in memory] == [32, 32]
    assert memory[0]["turns"] > 5
    load_checkpoint(out / "final")
