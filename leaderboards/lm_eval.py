"""lm-eval's results and samples files to runs and rows, whoever wrote them.

A results file names its tasks; the rows of each task stand in a samples file of the same time
beside it (`lm_eval --log_samples`). Of several metrics the first counts that is better when higher,
by lm-eval's word, and lies in [0, 1] for every sample; of several filters, the first. A sample is
its `doc_id` and `doc_hash`, so that only rows on the same document are paired. The record that
`longspan lm-eval` leaves gives the checkpoint's label and weights; without one the model's name
must do. lm-eval does not tell whether generated text was cut off: its validity is unknown.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from longspan.harness.datasets.rows import read_json_lines
from longspan.harness.errors import DataError, one_line
from longspan.harness.files import file_hash
from longspan.harness.lm_eval.record import COUNTS_KEY, LmEvalRecord, TokenCounts, read_record
from longspan.leaderboards.rows import SET_ASIDE, Row, Run, sample_set, short_name

Outcome = tuple[Run, list[Row]] | str
"""A run with its rows, or why it is left out."""

PREFIX = "lm-eval/"
"""Before the name of every task: another harness with the same task name is another task."""
GENERATES = "generate_until"
TIME = r"(?P<time>\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(?:\.\d+)?)"
RESULTS = re.compile(rf".+_{TIME}\.json")
SAMPLES = re.compile(rf"samples_.+_{TIME}\.jsonl")
PARTIAL = ".partial-"
"""In the name of a folder that `longspan lm-eval` has not finished."""
ASKED = (
    *("output_type", "dataset_path", "dataset_name", "test_split", "validation_split"),
    *("process_docs", "doc_to_text", "doc_to_target", "doc_to_choice", "description"),
    *("target_delimiter", "gen_prefix", "filter_list", "process_results", "metric_list"),
)
"""Keys of a task's definition that make it another task; not where its files lie, nor settings."""
MAX_TOKENS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
"""Names of the output limit, in the order in which lm-eval takes them."""
MAX_QUESTION_CHARS = 4000
SHOWN_HASH_CHARS = 8


def is_results_file(path: Path) -> bool:
    """Returns whether a file is named like the results of lm-eval."""
    return RESULTS.fullmatch(path.name) is not None


def results_time(path: Path) -> str:
    """Returns the time in the name of a results file, which its samples have in theirs."""
    match = RESULTS.fullmatch(path.name)
    return match["time"] if match else ""


def find_lm_eval(folder: Path) -> Iterator[tuple[Path, str | None]]:
    """Yields the results files below a folder, with the reason where one is left out.

    Samples files without results are left out as well.
    """
    for path in sorted(folder.rglob("*_*.json*")):
        samples = SAMPLES.fullmatch(path.name)
        if not (samples or is_results_file(path)) or not path.is_file():
            continue
        parents = path.relative_to(folder).parts[:-1]
        if any(part.endswith(SET_ASIDE) for part in parents):
            yield path, "set aside by `longspan lm-eval` (damaged)"
        elif any(PARTIAL in part for part in parents):
            yield path, "not finished: `longspan lm-eval` was interrupted"
        elif samples is None:
            yield path, None
        elif not any(path.parent.glob(f"*_{samples['time']}.json")):
            yield path, "samples of lm-eval without a results file of the same time beside them"


