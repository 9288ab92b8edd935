"""Ablations: arms are recipes, differences are paired, and the shipped plans say what they mean."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from inspect_ai import eval as inspect_eval

from longspan.harness.cli import load_command
from longspan.harness.errors import RecipeError
from longspan.harness.resolve import registered_task
from longspan.trainers.pipeline import RECIPES
from longspan.trainers.recipe import Recipe, parse_recipe, recipe_hash
from tests.harness import scripted

SCRIPTS = Path(__file__).parent.parent / "scripts"
PLANS = sorted((SCRIPTS / "ablations").glob("*.yaml"))


@pytest.fixture(scope="module")
def ablation() -> Any:
    sys.path.insert(0, str(SCRIPTS))
    yield importlib.import_module("ablation")
    sys.path.remove(str(SCRIPTS))


@pytest.fixture(scope="module")
def report(ablation: Any) -> Any:
    return importlib.import_module("ablation_report")


def arms_of(ablation: Any, path: Path) -> tuple[dict[str, Any], dict[str, Recipe]]:
    plan = yaml.safe_load(path.read_text())
    recipe = plan["recipe"]
    if isinstance(recipe, str):
        recipe = yaml.safe_load((RECIPES / f"{recipe}.yaml").read_text())
    arms = ablation.crossed(plan["arms"], plan.get("conditions"))
    return plan, {
        name: parse_recipe(ablation.arm_recipe(recipe, arm, seed=3), name) for name, arm in arms
    }


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_every_arm_of_a_shipped_plan_is_a_recipe_of_its_own(ablation: Any, path: Path) -> None:
    plan, recipes = arms_of(ablation, path)
    assert len({recipe_hash(recipe) for recipe in recipes.values()}) == len(recipes)
    assert any(name.split(" ")[0] == plan["baseline"] for name in recipes)
    for recipe in recipes.values():
        assert recipe.seed == 3 and recipe.evaluations
        last = recipe.stages[-1].name if recipe.stages else "start"
        assert all(last not in evaluation.skip for evaluation in recipe.evaluations)


@pytest.mark.parametrize("name", ["algorithms", "qwen3_4b"])
def test_arms_differ_in_what_their_table_says_alone(ablation: Any, name: str) -> None:
    _, recipes = arms_of(ablation, SCRIPTS / "ablations" / f"{name}.yaml")
    stage = {arm: recipe.stages[0] for arm, recipe in recipes.items() if recipe.stages}
    objective = {arm: one.objective for arm, one in stage.items()}
    assert [arm for arm, one in stage.items() if one.sampling.balanced] == [
        *("balanced", "batch_std", "task_std", "aepo")
    ]
    assert {arm: o.deviation for arm, o in objective.items() if o.deviation != "group"} == {
        "batch_std": "batch",
        "task_std": "task",
        "aepo": "task",
    }
    assert [arm for arm, one in objective.items() if one.aepo] == ["aepo"]
    clipped = {
        arm: (o.clipping.level, o.clipping.side) for arm, o in objective.items() if o.clipping
    }
    assert clipped == {f"clip_{level}_{side}": (level, side) for level, side in clipped.values()}
    assert len(clipped) == 4
    assert len({one.num_steps for one in stage.values()}) == 1


def test_components_remove_one_part_each(ablation: Any) -> None:
    _, recipes = arms_of(ablation, SCRIPTS / "ablations" / "components.yaml")
    names = {arm: [stage.name for stage in recipe.stages] for arm, recipe in recipes.items()}
    assert [n for n in names["full"] if n not in names["no_merge"]] == ["merged"]
    assert [n for n in names["full"] if n not in names["no_memory"]] == ["memory_rl", "merged"]
    assert names["full"] == names["needles"] == names["grpo"]
    full, needles = recipes["full"].tasksets, recipes["needles"].tasksets
    for name, replaced in (("short", "needles"), ("long", "long_needles")):
        assert needles[replaced]["splits"]["train"] == full[name]["splits"]["train"]
        assert needles[name] == full[name], "held-out tasks stay the same"


def test_every_arm_runs_under_every_condition(ablation: Any) -> None:
    arms = {"a": {}, "b": {"drop": ["x"], "stage": {"sampling": {"balanced": True}}}}
    conditions = {"plain": {}, "large": {"stage": {"optimizer": {"learning_rate": 0.2}}}}
    crossed = dict(ablation.crossed(arms, conditions))
    assert list(crossed) == ["a plain", "a large", "b plain", "b large"]
    assert crossed["b large"] == {
        "drop": ["x"],
        "stage": {"optimizer": {"learning_rate": 0.2}, "sampling": {"balanced": True}},
    }
    assert crossed["b plain"] == arms["b"]


@pytest.mark.parametrize("flipped", [0.0, 0.25, 1.0])
def test_a_noisy_task_turns_the_stated_share_of_rewards_around(
    tmp_path: Path, flipped: float
) -> None:
    """The same wrong answers get 0 by the clean task, so the mean reward is the flipped share."""
    folder = tmp_path / "set"
    load_command("synth")(out=folder, tokens=176, num_samples=80, quiet=True)
    noisy = f"{SCRIPTS / 'ablations' / 'noisy.py'}@noisy"
    task = registered_task(noisy, path=str(folder), split="train", flipped=flipped)
    scripted.SCRIPTS["wrong"] = lambda _: "The answer is nothing."
    (log,) = inspect_eval(
        task, model="scripted/wrong", epochs=4, log_dir=str(tmp_path / "logs"), display="none"
    )
    values = [
        next(iter(sample.scores.values())).as_float()
        for sample in log.samples
        if sample.metadata["scorer"] == "cover_exact_match"
    ]
    assert len(values) > 100 and set(values) <= {0.0, 1.0}
    assert np.mean(values) == pytest.approx(flipped, abs=0.1)


def test_a_misspelt_key_of_an_arm_is_refused(ablation: Any) -> None:
    with pytest.raises(RecipeError, match="unknown key: 'stgae'"):
        ablation.arm_recipe({"stages": [], "evaluations": []}, {"stgae": {}}, 0)


def test_differences_are_paired_by_seed(report: Any) -> None:
    """Differences 0.1, 0.2, 0.3: mean 0.2, deviation 0.1, t = 0.2 / (0.1 / sqrt 3) = 3.4641."""
    rows = report.compare({"base": [0.1, 0.5, 0.9], "arm": [0.2, 0.7, 1.2]}, "base")
    assert rows["arm"]["difference"] == pytest.approx(0.2)
    assert rows["arm"]["p"] == pytest.approx(0.0742, abs=1e-4)  # two-sided, 2 degrees of freedom
    half = 4.302653 * 0.1 / 3**0.5
    assert (rows["arm"]["low"], rows["arm"]["high"]) == pytest.approx((0.2 - half, 0.2 + half))
    assert "p" not in rows["base"]


def test_the_interval_over_samples_takes_each_sample_once_and_worlds_as_clusters(
    report: Any,
) -> None:
    """Four worlds of two samples; the arm gains in each by as much as its seeds' mean says."""

    def run_of(values: list[float]) -> pd.DataFrame:
        names = [f"s{i}" for i in range(len(values))]
        worlds = [f"w{i // 2}" for i in range(len(values))]
        return pd.DataFrame({"sample": names, "value": values, "document_group": worlds})

    base = [run_of([0.0] * 8), run_of([0.0] * 8)]
    arm = [run_of([1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0]), run_of([0.0] * 8)]
    found = report.over_samples(arm, base)
    assert found["num_samples"] == 8
    # Worlds gain 0.5, 0, 0.25, 0.25: mean 0.25, standard error of 4 means 0.1021, t = 3.18.
    assert (found["samples_low"] + found["samples_high"]) / 2 == pytest.approx(0.25)
    assert found["samples_high"] - 0.25 == pytest.approx(3.1824 * 0.1021, abs=0.05)
    assert report.over_samples(arm, [None, None]) == {}


