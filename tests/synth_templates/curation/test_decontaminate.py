import json
from pathlib import Path

import pytest

from longspan.harness.errors import SynthesisError
from longspan.harness.taskset import TaskSet, answers_of
from longspan.synth_templates import generate
from longspan.synth_templates.curation.contamination_report import JSON_FILE, PAGE_FILE
from longspan.synth_templates.curation.decontaminate import decontaminate_command
from longspan.synth_templates.pipeline import synth_command, synthesize
from longspan.synth_templates.plan import parse_plan
from longspan.synth_templates.verify import check_taskset

SHARED = Path(__file__).parents[3] / "shared" / "data"
WIKI = SHARED / "wiki_passages_with_triples.jsonl.gz"
needs_shared = pytest.mark.skipif(not SHARED.exists(), reason="../shared/data is missing")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> TaskSet:
    plan = {"kinds": {"world_hop1": 1, "world_choice2": 1}, "splits": {"train": {200: 20}}}
    return synthesize(parse_plan(plan, "test"), tmp_path_factory.mktemp("d") / "set", quiet=True)


def plant(path: Path, taskset: TaskSet, *changes) -> list[str]:
    """Writes a benchmark with a question for each change of a sample; returns the samples' ids."""
    rows = taskset.rows()[: len(changes)]
    made = [
        {"id": f"planted {i}", "question": change(row), "answer": answers_of(row)[0]}
        for i, (row, change) in enumerate(zip(rows, changes, strict=True))
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in made))
    return [row.id for row in rows]


def stem(row) -> str:
    return row.question.partition(" Options:")[0]


CHANGES = (stem, lambda row: f"Please say: {stem(row).lower()}", lambda row: f"{stem(row)} Answer.")


def test_planted_questions_are_dropped_and_the_rest_keeps_its_proofs(built, tmp_path: Path):
    planted = plant(tmp_path / "bench.jsonl", built, *CHANGES)
    out, report = tmp_path / "clean", tmp_path / "report"
    against = [str(tmp_path / "bench.jsonl")]
    made = decontaminate_command(built.folder, against, out, report, quiet=True)
    assert made is not None
    before, after = {row.id for row in built.rows()}, {row.id for row in made.rows()}
    assert before - after == set(planted)
    assert check_taskset(made) == {}
    (step,) = made.manifest["lineage"]
    assert (step["operation"], step["parent"]["hash"]) == ("decontaminate", built.hash)
    assert made.manifest["contamination"]["against"][0]["num_questions"] == 3
    assert sum(made.manifest["counts"]["train"].values()) == len(after) == 17
    assert (out / PAGE_FILE).read_text() == (report / PAGE_FILE).read_text()
    matches = json.loads((report / JSON_FILE).read_text())["matches"]
    assert {match["sample"] for match in matches if match["dropped"]} == set(planted)
    assert "compared with bench.jsonl (3 questions" in (out / "card.md").read_text()


def test_without_out_only_a_report_is_written(built, tmp_path: Path):
    plant(tmp_path / "bench.jsonl", built, stem)
    report = tmp_path / "report"
    arguments = (built.folder, [str(tmp_path / "bench.jsonl")], None, report)
    assert decontaminate_command(*arguments, quiet=True) is None
    assert {file.name for file in tmp_path.iterdir()} == {"bench.jsonl", "report"}


def test_a_task_set_that_is_all_contaminated_is_one_line(built, tmp_path: Path):
    with pytest.raises(SynthesisError, match="every sample of"):
        against = [str(built.folder)]
        decontaminate_command(built.folder, against, tmp_path / "x", tmp_path / "r", quiet=True)
    assert not (tmp_path / "x").exists() and (tmp_path / "r" / PAGE_FILE).exists()


def test_a_plan_asks_nothing_that_its_benchmarks_ask(built, tmp_path: Path):
    planted = plant(tmp_path / "bench.jsonl", built, *CHANGES)
    content = {
        "kinds": {"world_hop1": 1, "world_choice2": 1},
        "splits": {"train": {200: 20}},
        "decontaminate": [str(tmp_path / "bench.jsonl")],
    }
    made = synthesize(parse_plan(content, "test"), tmp_path / "set", quiet=True)
    assert len(made.rows()) == 20 and not {row.id for row in made.rows()} & set(planted)
    reasons = made.manifest["yields"]["train/200"]["rejected"]
    assert sum(num for reason, num in reasons.items() if "in bench.jsonl" in reason) >= 3
    assert made.manifest["contamination"]["matches_dropped"] == 3
    assert "draft, no sample" in (made.folder / PAGE_FILE).read_text()
    assert made.manifest["files"][PAGE_FILE]["bytes"] > 0


def test_another_benchmark_under_the_same_name_is_another_plan(built, tmp_path: Path):
    bench = tmp_path / "bench.jsonl"
    plant(bench, built, stem)
    content = {"splits": {"train": {200: 3}}, "decontaminate": [str(bench)]}
    synthesize(parse_plan(content, "test"), tmp_path / "set", quiet=True)
    plant(bench, built, lambda row: "Another question?")
    with pytest.raises(SynthesisError, match="another plan"):
        synthesize(parse_plan(content, "test"), tmp_path / "set", quiet=True)


class Killed(BaseException):
    pass


def test_a_killed_run_goes_on_to_the_same_bytes(built, tmp_path: Path, monkeypatch):
    plant(tmp_path / "bench.jsonl", built, *CHANGES)
    content = {
        "kinds": {"world_hop1": 1, "world_choice2": 1},
        "splits": {"train": {200: 100}},
        "distinct": "near",
        "decontaminate": [str(tmp_path / "bench.jsonl")],
    }
    plan = parse_plan(content, "test")
    whole = synthesize(plan, tmp_path / "whole", quiet=True)
    written, write = [], generate.write_whole

    def write_and_die(path: Path, text: str) -> None:
        write(path, text)
        written.append(path)
        if len(written) == 4:  # the plan and three parts, those with the matches among them
            raise Killed

    monkeypatch.setattr(generate, "write_whole", write_and_die)
    with pytest.raises(Killed):
        synthesize(plan, tmp_path / "killed", quiet=True)
    resumed = synthesize(plan, tmp_path / "killed", quiet=True)
    assert resumed.hash == whole.hash and len(whole.rows()) == 100
    assert resumed.manifest == whole.manifest
    assert whole.manifest["contamination"]["matches_dropped"] > 0


@needs_shared
def test_real_benchmarks_against_questions_on_their_pool(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("LONGSPAN_DATA", str(SHARED))
    taskset = synth_command(
        docs=WIKI, out=tmp_path / "set", num_samples=150, tokens=600, quiet=True
    )
    report = tmp_path / "report"
    decontaminate_command(
        taskset.folder, ["musique", "hotpotqa"], None, report, "report", quiet=True
    )
    content = json.loads((report / JSON_FILE).read_text())
    assert [one["num_questions"] for one in content["benchmarks"]] == [50, 50]
    assert sum(match["dropped"] for match in content["matches"]) < 15
    # The passages are MuSiQue's pool: their documents are found, though few of their questions.
    assert content["documents"] and content["documents"][0]["share"] > 0.9
