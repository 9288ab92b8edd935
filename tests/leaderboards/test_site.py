"""`longspan board` on real logs: what it writes, what it refuses, and that text stays text."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from inspect_ai.log import EvalLog

from longspan.harness.cli import load_command
from longspan.harness.errors import BoardError
from longspan.leaderboards.notes import sampling_notes
from longspan.leaderboards.site import board_command
from tests.full_disk import full_disk

ALLOWED_TAGS_WITH_URL = {"link", "script", "img", "a"}


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory, run_log: Callable[..., EvalLog]) -> Path:
    folder = tmp_path_factory.mktemp("logs")
    for checkpoint, accuracy in (("nano", 0.2), ("trained", 0.9)):
        for windows in (1, 2):
            run_log(folder / checkpoint, checkpoint, accuracy, count=24, windows=windows)
    run_log(folder / "nano", "nano", 0.5, count=24, windows=2, solver="memory_agent")
    (folder / "broken.eval").write_bytes(b"PK\x03\x04 not whole")
    return folder


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("training")
    steps = [{"step": s, "reward_mean": 0.1 * s, "entropy": 0.2, "seconds": s} for s in (1, 2, 3)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(step) + "\n" for step in steps))
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, logs: Path, training: Path) -> Path:
    out = tmp_path_factory.mktemp("site") / "board"
    load_command("board")(logs=[logs], out=out, title="A board", baseline="nano", training=training)
    return out


class Page(HTMLParser):
    """What a browser would load, and whether anything is inline."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.inline: list[str] = []
        self.tags: set[str] = set()
        self._script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self._script = tag == "script"
        for name, value in attrs:
            if name in ("src", "href", "srcset", "action", "data", "poster"):
                self.urls.append(value or "")
            if name.startswith("on") or name == "style":
                self.inline.append(f"{tag} {name}")

    def handle_data(self, data: str) -> None:
        if self._script and data.strip():
            self.inline.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._script = False


def test_the_site_has_the_page_and_the_same_numbers_in_three_formats(site: Path):
    files = {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}
    assert {"index.html", "board.json", "board.csv", "board.md", "board.css", "board.js"} <= files
    assert {"samples.js", "plots/length.svg", "plots/training.png"} <= files
    board = json.loads((site / "board.json").read_text("utf-8"))
    row = next(
        row
        for row in board["numbers"]["rows"]
        if row["checkpoint"] == "trained" and row["input_over_window"] == 1
    )
    percent = f"{100 * row['accuracy']:.1f}"
    assert percent in (site / "index.html").read_text("utf-8")
    assert percent in (site / "board.md").read_text("utf-8")
    assert f"trained,full_context,world-1x,1,,,{row['accuracy']}" in (site / "board.csv").read_text(
        "utf-8"
    )


def test_the_page_tells_the_gain_and_what_was_left_out(site: Path):
    page = (site / "index.html").read_text("utf-8")
    assert "trained against nano: world-1x, full context" in page
    assert "memory agent against full context: nano, world-2x" in page
    assert "broken.eval" in page and "cannot be read as an Inspect log" in page


def test_everything_on_the_page_lies_beside_it(site: Path):
    page = Page((site / "index.html").read_text("utf-8"))
    assert page.inline == []
    for url in page.urls:
        assert url.startswith("#") or (site / url).is_file(), url


def test_the_same_logs_give_the_same_bytes(site: Path, logs: Path, training: Path, tmp_path: Path):
    out = tmp_path / "again"
    board_command(logs=[logs], out=out, title="A board", baseline="nano", training=training)
    for path in sorted(site.rglob("*")):
        if path.is_file():
            again = out / path.relative_to(site)
            assert path.read_bytes() == again.read_bytes(), path.name


def test_a_board_is_replaced_whole(logs: Path, training: Path, tmp_path: Path):
    out = tmp_path / "board"
    board_command(logs=[logs / "nano"], out=out, training=training)
    assert (out / "plots" / "training.svg").exists()
    board_command(logs=[logs / "nano"], out=out)
    assert not (out / "plots" / "training.svg").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["board"]