def test_p_values_are_adjusted_over_the_arms(report: Any) -> None:
    values = {"base": [0.0, 0.0, 0.0], "a": [0.1, 0.2, 0.3], "b": [0.1, 0.11, 0.12]}
    rows = report.compare(values, "base")
    assert rows["b"]["p_holm"] == pytest.approx(2 * rows["b"]["p"])
    assert rows["a"]["p_holm"] == pytest.approx(rows["a"]["p"])


def test_an_arm_is_compared_with_the_baseline_under_its_own_condition(report: Any) -> None:
    values = {"base x=1": [0.0, 0.1], "base x=2": [0.5, 0.6], "arm x=2": [0.7, 0.9]}
    rows = report.compare(values, "base")
    assert rows["arm x=2"]["difference"] == pytest.approx(0.25)
    assert "p" not in rows["base x=2"]


def test_arms_that_never_differ_have_no_test(report: Any) -> None:
    rows = report.compare({"base": [0.1, 0.2], "arm": [0.1, 0.2]}, "base")
    assert "p" not in rows["arm"] and rows["arm"]["mean"] == pytest.approx(0.15)
    assert rows["arm"]["difference"] == 0.0
    assert any("in every run" in line for line in report.score_table(rows))


def saved(seeds: list[int], **arms: list[float]) -> dict[str, Any]:
    scores = {arm.replace("_", " "): {"values": values} for arm, values in arms.items()}
    return {
        "name": "plan",
        "baseline": "base",
        "seeds": seeds,
        "scores": {"test": scores, "test: a type": scores},
    }


