import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from longspan.harness.errors import SynthesisError
from longspan.harness.passport import statements
from longspan.synth_templates import generate, workers
from longspan.synth_templates.books import OVERUSED, Attempt, Books
from longspan.synth_templates.curation.deduplicate import REPEATED
from longspan.synth_templates.parts import PartTask
from longspan.synth_templates.pipeline import synthesize
from longspan.synth_templates.plan import Plan, parse_plan
from longspan.synth_templates.questions import Worded
from longspan.synth_templates.shapes.draft import Rejected
from longspan.synth_templates.workers import Crew, PartWorker, ProcessWorkers
from tests.harness.scripted import Request
from tests.synth_templates.scripted_models import Script

# Of each some parts ask what earlier ones asked; of documents most kinds are used up on the way.
FICTION = {
    "source": {"type": "fiction", "samples_per_world": 6},
    "kinds": {"fiction_shifted_year": 2, "fiction_fact_backwards": 1, "dialogue_before": 1},
    "splits": {"train": {1500: 30}, "test": {1500: 9}},
}
WORLD = {
    "source": {"type": "world", "samples_per_world": 6},
    "kinds": {"world_hop1": 1, "world_choice2": 1},
    "splits": {"train": {150: 120}},
    "distinct": "near",
    "tokenizer": "nano",
}
DOCUMENTS = {"splits": {"train": {200: 450}, "test": {200: 40}}, "max_statement_uses": 2}


def test_corpora_with_open_tables_and_written_questions_travel(
    tmp_path: Path, at_once, monkeypatch
):
    """A corpus whose databases are open, and that holds questions of models, goes to processes."""
    made = []
    make = ProcessWorkers.make
    monkeypatch.setattr(ProcessWorkers, "make", lambda *a: made.append(a) or make(*a))
    folder = tmp_path / "docs"
    folder.mkdir()
    for i in range(40):
        rows = [
            f"Town {j} of {i},{('Coast', 'Hills')[j % 2]},{(7 * i + j * j) % 97}" for j in range(9)
        ]
        (folder / f"Land {i}.csv").write_text("\n".join(["town,region,sales", *rows]))
    average = "SELECT AVG(sales) FROM data WHERE region = 'Coast'"
    question = {"question": "What is the average of sales on the Coast?"}

    def write(request: Request) -> str:
        is_checker = question["question"] in request.prompt
        return json.dumps({"sql": average} | ({} if is_checker else question))

    writer = Script("travels", write)
    plan = parse_plan(
        {
            "name": "t",
            "source": {"type": "documents", "path": folder, "shares": {"train": 1}},
            "splits": {"train": {300: 450}},
            "queries": {"writer": {"model": writer.name}, "max_tables": 6, "rounds": 1},
        },
        "test",
    )
    alone = synthesize(plan, tmp_path / "alone", quiet=True)
    together = synthesize(plan, tmp_path / "together", Crew(2), quiet=True)
    assert made and together.hash == alone.hash
    kinds = {row.kind for row in alone.rows()}
    assert "query_number" in kinds and any(kind.startswith("sql_") for kind in kinds)


def plan_of(content: dict, folder: Path) -> Plan:
    if "source" not in content:
        folder.mkdir()
        lines = [
            f'{{"title": "P{i}", "text": "Person P{i} was born in Town T{i % 40}. Town T{i % 40} '
            f'lies in Land L{i % 7}.", "triples": [["Person P{i}", "place of birth", "Town '
            f'T{i % 40}"], ["Town T{i % 40}", "country", "Land L{i % 7}"]]}}'
            for i in range(300)
        ]
        (folder / "docs.jsonl").write_text("\n".join(lines))
        content = {**content, "source": {"type": "documents", "path": folder}}
    return parse_plan({"name": "t", **content}, "test")


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch):
    """Processes work from the first part on."""
    monkeypatch.setattr(ProcessWorkers, "head_start_seconds", 0.0)


@pytest.mark.parametrize("content", [FICTION, WORLD, DOCUMENTS], ids=["fiction", "world", "docs"])
def test_the_number_of_processes_changes_no_byte(content, tmp_path: Path, at_once, monkeypatch):
    made = []
    make = ProcessWorkers.make
    monkeypatch.setattr(ProcessWorkers, "make", lambda *a: made.append(a) or make(*a))
    plan = plan_of(content, tmp_path / "docs")
    alone = synthesize(plan, tmp_path / "alone", quiet=True)
    together = synthesize(plan, tmp_path / "together", Crew(2), quiet=True)
    assert made
    assert sum(alone.manifest["duplicates"]["dropped"].values()) > 0
    assert together.hash == alone.hash
    assert together.manifest == alone.manifest
    assert not (tmp_path / "together.work").exists()


