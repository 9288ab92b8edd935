"""Scorers with a judge: when it is asked, what counts, and that its failure is no zero."""

import json
import math

import pytest
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.log import list_eval_logs, read_eval_log
from inspect_ai.solver import generate

from longspan.harness.cli import main
from longspan.harness.errors import ModelError, SpecError
from longspan.harness.evaluate import evaluate
from longspan.harness.parity import replay_parity
from longspan.harness.replay import Completion
from longspan.harness.scoring.scorers import SCORERS
from longspan.harness.unit import num_scored
from tests.harness.datasets.test_conversations import LONGMEMEVAL
from tests.harness.scripted import scripted_model

SAY = "Therefore, the answer is {}."


def judge(says="[[YES]]", name="judge"):
    """A scripted grader; text, or a function of the call."""
    return scripted_model(says, name=name)


def run(tmp_path, scorer, completion, target="Karo", grader=None, metadata=None):
    sample = Sample(id="s", input="Where?", target=target, metadata=metadata or {})
    (log,) = eval(
        Task(dataset=[sample], scorer=scorer),
        model=scripted_model(completion, name="policy"),
        model_roles={"grader": grader} if grader else None,
        log_dir=str(tmp_path),
        display="none",
    )
    (score,) = log.samples[0].scores.values()
    return score, log


def test_the_judge_is_asked_where_the_rule_fails_and_says_what_it_was_asked(tmp_path):
    grader = judge("Same town. [[YES]]")
    scorer = SCORERS["cover_exact_match"]
    score, log = run(tmp_path, scorer(), SAY.format("the old capital"), grader=grader)
    assert (score.value, score.metadata["strict"]) == (1.0, 1.0)
    record = score.metadata["judge"]
    assert (record["rule"], record["verdict"], record["gold"]) == (0.0, True, ["Karo"])
    assert (record["question"], record["answer"]) == ("Where?", "the old capital")
    assert record["quality"]["false_positive_rate"] == 1.0, "this judge says yes to all canaries"
    assert log.results.scores[0].metrics["judge_false_positive_rate"].value == 1.0
    right, _ = run(tmp_path, scorer(), SAY.format("Karo"), grader=grader)
    assert right.value == 1.0 and "judge" not in right.metadata


def test_the_judge_is_not_asked_about_what_is_no_answer_or_where_it_is_switched_off(tmp_path):
    scorer = SCORERS["cover_exact_match"]
    for completion in ("", "Karo?", "<think>" + SAY.format("Karo")):
        score, _ = run(tmp_path, scorer(), completion, grader=judge())
        assert (score.value, score.metadata["validity"]) == (0.0, "no_answer")
        assert "judge" not in score.metadata
    off, _ = run(tmp_path, scorer(judge="none"), SAY.format("x"), grader=judge())
    assert off.value == 0.0
    always, _ = run(tmp_path, scorer(judge="max"), SAY.format("Karo"), grader=judge("[[NO]]"))
    assert (always.value, always.metadata["judge"]["verdict"]) == (1.0, False)
    with pytest.raises(SpecError, match="judge must be one of none, fallback, max: got 'often'"):
        scorer(judge="often")


def test_a_rule_that_needs_no_judge_never_asks_one(tmp_path):
    score, _ = run(tmp_path, SCORERS["letter"](), SAY.format("C"), "B", grader=judge())
    assert score.value == 0.0 and "judge" not in score.metadata


def test_a_failed_judge_is_no_zero_and_can_be_asked_again(tmp_path, capsys):
    grader = judge("I cannot say.", name="mute")
    score, log = run(
        tmp_path, SCORERS["cover_exact_match"](), SAY.format("the old capital"), grader=grader
    )
    assert math.isnan(score.value) and score.metadata["validity"] == "judge_failed"
    assert log.results.scores[0].unscored_samples == 1
    judge("[[YES]]", name="lenient")
    assert main(["rejudge", log.location, "--grader", "scripted/lenient"]) == 0
    again = read_eval_log(log.location)
    (mended,) = again.samples[0].scores.values()
    assert (mended.value, mended.metadata["validity"]) == (1.0, "answered")


