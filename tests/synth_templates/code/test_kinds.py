"""Questions over Python sources: made, proved from the texts, and checked again from the texts."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from longspan.harness.datasets.documents import Document
from longspan.harness.taskset import SampleRow, TaskSet
from longspan.synth_templates.corpus import Corpus
from longspan.synth_templates.kind_files import load_kinds
from longspan.synth_templates.pipeline import synthesize
from longspan.synth_templates.plan import parse_plan
from longspan.synth_templates.verify import check_passport, check_taskset

NAMES = [
    "amber", "basalt", "cedar", "delta", "ember", "fjord", "grove", "heath", "islet", "juniper",
    "kelp", "lagoon", "marsh", "nimbus", "orchid", "prairie", "quartz", "ravine", "spruce",
    "tundra", "umber", "valley", "willow", "zephyr",
]  # fmt: skip


def source(number: int, rng: random.Random) -> str:
    """A module whose class and function lead to those of an earlier module, as in a tree."""
    name, before = NAMES[number], NAMES[number // 2 - 1] if number > 1 else NAMES[0]
    parameters = ", ".join(
        f"{other}_{rng.randint(0, 9)}" for other in rng.sample(NAMES, number % 5)
    )
    head = f"from pack.{before} import {before.title()}, make_{before}\n" if number else ""
    return (
        f"{head}\nLIMIT_{name.upper()} = {rng.randint(100, 9999)}\n\n\n"
        f"class {name.title()}{f'({before.title()})' if number else ''}:\n"
        f"    rate = {rng.randint(100, 9999)}\n\n"
        "    def open(self): ...\n\n    def close(self): ...\n\n"
        f"    def reset(self, after={rng.randint(100, 9999)}): ...\n"
        + "".join(f"\n    def extra_{n}(self): ...\n" for n in range(number % 4))
        + f"\n\ndef make_{name}({parameters}):\n"
        + (f"    return make_{before}()\n" if number else "    return None\n")
    )


@pytest.fixture(scope="module")
def taskset(tmp_path_factory: pytest.TempPathFactory) -> TaskSet:
    folder = tmp_path_factory.mktemp("code")
    rng = random.Random(0)
    (folder / "docs" / "pack").mkdir(parents=True)
    for number in range(len(NAMES)):
        text = source(number, rng)
        (folder / "docs" / "pack" / f"{NAMES[number]}.py").write_text(text)
    content = {
        "name": "code",
        "source": {"type": "documents", "path": folder / "docs", "shares": {"train": 1}},
        "splits": {"train": {700: 90}},
        "max_statement_uses": 50,
    }
    return synthesize(parse_plan(content, "test"), folder / "set", quiet=True)


def corpus_of(taskset: TaskSet, change: Callable[[Document], Document] | None = None) -> Corpus:
    documents = [change(d) if change else d for d in taskset.documents.values()]
    return Corpus("train", documents, load_kinds("documents").lexicon())


def test_every_kind_over_code_is_made_and_holds(taskset):
    code = {kind.name for kind in load_kinds("documents").kinds if kind.name.startswith("code_")}
    assert {row.kind for row in taskset.rows()} == code
    assert len(code) >= 6 and len({row.task_type for row in taskset.rows()}) >= 4
    assert check_taskset(taskset) == {}


def test_evidence_of_a_path_stands_in_as_many_files_as_it_has_steps(taskset):
    rows = [row for row in taskset.rows() if (row.hops or 0) > 1]
    assert rows
    for row in rows:
        documents = [span.document for span in row.passport.evidence]
        assert len(set(documents)) == len(documents) >= row.hops


def test_a_source_that_says_something_else_is_caught(taskset):
    for row in {row.kind: row for row in taskset.rows()}.values():
        span = row.passport.evidence[-1]
        for place in (span.start, span.end - 1):

            def change(document: Document, span=span, place=place) -> Document:
                if document.id != span.document:
                    return document
                text = document.text[:place] + "\u00a7" + document.text[place + 1 :]
                return document.model_copy(update={"text": text})

            assert check_passport(row, corpus_of(taskset, change))


def test_a_statement_is_parsed_again_and_not_taken_from_the_passport(taskset):
    row = next(row for row in taskset.rows() if row.kind == "code_value2")
    step = row.passport.proof.steps[-1].model_copy(update={"object": "4711"})
    assert "does not say" in check_passport(_with(row, step=step), corpus_of(taskset))[0]


def test_a_span_that_quotes_another_true_passage_is_caught(taskset):
    row = next(row for row in taskset.rows() if row.kind == "code_value2")
    span = row.passport.evidence[-1]
    text = taskset.documents[span.document].text
    other = span.model_copy(update={"start": 0, "end": 20, "quote": text[:20]})
    assert "does not say" in check_passport(_with(row, span=other), corpus_of(taskset))[0]


def test_another_call_in_the_source_takes_the_uniqueness(taskset):
    row = next(
        row
        for row in taskset.rows()
        if row.passport.proof.type == "path"
        and row.passport.proof.steps[0].relation == "code_calls"
    )
    first = row.passport.proof.steps[0]

    def change(document: Document) -> Document:
        if document.id != first.document:
            return document
        # Behind the evidence, so that every quote still stands.
        text = document.text + "    import elsewhere\n    elsewhere.call()\n"
        return document.model_copy(update={"text": text})

    problems = check_passport(row, corpus_of(taskset, change))
    assert any("more than one code_calls" in problem for problem in problems)


def test_a_document_that_is_no_longer_python_proves_nothing(taskset, tmp_path):
    folder = tmp_path / "set"
    shutil.copytree(taskset.folder, folder)
    path = folder / "documents.parquet"
    rows = [{**row, "format": "text"} for row in pq.read_table(path).to_pylist()]
    pq.write_table(pa.Table.from_pylist(rows), path)
    problems = check_taskset(TaskSet.open(folder, check_sizes=False))
    assert len(problems) == len(taskset.rows())


def test_the_same_seed_gives_the_same_bytes(taskset, tmp_path):
    plan = parse_plan(taskset.manifest["plan"], "test")
    again = synthesize(plan, tmp_path / "again", quiet=True)
    assert again.hash == taskset.hash


def _with(row: SampleRow, *, step=None, span=None) -> SampleRow:
    passport = row.passport
    if step is not None:
        steps = (*passport.proof.steps[:-1], step)
        proof = passport.proof.model_copy(update={"steps": steps})
        passport = passport.model_copy(update={"proof": proof})
    if span is not None:
        passport = passport.model_copy(update={"evidence": (*passport.evidence[:-1], span)})
    return row.model_copy(update={"passport": passport})


def test_the_folder_of_documents_is_needed_no_more(taskset):
    shutil.rmtree(Path(taskset.manifest["plan"]["source"]["path"]))
    assert check_taskset(TaskSet.open(taskset.folder)) == {}
