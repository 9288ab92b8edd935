"""`longspan rejudge`: only scores whose judge failed change, and the log stays whole."""

import json
import math

import pytest
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.log import read_eval_log, write_eval_log
from inspect_ai.solver import generate

from longspan.harness.cli import main
from longspan.harness.scoring import canaries as module
from longspan.harness.scoring.canaries import canaries
from longspan.harness.scoring.judge_prompts import prompt
from longspan.harness.scoring.scorers import SCORERS
from tests.harness.scripted import Request, scripted_model

SCORER = "cover_exact_match"
NAMES = ["right", "wrong", "broken", "equal", "broken too"]
CANARIES = {prompt(one.request).user: one.meets for one in canaries("equivalence")}
NUM_CANARIES = len(CANARIES)


def failing_judge(request: Request) -> str:
    if request.prompt in CANARIES:
        return "[[YES]]" if CANARIES[request.prompt] else "[[NO]]"
    if "broken" in request.prompt:
        return "!overloaded"
    return "[[YES]]" if "equal" in request.prompt else "[[NO]]"


def mended_judge(request: Request) -> str:
    return failing_judge(request).replace("!overloaded", "They agree.\n[[YES]]")


@pytest.fixture(autouse=True)
def nothing_measured(monkeypatch):
    monkeypatch.setattr(module, "_verdicts", {})


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """A log of two epochs in which the judge failed twice each."""
    samples = [Sample(id=i, input=name, target="right") for i, name in enumerate(NAMES)]
    log = eval(
        Task(dataset=samples, solver=generate(), scorer=SCORERS[SCORER](require_phrase=False)),
        model=scripted_model(lambda request: request.prompt, name="policy"),
        model_roles={"grader": scripted_model(failing_judge, name="grader")},
        log_dir=str(tmp_path_factory.mktemp("logs")),
        display="none",
        epochs=2,
    )[0]
    return log


@pytest.fixture
def log(evaluated, tmp_path):
    path = tmp_path / "log.eval"
    write_eval_log(evaluated, path)
    return path


def scores(path):
    log = read_eval_log(str(path))
    return {(one.id, one.epoch): one.scores[SCORER] for one in log.samples}


def dump(score):
    return score.model_dump_json()


def rejudge(capsys, *arguments):
    code = main(["rejudge", *map(str, arguments)])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_only_failed_scores_change_and_metrics_are_computed_anew(log, capsys):
    before = scores(log)
    old = read_eval_log(str(log), header_only=True).results.scores[0]
    assert old.metrics["mean"].value == pytest.approx(2 / 3) and old.unscored_samples == 2
    grader = scripted_model(mended_judge, name="grader")
    code, out, _ = rejudge(capsys, log, "--grader", "scripted/grader")
    assert code == 0 and "4 of 10 scores" in out and "4 now have a score" in out
    after = scores(log)
    for key, score in after.items():
        if NAMES[key[0]].startswith("broken"):
            assert score.value == 1.0 and score.reason is None and score.explanation is None
            assert score.metadata["validity"] == "answered"
            assert (score.metadata["strict"], score.metadata["compat"]) == (1.0, 1.0)
            record = score.metadata["judge"]
            assert (record["verdict"], record["failure"]) == (True, None)
            assert record["reply"] == "They agree.\n[[YES]]" and record["tokens"][1] > 0
            assert record["quality"]["num_failed"] == 0
            first, edit = score.history
            assert math.isnan(first.value) and first.metadata["validity"] == "judge_failed"
            assert edit.provenance.author == "longspan rejudge"
        else:
            assert dump(score) == dump(before[key]), "untouched"
    header = read_eval_log(str(log), header_only=True)
    new = header.results.scores[0]
    assert new.metrics["mean"].value == pytest.approx(4 / 5)
    assert (new.scored_samples, new.unscored_samples) == (5, 0)
    assert new.metrics["judge_false_positive_rate"].value == 0.0
    assert header.metadata["longspan_rejudged"] == {"scripted/grader": 4}
    assert header.status == "success" and header.results.total_samples == 10
    del grader


def test_the_judge_sees_again_what_it_saw_and_nothing_else_is_asked(log, capsys):
    seen: list[str] = []

    def script(request: Request) -> str:
        seen.append(request.prompt)
        return mended_judge(request)

    scripted_model(script, name="grader")
    assert rejudge(capsys, log, "--grader", "scripted/grader")[0] == 0
    asked = [one for one in seen if one not in CANARIES]
    assert len(asked) == 4 and all("broken" in one for one in asked)
    assert len(seen) == 4 + NUM_CANARIES