@pytest.fixture(scope="module")
def comparison(ablation: Any) -> Any:
    return importlib.import_module("ablation_compare")


def test_saved_results_are_joined_and_compared_anew(comparison: Any) -> None:
    whole = saved([0, 1, 2], base_x=[0.1, 0.5, 0.9], arm_x=[0.2, 0.7, 1.2])
    alone = saved([0, 1, 2], late_x=[0.0, 0.7, 1.0])
    (table,) = comparison.compared([whole, alone]).values()
    assert table["arm x"]["difference"] == pytest.approx(0.2)
    assert table["late x"]["difference"] == pytest.approx(0.2 / 3)
    (table,) = comparison.compared([whole, alone], "late", "1-2").values()
    assert table["arm x"]["values"] == [0.7, 1.2]
    assert table["arm x"]["difference"] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("others", "options", "message"),
    [
        ([saved([0, 1], late=[0.0, 0.1])], {}, "different seeds"),
        ([saved([0, 1, 2], base=[0.0, 0.1, 0.2])], {}, "two files hold the arm 'base'"),
        ([], {"baseline": "late"}, r"no arm 'late' in the files; use one of \['arm', 'base'\]"),
        ([], {"seeds": "2-4"}, "no seed 3 in the files"),
        ([], {"seeds": "1,2"}, "must be one number, or two as in 3-7: got '1,2'"),
        ([{**saved([0, 1, 2], late=[0.0, 0.1, 0.2]), "name": "x"}], {}, "different plans"),
    ],
)
def test_results_that_cannot_be_compared_are_refused(
    comparison: Any, others: list[Any], options: dict[str, str], message: str
) -> None:
    whole = saved([0, 1, 2], base=[0.1, 0.5, 0.9], arm=[0.2, 0.7, 1.2])
    with pytest.raises(SystemExit, match=message):
        comparison.compared([whole, *others], **options)


def test_arms_and_conditions_are_chosen_by_name(ablation: Any) -> None:
    given = {"a": {}, "b": {"stage": {}}}
    assert ablation.chosen(given, ["b"], "arms") == {"b": {"stage": {}}}
    with pytest.raises(SystemExit, match=r"arms: no 'c' in the plan; use \['a', 'b'\]"):
        ablation.chosen(given, ["c"], "arms")


