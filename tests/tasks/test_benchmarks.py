"""The shipped benchmarks, from files laid out as on the hub to scores, with made-up records."""

import json
import sys
from pathlib import Path

import pytest
from inspect_ai import eval

from longspan.harness import protocol
from longspan.harness.cli import main
from longspan.harness.datasets import hub
from longspan.harness.datasets.documents import resolve_context
from longspan.harness.errors import DataError, SpecError
from longspan.harness.registry import EXTERNALS, SPECS, find_task, tasks_folder
from tests.harness.datasets.test_benchmarks import LONGBENCH, LONGBENCH_V2
from tests.harness.datasets.test_conversations import CORPUSQA, MRCR
from tests.harness.scripted import scripted_model
from tests.tasks.small_records import LONGBENCH_TASKS, SUBSETS, lines, write, write_benchmarks

ROOT = Path(__file__).parents[2]


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """LONGSPAN_DATA with every benchmark, two rows each, in the layouts that users have."""
    folder = tmp_path / "mirror"
    write_benchmarks(folder)
    monkeypatch.setenv("LONGSPAN_DATA", str(folder))
    monkeypatch.setattr(hub, "cached_file", lambda *arguments: None)
    monkeypatch.setattr(hub, "download", no_hub)
    return folder


def no_hub(*arguments, **named):
    raise DataError("cannot fetch: offline")


NAMES = [
    *(f"longbench_{name}" for name in LONGBENCH_TASKS),
    *(f"mrcr_{needles}needle" for needles in (2, 4, 8)),
    *(f"corpusqa_{size}" for size in ("128k", "1m", "4m")),
    *(f"longmemeval_{kind}" for kind in ("s", "m", "oracle")),
    *("longbench_v2", "frames", "twowiki"),
]


@pytest.mark.parametrize("name", [*NAMES, "docmath"])
def test_every_row_is_a_sample_whose_context_is_not_in_its_input(mirror, name):
    task = find_task(name)
    assert len(task.dataset) == (8 if name == "docmath" else 2)
    assert task.metadata["num_rows_left_out"] == 0
    for sample in task.dataset:
        assert resolve_context(sample.metadata)
        assert resolve_context(sample.metadata) not in sample.input


@pytest.mark.parametrize("name", [*NAMES, "docmath"])
def test_missing_data_name_file_repository_and_command(tmp_path, monkeypatch, name):
    monkeypatch.setenv("LONGSPAN_DATA", str(tmp_path))
    monkeypatch.setattr(hub, "cached_file", lambda *arguments: None)
    monkeypatch.setattr(hub, "download", no_hub)
    with pytest.raises(DataError) as caught:
        find_task(name)
    message, dataset = str(caught.value), SPECS[name].spec.dataset
    assert f"task {name} needs" in message and "\n" not in message
    if dataset.hub is None:
        assert dataset.files[0] in message and "-T data=FILE" in message
    else:
        assert dataset.hub.repository in message and dataset.hub.files[0].split("|")[0] in message
        assert f"`longspan data fetch {name}`" in message
        assert (dataset.hub.revision or "no pinned commit")[:8] in message


def test_pinned_commits_are_those_of_the_reference():
    pinned = {
        file.spec.dataset.hub.repository: file.spec.dataset.hub.revision
        for file in SPECS.values()
        if file.spec.dataset.hub
    }
    unpinned = {name for name, revision in pinned.items() if revision is None}
    assert unpinned == {"Tongyi-Zhiwen/CorpusQA", "Tongyi-Zhiwen/frames", "yale-nlp/DocMath-Eval"}


def test_docmath_is_one_task_of_four_subsets(mirror):
    task = find_task("docmath")
    assert [s.metadata["subset"] for s in task.dataset][::2] == list(SUBSETS)
    assert task.metadata["groupings"] == ("subset",)
    assert task.metadata["data"].startswith("simpshort-testmini.json, simplong_testmini.json")


