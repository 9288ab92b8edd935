"""`longspan rejudge`: asks the judge again where it failed, and nowhere else.

A sample whose judge failed has no score; everything that the judge was to see stands in the score's
metadata. The new score is an edit of the log by Inspect's own means: what stood there before stays
in the score's history, with who changed it, and all metrics are computed anew. Scores of other
samples are not touched, and neither is a score whose judge fails again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from inspect_ai.log import (
    EvalLog,
    EvalSample,
    MetadataEdit,
    ProvenanceData,
    edit_eval_log,
    edit_score,
    read_eval_log,
    recompute_metrics,
    write_eval_log,
)
from inspect_ai.model import Model, ModelConfig, get_model
from inspect_ai.scorer import Score, ScoreEdit

from longspan.harness.errors import DataError, ModelError, SpecError, one_line
from longspan.harness.files import written_whole
from longspan.harness.resolve import resolve_model
from longspan.harness.scoring.canaries import QUALITY_KEY, JudgeQuality, measure
from longspan.harness.scoring.compat import judged_value as compat_judged_value
from longspan.harness.scoring.judge import (
    ROLE,
    Verdict,
    ask,
    judge_record,
    judged_value,
    recorded_request,
)
from longspan.harness.scoring.judge_prompts import Form, JudgeRequest
from longspan.harness.scoring.validity import (
    JUDGED,
    VALIDITIES,
    stop_reason_of,
    validity_of,
)

EXIT_STILL_FAILED = 1
AUTHOR = "longspan rejudge"
METADATA_KEY = "longspan_rejudged"
"""Key of the log's metadata with the judges that were asked again and how often they spoke."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A score whose judge failed."""

    sample: EvalSample
    name: str
    """Name of the score."""
    record: Mapping[str, Any]
    """What the metadata holds under "judge"."""
    request: JudgeRequest
    """What the judge is to be asked."""


def rejudge_command(
    log: Annotated[Path, typer.Argument(help="Eval log (.eval or .json).")],
    grader: Annotated[str | None, typer.Option(help="Model of the judge [the log's own].")] = None,
    out: Annotated[Path | None, typer.Option(help="Write here and leave LOG as it is.")] = None,
) -> None:
    """Ask the judge again about the samples where it failed.

    Exits with 1 if a judge failed again; the same command then asks about the rest.
    """
    content = _read(log)
    waiting = pending(content)
    if not waiting:
        print(f"nothing to re-judge in {log}: no sample ended as judge_failed")
        return
    model = resolve_model(grader) if grader else _own_grader(content, log)
    print(f"asking {model} again about {len(waiting)} of {_num_scores(content)} scores", flush=True)
    verdicts, qualities = asyncio.run(_ask_all(model, waiting))
    spoke = [pair for pair in zip(waiting, verdicts, strict=True) if pair[1].value is not None]
    if spoke:
        for one, verdict in spoke:
            edit_score(
                content,
                one.sample.id,
                one.name,
                edit_of(one, verdict, qualities[one.request.form]),
                recompute_metrics=False,
                epoch=one.sample.epoch,
            )
        _write(_noted(content, str(model), len(spoke)), out or log)
        print(f"{len(spoke)} now have a score: {out or log}")
    failures = [verdict.failure or "" for verdict in verdicts if verdict.value is None]
    if failures:
        print(f"{len(failures)} still have none; the first failed with: {failures[0]}")
        raise typer.Exit(EXIT_STILL_FAILED)


def pending(log: EvalLog) -> list[Pending]:
    """Returns the scores of a log whose judge failed, with what it is to be asked.

    Raises:
        DataError: such a score does not hold what the judge was asked.
    """
    found = []
    for sample in log.samples or []:
        for name, score in (sample.scores or {}).items():
            metadata = score.metadata or {}
            if metadata.get("validity") != "judge_failed":
                continue
            record = metadata.get("judge")
            try:
                if not isinstance(record, Mapping):
                    raise ValueError("its metadata has no judge record")
                request = recorded_request(dict(record))
                _require_fraction("rule", record["rule"])
                if record.get("rule_compat") is not None:
                    _require_fraction("rule_compat", record["rule_compat"])
            except (KeyError, TypeError, ValueError) as error:
                raise DataError(
                    f"score {name!r} of sample {sample.id} cannot be re-judged: {error}; score "
                    "the log anew with inspect score"
                ) from error
            found.append(Pending(sample, name, record, request))
    return found


