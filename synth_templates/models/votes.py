"""Verification of finished samples by models: `longspan verify`, and the step of a plan.

Grounding asks without documents, scarce knowledge with titles and one document of the evidence,
robustness with the whole context. Every vote is an attempt of an ordinary evaluation: the same
prompts, the sample's own scorer. Votes stand in the passports, also those of samples that stay.
Interrupted, the same command goes on and pays for no call twice.
"""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from inspect_ai import task_with
from inspect_ai.dataset import MemoryDataset
from inspect_ai.log import EvalSample, read_eval_log_samples
from inspect_ai.model import Model

from longspan.harness.environment import identify
from longspan.harness.errors import SynthesisError, one_line
from longspan.harness.evaluate import EvaluationSettings, evaluate
from longspan.harness.generation import GenerationSettings
from longspan.harness.passport import Cost, Vote, VoteCheck
from longspan.harness.resolve import parse_arguments, registered_task
from longspan.harness.scoring.judge import ROLE as JUDGE_ROLE
from longspan.harness.scoring.validity import is_scored
from longspan.harness.taskset import SampleRow, TaskSet, to_sample
from longspan.harness.workers import folder_lock
from longspan.synth_templates.curation.derive import derive
from longspan.synth_templates.models.calls import Journal, cost_of, open_caller
from longspan.synth_templates.models.model_plan import ModelPlan, VerifyPlan, VotePlan
from longspan.synth_templates.models.model_steps import JOURNAL_FILE
from longspan.synth_templates.models.structured import text_hash
from longspan.synth_templates.models.views import VIEWS
from longspan.synth_templates.models.vote_rules import PASS_VALUE, why_dropped

MAX_ANSWER_CHARS = 200