def run(task, answer, tmp_path, **attributes):
    model = scripted_model(answer, "benchmarks", **attributes)
    arguments = {"log_dir": str(tmp_path / "logs"), "display": "none", "log_realtime": False}
    log = eval(task, model=model, **arguments)[0]
    assert log.status == "success", log.error
    return log, model.api.calls


def test_mrcr_sends_the_chat_and_scores_the_repetition(mirror, tmp_path):
    log, calls = run(find_task("mrcr_2needle"), f"{MRCR['answer']} 0", tmp_path)
    chat = json.loads(MRCR["prompt"])
    assert [{"role": m.role, "content": m.text} for m in calls[0].messages] == chat
    values = sorted(sample.scores["mrcr"].value for sample in log.samples)
    assert values[1] == 1.0 and 0.9 < values[0] < 1.0
    assert log.samples[0].metadata["bin"] == 16384
    with pytest.raises(DataError, match="options of task mrcr_2needle choose none of the 2 rows"):
        find_task("mrcr_2needle", max_tokens_bin=8192)


def test_mrcr_as_text_is_the_recipe(mirror, tmp_path):
    task = find_task("mrcr_2needle", protocol="recipe")
    assert all("messages" not in sample.metadata for sample in task.dataset)
    _, calls = run(task, "x", tmp_path)
    assert len(calls[0].messages) == 1 and "<text>" in calls[0].prompt
    assert "instructions" not in calls[0].prompt.lower().split("</text>")[1]


def test_corpusqa_keeps_its_own_rules_in_both_protocols(mirror, tmp_path):
    own, recipe = find_task("corpusqa_128k"), find_task("corpusqa_128k", protocol="recipe")
    _, calls = run(own, "The answer is: []", tmp_path)
    assert [m.role for m in calls[0].messages] == ["system", "user"]
    assert calls[0].prompt == CORPUSQA["prompt"][1]["content"]
    log, calls = run(recipe, "The answer is: []", tmp_path)
    assert calls[0].prompt.endswith("End with `The answer is: xxx`.")
    assert "# Document 2:" in calls[0].prompt and "# Question:" not in calls[0].prompt
    assert own.version == recipe.version  # the argument tells them apart
    assert log.eval.metadata["protocol"] == "recipe"


def test_longmemeval_asks_on_its_date_and_marks_abstention(mirror):
    first, second = find_task("longmemeval_s").dataset
    assert first.input.startswith("The current date is 2023/05/30 (Tue) 23:40.\nHow many days")
    assert (first.metadata["is_abstention"], second.metadata["is_abstention"]) == (False, True)
    assert first.metadata["document_group"] == second.metadata["document_group"]


def test_longbench_v2_shows_its_choices(mirror):
    sample = find_task("longbench_v2").dataset[0]
    assert "(A) North\n(B) South\n(C) East\n(D) West" in sample.input and sample.target == "B"


# The official prompt: a made-up package stands for lm-eval, whose text is not in this repository.

TEMPLATES = {
    "tasks/longbench/hotpotqa.yaml": "task: x\nprocess: !function metrics.f1\n"
    'doc_to_text: "Use the passages.\\n{{context}}\\nNow. Question: {{question}}\\nAnswer:"\n',
    "tasks/longbench/qasper.yaml": 'doc_to_text: "Article: {context} Question: {input} Answer:"\n',
    "tasks/longbench/musique.yaml": 'doc_to_text: "No text at all. {{question}}"\n',
    "tasks/longbench/narrativeqa.yaml": "doc_to_text: !function utils.text\n",
    "tasks/longbench/2wikimqa.yaml": 'doc_to_text: "{{context}} {{nothing}}"\n',
    "tasks/longbench2/_longbench_common_yaml": 'doc_to_text: "<text>\\n{{context}}\\n</text>\\n\\n'
    '{{question.strip()}}\\n(A) {{choices[0]}}\\n(D) {{choices[3]}}\\n\\nAnswer:"\n',
}


