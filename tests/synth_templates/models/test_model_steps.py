import json
from pathlib import Path

import pytest

from longspan.harness.errors import ModelError, SynthesisError
from longspan.harness.taskset import TaskSet
from longspan.synth_templates.pipeline import synthesize
from longspan.synth_templates.plan import parse_plan
from longspan.synth_templates.verify import check_taskset
from tests.harness.scripted import Request
from tests.synth_templates.scripted_models import Script

CITIES = ["Lisbon", "Oslo", "Vienna", "Dublin", "Prague", "Athens", "Riga", "Minsk"]


def name(number: int) -> str:
    return f"Anna Number{chr(65 + number)}"


def write_documents(folder: Path, num: int = 8) -> Path:
    folder.mkdir()
    rows = [
        {"title": name(i), "text": f"{name(i)} was born in {CITIES[i]}. She liked tea."}
        for i in range(num)
    ]
    (folder / "people.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def answer(request: Request) -> str:
    title = request.prompt.partition("Title: ")[2].partition("\n")[0]
    city = request.prompt.partition("was born in ")[2].partition(".")[0]
    quote = f"{title} was born in {city}."
    triple = {"subject": title, "relation": "born in", "object": city, "quote": quote}
    return json.dumps({"triples": [triple]})


def build(folder: Path, out: Path, script: Script, **content: object) -> TaskSet:
    extract = {"model": script.name, "retries": 0, "max_connections": 1}
    source = {"type": "documents", "path": str(folder), "shares": {"test": 1.0}, "extract": extract}
    plan = {"name": "t", "source": source, "splits": {"test": {80: 4}}, **content}
    return synthesize(parse_plan(plan, "test"), out, quiet=True)


def test_extracted_triples_carry_questions_and_their_passports(tmp_path: Path):
    script = Script("steps", answer)
    taskset = build(write_documents(tmp_path / "docs"), tmp_path / "set", script)
    rows = taskset.rows()
    assert len(rows) == 4 and check_taskset(taskset) == {}
    assert {t.relation for d in taskset.documents.values() for t in d.triples} == {"born in"}
    assert taskset.manifest["model_steps"]["extract"]["triples"] == 8
    assert taskset.manifest["cost"]["model_calls"] == script.num_calls == 8
    assert taskset.manifest["models"] == ["scripted/steps"]
    assert not (tmp_path / "set.work").exists()


def test_a_killed_extraction_goes_on_to_the_same_bytes(tmp_path: Path):
    docs = write_documents(tmp_path / "docs")
    whole = build(docs, tmp_path / "whole", Script("steps", answer))
    left = [True] * 5

    def dies(request: Request) -> str:
        if not left:
            raise KeyboardInterrupt
        left.pop()
        return answer(request)

    with pytest.raises(KeyboardInterrupt):
        build(docs, tmp_path / "set", Script("steps", dies))
    again = Script("steps", answer)
    resumed = build(docs, tmp_path / "set", again)
    assert again.num_calls == 3
    assert resumed.hash == whole.hash and resumed.manifest == whole.manifest


def test_a_finished_step_stays_what_it_was_though_a_failed_call_would_work_now(tmp_path: Path):
    docs, out = write_documents(tmp_path / "docs"), tmp_path / "set"
    flaky = Script("steps", lambda r: "!busy" if "Lisbon" in r.prompt else answer(r))
    with pytest.raises(SynthesisError, match="no sample"):
        build(docs, out, flaky, splits={"test": {3: 4}})
    again = Script("steps", answer)
    with pytest.raises(SynthesisError, match="no sample"):
        build(docs, out, again, splits={"test": {3: 4}})
    assert again.num_calls == 0
    kept = json.loads((out.with_name("set.work") / "extract.step.json").read_text())
    assert kept["result"]["facts"]["unfit_replies"] == {"call failed": 1}


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"of": "another", "result": {}}'])
def test_a_damaged_step_is_made_again_from_the_journal(tmp_path: Path, damage: str):
    docs, out = write_documents(tmp_path / "docs"), tmp_path / "set"
    with pytest.raises(SynthesisError, match="no sample"):
        build(docs, out, Script("steps", answer), splits={"test": {3: 4}})
    work = out.with_name("set.work")
    (work / "extract.step.json").write_text(damage)
    with pytest.raises(SynthesisError, match=r"remove its \*\.part\.json files"):
        build(docs, out, Script("steps", answer))
    for part in work.glob("*.part.json"):
        part.unlink()
    again = Script("steps", answer)
    assert len(build(docs, out, again).rows()) == 4
    assert again.num_calls == 0


def test_a_journal_of_ones_own_serves_several_task_sets(tmp_path: Path):
    docs, script = write_documents(tmp_path / "docs"), Script("steps", answer)
    for out, seed in (("one", 0), ("two", 1)):
        build(docs, tmp_path / out, script, seed=seed, journal=str(tmp_path / "paid.jsonl"))
    assert script.num_calls == 8
    assert len((tmp_path / "paid.jsonl").read_text().splitlines()) == 8


def test_documents_without_statements_are_one_line_that_names_the_remedy(tmp_path: Path):
    docs, script = write_documents(tmp_path / "docs"), Script("steps", '{"triples": []}')
    with pytest.raises(SynthesisError, match=r"and by models \(source.extract, evolve\)"):
        build(docs, tmp_path / "set", script)
    with pytest.raises(ModelError, match="cannot use model nowhere/m"):
        source = {"type": "documents", "path": str(docs), "extract": {"model": "nowhere/m"}}
        plan = {"name": "t", "source": source, "splits": {"test": {80: 4}}}
        synthesize(parse_plan(plan, "test"), tmp_path / "set2", quiet=True)
    with pytest.raises(SynthesisError, match="extract"):
        source = {"type": "documents", "path": str(docs), "extract": {"modle": "x"}}
        parse_plan({"name": "t", "source": source, "splits": {"test": {80: 4}}}, "test")
