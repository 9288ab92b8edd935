import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.harness.errors import DataError, SynthesisError
from longspan.synth_templates.plan import (
    default_splits,
    kind_weights,
    largest_remainder,
    load_plan,
    parse_plan,
    quotas,
)

SPLITS = {"test": {100: 5}}
DOCUMENTS = {"type": "documents", "path": "somewhere"}
PLANS = sorted((Path(__file__).parents[2] / "benchmarks" / "plans").glob("*.yaml"))


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_the_plans_of_documented_runs_can_be_read(path: Path):
    assert load_plan(path).name.replace("-", "_") == path.stem


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ({"splits": SPLITS, "colour": "red"}, "colour"),
        ({"splits": {"tset": {100: 5}}}, "tset"),
        ({"splits": {"test": {0: 5}}}, "at least 1"),
        ({"splits": {"test": {100: 0}}}, "no samples"),
        ({"splits": SPLITS, "name": "../up"}, "name"),
        ({"splits": SPLITS, "source": {"type": "world", "persons": 500}}, "persons"),
        ("text", "plan"),
        ({"splits": SPLITS, "kinds": {"world_hop2": -1}}, "kinds.world_hop2"),
        ({"splits": SPLITS, "kinds": {"world_hop2": float("inf")}}, "kinds.world_hop2"),
        ({"splits": SPLITS, "kinds": {"world_hop2": float("nan")}}, "kinds.world_hop2"),
        ({"splits": SPLITS, "kinds": {"world_hop2": 0}}, "add up to more than 0"),
        ({"splits": SPLITS, "kinds": {}}, "add up to more than 0"),
        ({"splits": SPLITS, "source": {**DOCUMENTS, "shares": {"train": -1}}}, "shares.train"),
        ({"splits": SPLITS, "source": {**DOCUMENTS, "shares": {}}}, "add up to more than 0"),
    ],
)
def test_a_wrong_plan_is_one_line_that_names_the_place(content, what):
    with pytest.raises(SynthesisError, match=what) as caught:
        parse_plan(content, "p.yaml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("source", ["world", "fiction"])
def test_a_split_whose_names_are_not_given_keeps_its_default(source):
    plan = parse_plan(
        {"splits": SPLITS, "source": {"type": source, "names": {"train": "all"}}}, "p.yaml"
    )
    assert plan.source.names == {"train": "all", "validation": "all", "test": "all"}


def test_a_file_that_holds_no_plan_is_one_line(tmp_path: Path):
    path = tmp_path / "plan.yaml"
    with pytest.raises(DataError, match="cannot read .*plan.yaml"):
        load_plan(path)
    for content, message in ((b"a: [1", "is not YAML"), (b"", "is empty"), (b"\0", "binary data")):
        path.write_bytes(content)
        with pytest.raises(DataError, match=message):
            load_plan(path)


def test_remainders_go_to_the_largest():
    # 10 over 5:3:1 is 5.56, 3.33, 1.11: whole parts 5, 3, 1 and the last one to the .56.
    assert largest_remainder({"a": 5, "b": 3, "c": 1}, 10) == {"a": 6, "b": 3, "c": 1}


@given(st.dictionaries(st.text(max_size=3), st.floats(0.01, 100), min_size=1), st.integers(0, 999))
def test_quotas_sum_to_the_total_and_miss_their_share_by_less_than_one(weights, total):
    counts = largest_remainder(weights, total)
    whole = sum(weights.values())
    assert sum(counts.values()) == total
    assert all(abs(counts[k] - total * w / whole) < 1 + 1e-6 for k, w in weights.items())


def test_default_splits_are_80_10_10():
    assert default_splits(50, 128) == {"train": {128: 40}, "validation": {128: 5}, "test": {128: 5}}


def test_task_types_weigh_the_same_by_default(world_kinds):
    weights = kind_weights(parse_plan({"splits": SPLITS}, "p"), world_kinds)
    totals = Counter()
    for kind in world_kinds.kinds:
        totals[kind.task_type] += weights[kind.name]
    assert all(abs(total - 1.0) < 1e-9 for total in totals.values())


def test_a_plan_may_weigh_kinds_itself_but_not_unknown_ones(world_kinds):
    chosen = {"world_hop1": 3, "world_hop2": 1}
    weights = kind_weights(parse_plan({"splits": SPLITS, "kinds": chosen}, "p"), world_kinds)
    drawn = Counter(quotas(weights, 8, random.Random(0)))
    assert drawn == {"world_hop1": 6, "world_hop2": 2}
    with pytest.raises(SynthesisError, match="unknown kind 'hop9'.*world_hop1"):
        kind_weights(parse_plan({"splits": SPLITS, "kinds": {"hop9": 1}}, "p"), world_kinds)
