"""Reading files: whole, or one line that says what was wrong."""

import gzip
import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.harness.datasets.rows import read_json_lines
from longspan.harness.errors import DataError
from longspan.harness.files import (
    file_hash,
    parse_mapping,
    read_mapping,
    read_text,
    written_whole,
)


def test_line_ends_and_byte_order_mark_are_made_equal(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\ntwo\rthree\n")
    assert read_text(path) == "one\ntwo\nthree\n"


def test_a_gzip_file_reads_like_the_plain_one(tmp_path):
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress("tëxt".encode()))
    assert read_text(tmp_path / "a.txt.gz") == "tëxt"


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("a.txt", b"PK\x03\x04\x00\x00", "not a text file"),
        ("a.txt", "naïve".encode("latin-1"), "not UTF-8 text"),
        ("a.jsonl.gz", b"not gzip", "damaged gzip file"),
        ("a.jsonl.gz", gzip.compress(b"x" * 1000, mtime=0)[:-10], "damaged gzip file"),
    ],
)
def test_what_is_no_text_is_said_in_one_line(tmp_path, name, content, what):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=what) as caught:
        read_text(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_and_a_folder_are_said_in_one_line(tmp_path):
    with pytest.raises(DataError, match="cannot read .*No such file"):
        read_text(tmp_path / "none.txt")
    with pytest.raises(DataError, match="cannot read .*directory"):
        read_text(tmp_path)


def test_bad_rows_are_counted_with_number_and_reason(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n\n{"a": 2\n[1]\n{"a": 3}\n')
    rows, problems = read_json_lines(path)
    assert rows == [(1, {"a": 1}), (5, {"a": 3})]
    assert [problem.place for problem in problems] == ["a.jsonl row 3", "a.jsonl row 4"]
    assert "not JSON" in problems[0].reason and "list" in problems[1].reason


@pytest.mark.parametrize("content", ["", "\n\n", "nothing\n", "[" * 100_000])
def test_a_file_without_rows_is_an_error(tmp_path, content):
    path = tmp_path / "a.jsonl"
    path.write_text(content)
    with pytest.raises(DataError, match="no rows"):
        read_json_lines(path)


@given(rows=st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=20)), min_size=1))
def test_rows_come_back_whatever_their_characters(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("rows") / "a.jsonl"
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text(lines, encoding="utf-8", newline="")
    assert [row for _, row in read_json_lines(path)[0]] == rows


def test_the_hash_is_that_of_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert file_hash(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()
    with pytest.raises(DataError, match="cannot read"):
        file_hash(tmp_path / "b")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "is empty; write keys and values"),
        (b"# only a comment", "is empty; write keys and values"),
        (b"text", "must be a mapping: got str; write keys and values"),
        (b"a: [1", "is not YAML: .*line 1.*; mend the line it names"),
        (b"day: 2026-13-01", "is not YAML: month must be in 1..12; mend"),
        (b"[" * 5000, "is not YAML"),
        (b"\x00\x01", "holds binary data; give a UTF-8 text file"),
        (b"\xc3\x28", "not UTF-8 text: .*give a text file"),
    ],
)
def test_what_is_no_mapping_is_said_in_one_line_with_its_remedy(tmp_path, content, line):
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    with pytest.raises(DataError, match=line) as caught:
        read_mapping(path, "recipe")
    assert str(path) in str(caught.value)


def test_keys_and_values_are_read(tmp_path):
    (tmp_path / "a.yaml").write_text("name: x\nsteps: 2")
    assert read_mapping(tmp_path / "a.yaml", "recipe") == {"name": "x", "steps": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "spec: key 'a' stands twice, in lines 1 and 3; remove one"),
        ("x:\n- {a: 1}\n- {k: 1,\n   k: 2}\n", "key 'k' stands twice, in lines 3 and 4"),
        ("a: &x {b: *x}\n", "spec is not YAML: .*recursive"),
        ("a: &x [*x]\n", "spec is not YAML: .*recursive"),
    ],
)
def test_a_key_that_stands_twice_and_a_value_within_itself_are_refused(text, message):
    with pytest.raises(DataError, match=message):
        parse_mapping(text, "spec")


def test_values_may_be_named_and_merged():
    text = "base: &b {x: 1, y: 2}\nfirst: {<<: *b, y: 3}\nsecond: {<<: *b}\nsame: *b\n"
    content = parse_mapping(text, "spec")
    assert content["first"] == {"x": 1, "y": 3}
    assert content["second"] == content["same"] == content["base"] == {"x": 1, "y": 2}


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    def write(path, *, fail=False):
        with written_whole(path) as partial, partial.open("w") as file:
            file.write("new")
            if fail:
                raise OSError("no space left")

    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(OSError):
        write(path, fail=True)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    write(path)
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]
    with pytest.raises(DataError, match="is a folder; name a file in it"):
        write(tmp_path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_device_is_refused_and_not_read_without_end():
    with pytest.raises(DataError, match=r"cannot read /dev/zero: it is a device"):
        read_text(Path("/dev/zero"))
