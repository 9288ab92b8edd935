from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from longspan.harness.cli import load_command
from longspan.harness.errors import ModelError, SynthesisError
from longspan.harness.passport import Vote
from longspan.harness.taskset import SampleRow, TaskSet
from longspan.harness.workers import JobError, folder_lock
from longspan.synth_templates.models import votes
from longspan.synth_templates.models.vote_rules import NO_VOTE, check_votes, why_dropped
from longspan.synth_templates.models.votes import verify_command
from longspan.synth_templates.pipeline import synthesize
from longspan.synth_templates.plan import parse_plan
from longspan.synth_templates.verify import check_taskset
from tests.harness.scripted import Request
from tests.synth_templates.scripted_models import Script

PLAN = {
    "name": "t",
    "kinds": {"world_hop2": 1, "world_choice1": 1},
    "splits": {"test": {300: 8}},
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> TaskSet:
    return synthesize(parse_plan(PLAN, "test"), tmp_path_factory.mktemp("v") / "set", quiet=True)


def voter(
    name: str, rows: list[SampleRow], knows: Callable[[int, str, int], bool | None]
) -> Script:
    """A model that answers sample number i, seen closed-book, scarcely or whole, as it is told to.

    True is the gold answer, False a wrong one, None a failure.
    """
    first_document = {}

    def answer(request: Request) -> str:
        prompt = request.prompt
        (number,) = [i for i, row in enumerate(rows) if row.question in prompt]
        row = rows[number]
        num_documents = sum(f"\n{name}" in prompt for name in first_document[row.id])
        shown = "whole" if num_documents == len(row.documents) else "scarce"
        shown = shown if "<text>" in prompt else "blind"
        known = knows(number, shown, int(request.identity["epoch"]))
        if known is None:
            return "!the engine is down"
        return f"Therefore, the answer is {row.target[0] if known else 'something else'}"

    script = Script(name, answer)
    script.first_document = first_document  # type: ignore[attr-defined]
    return script


@pytest.fixture
def rows(built: TaskSet) -> list[SampleRow]:
    return built.rows()


def make_voter(built: TaskSet, name: str, knows: Callable[[int, str, int], bool | None]) -> Script:
    script = voter(name, built.rows(), knows)
    documents = built.documents
    for row in built.rows():
        texts = [documents[one].text[:60] for one in row.documents]
        script.first_document[row.id] = texts  # type: ignore[attr-defined]
    return script


def verify(built: TaskSet, script: Script, out: Path, **options: object) -> TaskSet:
    settings = {"grounding": 1, "scarce": 1, "robustness": 2, "quiet": True, **options}
    return verify_command(built.folder, model=script.name, out=out, **settings)


def test_each_check_drops_what_it_is_for(built: TaskSet, rows: list[SampleRow], tmp_path: Path):
    def knows(number: int, shown: str, attempt: int) -> bool:
        if shown == "blind":
            return number == 0
        if shown == "scarce":
            return number == 1
        return number != 2 and (number != 3 or attempt == 2)

    script = make_voter(built, "voter", knows)
    verified = verify(built, script, tmp_path / "new")
    assert [row.id for row in verified.rows()] == [row.id for row in rows[3:]]
    checks = verified.manifest["verification"]["checks"]
    assert {name: facts["dropped"] for name, facts in checks.items()} == {
        "grounding": {"answered without documents": 1},
        "scarce": {"answered from titles and one document": 1},
        "robustness": {"pass@k = 0": 1},
    }
    assert script.num_calls == 8 + 7 + 6 * 2
    third = verified.rows()[0].passport
    assert third is not None
    assert [(v.check, v.attempt, v.verdict) for v in third.votes] == [
        ("grounding", 1, False),
        ("scarce", 1, False),
        ("robustness", 1, False),
        ("robustness", 2, True),
    ]
    assert {vote.model for vote in third.votes} == {script.name}
    assert third.votes[0].answer == "something else" and len(third.votes[0].completion_hash) == 16
    assert third.cost.model_calls == 4 and third.cost.prompt_tokens > 0
    assert built.rows() == rows


def test_costs_and_yields_of_votes_are_in_manifest_and_card(built: TaskSet, tmp_path: Path):
    script = make_voter(built, "voter", lambda i, shown, _: shown == "whole")
    verified = verify(built, script, tmp_path / "new")
    assert verified.manifest["cost"]["model_calls"] == 8 + 8 + 16 == script.num_calls
    step = verified.manifest["yields"]["verify/robustness"]
    assert (step["drawn"], step["accepted"]) == (8, 8)
    card = (verified.folder / "card.md").read_text()
    assert "Models (scripted/voter) were called 32 times." in card
    assert "| verify/grounding | 8 | 8 | 8 |" in card
    assert "No model took part" in (built.folder / "card.md").read_text()
    assert check_taskset(verified) == {}


def test_the_prompts_are_those_of_an_evaluation(built: TaskSet, tmp_path: Path):
    script = make_voter(built, "voter", lambda i, shown, _: shown == "whole")
    verify(built, script, tmp_path / "new", grounding=0, scarce=0, robustness=1)
    voted = {request.prompt for request in script.requests}
    asked = make_voter(built, "voter", lambda *_: True)
    load_command("eval")(
        "longspan/taskset",
        model=asked.name,
        task_args=[f"path={built.folder}"],
        log_dir=tmp_path / "logs",
    )
    assert voted == {request.prompt for request in asked.requests}


def test_a_killed_verification_pays_for_no_call_twice(built: TaskSet, tmp_path: Path):
    def honest(number: int, shown: str, _: int) -> bool:
        return shown == "whole"

    whole = verify(built, make_voter(built, "voter", honest), tmp_path / "whole")
    left = [True] * 13

    def dies(number: int, shown: str, attempt: int) -> bool | None:
        if not left:
            raise KeyboardInterrupt
        left.pop()
        return honest(number, shown, attempt)

    first = make_voter(built, "voter", dies)
    with pytest.raises((KeyboardInterrupt, ModelError)):
        verify(built, first, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    second = make_voter(built, "voter", honest)
    resumed = verify(built, second, tmp_path / "new")
    assert second.num_calls == 32 - 13
    assert resumed.hash == whole.hash
    assert not (tmp_path / "new.work").exists()


def test_a_second_run_of_one_folder_asks_no_model(built: TaskSet, tmp_path: Path, monkeypatch):
    script = make_voter(built, "second", lambda *_: True)
    monkeypatch.setattr(votes, "folder_lock", partial(folder_lock, wait_seconds=0.1))
    with folder_lock(tmp_path / "out.work"), pytest.raises(JobError, match="another run is"):
        verify(built, script, tmp_path / "out")
    assert script.num_calls == 0


def test_a_finished_verification_is_returned_and_another_refused(built: TaskSet, tmp_path: Path):
    script = make_voter(built, "voter", lambda i, shown, _: shown == "whole")
    first = verify(built, script, tmp_path / "new", scarce=0)
    num_calls = script.num_calls
    assert verify(built, script, tmp_path / "new", scarce=0).hash == first.hash
    assert script.num_calls == num_calls
    with pytest.raises(SynthesisError, match="holds another task set"):
        verify(built, script, tmp_path / "new")


def test_a_sample_without_a_vote_is_dropped_and_counted(built: TaskSet, tmp_path: Path):
    script = make_voter(built, "voter", lambda i, shown, _: None if i == 5 else shown == "whole")
    verified = verify(built, script, tmp_path / "new")
    assert verified.manifest["num_samples"] == 7
    checks = verified.manifest["verification"]["checks"]
    assert checks["grounding"]["dropped"] == {NO_VOTE: 1}


def test_a_model_that_fails_at_everything_is_one_line(built: TaskSet, tmp_path: Path):
    script = make_voter(built, "voter", lambda *_: None)
    with pytest.raises(ModelError, match="not one of 8 samples"):
        verify(built, script, tmp_path / "new")
    with pytest.raises(SynthesisError, match="no sample of .* passes grounding: all 8 dropped"):
        verify(built, make_voter(built, "voter", lambda *_: True), tmp_path / "other")
    with pytest.raises(SynthesisError, match="all attempts are 0"):
        verify(built, script, tmp_path / "new", grounding=0, scarce=0, robustness=0)


def test_a_plan_verifies_what_it_builds(built: TaskSet, tmp_path: Path):
    script = make_voter(built, "voter", lambda i, shown, _: i > 1 or shown == "blind")
    votes = {"model": script.name, "attempts": 1}
    plan = parse_plan({**PLAN, "verify": {"robustness": votes}}, "test")
    verified = synthesize(plan, tmp_path / "set", quiet=True)
    assert [row.id for row in verified.rows()] == [row.id for row in built.rows()[2:]]
    assert not (tmp_path / "set.work").exists()
    again = synthesize(plan, tmp_path / "set", quiet=True)
    assert again.hash == verified.hash and script.num_calls == 8


def test_check_finds_votes_that_do_not_allow_a_sample(built: TaskSet):
    row = built.rows()[0]
    verification = {"checks": {"grounding": {"attempts": 2}}}

    def with_votes(*verdicts: bool | None) -> SampleRow:
        votes = tuple(
            Vote(check="grounding", model="m", verdict=v, attempt=i + 1)
            for i, v in enumerate(verdicts)
        )
        passport = row.passport.model_copy(update={"votes": votes})
        return row.model_copy(update={"passport": passport})

    assert check_votes(with_votes(False, False), verification) == []
    assert check_votes(with_votes(False, None), verification) == []
    assert check_votes(with_votes(False, True), verification) == [
        "grounding: answered without documents"
    ]
    assert check_votes(with_votes(False), verification) == ["1 votes of grounding, expected 2"]
    assert check_votes(row, None) == []
    assert why_dropped("robustness", [Vote(check="robustness", model="m", verdict=None)]) == NO_VOTE
