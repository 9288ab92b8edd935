"""A scorer with a rule and a judge, as small as can be: what our scorers do with a judge."""

from __future__ import annotations

from inspect_ai.scorer import Score, Scorer, Target, mean, scorer
from inspect_ai.solver import TaskState

from longspan.harness.scoring.canaries import QUALITY_KEY, judge_quality, measure
from longspan.harness.scoring.judge import ask, grader_or_none, judge_record, judged_value
from longspan.harness.scoring.judge_prompts import JudgeRequest


@scorer(metrics=[mean(), judge_quality()])
def judged() -> Scorer:
    """Scores 1 where completion and target are equal, and asks the judge about all others."""

    async def score(state: TaskState, target: Target) -> Score:
        answer = state.output.completion
        rule = float(answer == target.text)
        metadata = {"scorer": "judged", "validity": "answered", "strict": rule, "compat": rule}
        model = grader_or_none()
        if rule == 1.0 or model is None:
            return Score(value=rule, answer=answer, metadata=metadata)
        request = JudgeRequest("equivalence", state.input_text, (target.text,), answer)
        quality = await measure(model)
        verdict = await ask(model, request)
        record = judge_record("fallback", request, rule, verdict)
        metadata["judge"] = record | {QUALITY_KEY: quality.to_metadata()}
        value = judged_value(rule, verdict)
        if value is None:
            metadata |= {"validity": "judge_failed", "strict": None, "compat": None}
            return Score.unscored(
                reason="grader_failed",
                answer=answer,
                explanation=verdict.failure,
                metadata=metadata,
            )
        metadata |= {"strict": value, "compat": value}
        return Score(value=value, answer=answer, metadata=metadata)

    return score
