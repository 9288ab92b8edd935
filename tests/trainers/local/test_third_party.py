"""A task of inspect_evals, made by its own code, in evaluation, in rollouts and in training.

PersistBench brings its data in the package. Its scorer asks a judge, who is scripted here.
"""

from __future__ import annotations

import itertools
import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from inspect_ai import eval
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from longspan.harness.environment import Environment
from longspan.harness.parity import Completion, replay_parity
from longspan.harness.resolve import registered_task
from longspan.harness.rollout import CALLS
from longspan.trainers.local.stage import StageRun
from longspan.trainers.local.trainer import train_stage
from longspan.trainers.metrics import MetricsFile
from longspan.trainers.settings import RoleModel
from tests.harness.scripted import Request, scripted_model
from tests.trainers.tiny import CHAT_TEMPLATE, SPECIAL, save_tiny
from tests.trainers.toy import toy_stage

TASK = "inspect_evals/persistbench_beneficial_memory"
pytestmark = pytest.mark.skipif(find_spec("inspect_evals") is None, reason="needs inspect_evals")


def rating(request: Request) -> str:
    """The judge: 1 to 3, by a word of the answer."""
    value = 3 if "lasagne" in request.prompt.split("Response")[-1] else 2
    return json.dumps({"reasoning": "It says so.", "rating": value})


def test_evaluation_and_rollouts_of_a_third_party_task_have_the_same_numbers(tmp_path):
    policy = scripted_model(lambda request: "Make lasagne.", "policy")
    roles = {"grader": scripted_model(rating, "rating")}
    task = registered_task(TASK)
    (log,) = eval(
        task,
        model=policy,
        model_roles=roles,
        limit=3,
        log_dir=str(tmp_path),
        display="none",
        log_realtime=False,
    )
    assert log.status == "success", log.error
    scores = {str(one.id): one.scores["persistbench_judge"].value for one in log.samples}
    samples = list(task.dataset)[:3]
    rollouts = Environment([TASK], policy, model_roles=roles).rollouts({TASK: samples}, 2)
    assert len(rollouts) == 6 and CALLS == {}
    for one in rollouts:
        assert one.reward == scores[one.sample_id] == 3 and one.validity == "answered"
        (turn,) = one.turns  # the judge's call is none
        assert bytes(turn.sampled_ids).decode() == "Make lasagne."
        assert one.task == TASK and one.advantage_group == f"{TASK}/persistbench_judge"


def test_a_third_party_task_passes_the_parity_check():
    ids = [str(sample.id) for sample in registered_task(TASK).dataset][:4]
    texts = ["Make lasagne.", "Make soup.", "no", "lasagne lasagne"]
    report = replay_parity(
        TASK,
        [Completion(id_, text) for id_, text in zip(ids, texts, strict=True)],
        model_roles={"grader": scripted_model(rating, "rating")},
    )
    assert (report.num_scored, report.differences) == (4, ())


def save_byte_policy(folder: Path) -> Path:
    """The tiny Llama with a token for every byte: the word-level one cannot read English."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: place for place, token in enumerate([*SPECIAL, *alphabet])}
    backend = Tokenizer(models.BPE(vocabulary, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=SPECIAL[0],
        eos_token=SPECIAL[-1],
        additional_special_tokens=SPECIAL[2:5],
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    save_tiny(folder, vocab_size=len(vocabulary), max_position_embeddings=8192)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_third_party_task_trains_a_policy(tmp_path: Path):
    start = save_byte_policy(tmp_path / "start")
    (tmp_path / "prompt.txt").write_text("What is known: {memories}")
    ratings = itertools.cycle((1, 2, 3))  # answers differ, so there is an advantage to learn from
    connections: set[int | None] = set()

    def judge(request: Request) -> str:
        connections.add(request.config.max_connections)
        return json.dumps({"reasoning": "So.", "rating": next(ratings)})

    scripted_model(judge, "judge")
    stage = toy_stage(
        tasks=[{"task": TASK, "args": {"prompt_template": str(tmp_path / "prompt.txt")}}],
        num_steps=1,
        sampling={"batch_size": 2, "group_size": 3, "temperature": 1.0, "max_output_tokens": 6},
    )
    run = StageRun(
        stage,
        tmp_path / "stage",
        str(start),
        sources=stage.tasks,
        model_roles={"grader": RoleModel(model="scripted/judge", max_connections=2)},
        quiet=True,
    )
    checkpoint = train_stage(run)
    (row,) = MetricsFile(tmp_path / "stage" / "metrics.jsonl").rows()
    assert row["step"] == 1 and row["reward_mean"] == 2.0, row
    assert row["role_tokens"]["grader"] > 0
    assert connections == {2}
    trained = (checkpoint / "model.safetensors").read_bytes()
    assert trained != (start / "model.safetensors").read_bytes()