def verify_command(
    taskset: Annotated[Path, typer.Argument(help="Folder of the task set.")],
    model: Annotated[str, typer.Option(help="Model that votes (any that Inspect knows).")],
    out: Annotated[Path, typer.Option(help="Folder of the verified task set.")],
    grounding: Annotated[int, typer.Option(help="Attempts without documents; 0: not asked.")] = 1,
    scarce: Annotated[
        int, typer.Option(help="Attempts with titles and one document; 0: not asked.")
    ] = 1,
    robustness: Annotated[
        int, typer.Option(help="Attempts with the whole context (pass@k); 0: not asked.")
    ] = 4,
    grader: Annotated[str | None, typer.Option(help="Model of the judge, where wanted.")] = None,
    temperature: Annotated[float, typer.Option(help="Sampling temperature.")] = 0.7,
    max_tokens: Annotated[int, typer.Option(help="Most tokens of a reply.")] = 2048,
    model_args: Annotated[
        list[str] | None,
        typer.Option("--model-arg", "-M", help="Argument of the model's provider: name=value."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
) -> TaskSet:
    """Drop samples that a model answers without documents, or never answers with them.

    Run it again to resume.
    """
    attempts = {"grounding": grounding, "scarce": scarce, "robustness": robustness}
    for name, num in attempts.items():
        if num < 0:
            raise SynthesisError(f"--{name} must be at least 0: got {num}")
    if not any(attempts.values()):
        raise SynthesisError("nothing to verify: all attempts are 0; raise one of them")
    voter = VotePlan(
        model=model,
        arguments=parse_arguments(model_args),
        temperature=temperature,
        max_tokens=max_tokens,
    )
    plans = {
        name: voter.model_copy(update={"attempts": num}) for name, num in attempts.items() if num
    }
    plan = VerifyPlan(**plans, grader=ModelPlan(model=grader) if grader else None)
    work = out.with_name(f"{out.name}.work")
    with folder_lock(work):
        journal = Journal(work / JOURNAL_FILE)
        verified = verify_taskset(TaskSet.open(taskset), plan, out, work, journal, quiet=quiet)
        shutil.rmtree(work, ignore_errors=True)
    if not quiet:
        print(f"task set {verified.name} ({verified.hash}): {out}; see {out / 'card.md'}")
    return verified


def verify_taskset(
    taskset: TaskSet,
    plan: VerifyPlan,
    out: Path,
    work: Path,
    journal: Journal,
    *,
    quiet: bool = False,
) -> TaskSet:
    """Returns the task set of the samples that pass, with all votes, written to `out`.

    Args:
        taskset: What is verified; it stays as it is.
        plan: Checks and models.
        out: Where the verified task set appears.
        work: Folder for logs.
        journal: Replies that were paid for.
        quiet: Whether nothing is printed.

    Raises:
        SynthesisError: `out` holds something else, or no sample passes.
        ModelError: a model cannot be used, or gave no vote at all.
    """
    about = {"of": taskset.hash, "plan": plan.model_dump(mode="json")}
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        return _existing(out, about)
    rows = {row.id: row for row in taskset.rows()}
    grader = open_caller(plan.grader, journal).model if plan.grader else None
    facts: dict[str, Any] = {}
    for check, votes in _checks(plan):
        asked = list(rows.values())
        model = open_caller(votes, journal).model
        cast = _cast(check, asked, taskset.folder, (model, votes), grader, work / "votes")
        rows, facts[check] = _apply(check, asked, cast, votes)
        if not quiet:
            print(_line(check, facts[check]), file=sys.stderr)
        if not rows:
            dropped = facts[check]["dropped"]
            reason = max(dropped, key=dropped.__getitem__)
            raise SynthesisError(
                f"no sample of {taskset.folder} passes {check}: all {len(asked)} dropped, most "
                f"often: {reason}; give other samples or another model"
            )
    return _write(taskset, list(rows.values()), {**about, "checks": facts}, out)


def _checks(plan: VerifyPlan) -> Iterator[tuple[VoteCheck, VotePlan]]:
    checks: tuple[VoteCheck, ...] = ("grounding", "scarce", "robustness")
    for check in checks:
        votes: VotePlan | None = getattr(plan, check)
        if votes is not None:
            yield check, votes


def _cast(
    check: VoteCheck,
    rows: Sequence[SampleRow],
    folder: Path,
    voter: tuple[Model, VotePlan],
    grader: Model | None,
    log_dir: Path,
) -> dict[str, list[tuple[Vote, Cost]]]:
    """Returns the votes of a check on each sample, by id, in the order of attempts."""
    model, plan = voter
    samples = [VIEWS[check](to_sample(row, folder.absolute())) for row in rows]
    task = task_with(
        registered_task("taskset", path=str(folder.absolute()), split=None),
        dataset=MemoryDataset(samples, name=check),
        setup=identify(),
        name=f"verify_{check}",
    )
    settings = EvaluationSettings(
        generation=GenerationSettings(
            temperature=plan.temperature, top_p=plan.top_p, max_tokens=plan.max_tokens
        ),
        epochs=plan.attempts,
    )
    roles = {JUDGE_ROLE: grader} if grader else None
    log = evaluate(task, model, log_dir, settings, model_roles=roles)
    cast: dict[str, list[tuple[Vote, Cost]]] = {row.id: [] for row in rows}
    for sample in read_eval_log_samples(log.location, all_samples_required=False):
        cast[str(sample.id)].append((_vote(check, plan.model, sample), _cost(sample)))
    for votes in cast.values():
        votes.sort(key=lambda pair: pair[0].attempt)
    return cast


def _vote(check: VoteCheck, model: str, sample: EvalSample) -> Vote:
    score = next(iter((sample.scores or {}).values()), None)
    validity = str((score.metadata or {}).get("validity")) if score else ""
    verdict = None
    if score is not None and is_scored(validity) and isinstance(score.value, int | float):
        verdict = score.value >= PASS_VALUE
    completion = sample.output.completion if sample.output.choices else ""
    return Vote(
        check=check,
        model=model,
        verdict=verdict,
        attempt=sample.epoch,
        answer=one_line((score.answer if score else None) or "", MAX_ANSWER_CHARS),
        completion_hash=text_hash(completion) if completion else "",
    )


def _cost(sample: EvalSample) -> Cost:
    num_calls = sum(event.event == "model" for event in sample.events)
    usages = [cost_of(usage, 0) for usage in sample.model_usage.values()]
    return sum(usages, Cost(model_calls=num_calls))


def _apply(
    check: VoteCheck,
    rows: Sequence[SampleRow],
    cast: dict[str, list[tuple[Vote, Cost]]],
    plan: VotePlan,
) -> tuple[dict[str, SampleRow], dict[str, Any]]:
    """Returns the samples that a check keeps, with their votes, and what it did to all."""
    kept: dict[str, SampleRow] = {}
    dropped: Counter[str] = Counter()
    total = Cost()
    for row in rows:
        votes = tuple(vote for vote, _ in cast[row.id])
        cost = sum((cost for _, cost in cast[row.id]), Cost())
        total += cost
        reason = why_dropped(check, votes)
        if reason is not None or row.passport is None:
            dropped[reason or "no passport"] += 1
            continue
        earlier = tuple(vote for vote in row.passport.votes if vote.check != check)
        passport = row.passport.model_copy(
            update={"votes": earlier + votes, "cost": row.passport.cost + cost}
        )
        kept[row.id] = row.model_copy(update={"passport": passport})
    return kept, {
        "model": plan.model,
        "attempts": plan.attempts,
        "asked": len(rows),
        "kept": len(kept),
        "dropped": dict(sorted(dropped.items())),
        "cost": total.model_dump(),
    }


def _existing(out: Path, about: dict[str, Any]) -> TaskSet:
    """Returns the task set at `out` when it is the result of this verification."""
    taskset = TaskSet.open(out)
    verification = taskset.manifest.get("verification") or {}
    if {key: verification.get(key) for key in about} != about:
        raise SynthesisError(f"{out} holds another task set; remove it or choose another --out")
    return taskset


def _write(
    taskset: TaskSet, rows: list[SampleRow], verification: dict[str, Any], out: Path
) -> TaskSet:
    cost = Cost.model_validate(taskset.manifest["cost"])
    yields = dict(taskset.manifest["yields"])
    for check, facts in verification["checks"].items():
        cost += Cost.model_validate(facts["cost"])
        yields[f"verify/{check}"] = {
            "wanted": facts["asked"],
            "drawn": facts["asked"],
            "accepted": facts["kept"],
            "rejected": facts["dropped"],
        }
    earlier = (taskset.manifest.get("verification") or {}).get("checks", {})
    models = {facts["model"] for facts in verification["checks"].values()}
    changes = {
        "yields": yields,
        "verification": {**verification, "checks": {**earlier, **verification["checks"]}},
        "models": sorted(models.union(taskset.manifest.get("models", ()))),
        "cost": cost.model_dump(),
    }
    operation = {"operation": "verify", "models": ", ".join(sorted(models))}
    return derive(taskset, out, rows, operation, changes=changes)


def _line(check: str, facts: dict[str, Any]) -> str:
    reasons = ", ".join(f"{reason} {num}" for reason, num in facts["dropped"].items())
    cost = facts["cost"]
    return (
        f"{check}: {facts['kept']} of {facts['asked']} samples kept"
        f"{f' (dropped: {reasons})' if reasons else ''}; {cost['model_calls']} calls, "
        f"{cost['prompt_tokens']} + {cost['sampled_tokens']} tokens"
    )