def test_the_authors_parser_reads_the_same_reply(tmp_path):
    grader = judge("[[NO]], although YES was my first thought")
    scorer = SCORERS["cover_exact_match"]
    strict, _ = run(tmp_path, scorer(), SAY.format("x"), grader=grader)
    assert (strict.value, strict.metadata["compat"]) == (0.0, 1.0)
    compat, _ = run(tmp_path, scorer(scoring="compat"), SAY.format("x"), grader=grader)
    assert compat.value == 1.0
    corpus, _ = run(tmp_path, SCORERS["corpusqa"](), SAY.format("x"), grader=grader)
    assert corpus.metadata["compat"] == 0.0  # CorpusQA wants [[YES]]


def test_under_compat_the_judge_is_shown_what_the_authors_show_theirs(tmp_path):
    scorer = SCORERS["cover_exact_match"]
    text = "the answer is Karo\nor Arnor"
    shown, _ = run(tmp_path, scorer(scoring="compat"), text, "Belfalas", judge("[[NO]]"))
    assert shown.metadata["judge"]["answer"] == "Karo\nor Arnor"
    none, log = run(tmp_path, scorer(scoring="compat"), "Karo?", grader=judge("[[YES]]"))
    assert none.metadata["judge"]["answer"] == "None"
    assert (none.value, none.metadata["strict"], none.metadata["validity"]) == (
        1.0,
        0.0,
        "no_answer",
    )
    empty, _ = run(tmp_path, scorer(scoring="compat"), "", grader=judge("[[YES]]"))
    assert math.isnan(empty.value) and "judge" not in empty.metadata
    number, _ = run(
        tmp_path, SCORERS["docmath"](scoring="compat"), "It is 7.", "8", judge("[[NO]]")
    )
    assert number.metadata["judge"]["answer"] == "It is 7"


def test_rejudging_an_output_without_an_answer_counts_for_the_authors_form_alone(tmp_path, capsys):
    scorer = SCORERS["cover_exact_match"](scoring="compat")
    _, log = run(tmp_path, scorer, "Karo?", grader=judge("?", name="mute4"))
    judge("[[YES]]", name="sure")
    assert main(["rejudge", log.location, "--grader", "scripted/sure"]) == 0
    (mended,) = read_eval_log(log.location).samples[0].scores.values()
    assert (mended.value, mended.metadata["strict"]) == (1.0, 0.0)
    assert mended.metadata["validity"] == "no_answer"


def test_longmemeval_asks_by_its_five_rules_and_some_need_a_judge(tmp_path):
    scorer = SCORERS["longmemeval"]
    temporal = {"question_type": "temporal-reasoning", "is_abstention": False}
    asked, _ = run(tmp_path, scorer(), SAY.format("13 days"), "12 days", judge(), temporal)
    assert (asked.value, asked.metadata["judge"]["form"]) == (1.0, "temporal")
    alone, _ = run(tmp_path, scorer(), SAY.format("13 days"), "12 days", metadata=temporal)
    assert alone.value == 0.0
    for more, form in (
        ({"question_type": "single-session-preference", "is_abstention": False}, "preference"),
        ({"question_type": "multi-session", "is_abstention": True}, "abstention"),
    ):
        asked, _ = run(tmp_path, scorer(), SAY.format("x"), "a rubric", judge("[[NO]]"), more)
        assert (asked.value, asked.metadata["judge"]["form"]) == (0.0, form)
        alone, _ = run(tmp_path, scorer(), SAY.format("x"), "a rubric", metadata=more)
        assert alone.metadata["validity"] == "judge_failed"
        assert "name one as model role grader" in alone.explanation


def test_reward_and_score_agree_where_a_judge_decides():
    samples = [Sample(id=f"s{i}", input="Where?", target="Karo") for i in range(3)]
    task = Task(dataset=samples, scorer=SCORERS["cover_exact_match"](), name="judged")
    texts = (SAY.format("Karo"), SAY.format("the old capital"), "")
    completions = [Completion(f"s{i}", text) for i, text in enumerate(texts)]

    def says(call):
        return "[[YES]]" if "old capital" in str(call) else "unsure"

    report = replay_parity(task, completions, model_roles={"grader": judge(says, "agree")})
    assert (report.differences, report.num_scored) == ((), 3)
    mute = replay_parity(task, completions, model_roles={"grader": judge("unsure", "mute2")})
    assert (mute.differences, mute.num_scored) == ((), 2), "a failed judge is no score in both"