@pytest.fixture
def lm_eval(tmp_path, monkeypatch):
    folder = tmp_path / "site" / "lm_eval"
    for name, text in {**TEMPLATES, "__init__.py": "raise RuntimeError('imported')"}.items():
        write(folder / name, text)
    monkeypatch.syspath_prepend(str(folder.parent))
    for name in [name for name in sys.modules if name.partition(".")[0] == "lm_eval"]:
        monkeypatch.delitem(sys.modules, name)  # the real one, which another test has imported
    monkeypatch.setattr(protocol.importlib.metadata, "version", lambda name: "0.4.13")
    return folder


def test_the_official_prompt_is_read_from_its_package_and_scored_by_the_official_rule(
    mirror, lm_eval, tmp_path
):
    task = find_task("longbench_hotpotqa", protocol="official")
    log, calls = run(task, "the Lima", tmp_path)
    question, context = LONGBENCH["input"], LONGBENCH["context"].strip()
    expected = f"Use the passages.\n{context}\nNow. Question: {question}\nAnswer:"
    assert calls[0].prompt == expected
    assert log.samples[0].scores["token_f1"].value == 1.0
    facts = log.eval.metadata
    assert facts["protocol"] == "official"
    source = "lm_eval 0.4.13 tasks/longbench/hotpotqa.yaml doc_to_text"
    assert facts["prompt_source"] == source
    assert task.version != find_task("longbench_hotpotqa").version


def test_a_setting_that_is_given_wins_over_the_official_prompts(mirror, lm_eval, tmp_path):
    given = find_task("longbench_hotpotqa", protocol="official", scoring="strict")
    log, _ = run(given, "It is the Lima I think", tmp_path)
    strict = log.samples[0].scores["token_f1"]
    assert strict.value == strict.metadata["strict"] != strict.metadata["compat"]


def test_longbench_v2_ends_with_its_own_last_line_and_is_read_by_its_own_rule(
    mirror, lm_eval, tmp_path
):
    task = find_task("longbench_v2", protocol="official")
    log, calls = run(task, "The correct answer is (B).", tmp_path)
    assert calls[0].prompt.startswith("<text>\nA long text.\n</text>\n\nWhich segment shrank?\n(A)")
    assert calls[0].prompt.endswith(
        '\n\nFormat your response as follows: "The correct answer is (insert answer here)".'
    )
    assert log.samples[0].scores["letter"].value == 1.0


def test_braces_without_jinja_are_fields(mirror, lm_eval):
    frame = find_task("longbench_qasper", protocol="official").dataset[0].metadata["frame"]
    assert frame == {"before": "Article: ", "after": f" Question: {LONGBENCH['input']} Answer:"}


def test_a_question_cannot_pass_for_the_context(mirror, lm_eval):
    rows = [{**LONGBENCH, "input": f"What of {{{{context}}}} and {protocol._MARK}?"}, LONGBENCH]
    path = mirror / "mine.jsonl"
    path.write_text(lines([{**row, "_id": str(n)} for n, row in enumerate(rows)]))
    task = find_task("longbench_hotpotqa", protocol="official", data=str(path))
    assert [sample.id for sample in task.dataset] == ["1"]
    assert "shows the context 2 times, not once" in task.metadata["reasons_left_out"][0]["reason"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("longbench_musique", "shows the context 0 times, not once"),
        ("longbench_narrativeqa", "0.4.13 has no template doc_to_text in tasks/longbench/narr"),
        ("longbench_2wikimqa", "template cannot be filled: 'nothing' is undefined"),
    ],
)
def test_a_template_that_does_not_fit_is_one_line(mirror, lm_eval, name, message):
    with pytest.raises((SpecError, DataError), match=message):
        find_task(name, protocol="official")


def test_a_file_that_the_package_lacks_is_one_line(mirror, lm_eval):
    (lm_eval / "tasks/longbench/qasper.yaml").unlink()
    protocol._template.cache_clear()
    with pytest.raises(SpecError, match="install the version that constraints.txt names"):
        find_task("longbench_qasper", protocol="official")


