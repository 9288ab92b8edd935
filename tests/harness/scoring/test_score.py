"""`longspan score`: a file of completions, with every row accounted for."""

import json
from pathlib import Path

import pytest

from longspan.harness.cli import main
from longspan.harness.errors import DataError, SpecError
from longspan.harness.scoring.rules import RULES
from longspan.harness.scoring.score import rules_markdown, score_file

ROWS = [
    {"completion": "Therefore, the answer is Paris.", "target": "Paris"},
    {"completion": "I do not know.", "target": ["Rome", "Roma"], "id": "q2"},
    {"output": "Therefore, the answer is Rome.", "target": "Rome", "stop_reason": "max_tokens"},
]


def write(path, rows, tail=""):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + tail)
    return path


def test_a_file_is_summed_up_by_hand(tmp_path):
    summary = score_file("longspan/cover_exact_match", write(tmp_path / "c.jsonl", ROWS)).summary()
    assert summary["mean"] == pytest.approx(1 / 3)
    assert summary["stderr"] == pytest.approx(1 / 3)  # variance 1/3, over 3 rows
    assert summary["validity"] == {"answered": 1, "no_answer": 1, "cut_off": 1}
    assert (summary["coverage"], summary["num_rows_left_out"]) == (1.0, 0)


def test_rows_left_out_lower_the_coverage_and_set_the_exit_code(tmp_path, capsys):
    bad = [{"completion": 3, "target": "x"}, {"completion": "x"}, {"completion": "x", "target": ""}]
    path = write(tmp_path / "c.jsonl", [*ROWS, *bad], tail="no json\n")
    assert main(["score", "cover_exact_match", str(path)]) == 1
    printed = capsys.readouterr().err
    assert "33.3%" in printed and "scored 3 of 7 rows" in printed
    assert "row 4: no text in" in printed and "not scored: 6: gold answer is blank" in printed
    assert score_file("cover_exact_match", path).summary()["coverage"] == pytest.approx(3 / 7)


def test_each_row_may_name_its_scorer(tmp_path, capsys):
    rows = [
        {"completion": "the answer is (B)", "target": "B", "scorer": "letter"},
        {"completion": "the answer is 1,000", "target": 1000, "scorer": "numeric"},
        {"completion": "x", "target": "x", "scorer": "bleu"},
    ]
    path, out = write(tmp_path / "c.jsonl", rows), tmp_path / "out.jsonl"
    assert main(["score", "by_sample", str(path), "--json", "--out", str(out)]) == 1
    summary = json.loads(capsys.readouterr().out)
    assert (summary["mean"], summary["num_rows_left_out"]) == (1.0, 1)
    written = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(row["id"], row["score"]) for row in written] == [("1", 1.0), ("2", 1.0)]


def test_rows_are_printed_as_json_lines_with_both_forms(tmp_path, capsys):
    rows = [{"completion": "The correct answer is Austria.", "target": "A", "id": "q"}]
    path = write(tmp_path / "c.jsonl", rows)
    assert main(["score", "letter", str(path)]) == 0
    strict = json.loads(capsys.readouterr().out)
    assert main(["score", "letter", str(path), "--compat"]) == 0
    compat = json.loads(capsys.readouterr().out)
    assert (strict["score"], strict["answer"]) == (0.0, "Austria")
    assert (compat["score"], compat["answer"], compat["validity"]) == (1.0, "A", "answered")
    assert (
        (strict["strict"], strict["compat"]) == (compat["strict"], compat["compat"]) == (0.0, 1.0)
    )


def test_what_a_scorer_needs_is_listed_and_missed(tmp_path, capsys):
    assert main(["score", "--list"]) == 0
    listed = capsys.readouterr().out
    assert "needs metadata random_string_to_prepend: the characters" in listed
    assert all(f"{name}:" in listed for name in RULES)
    row = {"completion": "abcPoem", "target": "abcPoem"}
    path = write(
        tmp_path / "c.jsonl", [row, row | {"metadata": {"random_string_to_prepend": "abc"}}]
    )
    assert main(["score", "mrcr", str(path)]) == 1
    out, err = capsys.readouterr()
    assert "not scored: 1: sample lacks metadata: random_string_to_prepend" in err
    assert [json.loads(line)["score"] for line in out.splitlines()] == [None, 1.0]
    assert main(["score"]) == 2


def test_the_phrase_need_not_be_required(tmp_path, capsys):
    path = write(tmp_path / "c.jsonl", [{"completion": "Paris", "target": "Paris"}])
    assert main(["score", "cover_exact_match", str(path)]) == 0
    assert main(["score", "cover_exact_match", str(path), "--no-require-phrase"]) == 0
    first, second = capsys.readouterr().err.split("cover_exact_match: ")[1:]
    assert first.startswith("0.0%") and second.startswith("100.0%")


def test_mistakes_are_one_line(tmp_path, capsys):
    with pytest.raises(SpecError, match="unknown scorer: bleu"):
        score_file("bleu", tmp_path / "c.jsonl")
    with pytest.raises(DataError, match="can be scored"):
        score_file("letter", write(tmp_path / "c.jsonl", [{"completion": "x"}]))
    assert main(["score", "letter", str(tmp_path / "none.jsonl")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_page_on_scorers_has_the_table_of_the_rules():
    page = Path(__file__).parents[3] / "docs" / "scorers.md"
    assert rules_markdown() in page.read_text("utf-8")


def test_offline_a_missing_judge_is_no_zero(tmp_path, capsys):
    row = {"completion": "the answer is x", "target": "a rubric", "question_id": "q_abs"}
    path = write(tmp_path / "c.jsonl", [row])
    assert main(["score", "longmemeval", str(path)]) == 1
    printed = json.loads(capsys.readouterr().out)
    assert (printed["score"], printed["validity"]) == (None, "judge_failed")
    assert main(["score", "longmemeval", str(path), "--compat"]) == 1
    judged = write(tmp_path / "j.jsonl", [row | {"judge_reply": "yes"}])
    capsys.readouterr()
    assert main(["score", "longmemeval", str(judged), "--compat"]) == 0
    assert json.loads(capsys.readouterr().out)["score"] == 1.0


def test_a_folder_as_output_is_one_line_and_leaves_nothing(tmp_path, capsys):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"completion": "the answer is B", "target": "B"}\n')
    (tmp_path / "folder").mkdir()
    assert main(["score", "letter", str(path), "--out", str(tmp_path / "folder")]) == 2
    error = capsys.readouterr().err
    assert "folder is a folder; name a file in it" in error and error.count("\n") == 1
    assert sorted(one.name for one in tmp_path.iterdir()) == ["folder", "rows.jsonl"]
