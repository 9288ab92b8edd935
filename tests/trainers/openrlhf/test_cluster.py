"""Descriptions of machines: shipped ones load, wrong ones are one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from longspan.harness.errors import RecipeError
from longspan.trainers.openrlhf.cluster import CLUSTERS, load_cluster


@pytest.mark.parametrize("name", sorted(path.stem for path in CLUSTERS.glob("*.yaml")))
def test_shipped_descriptions_load(name: str) -> None:
    assert load_cluster(name).num_gpus >= 1


def test_engines_and_training_share_gpus_or_have_their_own() -> None:
    assert load_cluster("node_of_8").num_gpus == 8
    assert load_cluster("cpu").num_gpus == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("zero_stag: 2", "zero_stag"),
        ("gpus_per_node: 8", "colocate needs as many"),
        ("device: cpu", "colocate must be false on cpu"),
        ("zero_stage: 4", "zero_stage"),
    ],
)
def test_a_wrong_description_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(content)
    with pytest.raises(RecipeError, match=message):
        load_cluster(str(path))


def test_an_unknown_name_lists_those_that_are_shipped() -> None:
    with pytest.raises(RecipeError, match=r"no cluster 'laptop'.*cpu, node_of_8, single_gpu"):
        load_cluster("laptop")