def test_a_ray_cluster_changes_no_byte(tmp_path: Path):
    pytest.importorskip("ray")
    plan = plan_of(WORLD, tmp_path)
    alone = synthesize(plan, tmp_path / "alone", quiet=True)
    together = synthesize(plan, tmp_path / "together", Crew(ray="local"), quiet=True)
    assert together.hash == alone.hash


def test_without_ray_its_extra_is_named(tmp_path: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SynthesisError, match=r"longspan\[ray\]"):
        synthesize(plan_of(WORLD, tmp_path), tmp_path / "set", Crew(ray="local"), quiet=True)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1:99999", "nowhere:port"])
def test_no_cluster_at_an_address_is_one_line(address: str, tmp_path: Path):
    pytest.importorskip("ray")
    plan = plan_of(WORLD, tmp_path)
    with pytest.raises(SynthesisError, match=f"no Ray cluster at {address}"):
        synthesize(plan, tmp_path / "set", Crew(ray=address), quiet=True)


class Dying(PartWorker):
    """Dies of a part that is only asked for once the first part is written: four are in hand."""

    def make(self, task: PartTask):
        if task.number == 6:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().make(task)


def test_a_worker_that_dies_costs_one_line_and_no_finished_part(
    tmp_path: Path, at_once, monkeypatch
):
    plan = plan_of(WORLD, tmp_path)
    whole = synthesize(plan, tmp_path / "whole", quiet=True)
    monkeypatch.setattr(workers, "PartWorker", Dying)
    with pytest.raises(SynthesisError, match="fewer --workers"):
        synthesize(plan, tmp_path / "set", Crew(2), quiet=True)
    parts = sorted((tmp_path / "set.work").glob("*.part.json"))
    assert parts
    monkeypatch.undo()
    seen: list[Path] = []
    monkeypatch.setattr(generate, "write_whole", lambda path, text: seen.append(path))
    again = synthesize(plan, tmp_path / "set", quiet=True)
    assert again.hash == whole.hash
    assert not set(parts) & set(seen)


def test_a_killed_parallel_run_goes_on_alone(tmp_path: Path, at_once, monkeypatch):
    plan = plan_of(FICTION, tmp_path)
    whole = synthesize(plan, tmp_path / "whole", quiet=True)
    write, written = generate.write_whole, []

    def write_and_stop(path: Path, text: str) -> None:
        write(path, text)
        written.append(path)
        if len(written) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(generate, "write_whole", write_and_stop)
    with pytest.raises(KeyboardInterrupt):
        synthesize(plan, tmp_path / "set", Crew(2), quiet=True)
    monkeypatch.undo()
    assert synthesize(plan, tmp_path / "set", quiet=True).hash == whole.hash


def test_documents_that_another_plan_left_are_not_used(tmp_path: Path, monkeypatch):
    plans = [plan_of({**FICTION, "seed": seed}, tmp_path) for seed in (5, 6)]
    whole = synthesize(plans[1], tmp_path / "whole", quiet=True)

    def die(path: Path, text: str) -> None:
        if path.name != "plan.json":
            raise KeyboardInterrupt  # the documents are there, the part is not
        path.write_text(text, "utf-8")

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(generate, "write_whole", die)
        synthesize(plans[0], tmp_path / "set", quiet=True)
    assert any((tmp_path / "set.work" / "documents").iterdir())
    assert synthesize(plans[1], tmp_path / "set", quiet=True).hash == whole.hash


def test_a_failure_on_ray_is_one_line(tmp_path: Path, monkeypatch):
    pytest.importorskip("ray")
    from longspan.synth_templates import distributed

    monkeypatch.setattr(distributed, "_Actor", Failing)
    with pytest.raises(SynthesisError, match="a worker on Ray failed .*no luck.*run the command"):
        synthesize(plan_of(WORLD, tmp_path), tmp_path / "set", Crew(ray="local"), quiet=True)


class Failing:
    def __init__(self, worker: object) -> None:
        pass

    def __call__(self, row: dict) -> dict:
        raise ValueError("no luck")


def test_books_judge_what_others_let_through_and_leave_open_what_others_cut_short(tmp_path: Path):
    rows = synthesize(plan_of(WORLD, tmp_path), tmp_path / "set", quiet=True).rows()
    first, second = (
        Attempt(row, ((row.id,),), Worded(row.question, row.target[0], row.passport.options))
        for row in rows[:2]
    )
    books = Books("near", max_statement_uses=1)
    assert books.judge(first) is first
    books.note(rows[0])
    assert books.judge(first).result == Rejected(REPEATED)
    assert books.judge(second) is second
    overused = Attempt(Rejected(OVERUSED), tuple(statements(rows[0].passport.proof)))
    assert books.judge(overused).result == Rejected(OVERUSED)
    elsewhere = replace(overused, statements=(("unused",),), is_cut_short=True)
    assert books.judge(elsewhere) is None