def test_arms_of_conditions_and_memory_rl_differ_in_what_they_are_called_after(
    ablation: Any,
) -> None:
    for plan, bare, whole in (
        ("conditions", "grpo {}", "grpo_aepo {}"),
        ("conditions", "task_std {}", "aepo {}"),
        ("memory_rl", "without_aepo", "trained"),
    ):
        _, recipes = arms_of(ablation, SCRIPTS / "ablations" / f"{plan}.yaml")
        names = {name.partition(" ")[2] for name in recipes}
        for condition in names:
            one, other = (recipes[arm.format(condition)].stages for arm in (bare, whole))
            for without, with_aepo in zip(one, other, strict=True):
                assert without.objective.aepo is None and with_aepo.objective.aepo is not None
                objective = with_aepo.objective.model_copy(update={"aepo": None})
                assert with_aepo.model_copy(update={"objective": objective}) == without


def test_a_report_of_other_arms_is_not_replaced(ablation: Any, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    ablation.check_results(path, "plan", {"late": {}})
    path.write_text(json.dumps(saved([0, 1], base=[0.1, 0.2], arm=[0.1, 0.2])))
    ablation.check_results(path, "plan", {"base": {}, "arm": {}, "late": {}})
    with pytest.raises(SystemExit, match="holds 'arm', which this run leaves out"):
        ablation.check_results(path, "plan", {"base": {}, "late": {}})
    with pytest.raises(SystemExit, match="holds 'plan', which this run leaves out"):
        ablation.check_results(path, "other", {"base": {}, "arm": {}})


def test_an_arm_that_was_not_evaluated_has_no_difference(report: Any) -> None:
    rows = report.compare({"base": [0.1, 0.2], "arm": [0.1, float("nan")]}, "base")
    assert "difference" not in rows["arm"]
    assert len(report.score_table(rows)) == 4


def test_sets_of_samples_are_pooled_seed_by_seed(
    ablation: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sets share their sample and world names; two worlds a set, four samples each, by hand."""
    pooled = importlib.import_module("pooled_gain")

    def logs(paths: list[str]) -> Any:
        arm, which, seed = paths[0].split("-")
        gain = {"start": 0.0, "trained": 0.25 if which == "a" else 0.5}[arm] + int(seed) / 100
        rows = [
            {
                "sample": f"s{i}",
                "document_group": f"w{i // 4}",
                "value": gain + i / 100 + (arm == "trained") * (i % 2) / 10,
                "kind": "ab"[i % 2],
            }
            for i in range(8)
        ]
        return SimpleNamespace(samples=pd.DataFrame([*rows, {**rows[0], "value": np.nan}]))

    monkeypatch.setattr(pooled, "read_logs", logs)
    (first, second) = pooled.joined(["start-a-0,start-b-0", "start-a-1,start-b-1"])
    assert len(first) == len(second) == 16 and first["sample"].nunique() == 16
    assert first["document_group"].nunique() == 4
    monkeypatch.setattr(
        sys, "argv", ["pooled_gain.py", "--start", "start-a-0,start-b-0", "start-a-1,start-b-1",
                      "--trained", "trained-a-0,trained-b-0", "trained-a-1,trained-b-1"]
    )  # fmt: skip
    pooled.main()
    assert "+42.5" in capsys.readouterr().out  # half of each set's, and of each kind's
    argv = [*sys.argv]
    monkeypatch.setattr(sys, "argv", [*argv, "--kinds", "a"])
    pooled.main()
    assert "+37.5" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", [*argv, "--kinds", "a", "c"])
    with pytest.raises(SystemExit, match="--kinds: start-a-0 has no scored sample of 'c'"):
        pooled.main()
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(sys, "argv", [*sys.argv, "trained-a-2"])
    with pytest.raises(SystemExit, match="need the same seeds: got 2 and 3"):
        pooled.main()