def test_a_folder_with_other_files_is_left_alone(logs: Path, tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(BoardError, match="holds other files than a board"):
        board_command(logs=[logs], out=tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_nothing_is_left_of_a_board_that_failed(
    logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "board"
    board_command(logs=[logs / "nano"], out=out)
    before = (out / "board.json").read_bytes()

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("longspan.leaderboards.site_files.start_plots", full)
    with pytest.raises(OSError, match="No space left"):
        board_command(logs=[logs / "nano"], out=out, title="new")
    assert (out / "board.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["board"]


def test_a_full_disk_leaves_the_board_before_and_what_is_beside_it(logs: Path, tmp_path: Path):
    out = tmp_path / "board"
    board_command(logs=[logs / "nano"], out=out)
    (out / "CNAME").write_text("example.org")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with full_disk(8_000), pytest.raises(OSError, match="File too large"):
        board_command(logs=[logs / "nano"], out=out, title="new")
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    board_command(logs=[logs / "nano"], out=out, title="new")
    assert (out / "CNAME").read_text() == "example.org"
    assert "<h1>new</h1>" in (out / "index.html").read_text("utf-8")


def test_one_checkpoint_without_a_baseline_is_a_board(logs: Path, tmp_path: Path):
    board_command(logs=[logs / "trained"], out=tmp_path / "board")
    page = (tmp_path / "board" / "index.html").read_text("utf-8")
    assert "Verdict" not in page


def test_training_is_a_folder_or_its_file_and_must_exist(
    logs: Path, training: Path, tmp_path: Path
):
    board_command(logs=[logs / "nano"], out=tmp_path / "board", training=training / "metrics.jsonl")
    assert (tmp_path / "board" / "plots" / "training.svg").exists()
    with pytest.raises(BoardError, match="no such training run"):
        board_command(logs=[logs / "nano"], out=tmp_path / "board", training=tmp_path / "none")


def test_what_was_asked_for_and_not_found_is_said_on_the_page_and_in_the_terminal(
    logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "run").mkdir()
    out = tmp_path / "board"
    board_command(
        logs=[logs / "nano"], out=out, declared="paper_long_context", training=tmp_path / "run"
    )
    board = json.loads((out / "board.json").read_text("utf-8"))
    page = (out / "index.html").read_text("utf-8")
    said = capsys.readouterr().err
    for what in ("the declared board paper_long_context", "the training run run"):
        assert any(note.startswith(f"Nothing was found for {what}") for note in board["notes"])
        assert f"Nothing was found for {what}" in page
        assert f"warning: Nothing was found for {what}" in said
    assert "No log is a run of this board's tasks." in page
    assert "Reported by others, not reproduced here" in page
    assert "No log is a run of this board's tasks." in (out / "board.md").read_text("utf-8")


def test_damaged_metrics_are_said_and_their_whole_lines_drawn(logs: Path, tmp_path: Path):
    lines = [b'{"step": 1, "reward_mean": 0.1}', b"\0\xff", b'{"step": 3, "reward_mean": 0.2}']
    (tmp_path / "metrics.jsonl").write_bytes(b"\n".join(lines))
    board_command(logs=[logs / "nano"], out=tmp_path / "board", training=tmp_path)
    board = json.loads((tmp_path / "board" / "board.json").read_text("utf-8"))
    assert [step["step"] for step in board["numbers"]["training"][0]["steps"]] == [1, 3]
    reasons = {one["place"]: one["reason"] for one in board["skipped"]}
    assert "1 line is no JSON object with a step (the first: line 2)" in reasons["metrics.jsonl"]


def test_the_page_states_every_file_that_it_was_made_from(
    logs: Path, training: Path, tmp_path: Path
):
    notes = tmp_path / "notes.json"
    notes.write_text('{"notes": ["seen"]}')
    out = tmp_path / "board"
    board_command(
        logs=[logs / "nano"], out=out, declared="paper_stages", training=training, extra=notes
    )
    board = json.loads((out / "board.json").read_text("utf-8"))
    files = {one["what"]: one["sha256"] for one in board["inputs"]}
    assert files.keys() == {"declared board", "reported figures", "training curves", "notes"}
    assert files["notes"] == hashlib.sha256(notes.read_bytes()).hexdigest()
    page = (out / "index.html").read_text("utf-8")
    hashes = [*files.values(), *(one["sha256"] for one in board["sources"])]
    assert all(one[:16] in page for one in hashes)


def test_notes_are_shown_and_wrong_notes_refused(logs: Path, tmp_path: Path):
    notes = tmp_path / "notes.json"
    notes.write_text(json.dumps({"notes": ["ceiling: <b>0.8</b>"]}))
    board_command(logs=[logs / "nano"], out=tmp_path / "board", extra=notes)
    assert "ceiling: &lt;b&gt;0.8&lt;/b&gt;" in (tmp_path / "board" / "index.html").read_text()
    notes.write_text("[1]")
    with pytest.raises(BoardError, match="notes.json"):
        board_command(logs=[logs / "nano"], out=tmp_path / "board", extra=notes)


def test_an_unknown_baseline_and_an_empty_folder_are_one_line(logs: Path, tmp_path: Path):
    with pytest.raises(BoardError, match="the logs have: nano, trained"):
        board_command(logs=[logs], out=tmp_path / "board", baseline="base")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BoardError, match="no finished, scored log"):
        board_command(logs=[tmp_path / "empty"], out=tmp_path / "board")
    assert not (tmp_path / "board").exists()


def test_hostile_text_adds_no_tag_no_attribute_and_no_address(
    hostile_logs: tuple[Path, str, str], site: Path, tmp_path: Path
):
    folder, baseline, other = hostile_logs
    out = tmp_path / "board"
    board_command(logs=[folder], out=out, baseline=baseline, title=other)
    text = (out / "index.html").read_text("utf-8")
    page, plain = Page(text), Page((site / "index.html").read_text("utf-8"))
    assert page.inline == []
    assert page.tags <= plain.tags
    assert all(url.startswith("#") or (out / url).is_file() for url in page.urls)
    assert text.count("<script") == 2


def source(task: str, temperature: float, checkpoint: str = "a", solver: str = "full") -> dict:
    settings = {"temperature": temperature, "top_p": 0.95}
    names = {"task": task, "checkpoint": checkpoint, "solver": solver}
    return {**names, "settings": settings, "generates": True}


@pytest.mark.parametrize(
    ("sources", "what"),
    [
        ([source("s", 1.0), source("l", 0.0), source("m", 0.0)], "0.0 for l, m; 1.0 for s"),
        (
            [source("s", 1.0), source("s", 0.0, solver="agent")],
            "0.0 for s / agent; 1.0 for s / full",
        ),
        ([source("s", 1.0), source("s", 0.0, "b")], "1.0 for s / a / full; 0.0 for s / b / full"),
        # Two logs of the very same kind: the note still tells that they differ.
        ([source("s", 1.0), source("s", 0.0)], "1.0 for s / a / full; 0.0 for s / a / full"),
    ],
)
def test_sampling_that_differs_is_noted_with_what_it_differs_between(sources, what):
    note = f"Not all evaluations were sampled alike: temperature {what}."
    assert sampling_notes(sources) == [note]
    assert sampling_notes(sources[1:]) == []
    choosing = sources[0] | {"settings": {}, "generates": False}
    assert sampling_notes([*sources[1:], choosing]) == []
