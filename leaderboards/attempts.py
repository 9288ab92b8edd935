"""pass@k and avg@k from a table of attempts, with intervals over samples.

An attempt without a score (its judge, scorer or engine failed) is left out, as everywhere on the
board: it is neither right nor wrong. An answer that was cut off or never came has a score, zero.
Attempts at one sample are no new samples, so an interval is over samples, clustered by their
document group.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from scipy import stats

from longspan.harness.errors import BoardError
from longspan.leaderboards.statistics import Estimate, estimate_mean

SUCCESS = 1.0
"""Score from which on an attempt has passed."""


@dataclass(frozen=True, slots=True)
class AttemptsEstimate:
    """A mean over samples of what k attempts achieve."""

    k: int
    estimate: Estimate | None
    """None where no sample has enough attempts."""
    num_left_out: int
    """Samples with too few attempts that have a score."""
    num_failed: int
    """Attempts without a score."""


def pass_at_k(attempts: pd.DataFrame, k: int, success: float = SUCCESS) -> AttemptsEstimate:
    """Returns the chance that one of k attempts at a sample passes, mean over samples.

    Of a sample with n attempts, c of them passed, the unbiased estimate is (Chen et al. 2021, arXiv
    2107.03374, eq. 1) 1 - C(n-c, k) / C(n, k): the chance that k of the n, drawn without
    replacement, hold one that passed. Samples with n < k are left out and counted.

    Args:
        attempts: A row per attempt with `sample`, `value` (the score, missing where it failed) and
            `document_group` (missing where samples count as independent).
        k: Attempts that are allowed, at least 1.
        success: Score from which on an attempt has passed.
    """
    _require_attempts(k)
    scored = attempts.dropna(subset=["value"])
    passed = (scored["value"] >= success).groupby(scored["sample"], sort=True)
    counts = passed.agg(["size", "sum"])
    counts = counts[counts["size"] >= k]
    values = stats.hypergeom.sf(0, counts["size"], counts["sum"], k)
    return _over_samples(attempts, pd.Series(values, index=counts.index), k)


def average_at_k(attempts: pd.DataFrame, k: int) -> AttemptsEstimate:
    """Returns the mean score of k attempts at a sample, mean over samples (avg@k).

    The mean of all attempts that have a score is unbiased for it whatever their number, so only
    samples without any are left out, and the figure is the accuracy of the board. k names the
    attempts that were asked for. Arguments as for `pass_at_k`.
    """
    _require_attempts(k)
    scored = attempts.dropna(subset=["value"])
    return _over_samples(attempts, scored.groupby("sample", sort=True)["value"].mean(), k)


def _over_samples(attempts: pd.DataFrame, values: pd.Series, k: int) -> AttemptsEstimate:
    """Returns the mean over samples of one value each."""
    groups = attempts.drop_duplicates("sample").set_index("sample")["document_group"]
    clusters = [groups.loc[sample] for sample in values.index]
    return AttemptsEstimate(
        k=k,
        estimate=estimate_mean(values.tolist(), clusters) if len(values) else None,
        num_left_out=len(groups) - len(values),
        num_failed=int(attempts["value"].isna().sum()),
    )


def _require_attempts(k: int) -> None:
    if k < 1:
        raise BoardError(f"k must be at least 1: got {k}")
