"""Metrics over the scores of a run: what a log's header says about a task.

Samples without a score (a failed judge, scorer or engine) never reach a metric.
"""

from __future__ import annotations

import math
from typing import Any

from inspect_ai.scorer import Metric, SampleScore, Value, grouped, mean, metric
from inspect_ai.scorer import stderr as inspect_stderr

CLUSTER_KEY = "document_group"
TYPE_KEY = "task_type"


@metric
def stderr() -> Metric:
    """Standard error of the mean, by document group where every sample has one.

    Samples of one world or document are not independent; their clusters are (Miller 2024, arXiv
    2411.00640). A single cluster says nothing about the spread between clusters, so the samples'
    own spread is used then.
    """

    def compute(scores: list[SampleScore]) -> Value:
        clusters = {(score.sample_metadata or {}).get(CLUSTER_KEY) for score in scores}
        clustered = None not in clusters and len(clusters) > 1
        return _apply(inspect_stderr(cluster=CLUSTER_KEY if clustered else None), scores)

    return compute


@metric
def mean_by_task_type() -> Metric:
    """Mean score of each task type, for samples that have one."""

    def compute(scores: list[SampleScore]) -> Value:
        typed = [score for score in scores if (score.sample_metadata or {}).get(TYPE_KEY)]
        return _apply(grouped(mean(), TYPE_KEY, all=False), typed)

    return compute


def _apply(measure: Any, scores: list[SampleScore]) -> Value:
    value: Value = measure(scores)
    return value


@metric
def compat() -> Metric:
    """Mean of the authors' form (`compat`) and the samples in it (`compat_n`); NaN without one.

    Their code leaves samples out of its average, so there may be fewer than in the strict mean.
    With several epochs it is the value of each sample's first one: Inspect hands a metric reduced
    scores, which keep that one's metadata.
    """

    def compute(scores: list[SampleScore]) -> Value:
        found = [(score.score.metadata or {}).get("compat") for score in scores]
        values = [value for value in found if value is not None]
        mean_value = sum(values) / len(values) if values else math.nan
        return {"compat": mean_value, "compat_n": len(values)}

    return compute
