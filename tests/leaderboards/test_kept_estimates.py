"""Estimates of earlier builds: equal to the last bit, none of other numbers, none of other code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from longspan.leaderboards import kept_estimates as kept_module
from longspan.leaderboards import statistics
from longspan.leaderboards.kept_estimates import kept_estimates
from longspan.leaderboards.statistics import DIFFERENCES, Estimate, estimate_mean

VALUES = [1.0, 0.0, 1.0, 1.0, 0.0, 1.0]
GROUPS = ["a", "a", "b", "b", "c", "c"]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Returns the sizes of the estimates that were really made, which grow in number."""
    sizes: list[int] = []
    really = statistics._estimate

    def note(data, codes, bounds) -> Estimate:
        sizes.append(data.size)
        return really(data, codes, bounds)

    monkeypatch.setattr(statistics, "_estimate", note)
    return sizes


def kept_file(folder: Path) -> Path:
    (path,) = folder.glob("estimates-*.json")
    return path


def test_what_was_kept_is_what_was_made(tmp_path, made):
    plain = [estimate_mean(VALUES, GROUPS), estimate_mean([1.0] * 5), estimate_mean([0.3])]
    for _ in range(2):
        with kept_estimates(tmp_path):
            again = [estimate_mean(VALUES, GROUPS), estimate_mean([1.0] * 5), estimate_mean([0.3])]
        assert repr(again) == repr(plain)
    assert made == [6, 5, 6, 5]  # without a file, and the first time with one


def test_other_values_clusters_and_bounds_are_other_estimates(tmp_path):
    with kept_estimates(tmp_path):
        estimate_mean(VALUES, GROUPS)
    others = (
        ([*VALUES[:-1], 0.0], GROUPS, (0.0, 1.0)),
        (VALUES, ["a", "b", "b", "b", "c", "c"], (0.0, 1.0)),
        (VALUES, None, (0.0, 1.0)),
        (VALUES, GROUPS, DIFFERENCES),
    )
    plain = [estimate_mean(*one) for one in others]
    with kept_estimates(tmp_path):
        assert [estimate_mean(*one) for one in others] == plain
    assert len({estimate_mean(VALUES, GROUPS), *plain}) == 5


def test_without_a_folder_nothing_is_kept(tmp_path, made):
    for _ in range(2):
        with kept_estimates(None):
            estimate_mean(VALUES)
    assert made == [6, 6] and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "damage", (lambda text: text[: len(text) // 2], lambda text: text.replace("0.6", "0.7"))
)
def test_a_damaged_file_is_not_used(tmp_path, damage):
    with kept_estimates(tmp_path):
        plain = estimate_mean(VALUES, GROUPS)
    path = kept_file(tmp_path)
    assert damage(path.read_text()) != path.read_text()
    path.write_text(damage(path.read_text()))
    with kept_estimates(tmp_path):
        assert estimate_mean(VALUES, GROUPS) == plain
    with kept_estimates(tmp_path):
        assert estimate_mean(VALUES, GROUPS) == plain


def test_estimates_of_other_code_are_made_again_and_removed(tmp_path, made, monkeypatch):
    with kept_estimates(tmp_path):
        estimate_mean(VALUES)
    before = kept_file(tmp_path)
    monkeypatch.setattr(kept_module, "version", lambda package: "0")
    with kept_estimates(tmp_path):
        estimate_mean(VALUES)
    assert made == [6, 6] and kept_file(tmp_path) != before


def test_of_many_estimates_those_used_last_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(kept_module, "MAX_KEPT", 3)

    def use(*sizes: int) -> list[int]:
        with kept_estimates(tmp_path):
            for size in sizes:
                estimate_mean([0.0, 1.0] * size)
        kept = json.loads(json.loads(kept_file(tmp_path).read_text())["estimates"])
        return [Estimate(*one).num_samples // 2 for one in kept.values()]

    assert use(1, 2, 3) == [1, 2, 3]
    assert use(2, 4) == [3, 2, 4]
    assert use(5, 6, 7, 8) == [5, 6, 7, 8]  # all of one board, however many


def test_a_folder_that_cannot_be_written_to_is_no_error(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with kept_estimates(tmp_path / "file"):
        assert estimate_mean(VALUES).num_samples == 6
