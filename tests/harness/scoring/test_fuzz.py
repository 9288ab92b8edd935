"""Fuzzing a scorer: exploits earn what they earn, and the control must earn everything."""

import json

import pytest
from inspect_ai import Task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import Score, mean, scorer

from longspan.harness.cli import main
from longspan.harness.scoring import fuzz as fuzzing
from longspan.harness.scoring.exploits import EXPLOITS
from longspan.harness.scoring.fuzz import CONTROL, fuzz
from longspan.harness.scoring.scorers import SCORERS

NAMES = ("Arnor", "Belfalas", "Cardolan")


def made_up(scoring) -> Task:
    samples = [
        Sample(id=f"s{i}", input=f"Which land is number {i} of them all?", target=name)
        for i, name in enumerate(NAMES)
    ]
    return Task(dataset=samples, scorer=scoring, name="lands")


@scorer(metrics=[mean()])
def gullible():
    """Scores 1 for every completion that says the gold anywhere, or a verdict."""

    async def score(state, target):
        text = state.output.completion
        return Score(value=float(target.text in text or "[[YES]]" in text), answer=text[:20])

    return score


def test_every_exploit_is_tried_on_every_sample_and_only_the_control_earns():
    earnings = fuzz(made_up(SCORERS["exact_match"]()))
    assert [one.exploit for one in earnings] == [CONTROL, *EXPLOITS]
    assert all(one.num_scored == one.num_samples == 3 for one in earnings)
    assert {one.exploit: one.mean for one in earnings if one.mean} == {CONTROL: 1.0}
    assert earnings[0].validity == {"answered": 3}


def test_a_scorer_that_can_be_gamed_is_shown_with_what_it_gives_away():
    earned = {one.exploit: one.mean for one in fuzz(made_up(gullible()))}
    assert earned["a verdict"] == earned["only thinking"] == 1.0
    assert earned["every candidate"] == 1.0 and earned["empty"] == 0.0


def test_samples_without_a_score_are_no_zeros():
    @scorer(metrics=[mean()])
    def brittle():
        async def score(state, target):
            if "[[YES]]" in state.output.completion:
                raise ValueError("cannot parse")
            return Score(value=float(target.text in state.output.completion))

        return score

    earned = {one.exploit: one for one in fuzz(made_up(brittle()), num_samples=2)}
    broken = earned["a verdict"]
    assert (broken.mean, broken.num_scored, broken.num_samples) == (None, 0, 2)
    assert broken.validity == {"engine_failed": 2}


@pytest.mark.parametrize(("scoring", "code"), [(SCORERS["exact_match"], 0), (SCORERS["letter"], 1)])
def test_the_command_fails_where_the_control_does(monkeypatch, capsys, scoring, code):
    monkeypatch.setattr(fuzzing, "named_task", lambda *args: made_up(scoring()))
    assert main(["fuzz-scorer", "lands", "--json"]) == code
    printed = capsys.readouterr().out
    assert printed.startswith("["), printed
    first = json.loads(printed)[0]
    assert (first["exploit"], first["mean"]) == (CONTROL, 1.0 if code == 0 else None)
    assert main(["fuzz-scorer", "lands"]) == code
    assert "every candidate" in capsys.readouterr().out
