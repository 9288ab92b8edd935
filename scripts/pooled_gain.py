"""Compares two checkpoints over seeds and several sets of samples: logs of `longspan eval` or runs.

    python scripts/pooled_gain.py --start A/0,B/0 A/1,B/1 --trained C/0,D/0 C/1,D/1

One argument for each seed: its folders of logs, one for each set of samples, in the same order
everywhere. Prints the table of an ablation; with `--kinds`, of samples of these kinds alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import pandas as pd
from ablation_report import compare, over_samples, score_table

from longspan.leaderboards.logs import read_logs


def main() -> None:
    """Prints accuracies and paired differences."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--start", nargs="+", required=True, metavar="LOGS,...")
    parser.add_argument("--trained", nargs="+", required=True, metavar="LOGS,...")
    parser.add_argument("--kinds", nargs="+", metavar="KIND", help="only questions of these kinds")
    options = parser.parse_args()
    if len(options.start) != len(options.trained):
        raise SystemExit(
            f"--start and --trained need the same seeds: got {len(options.start)} and "
            f"{len(options.trained)}; name logs for each"
        )
    named = {"start": options.start, "trained": options.trained}
    arms = {arm: joined(seeds, options.kinds) for arm, seeds in named.items()}
    values = {arm: [float(one["value"].mean()) for one in runs] for arm, runs in arms.items()}
    rows = compare(values, "start")
    rows["trained"] |= over_samples(arms["trained"], arms["start"])
    print("\n".join(score_table(rows)))


def joined(seeds: Sequence[str], kinds: Sequence[str] | None = None) -> list[pd.DataFrame]:
    """Returns the scored samples of each seed; those of different sets have nothing in common.

    Raises:
        SystemExit: a set has no sample of the kinds.
    """
    found = []
    for folders in seeds:
        parts = []
        for number, folder in enumerate(folders.split(",")):
            samples = read_logs([folder]).samples
            samples = samples[samples["value"].notna()]
            if unknown := sorted(set(kinds or ()) - set(samples.get("kind", ()))):
                raise SystemExit(f"--kinds: {folder} has no scored sample of {unknown[0]!r}")
            if kinds is not None:
                samples = samples[samples["kind"].isin(kinds)]
            names = {key: f"{number}/" + samples[key] for key in ("sample", "document_group")}
            parts.append(samples.assign(**names))
        found.append(pd.concat(parts))
    return found


if __name__ == "__main__":
    main()
