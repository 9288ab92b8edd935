"""Reading folders: nothing is left out in silence, and no file stops the others."""

import errno
import gzip
import json
import os
import socket
from pathlib import Path

import pytest

from longspan.harness.datasets.document_files import (
    input_fingerprint,
    read_documents,
    stream_documents,
)
from longspan.harness.datasets.document_formats import ReadingOptions
from longspan.harness.datasets.documents import Triple, document_id
from longspan.harness.errors import DataError


def test_a_folder_is_read_with_its_subfolders_in_the_order_of_names(tmp_path):
    (tmp_path / "b_town.txt").write_text("Town b.\n")
    (tmp_path / "a.md").write_text("# The Title\n\nBody.\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "rows.jsonl.gz").write_bytes(
        gzip.compress(b'{"title": "T", "text": "Row.", "triples": [["s", "r", "o"]]}\n')
    )
    (tmp_path / ".hidden.txt").write_text("hidden")
    reading = read_documents(tmp_path)
    assert [(d.title, d.text) for d in reading.documents] == [
        ("The Title", "Body."),
        ("b town", "Town b."),
        ("T", "Row."),
    ]
    assert reading.problems == ()
    assert reading.documents[2].triples == (Triple(subject="s", relation="r", object="o"),)


def test_ids_depend_on_title_and_text_only_and_are_no_paths(tmp_path):
    (tmp_path / "x.txt").write_text("One text.")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "x.txt").write_text("One text.")
    reading = read_documents(tmp_path)
    assert [d.id for d in reading.documents] == [document_id("x", "One text.")]
    assert [str(p) for p in reading.problems] == ["x.txt: repeats an earlier document"]
    assert reading.documents[0].id.isalnum()


