"""Compares the arms of saved ablations seed by seed: with any of them as baseline, over any seeds.

    python scripts/ablation_compare.py docs/ablations/noise.json --baseline task_std --seeds 3-7

Several files are joined where they hold the same seeds: arms that were run by themselves
(`ablation.py --arms`) beside those of the whole plan.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ablation_report import compare, score_table

from longspan.harness.files import read_mapping


def main() -> None:
    """Prints a table for every evaluation."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("results", type=Path, nargs="+", help="results.json of an ablation")
    parser.add_argument("--baseline", help="An arm; under conditions each has its own.")
    parser.add_argument("--seeds", help='Only these: "3-7".')
    options = parser.parse_args()
    found = [read_mapping(path, "results of an ablation") for path in options.results]
    for name, table in compared(found, options.baseline, options.seeds).items():
        print(f"{name}\n\n" + "\n".join(score_table(table)) + "\n")


def compared(
    results: Sequence[Any], baseline: str | None = None, seeds: str | None = None
) -> dict[str, dict[str, dict[str, Any]]]:
    """Returns the compared arms of all results by evaluation; by default as they compare their own.

    Raises:
        SystemExit: the files are of different plans, hold other seeds, or one arm twice; or the
            baseline or a seed is in none of them.
    """
    first, *others = results
    if any(one["name"] != first["name"] for one in others):
        raise SystemExit(
            f"the files are of different plans: {sorted({one['name'] for one in results})}"
        )
    if any(one["seeds"] != first["seeds"] for one in others):
        raise SystemExit("the files hold different seeds: differences are taken seed by seed")
    low, _, high = (seeds or f"{first['seeds'][0]}-{first['seeds'][-1]}").partition("-")
    if not (low.isdecimal() and (high or low).isdecimal()):
        raise SystemExit(f"--seeds must be one number, or two as in 3-7: got {seeds!r}")
    wanted = range(int(low), int(high or low) + 1)
    if missing := set(wanted) - set(first["seeds"]):
        raise SystemExit(f"no seed {min(missing)} in the files; they hold {first['seeds']}")
    places = [first["seeds"].index(seed) for seed in wanted]
    values: dict[str, dict[str, list[float]]] = {}
    for one in results:
        for column in (column for column in one["scores"] if ":" not in column):
            arms = values.setdefault(column, {})
            if twice := arms.keys() & one["scores"][column].keys():
                raise SystemExit(f"two files hold the arm {min(twice)!r}")
            for arm, row in one["scores"][column].items():
                arms[arm] = [row["values"][place] for place in places]
    names = sorted({arm.split(" ")[0] for arms in values.values() for arm in arms})
    if baseline is not None and baseline not in names:
        raise SystemExit(f"no arm {baseline!r} in the files; use one of {names}")
    base = first["baseline"] if baseline is None else baseline
    return {column: compare(arms, base) for column, arms in values.items()}


if __name__ == "__main__":
    main()