def test_a_judged_task_is_replayed_with_the_judge_that_the_command_names(tmp_path, capsys):
    row = {**LONGMEMEVAL, "question_type": "single-session-preference"}
    (tmp_path / "rows.json").write_text(json.dumps([row]))
    said = {"sample_id": row["question_id"], "text": SAY.format("whatever you like")}
    (tmp_path / "said.jsonl").write_text(json.dumps(said))
    judge(name="of_parity")
    command = ["parity", "longmemeval_s", "-T", f"data={tmp_path / 'rows.json'}"]
    command += ["--completions", str(tmp_path / "said.jsonl")]
    assert main(command) == 2, "its gold is a rubric: without a judge nothing has a score"
    assert main([*command, "--grader", "scripted/of_parity"]) == 0
    assert "1 completions, 1 scored, 0 differences" in capsys.readouterr().out


def test_benchmarks_whose_code_asks_a_judge_ask_always_so_that_compat_has_one_meaning(
    tmp_path,
):
    score, _ = run(tmp_path, SCORERS["corpusqa"](), SAY.format("Karo"), grader=judge("[[NO]]"))
    assert (score.value, score.metadata["compat"]) == (1.0, 0.0)
    theirs, _ = run(
        tmp_path, SCORERS["corpusqa"](scoring="compat"), SAY.format("Karo"), grader=judge("[[NO]]")
    )
    assert theirs.value == 0.0
    alone, _ = run(tmp_path, SCORERS["corpusqa"](scoring="compat"), SAY.format("Karo"))
    assert math.isnan(alone.value) and alone.metadata["validity"] == "judge_failed"


@pytest.mark.parametrize(
    ("name", "scoring", "reply", "value", "compat"),
    [
        ("corpusqa", "strict", "[[YES]]", 1.0, 1.0),
        ("corpusqa", "strict", "[[NO]] at first, then [[YES]]", 1.0, 0.0),
        ("corpusqa", "compat", "[[NO]] at first, then [[YES]]", 0.0, 0.0),
        ("longmemeval", "strict", "[[NO]], though I had an eye on yes", None, None),
        ("longmemeval", "compat", "no, eyes closed [[NO]]", 1.0, 1.0),
    ],
)
def test_rejudging_reads_a_reply_as_the_scorer_would(
    tmp_path, capsys, name, scoring, reply, value, compat
):
    metadata = {"question_type": "multi-session", "is_abstention": False}
    more = metadata if name == "longmemeval" else {}
    _, log = run(
        tmp_path, SCORERS[name](scoring=scoring), SAY.format("x"), grader=judge("?"), metadata=more
    )
    judge(reply, name="again")
    assert main(["rejudge", log.location, "--grader", "scripted/again"]) == 0
    (mended,) = read_eval_log(log.location).samples[0].scores.values()
    if value is None:  # "yes" anywhere is a yes to LongMemEval
        value, compat = 0.0, 1.0
    assert (mended.value, mended.metadata["compat"]) == (value, compat)


def test_a_question_that_had_no_judge_can_be_judged_later(tmp_path):
    more = {"question_type": "single-session-preference", "is_abstention": False}
    score, log = run(tmp_path, SCORERS["longmemeval"](), SAY.format("x"), "a rubric", metadata=more)
    assert score.metadata["validity"] == "judge_failed"
    judge("[[YES]]", name="later")
    assert main(["rejudge", log.location, "--grader", "scripted/later"]) == 0
    (mended,) = read_eval_log(log.location).samples[0].scores.values()
    assert mended.value == 1.0


def test_a_run_whose_every_verdict_failed_can_be_judged_again(tmp_path, capsys):
    samples = [Sample(id="s", input="Where?", target="Karo")]
    task = Task(dataset=samples, scorer=SCORERS["cover_exact_match"](), solver=generate())
    roles = {"grader": judge("unsure", "mute3")}
    policy = scripted_model(SAY.format("the old capital"), name="policy")
    for _ in range(2):  # the second time the finished log says the same, and nothing is run
        with pytest.raises(ModelError, match="failed with its judge: .*longspan rejudge"):
            evaluate(task, policy, tmp_path, model_roles=roles)
    (log,) = list_eval_logs(str(tmp_path))
    judge("[[YES]]", name="lenient")
    assert main(["rejudge", log.name.removeprefix("file://"), "--grader", "scripted/lenient"]) == 0
    assert num_scored(evaluate(task, policy, tmp_path, model_roles=roles)) == 1