def read_lm_eval(path: Path) -> list[tuple[str, Outcome]]:
    """Returns what a results file holds: the name of a file, and the run of its samples."""
    try:
        results = json.loads(path.read_text("utf-8"))
        tasks = [str(name) for name in results["configs"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        return [(path.name, f"cannot be read as results of lm-eval ({_brief(error)})")]
    try:
        record = read_record(path.parent)
    except DataError as error:
        return [(path.name, str(error))]
    if record is not None and path.name not in record.files:
        record = None  # another run's
    time = results_time(path)
    return [
        (name, _read_task(results, task, path.parent / Path(name).name, record))
        for task in tasks
        for name in (f"samples_{task}_{time}.jsonl",)
    ]


def _read_task(
    results: Mapping[str, Any], task: str, path: Path, record: LmEvalRecord | None
) -> Outcome:
    if not path.is_file():
        return "lm-eval's results without samples; run lm_eval with --log_samples"
    try:
        found, problems = read_json_lines(path)
        if problems:
            return f"damaged: {problems[0]}"
        # One row per sample and filter; filters score the same response in different ways.
        rows = [row for _, row in found if row.get("filter") == found[0][1].get("filter")]
        expected = (results.get("n-samples") or {}).get(task, {}).get("effective", len(rows))
        if len(rows) < expected:
            return f"damaged: it holds {len(rows)} of {expected} samples"
        metric = _metric(results, task, rows)
        if metric is None:
            known = ", ".join(map(str, rows[0].get("metrics") or [])) or "none"
            return (
                f"no metric is better when higher and in [0, 1] for every sample (it has {known})"
            )
        made = [_row(row, metric) for row in rows]
        run = _run(results, task, path, record, metric, rows)
        return replace(run, sample_set=sample_set(row["sample"] for row in made)), made
    except Exception as error:  # files of other programs and versions hold what they please
        return f"cannot be read as samples of lm-eval ({_brief(error)})"


def _metric(results: Mapping[str, Any], task: str, rows: Sequence[Mapping[str, Any]]) -> str | None:
    """Returns the metric that counts, None where there is none."""
    directions = (results.get("higher_is_better") or {}).get(task) or {}
    for name in directions or rows[0].get("metrics") or []:
        values = [row[name] for row in rows if row.get(name) is not None]
        usable = all(isinstance(value, int | float) for value in values)
        if directions.get(name, True) and usable:
            finite = [value for value in values if math.isfinite(value)]
            if finite and min(finite) >= 0 and max(finite) <= 1:
                return str(name)
    return None


def _run(
    results: Mapping[str, Any],
    task: str,
    path: Path,
    record: LmEvalRecord | None,
    metric: str,
    rows: Sequence[Mapping[str, Any]],
) -> Run:
    config = results["configs"][task]
    output_type = str(config.get("output_type", GENERATES))
    num_fewshot = int((results.get("n-shot") or {}).get(task) or config.get("num_fewshot") or 0)
    version = (results.get("versions") or {}).get(task)
    asked = json.dumps([version, *(config.get(key) for key in ASKED)], sort_keys=True, default=str)
    date = results.get("date")
    # The time is that of the whole file, which may hold other tasks as well.
    seconds = results.get("total_evaluation_time_seconds") if len(results["configs"]) == 1 else None
    filter_name = rows[0].get("filter")
    return Run(
        log=path.name,
        log_hash=file_hash(path),
        eval_id=path.name,
        created="" if date is None else datetime.fromtimestamp(float(date), UTC).isoformat(),
        task=PREFIX + task,
        task_version=_hash(asked) + ("" if version is None else f" (version {version})"),
        checkpoint=short_name(
            record.checkpoint if record else str(results.get("model_name") or "unnamed")
        ),
        checkpoint_hash=record.checkpoint_hash if record else None,
        solver=output_type,
        solver_args={
            **({} if filter_name in (None, "none") else {"filter": filter_name}),
            "num_fewshot": num_fewshot,
            "chat_template": results.get("chat_template_sha") is not None,
            **_given(system_instruction=results.get("system_instruction_sha")),
        },
        input_over_window=None,
        step=None,
        recipe_hash=None,
        settings=_settings(results, config, num_fewshot),
        epochs=1,
        num_samples=len(rows),
        seconds=math.nan if seconds is None else float(seconds),
        harness="lm-eval",
        metric=metric,
        generates=output_type == GENERATES,
    )


def _settings(
    results: Mapping[str, Any], config: Mapping[str, Any], num_fewshot: int
) -> dict[str, Any]:
    """Returns the settings of generation, in the names of Inspect; without any, greedy."""
    if config.get("output_type") != GENERATES:
        return {}
    given = config.get("generation_kwargs") or {}
    greedy = given.get("do_sample") is False
    temperature = 0.0 if greedy else float(given.get("temperature") or 0.0)
    limit = next((given[name] for name in MAX_TOKENS if given.get(name) is not None), None)
    settings = {"temperature": temperature, **_given(max_tokens=limit)}
    if temperature:
        settings |= _given(top_p=given.get("top_p"), top_k=given.get("top_k") or None)
    if temperature or num_fewshot:
        settings |= _given(seed=(results.get("config") or {}).get("torch_seed"))
    return settings


def _row(row: Mapping[str, Any], metric: str) -> Row:
    """Returns the values of a row of the board."""
    value = row.get(metric)
    score = math.nan if value is None else float(value)
    scored = math.isfinite(score)
    counts = TokenCounts.model_validate(row[COUNTS_KEY]) if COUNTS_KEY in row else None
    doc = row["doc"] if isinstance(row.get("doc"), Mapping) else {}
    question = doc.get("question")
    values = {
        "sample": f"{int(row['doc_id']):05d}-{str(row.get('doc_hash', ''))[:SHOWN_HASH_CHARS]}",
        "epoch": 1,
        "value": score if scored else None,
        "document_group": doc.get("document_group"),
        "input_length": None if counts is None else counts.input_tokens / max(1, counts.calls),
        "depth": doc.get("depth"),
        "question": question if isinstance(question, str) else _prompt(row)[-MAX_QUESTION_CHARS:],
        "input_tokens": None if counts is None else counts.input_tokens,
        "output_tokens": None if counts is None else counts.output_tokens,
        "calls": len(row["arguments"]),
        "truncation": counts and {"tokens_dropped": counts.tokens_dropped},
        "error": "" if scored else f"lm-eval gave no value of {metric}",
        **(_choices(row) or _texts(row)),
    }
    if not scored:
        values["validity"] = "scorer_failed"
    return values


def _requests(row: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Returns the prompt of each request, and what follows it: a continuation, or settings."""
    return [
        (str(one.get("arg_0", "")), one.get("arg_1"))
        for one in row["arguments"].values()
        if isinstance(one, Mapping)
    ]


def _prompt(row: Mapping[str, Any]) -> str:
    return _requests(row)[0][0]


def _choices(row: Mapping[str, Any]) -> dict[str, str] | None:
    """Returns how a multiple choice ended, with the log-likelihoods; None where it is none."""
    prompt = _prompt(row)
    pairs = zip(_requests(row), row["filtered_resps"], strict=False)
    # Some metrics ask for the choices without their prompt, too.
    likely = [
        (str(continuation).strip(), float(response[0]))
        for (before, continuation), response in pairs
        if before == prompt and isinstance(continuation, str) and isinstance(response, list)
    ]
    if not likely:
        return None
    target = str(row.get("target", ""))
    is_index = len(likely) > 1 and target.isdigit() and int(target) < len(likely)
    answer = max(likely, key=lambda one: one[1])[0]
    if len(likely) == 1 and str(row["filtered_resps"][0][1]) != "True":
        answer = ""  # a single continuation, which the model itself would not have written
    return {
        "validity": "answered",
        "answer": answer,
        "completion": "log-likelihoods: " + "; ".join(f"{c} {value:.2f}" for c, value in likely),
        "target": likely[int(target)][0] if is_index else target,
    }


def _texts(row: Mapping[str, Any]) -> dict[str, str]:
    """Returns what was generated and what the filter made of it."""
    response, answer = row["resps"][0], row["filtered_resps"][0]
    return {
        "validity": "unknown",
        "answer": answer if isinstance(answer, str) else json.dumps(answer),
        "completion": str(response[0]) if isinstance(response, list) and response else "",
        "target": str(row.get("target", "")),
    }


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:SHOWN_HASH_CHARS]


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _brief(error: Exception) -> str:
    return one_line(str(error) or type(error).__name__, 120)