def test_dirty_rows_are_counted(tmp_path):
    rows = [
        {"title": "A", "text": "Text a.", "triples": [["s", "r"], ["s", "r", "o"], "no", 3]},
        {"title": "B"},
        {"title": 3, "text": "Text c."},
        {"text": "   "},
        {"text": "Text d.", "triples": {"s": "r"}},
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\nno json\n")
    reading = read_documents(path)
    assert [d.text for d in reading.documents] == ["Text a.", "Text d."]
    assert [len(d.triples) for d in reading.documents] == [1, 0]
    assert [p.place for p in reading.problems] == [
        f"rows.jsonl row {n}" for n in (1, 2, 3, 4, 5, 6)
    ]
    assert "3 triples" in reading.problems[0].reason


def test_empty_files_and_other_kinds_are_left_out_and_reported(tmp_path):
    (tmp_path / "a.txt").write_text("Text.")
    (tmp_path / "b.txt").write_text("  \n")
    (tmp_path / "c.png").write_bytes(b"\x89PNG")
    (tmp_path / "d.jsonl").write_text("\n")
    reading = read_documents(tmp_path)
    assert len(reading.documents) == 1
    assert [p.place for p in reading.problems] == ["b.txt", "c.png", "d.jsonl"]


@pytest.mark.parametrize("kind", ["missing", "empty", "only blank", "only other kinds"])
def test_no_documents_is_one_line_that_says_what_to_do(tmp_path, kind):
    folder = tmp_path / "docs"
    if kind != "missing":
        folder.mkdir()
    if kind == "only blank":
        (folder / "a.txt").write_text("\n")
    if kind == "only other kinds":
        (folder / "a.pdf").write_bytes(b"%PDF")
    with pytest.raises(DataError, match="no documents (at|in)"):
        read_documents(folder)


def reasons(folder: Path, options: ReadingOptions | None = None) -> dict[str, str]:
    """What is left out of a folder that holds one good document besides, by place."""
    (folder / "good.txt").write_text("A good text.")
    reading = read_documents(folder, options)
    assert [d.text for d in reading.documents] == ["A good text."]
    assert all("\n" not in str(problem) for problem in reading.problems)
    assert len({problem.place for problem in reading.problems}) == len(reading.problems)
    return {problem.place: problem.reason for problem in reading.problems}


def test_links_are_read_inside_the_folder_only(tmp_path):
    folder = tmp_path / "docs"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "secret.txt").write_text("Secret.")
    (folder / "a_out.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "b_up.txt").symlink_to("../secret.txt")
    (folder / "c_loop.txt").symlink_to("c_loop.txt")
    (folder / "d_parent").symlink_to(folder)
    (folder / "e_passwd.txt").symlink_to("/etc/passwd")
    (folder / "f_gone.txt").symlink_to("nothing.txt")
    (folder / "sub" / "back").symlink_to("..")
    assert reasons(folder) == {
        "a_out.txt": "a link that leaves the folder",
        "b_up.txt": "a link that leaves the folder",
        "c_loop.txt": "a broken or circular link",
        "d_parent": "a link to a folder",
        "e_passwd.txt": "a link that leaves the folder",
        "f_gone.txt": "a broken or circular link",
        "sub/back": "a link to a folder",
    }


def test_a_link_to_a_file_of_the_folder_is_that_file(tmp_path):
    (tmp_path / ".store").mkdir()
    (tmp_path / ".store" / "ab12").write_text("Annexed.")
    (tmp_path / "page.txt").symlink_to(".store/ab12")
    assert [d.title for d in read_documents(tmp_path).documents] == ["page"]


@pytest.mark.timeout(20)
def test_pipes_sockets_and_devices_are_never_opened(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "a.txt")
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("b.txt")
        assert reasons(tmp_path) == {
            "a.txt": "a named pipe, not a regular file",
            "b.txt": "a socket, not a regular file",
        }
        assert input_fingerprint(tmp_path)


@pytest.mark.timeout(20)
def test_a_pipe_or_device_as_input_is_one_line(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    for path in (tmp_path / "pipe.txt", Path("/dev/zero")):
        with pytest.raises(DataError, match="no documents in"):
            read_documents(path)


def test_the_fingerprint_of_a_pipe_or_device_does_not_wait_for_it(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    for path in (tmp_path / "pipe.txt", Path("/dev/zero")):
        assert input_fingerprint(path)


def test_an_input_path_that_no_file_can_have_is_one_line():
    for name in ("a\0b", "a" * 5000):
        with pytest.raises(DataError, match="no documents at a") as caught:
            list(read_documents(Path(name)))
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_a_looping_input_path_is_one_line(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(DataError, match="no documents at"):
        read_documents(tmp_path / "loop")


def test_files_that_are_no_text_cost_one_line_each(tmp_path):
    (tmp_path / "a_empty.txt").write_bytes(b"")
    (tmp_path / "b_binary.md").write_bytes(b"\x7fELF\x00\x01")
    (tmp_path / "c_latin.txt").write_bytes("Caf\u00e9".encode("latin-1"))
    (tmp_path / "d.zip").write_bytes(b"PK\x03\x04")
    (tmp_path / "e_cut.txt.gz").write_bytes(gzip.compress(b"text " * 1000)[:-12])
    (tmp_path / "f_not.jsonl.gz").write_bytes(b"no gzip")
    (tmp_path / "g.json").write_text("[" * 200_000)
    (tmp_path / "h.jsonl").write_text("[" * 200_000)
    (tmp_path / "i_binary.jsonl").write_bytes(b"\x00\x01\n")
    (tmp_path / "j.json").write_text('"text"')
    found = reasons(tmp_path)
    assert found["a_empty.txt"] == "no text"
    assert found["b_binary.md"] == found["i_binary.jsonl"]
    assert "binary" in found["b_binary.md"]
    assert found["c_latin.txt"].startswith("not UTF-8 text (byte 3)")
    assert found["d.zip"] == "not a kind of file that is read"
    assert found["e_cut.txt.gz"].startswith("damaged gzip file")
    assert found["f_not.jsonl.gz"].startswith("damaged gzip file")
    assert found["g.json"] == found["h.jsonl row 1"] == "not JSON: nested too deeply"
    assert found["j.json"] == "neither an object nor a list of objects"
    assert len(found) == 10


def test_a_declared_fallback_encoding_is_used(tmp_path):
    (tmp_path / "a.txt").write_bytes("Caf\u00e9".encode("latin-1"))
    (tmp_path / "b.txt").write_text("\u00e9t\u00e9", "utf-8")
    (tmp_path / "c.txt").write_text("\u00fcber", "utf-16")
    reading = read_documents(tmp_path, ReadingOptions(fallback_encoding="latin-1"))
    assert [d.text for d in reading.documents] == ["Caf\u00e9", "\u00e9t\u00e9", "\u00fcber"]


@pytest.mark.parametrize("name", ["none-such", "hex"])
def test_a_fallback_that_is_no_text_encoding_is_refused(name):
    with pytest.raises(ValueError, match="unknown encoding"):
        ReadingOptions(fallback_encoding=name)


def test_a_file_above_the_cap_is_one_line_and_is_not_read_whole(tmp_path):
    with (tmp_path / "a.txt").open("wb") as file:
        file.truncate(100 << 20)  # sparse: 100 MiB of zeros
    (tmp_path / "b.jsonl").write_text(json.dumps({"text": "x" * 2000}) + "\n")
    (tmp_path / "c.csv").write_text("a,b\n" * 1000)
    found = reasons(tmp_path, ReadingOptions(max_file_bytes=1024))
    assert set(found) == {"a.txt", "b.jsonl", "c.csv"}
    assert all("larger than" in reason for reason in found.values())


def test_many_rows_beyond_the_cap_are_read_one_by_one(tmp_path):
    rows = [json.dumps({"text": f"Row number {n}."}) for n in range(100)]
    (tmp_path / "a.jsonl").write_text("\n".join(rows))
    reading = read_documents(tmp_path, ReadingOptions(max_file_bytes=64))
    assert len(reading.documents) == 100 and not reading.problems


@pytest.mark.timeout(60)
@pytest.mark.parametrize("content", [b" ", b"\n", b'{"text": "' + b"same " * 1000 + b'"}\n'])
def test_a_bomb_is_not_decompressed_to_its_end(tmp_path, content):
    block = content * ((1 << 20) // len(content))
    with gzip.open(tmp_path / "bomb.jsonl.gz", "wb", compresslevel=9) as file:
        for _ in range(100):
            file.write(block)
    (tmp_path / "good.txt").write_text("A good text.")
    reading = read_documents(tmp_path, ReadingOptions(max_file_bytes=128 << 20))
    assert any("fold" in p.reason and p.place == "bomb.jsonl.gz" for p in reading.problems)
    assert "A good text." in [d.text for d in reading.documents]


def test_odd_names_are_one_printable_line_and_titles_can_be_stored(tmp_path):
    (tmp_path / "two\nlines.png").write_bytes(b"x")
    (tmp_path / "bell\x07.txt").write_text("Bell.")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/raw\xff.txt")).write_text("Raw.")
    reading = read_documents(tmp_path)
    assert [p.place for p in reading.problems] == ["two\\x0alines.png"]
    assert [d.title for d in reading.documents] == ["bell\\x07", "raw\\xdcff"]
    assert all(d.title.encode() for d in reading.documents)


def test_half_a_surrogate_pair_in_json_becomes_a_replacement_character(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "half \\ud83d and whole \\ud83d\\ude00"}')
    (document,) = read_documents(tmp_path).documents
    assert document.text == "half \ufffd and whole \U0001f600"


def test_folders_that_are_very_deep_do_not_stop_reading(tmp_path):
    here = os.getcwd()
    try:
        os.chdir(tmp_path)
        for _ in range(20):  # beyond the longest path that a system opens
            os.mkdir("d" * 250)
            os.chdir("d" * 250)
        Path("bottom.txt").write_text("Bottom.")
    finally:
        os.chdir(here)
    found = reasons(tmp_path)
    assert len(found) == 1 and "not listed" in next(iter(found.values()))


def test_unreadable_files_and_folders_cost_one_line(tmp_path, monkeypatch):
    """Refused as the system would, since tests may run as root, who may read everything."""
    (tmp_path / "a.txt").write_text("Text.")
    (tmp_path / "b").mkdir()
    real_open, real_scandir = os.open, os.scandir

    def refuse(real):
        def call(path, *arguments):
            if Path(path).name in ("a.txt", "b"):
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return real(path, *arguments)

        return call

    monkeypatch.setattr(os, "open", refuse(real_open))
    monkeypatch.setattr(os, "scandir", refuse(real_scandir))
    assert reasons(tmp_path) == {
        "a.txt": "cannot be read: Permission denied",
        "b": "not listed: Permission denied",
    }


def test_a_file_that_vanishes_after_it_was_listed_costs_one_line(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("Text a.")
    (tmp_path / "b.txt").write_text("Text b.")
    items = stream_documents(tmp_path)
    first = next(items)
    (tmp_path / "b.txt").unlink()
    (second,) = list(items)
    assert first[1].text == "Text a." and "cannot be read" in second.reason


@pytest.mark.timeout(20)
@pytest.mark.parametrize("what", ["a pipe", "a link"])
def test_a_file_that_becomes_something_else_after_it_was_listed_is_not_opened(tmp_path, what):
    folder = tmp_path / "docs"
    folder.mkdir()
    (tmp_path / "secret.txt").write_text("Secret.")
    (folder / "a.txt").write_text("Text a.")
    (folder / "b.txt").write_text("Text b.")
    items = stream_documents(folder)
    next(items)
    (folder / "b.txt").unlink()
    if what == "a pipe":
        os.mkfifo(folder / "b.txt")
    else:
        (folder / "b.txt").symlink_to(tmp_path / "secret.txt")
    (second,) = list(items)
    assert second.place == "b.txt" and "\n" not in second.reason


def test_the_fingerprint_changes_with_names_and_contents_only(tmp_path):
    (tmp_path / "a.txt").write_text("Text.")
    before = input_fingerprint(tmp_path)
    os.utime(tmp_path / "a.txt", (0, 0))
    (tmp_path / "link.txt").symlink_to("/etc/passwd")
    assert input_fingerprint(tmp_path) == before
    (tmp_path / "a.txt").write_text("Other.")
    assert input_fingerprint(tmp_path) != before
