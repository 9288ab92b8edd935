"""Rows of every format: the same rows come back, and damage is one line."""

import csv
import gzip
import hashlib
import json
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.harness.datasets.rows import read_rows, rows_hash
from longspan.harness.errors import DataError

ROWS = [{"q": "Wo, wann?", "a": 'Bel "x"\nKaro'}, {"q": "naïve \u2028 line", "a": "\t2"}]
FORMATS = ["jsonl", "ndjson", "json", "columns.json", "lines.json", "parquet", "csv", "tsv"]


def write(folder, name, rows):
    """Writes rows in the format that the name ends in; returns the path."""
    path = folder / name
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    if name.endswith(("jsonl", "ndjson", "lines.json")):
        path.write_text(lines, encoding="utf-8", newline="")
    elif name.endswith("columns.json"):
        path.write_text(json.dumps({key: [row[key] for row in rows] for key in rows[0]}))
    elif name.endswith("json"):
        path.write_text("\ufeff" + json.dumps(rows), encoding="utf-8")
    elif name.endswith("parquet"):
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(
                file, rows[0].keys(), delimiter="\t" if name.endswith("tsv") else ","
            )
            table.writeheader()
            table.writerows(rows)
    return path


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("packing", ["plain", "gz", "zip"])
def test_every_format_gives_the_same_rows(tmp_path, name, packing):
    path = write(tmp_path, f"data.{name}", ROWS)
    if packing == "gz":
        if name == "parquet":
            pytest.skip("Parquet compresses itself")
        packed = tmp_path / f"{path.name}.gz"
        packed.write_bytes(gzip.compress(path.read_bytes()))
        path = packed
    if packing == "zip":
        with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
            archive.write(path, f"data/{path.name}")
        path = tmp_path / "all.zip"
    rows, problems = read_rows(path)
    assert rows == [(1, ROWS[0]), (2, ROWS[1])] and problems == []


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


@given(rows=st.lists(st.fixed_dictionaries({"q": texts, "a": texts}), min_size=1, max_size=5))
@pytest.mark.parametrize("name", ["jsonl", "json", "columns.json", "parquet", "csv"])
def test_rows_come_back_whatever_their_characters(tmp_path_factory, name, rows):
    path = write(tmp_path_factory.mktemp("rows"), f"a.{name}", rows)
    assert [row for _, row in read_rows(path)[0]] == rows


def test_a_member_of_an_archive_is_found_by_its_name(tmp_path):
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.writestr("LongBench/data/a.jsonl", '{"n": 1}')
        archive.writestr("LongBench/data/b.jsonl", '{"n": 2}')
        archive.writestr("LongBench/data/c.jsonl.gz", gzip.compress(b'{"n": 3}'))
        archive.writestr("LongBench/README.md", "about")
    path = tmp_path / "data.zip"
    assert read_rows(path, "data/b.jsonl")[0] == [(1, {"n": 2})]
    assert read_rows(path, "data/c.jsonl.gz")[0] == [(1, {"n": 3})]
    assert rows_hash(path, "data/b.jsonl") == hashlib.sha256(b'{"n": 2}').hexdigest()
    with pytest.raises(DataError, match="data.zip lacks data/d.jsonl; it holds LongBench"):
        read_rows(path, "data/d.jsonl")
    with pytest.raises(DataError, match="which of its files is meant; it holds .*a.jsonl.*b.jsonl"):
        read_rows(path)


def test_what_is_no_row_is_counted_with_number_and_reason(tmp_path):
    (tmp_path / "a.json").write_text('[{"a": 1}, 2, {"a": 3}]')
    rows, problems = read_rows(tmp_path / "a.json")
    assert rows == [(1, {"a": 1}), (3, {"a": 3})]
    assert [str(problem) for problem in problems] == ["a.json row 2: not a JSON object but int"]
    (tmp_path / "a.csv").write_text("x,y\n1,2\n3\n4,5,6\n\n7,8\n")
    rows, problems = read_rows(tmp_path / "a.csv")
    assert rows == [(1, {"x": "1", "y": "2"}), (4, {"x": "7", "y": "8"})]
    assert [str(p) for p in problems] == [
        "a.csv row 2: has 1 columns, expected 2",
        "a.csv row 3: has 3 columns, expected 2",
    ]
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n\n{"a": \n')
    assert "a.jsonl row 3: not JSON" in str(read_rows(tmp_path / "a.jsonl")[1][0])


def test_a_cell_may_hold_a_long_document(tmp_path):
    path = write(tmp_path, "a.csv", [{"text": "x" * 300_000}])
    before = csv.field_size_limit()
    assert len(read_rows(path)[0][0][1]["text"]) == 300_000
    assert csv.field_size_limit() == before


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", "naïve".encode("latin-1"), "not UTF-8 text: .*a.jsonl .*iconv"),
        ("a.json", b'["\xff"]', "not UTF-8 text: .*a.json .*iconv"),
        ("a.tsv", b"a\tb\n\xff\t1", "not UTF-8 text: .*a.tsv .*iconv"),
        ("a.json", b'[{"a": 1}, {"a"', "not JSON: a.json .*fetch or write it again"),
        ("a.json", b"[" * 100_000, "not JSON: a.json"),
        ("a.json", b'"text"', "a.json holds str; expected an array of objects"),
        ("a.json", b'{"a": [1], "b": [1, 2]}', "columns of different lengths"),
        ("a.json", b"[]", "no rows in .*a.json; expected records"),
        ("a.jsonl", b"", "no rows in"),
        ("a.jsonl", b"nothing\n", "no rows in .*row 1: not JSON"),
        ("a.jsonl", b'{"a": "\x00"}', "not a text file"),
        ("a.csv", b"a,a\n1,2", "columns of the same name"),
        ("a.csv", b'a,b\n"1,2', "a.csv is no table: unexpected end of data"),
        ("a.csv", b"", "no rows in"),
        ("a.parquet", b"PAR1 nothing", "damaged Parquet file: a.parquet .*fetch or write it again"),
        ("a.parquet", b"", "damaged Parquet file"),
        ("a.zip", b"PK\x03\x04", "damaged zip file: .*a.zip .*fetch or write it again"),
        ("a.jsonl.gz", gzip.compress(b"x" * 1000, mtime=0)[:-10], "damaged gzip file"),
        ("a.jsonl.gz", b"not gzip", "damaged gzip file"),
        ("a.xlsx", b"", "unknown kind of data file: .*a.xlsx; give one of .jsonl"),
    ],
)
def test_damage_is_one_line_with_file_and_remedy(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_rows(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_truncated_parquet_file_is_damaged_and_never_shorter(tmp_path):
    path = write(tmp_path, "a.parquet", [{"text": str(number)} for number in range(1000)])
    whole = path.read_bytes()
    for size in (len(whole) - 1, len(whole) // 2, 4):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError, match="damaged Parquet file: a.parquet"):
            read_rows(path)


def test_a_truncated_archive_is_damaged(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.jsonl", '{"n": 1}\n' * 100)
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    with pytest.raises(DataError, match="damaged zip file"):
        read_rows(path)
    path.write_bytes(whole[:40] + b"xx" + whole[42:])
    with pytest.raises(DataError, match="damaged zip file"):
        read_rows(path)


def test_a_missing_file_is_one_line(tmp_path):
    for name in ("a.jsonl", "a.parquet", "a.zip"):
        with pytest.raises(DataError, match="cannot read .*No such file"):
            read_rows(tmp_path / name)
    with pytest.raises(DataError, match="cannot read"):
        rows_hash(tmp_path / "a.json")