def _require_fraction(name: str, value: Any) -> None:
    if not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"its {name} is no fraction: {value!r:.40}")


def edit_of(one: Pending, verdict: Verdict, quality: JudgeQuality) -> ScoreEdit:
    """Returns the edit that gives a score the value which the verdict implies."""
    score: Score = (one.sample.scores or {})[one.name]
    rule = float(one.record["rule"])
    value = judged_value(rule, verdict)
    if value is None:
        raise ValueError("a failed verdict is no edit")
    metadata = dict(score.metadata or {})
    theirs = compat_judged_value(
        str(metadata.get("scorer")), one.record.get("rule_compat"), verdict.reply
    )
    mode = one.record.get("mode", "fallback")
    record = dict(one.record) | judge_record(mode, one.request, rule, verdict)
    ended = one.record.get("ended")
    if ended not in VALIDITIES:  # a log of before it was recorded
        ended = validity_of(stop_reason_of(one.sample.output), bool(one.request.answer))
    if ended not in JUDGED:
        value = rule
    metadata |= {
        "validity": ended,
        "strict": value,
        "compat": theirs,
        "judge": record | {QUALITY_KEY: quality.to_metadata()},
    }
    return ScoreEdit(
        value=theirs if one.record.get("scoring") == "compat" else value,
        explanation=None,
        reason=None,
        metadata=metadata,
        provenance=ProvenanceData(author=AUTHOR, reason=f"the judge had failed; {verdict.model}"),
    )


async def _ask_all(
    model: Model, waiting: Sequence[Pending]
) -> tuple[list[Verdict], dict[Form, JudgeQuality]]:
    """Returns the verdicts, and the judge's quality by form; its own connections are the limit."""
    forms = sorted({one.request.form for one in waiting})
    qualities = await asyncio.gather(*(measure(model, form) for form in forms))
    verdicts = await asyncio.gather(*(ask(model, one.request) for one in waiting))
    return verdicts, dict(zip(forms, qualities, strict=True))


def _own_grader(log: EvalLog, path: Path) -> Model:
    """Returns the model that the log has in the role of judge.

    Raises:
        SpecError: it has none.
        ModelError: it cannot be used here.
    """
    named = (log.eval.model_roles or {}).get(ROLE)
    config: ModelConfig | None = named[0] if isinstance(named, list) else named
    if config is None:
        raise SpecError(
            f"no judge: {path} has no model in the role {ROLE}; name one, for example "
            "--grader openai/gpt-5"
        )
    try:
        return get_model(
            config.model,
            config=config.config,
            base_url=config.base_url,
            memoize=False,
            **config.args,
        )
    except Exception as error:  # each provider has errors of its own
        raise ModelError(
            f"cannot use the log's judge {config.model}: {error}; set that right, or name another "
            "with --grader"
        ) from error


def _noted(log: EvalLog, model: str, num_scores: int) -> EvalLog:
    """Returns the log with metrics computed anew and a note in its header."""
    try:
        recompute_metrics(log)
    except (LookupError, ValueError) as error:
        raise DataError(
            f"cannot compute the metrics of {log.eval.task} anew: {one_line(str(error), 300)}; "
            "install the package that its scorers come from"
        ) from error
    before = log.metadata.get(METADATA_KEY) or {}
    counts = {**before, model: before.get(model, 0) + num_scores}
    return edit_eval_log(
        log, [MetadataEdit(metadata_set={METADATA_KEY: counts})], ProvenanceData(author=AUTHOR)
    )


def _num_scores(log: EvalLog) -> int:
    return sum(len(sample.scores or {}) for sample in log.samples or [])


def _read(path: Path) -> EvalLog:
    if not path.is_file():
        raise DataError(f"no log at {path}: there is no such file; check the path")
    try:
        log = read_eval_log(str(path))
    except Exception as error:  # zip, JSON and schema errors alike
        raise DataError(
            f"cannot read {path}: {one_line(str(error), 200)}; give an Inspect log (.eval, .json)"
        ) from error
    if log.status == "started":
        raise DataError(f"{path} is unfinished; let the evaluation end or continue it first")
    return log


def _write(log: EvalLog, path: Path) -> None:
    """Writes the log; the file appears whole or the old one stays."""
    with written_whole(path) as partial:
        write_eval_log(log, partial, format="json" if path.suffix == ".json" else "eval")