def test_a_package_that_is_not_installed_is_named_with_its_extra(mirror, monkeypatch):
    monkeypatch.setattr(protocol, "find_spec", lambda name: None)
    with pytest.raises(
        SpecError, match=r"from lm_eval, which is not installed; run: pip install 'l"
    ):
        find_task("longbench_hotpotqa", protocol="official")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("frames", "official", "frames has no protocol 'official' .its spec declares no official"),
        ("frames", "mine", "it has: recipe$"),
        ("ruler", "official", "ruler has no protocol 'official' .its spec declares no official"),
        ("taskset", "official", "taskset has no protocol 'official'.*; it has: recipe$"),
        ("longbench_hotpotqa", "mine", "no protocol 'mine'; it has: recipe, official$"),
    ],
)
def test_a_protocol_that_does_not_exist_is_one_line_with_those_that_do(
    mirror, name, value, message
):
    with pytest.raises(SpecError, match=message):
        find_task(name, protocol=value)


# Bad input.


def test_a_wrong_kind_of_file_is_one_line(mirror, capsys):
    path = mirror / "wrong.jsonl"
    path.write_text(lines([LONGBENCH]))
    with pytest.raises(DataError, match="no usable row in wrong.jsonl .*row 1: has choices none"):
        find_task("longbench_v2", data=str(path))
    with pytest.raises(DataError, match="row 1: field 'n_needles' is missing|field 'prompt'"):
        find_task("mrcr_2needle", data=str(path))


def test_a_truncated_shard_stops_the_task_and_loses_no_sample_silently(mirror):
    path = mirror / "openai/mrcr/2needle/2needle_1.parquet"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DataError, match="damaged Parquet file: 2needle_1.parquet"):
        find_task("mrcr_2needle")


def test_bad_rows_are_counted_in_the_log(mirror):
    rows = [{**LONGBENCH_V2, "choice_D": ""}, LONGBENCH_V2, {**LONGBENCH_V2, "answer": "F"}]
    write(mirror / "LongBench-v2/data.json", rows)
    facts = find_task("longbench_v2").metadata
    assert (facts["num_samples"], facts["num_rows_left_out"]) == (1, 2)
    assert facts["reasons_left_out"] == [
        {
            "reason": "has choices ABC, expected ABCD",
            "num_rows": 1,
            "first_rows": ["data.json row 1"],
        },
        {
            "reason": "gold answer is none of the choices ABCD: 'F'",
            "num_rows": 1,
            "first_rows": ["data.json row 3"],
        },
    ]


# What the catalogue says.


def test_the_catalogue_says_what_is_here(mirror, capsys):
    (mirror / "Tongyi-Zhiwen/frames/test.jsonl").unlink()
    assert main(["tasks", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["tasks"]}
    assert set(rows) >= {*NAMES, "docmath", *EXTERNALS}
    assert rows["frames"]["data"] == "missing: longspan data fetch frames"
    assert rows["longbench_v2"]["data"] == "data.json"
    assert rows["longbench_v2"]["protocols"] == ["recipe", "official"]
    assert rows["mrcr_2needle"]["hub"]["revision"].startswith("f4c69fae")
    assert (rows["docmath"]["size"], rows["docmath"]["length"]) == (
        800,
        "20K on average, up to 250K",
    )
    assert main(["tasks"]) == 0
    table = capsys.readouterr().out
    assert table.splitlines()[0].split()[:4] == ["name", "task", "type", "size"]
    assert "longspan data fetch frames" in table


def test_every_spec_without_an_official_prompt_says_why():
    shipped = [f.spec for f in SPECS.values() if f.path.parent == tasks_folder()]
    for spec in shipped:
        if spec.name != "taskset":
            assert (spec.official is None) == ("No official prompt:" in spec.notes), spec.name


def test_every_shipped_spec_documents_itself():
    files = {**SPECS, **EXTERNALS}
    shipped = [f.spec for f in files.values() if f.path.parent == tasks_folder()]
    assert len(shipped) >= len(NAMES) + 12
    for spec in shipped:
        if spec.name != "taskset":
            assert spec.paper and spec.licence and spec.contamination and spec.notes, spec.name
            assert spec.length, spec.name
        assert len(spec.description) <= 88 and "\n" not in spec.description
