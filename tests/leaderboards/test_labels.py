"""Names of rows: whatever runs differ in, they are told apart, and by what differs."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from longspan.leaderboards.labels import label_runs, short_hashes
from longspan.leaderboards.rows import bounded
from tests.leaderboards.test_notes import RUN

VALUES = st.sampled_from([None, "None", "no hash", 1, 1.0, "1", "", "a" * 300, "a" * 301])
HASHES = st.sampled_from([None, "", "no hash", "a" * 8, "a" * 9, "a" * 64, "b"])
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "checkpoint": st.sampled_from(["a", "a (seed=1)", "b"]),
        "checkpoint_hash": HASHES,
        "task_version": HASHES.map(str),
        "task_args": st.dictionaries(st.sampled_from(["fewshot", "judge"]), VALUES),
        "settings": st.dictionaries(st.sampled_from(["seed", "temperature"]), VALUES),
        "solver_args": st.dictionaries(st.sampled_from(["cut", "temperature"]), VALUES),
        "scoring": st.dictionaries(st.sampled_from(["scoring", "judge"]), VALUES),
        "judge": st.sampled_from([None, "none", "openai/gpt"]),
        "epochs": st.integers(1, 2),
    },
)


@given(st.lists(CHANGES, max_size=6))
def test_runs_that_are_not_the_same_evaluation_have_different_names(changes):
    runs = {run.identity: run for run in (replace(RUN, **one) for one in changes)}
    assert len(set(label_runs(list(runs.values())))) == len(runs)


def test_versions_and_hashes_are_as_long_as_it_takes_to_tell_them_apart():
    assert short_hashes(["0123456789", "abcdefghij", None]) == {
        "0123456789": "01234567",
        "abcdefghij": "abcdefgh",
        None: "no hash",
        "": "no hash",
    }
    dates = short_hashes(["2026-01-01", "2026-01-02", "1"])
    assert dates["2026-01-01"] == "2026-01-01" and dates["1"] == "1"
    runs = [replace(RUN, task_version=version) for version in ("2026-01-01", "2026-01-02")]
    assert {label.task for label in label_runs(runs)} == {
        "frames (2026-01-01)",
        "frames (2026-01-02)",
    }


def test_arguments_of_one_version_are_told_apart():
    runs = [replace(RUN, task_args={"fewshot": n, "split": "test"}) for n in (0, 5)]
    assert [label.task for label in label_runs(runs)] == [
        "frames (fewshot=0)",
        "frames (fewshot=5)",
    ]
    assert runs[0].identity != runs[1].identity


def test_long_values_are_cut_and_still_told_apart():
    runs = [replace(RUN, solver_args={"template": "x" * 5000 + end}) for end in "ab"]
    names = [label.solver for label in label_runs(runs)]
    assert names[0] != names[1] and max(map(len, names)) < 80


def test_a_cut_name_differs_where_the_whole_one_does():
    assert bounded("short") == "short"
    cut = {bounded("n" * 500 + end) for end in "ab"}
    assert len(cut) == 2 and {len(one) for one in cut} == {120}


def test_a_name_is_one_line_that_steers_no_terminal_and_turns_no_text_around():
    names = ["a\x1b[31mb", "a\nb", "a\u202eb", "a\x00b", "a b"]
    shown = [bounded(name) for name in names]
    assert len(set(shown)) == len(names) and all(name.isprintable() for name in shown)
    assert shown[-1] == "a b" and shown[1].startswith("a b\u2026 ")
    assert bounded("\U0001f600 \u6f22\u5b57 e\u0301") == "\U0001f600 \u6f22\u5b57 e\u0301"