def test_the_logs_own_judge_is_the_default(log, capsys):
    scripted_model(mended_judge, name="grader")
    code, out, _ = rejudge(capsys, log)
    assert code == 0 and "asking scripted/grader again" in out
    code, out, _ = rejudge(capsys, log)
    assert code == 0 and "nothing to re-judge" in out


def test_a_no_gives_the_rules_value(log, capsys):
    scripted_model("[[NO]]", name="grader")
    assert rejudge(capsys, log)[0] == 0
    assert [scores(log)[(2, epoch)].value for epoch in (1, 2)] == [0.0, 0.0]


def test_with_out_the_log_stays_as_it_is(log, tmp_path, capsys):
    before = log.read_bytes()
    scripted_model(mended_judge, name="grader")
    code, out, _ = rejudge(capsys, log, "--out", tmp_path / "new.json")
    assert code == 0 and "new.json" in out
    assert log.read_bytes() == before
    assert scores(tmp_path / "new.json")[(2, 1)].value == 1.0
    assert not list(tmp_path.glob("*.partial"))


def test_a_judge_that_fails_again_leaves_the_score_and_is_told(log, capsys):
    before = scores(log)

    def half(request: Request) -> str:
        return "no idea" if "too" in request.prompt else mended_judge(request)

    scripted_model(half, name="grader")
    code, out, _ = rejudge(capsys, log)
    assert code == 1 and "2 still have none; the first failed with: the reply holds no" in out
    after = scores(log)
    assert dump(after[(4, 1)]) == dump(before[(4, 1)]) and after[(2, 1)].value == 1.0
    content = log.read_bytes()
    scripted_model(failing_judge, name="grader")
    code, out, _ = rejudge(capsys, log)
    assert code == 1 and log.read_bytes() == content, "nothing to write"


def test_a_log_that_cannot_be_written_stays_whole(log, capsys, monkeypatch):
    before = log.read_bytes()

    def full(content, location, **_):
        location.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("longspan.harness.scoring.rejudge.write_eval_log", full)
    scripted_model(mended_judge, name="grader")
    code, _, err = rejudge(capsys, log)
    assert code == 2 and "No space left" in err
    assert log.read_bytes() == before and not list(log.parent.glob("*.partial"))


def test_a_log_without_a_judge_is_one_line_with_the_remedy(evaluated, tmp_path, capsys):
    lonely = evaluated.model_copy(deep=True)
    lonely.eval.model_roles = None
    write_eval_log(lonely, tmp_path / "log.eval")
    code, out, err = rejudge(capsys, tmp_path / "log.eval")
    assert code == 2 and out == ""
    assert "no model in the role grader; name one, for example --grader openai/gpt-5" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.eval"], "no log at"),
        (["text.eval"], "cannot read"),
        (["log.eval", "--grader", "openai/gpt-none"], "openai"),
        (["foreign.json"], "cannot be re-judged: its metadata has no judge record"),
    ],
)
def test_every_mistake_is_one_line(log, tmp_path, capsys, arguments, message):
    (tmp_path / "text.eval").write_text("no log")
    foreign = read_eval_log(str(log))
    del foreign.samples[2].scores[SCORER].metadata["judge"]
    write_eval_log(foreign, tmp_path / "foreign.json")
    before = log.read_bytes()
    name, *options = arguments
    code, _, err = rejudge(capsys, tmp_path / name, *options)
    assert code == 2 and message in err and err.count("\n") == 1
    assert log.read_bytes() == before


def test_metadata_that_is_not_ours_survives(evaluated, tmp_path, capsys):
    with_more = evaluated.model_copy(deep=True)
    for sample in with_more.samples:
        sample.scores[SCORER].metadata["truncation"] = {"side": "middle"}
        if "judge" in sample.scores[SCORER].metadata:
            sample.scores[SCORER].metadata["judge"]["rule_compat"] = 0.0
    write_eval_log(with_more, tmp_path / "log.eval")
    scripted_model("It holds YES. [[NO]]", name="grader")
    assert rejudge(capsys, tmp_path / "log.eval")[0] == 0
    score = scores(tmp_path / "log.eval")[(2, 1)]
    assert score.metadata["truncation"] == {"side": "middle"}
    assert (score.value, score.metadata["strict"], score.metadata["compat"]) == (0.0, 0.0, 1.0)
    assert json.dumps(score.metadata)
