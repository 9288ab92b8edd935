"""Small records of every shipped task, in the schema and the file layout that its benchmark has."""

from __future__ import annotations

import gzip
import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from longspan.harness.datasets.documents import Document
from longspan.harness.scoring.rules import RULES
from longspan.harness.taskset import SampleRow, write_taskset
from tests.harness.datasets.generated.material import essays, hotpot_rows, squad_articles
from tests.harness.datasets.test_benchmarks import DOCMATH, FRAMES, LONGBENCH, LONGBENCH_V2, TWOWIKI
from tests.harness.datasets.test_conversations import CORPUSQA, LONGMEMEVAL, MRCR
from tests.harness.datasets.test_readers import HOTPOT, KV, MUSIQUE, nq_rows

LONGBENCH_TASKS = ("2wikimqa", "hotpotqa", "musique", "narrativeqa", "qasper")
SUBSETS = ("simpshort", "simplong", "compshort", "complong")
QUESTION_TYPES = (
    *("single-session-user", "single-session-assistant", "single-session-preference"),
    *("temporal-reasoning", "knowledge-update", "multi-session"),
)

ARGUMENTS: dict[str, dict[str, Any]] = {
    **{f"longbench_{name}": {} for name in LONGBENCH_TASKS},
    **{f"mrcr_{needles}needle": {} for needles in (2, 4, 8)},
    **{f"corpusqa_{size}": {} for size in ("128k", "1m", "4m")},
    **{f"longmemeval_{kind}": {} for kind in ("s", "m", "oracle")},
    **dict.fromkeys(("longbench_v2", "frames", "docmath", "twowiki", "musique", "hotpotqa"), {}),
    **{"kv_retrieval": {}, "nq_distractors": {"num_documents": 2}},
    "ruler": {"length_tokens": 1024, "num_samples": 1},
    "niah": {"lengths_tokens": "512", "num_depths": 2},
    "taskset": {"path": "{mirror}/taskset"},
    **dict.fromkeys(("mmlu_pro", "aime24", "aime25", "gpqa_diamond"), {}),
    **dict.fromkeys(("bfcl_memory", "bfcl_memory_prereqs"), {"snapshot_id": "small"}),
}
"""Task -> the arguments under which it is made of the records below. A task that is missing here
fails the test of gold answers."""


def lines(rows: Iterable[Any]) -> str:
    """Returns rows as JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in rows)


def write(path: Path, content: Any) -> None:
    """Writes rows as Parquet, a text as it is, anything else as JSON; `.gz` is compressed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(content), path)
        return
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def write_benchmarks(folder: Path) -> None:
    """Writes every benchmark that ships with an evaluation of ours, two rows each."""
    (folder / "THUDM/LongBench").mkdir(parents=True)
    with zipfile.ZipFile(folder / "THUDM/LongBench/data.zip", "w") as archive:
        for name in LONGBENCH_TASKS:
            rows = [LONGBENCH, {**LONGBENCH, "_id": "2", "dataset": name}]
            archive.writestr(f"data/{name}.jsonl", lines(rows))
    write(folder / "LongBench-v2/data.json", [LONGBENCH_V2, {**LONGBENCH_V2, "_id": "2"}])
    write(folder / "Tongyi-Zhiwen/frames/test.jsonl", lines([FRAMES, {**FRAMES, "Prompt": "Why?"}]))
    for place, subset in enumerate(SUBSETS):  # both spellings
        name = f"{subset}{'-_'[place % 2]}testmini.json"
        rows = [{**DOCMATH, "question_id": f"{subset}-testmini-{number}"} for number in range(2)]
        write(folder / "yale-nlp/DocMath-Eval" / name, rows)
    for needles in (2, 4, 8):
        for shard in (0, 1):
            row = {**MRCR, "n_needles": needles, "answer": f"{MRCR['answer']} {shard}"}
            write(folder / f"openai/mrcr/{needles}needle/{needles}needle_{shard}.parquet", [row])
    other = {**CORPUSQA, "id": "financial_zh_2", "answer": []}
    for size in ("128k", "1m", "4m"):
        write(folder / f"{size}_4domains.jsonl", lines([CORPUSQA, other]))
    asked = {**LONGMEMEVAL, "question_id": "syn_2_abs", "answer": "It was never said."}
    for kind in ("s_cleaned", "m_cleaned", "oracle"):
        name = f"longmemeval_{kind}.json"
        write(folder / "longmemeval-cleaned" / name, [LONGMEMEVAL, asked])
    write(folder / "2wikimultihopqa_dev.json", [TWOWIKI, {**TWOWIKI, "_id": "w2"}])


def write_the_others(folder: Path) -> None:
    """Writes records of the remaining tasks, and more kinds of rows of some benchmarks."""
    write(folder / "musique_ans_v1.0_dev.jsonl", lines([MUSIQUE]))
    other = {**HOTPOT, "_id": "h2", "question": "Where is Karo?", "answer": "Bel", "type": "bridge"}
    write(folder / "hotpot_dev_distractor_v1.json", [HOTPOT, other, *hotpot_rows()])
    write(folder / "nq-open-oracle.jsonl.gz", lines(nq_rows(4)))
    write(folder / "kv-retrieval-140_keys.jsonl.gz", lines([KV]))
    write(folder / "PaulGrahamEssays.json", {"text": "\n".join(essays())})
    write(folder / "dev-v2.0.json", {"version": "v2.0", "data": squad_articles()})
    kinds = [
        {**LONGMEMEVAL, "question_id": f"syn_{place}", "question_type": kind}
        for place, kind in enumerate(QUESTION_TYPES)
    ]
    write(folder / "longmemeval-cleaned/longmemeval_s_cleaned.json", kinds)
    numbers = [20.5, 1e-05, -31.0, True, 0]
    rows = [
        {**DOCMATH, "question_id": f"simpshort-testmini-{place}", "ground_truth": number}
        for place, number in enumerate(numbers)
    ]
    write(folder / "yale-nlp/DocMath-Eval/simpshort-testmini.json", rows)
    answers: list[Any] = ['["A College", "B College"]', "[]", "12.50%", "2021-03", ["A", "B, C"]]
    rows = [
        {**CORPUSQA, "id": f"financial_zh_{place}", "answer": answer}
        for place, answer in enumerate(answers)
    ]
    write(folder / "128k_4domains.jsonl", lines(rows))
    write_small_taskset(folder / "taskset")


def write_small_taskset(folder: Path) -> None:
    """Writes a task set with a sample of every scorer that a task set may name."""
    golds = {"letter": "B", "numeric": "12", "docmath": "20.5", "corpusqa": '["Tomi", "An"]'}
    documents = [("w", Document(id="d1", title="Karo", text="Karo's mayor is Tomi."))]
    rows = [
        SampleRow(
            id=f"s{place}",
            split="test",
            kind="lookup",
            task_type="multi_hop",
            question="Who is Karo's mayor?",
            target=(golds.get(name, "Tomi"),),
            scorer=name,
            documents=("d1",),
            document_group="w",
            seed=0,
            target_tokens=128,
        )
        for place, name in enumerate(name for name, rule in RULES.items() if not rule.needs)
    ]
    write_taskset(folder, rows, documents, {"name": "mini", "seed": 0}, "# Mini")
