"""The X-ray: pages that say what became of the evidence, safe whatever the texts hold."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import score
from inspect_ai.log import read_eval_log

from longspan.agents import xray
from longspan.agents.memory import memagent, memory_agent
from longspan.agents.retention import SHARES
from longspan.agents.retention_scorer import retention_scorer
from longspan.agents.xray import sample_view, xray_command
from longspan.harness.cli import main
from longspan.harness.errors import DataError

FILLER = "The harbour lay quiet all day long. "
FACTS = ("Kukton's mayor is Tastal.", "Tastal's employer is KaroCo.", "KaroCo's owner is Brem.")
TEXT = FACTS[0] + " " + FILLER * 30 + FACTS[1] + " " + FILLER * 30 + FACTS[2] + " " + FILLER * 10


def passport(text: str = TEXT) -> dict[str, Any]:
    words = [
        ("Kukton", "mayor", "Tastal"),
        ("Tastal", "employer", "KaroCo"),
        ("KaroCo", "owner", "Brem"),
    ]
    steps = [dict(subject=s, relation=r, object=o, document="d") for s, r, o in words]
    evidence = [
        {"document": "d", "start": text.index(f), "end": text.index(f) + len(f), "quote": f}
        for f in FACTS
    ]
    return {"evidence": evidence, "proof": {"type": "path", "steps": steps}}


def forgetful(prompt: str) -> str:
    """Notes the first fact, loses it when it meets the second, never notes the third."""
    if "<text>" not in prompt:
        return "Therefore, the answer is KaroCo."
    text = prompt.split("<text>")[1].split("</text>")[0]
    memory = prompt.split("<memory>\n")[1].split("\n</memory>")[0]
    for fact in FACTS[:2]:
        if fact in text:
            return f"<memory>{fact}</memory><plan>look for more</plan>"
    return f"<memory>{memory}</memory><plan>go on</plan>"


@pytest.fixture
def forgot(run: Any, make_sample: Any) -> Any:
    sample = make_sample(TEXT, question="Who owns it?", passport=passport())
    return run(memory_agent(chunk_tokens=40), sample, forgetful, window=256)


def test_losses_are_attributed(forgot: Any) -> None:
    assert forgot.memory["fates"] == ["overwritten", "used", "not_noted"]
    assert forgot.memory["read"] == 1.0
    assert forgot.memory["lost_overwritten"] == pytest.approx(1 / 3)


def test_what_a_limit_left_unread_was_never_read(run: Any, make_sample: Any) -> None:
    sample = make_sample(TEXT, passport=passport())
    result = run(memory_agent(chunk_tokens=40, max_calls=3), sample, forgetful, window=256)
    assert result.memory["fates"][2] == "never_read"


def test_the_memorys_evolution_is_told_from_the_log(forgot: Any) -> None:
    view = sample_view(forgot.sample)
    turns = view["turns"]
    assert turns[0].in_chunk == (0,)
    assert [(p.text, p.noted, p.change) for p in turns[0].pieces if p.noted] == [
        (FACTS[0], (0,), "new")
    ]
    second = next(turn for turn in turns if 1 in turn.in_chunk)
    assert [(p.noted, p.change) for p in second.pieces] == [((1,), "new"), ((0,), "gone")]
    covered = [t for turn in turns for t in range(turn.first, turn.last + 1)]
    assert covered == list(range(forgot.memory["num_chunks"]))
    first_row = view["evidence"][0]["cells"]
    assert first_row[0] == "noted chunk" and first_row[-1] == "absent"
    assert view["evidence"][2]["cells"][0] == "unread"


def test_a_resumed_run_shows_the_turns_before_the_kill(
    run: Any, make_sample: Any, tmp_path: Path
) -> None:
    sample = make_sample(TEXT, passport=passport())
    solver = memory_agent(chunk_tokens=40, state_dir=str(tmp_path / "states"))
    run(solver, sample, forgetful, window=256, die_at=4)
    resumed = sample_view(run(solver, sample, forgetful, window=256).sample)
    whole = run(memory_agent(chunk_tokens=40), sample, forgetful, window=256).sample
    assert resumed["turns"] == sample_view(whole)["turns"]


def test_a_memory_above_its_budget_is_shown_as_it_was_carried(run: Any, make_sample: Any) -> None:
    def wordy(prompt: str) -> str:
        return f"<memory>{FACTS[0]} {'Note it well. ' * 80}LAST</memory><plan>go on</plan>"

    result = run(memory_agent(), make_sample(TEXT, passport=passport()), wordy, window=256)
    first = sample_view(result.sample)["turns"][0]
    assert "LAST" not in "".join(piece.text for piece in first.pieces)


def carried(result: Any, num_turns: int) -> list[tuple[str, str]]:
    """Memory and plan after each turn, as pages show them."""
    shown = {}
    for turn in sample_view(result.sample)["turns"]:
        memory = "".join(piece.text for piece in turn.pieces if piece.change != "gone")
        shown |= {i: (memory, turn.plan) for i in range(turn.first, turn.last + 1)}
    assert sorted(shown) == list(range(num_turns))
    return [shown[i] for i in range(num_turns)]


def test_memory_and_plan_are_shown_as_carried_without_a_passport_too(
    run: Any, make_sample: Any
) -> None:
    def wordy(prompt: str) -> str:
        return f"<memory>{'Note it well. ' * 80}LAST</memory><plan>{'Go on. ' * 80}END</plan>"

    result = run(memory_agent(), make_sample(TEXT), wordy, window=256)
    prompts = [call.prompt for call in result.calls]
    found = carried(result, len(prompts) - 1)
    for prompt, (memory, plan) in zip(prompts[1:], found, strict=True):
        assert f"<memory>\n{memory}\n</memory>" in prompt
        assert "<plan>" not in prompt or f"<plan>\n{plan}\n</plan>" in prompt
    assert not any("LAST" in memory or "END" in plan for memory, plan in found)


def test_a_plan_that_an_output_leaves_out_is_shown_as_kept(run: Any, make_sample: Any) -> None:
    def partial(prompt: str) -> str:
        plan = "" if "<plan>\nask on" in prompt else "<plan>ask on</plan>"
        return f"<memory>{FACTS[0]}</memory>{plan}"

    result = run(memory_agent(), make_sample(TEXT), partial, window=256)
    num_turns = len(result.calls) - 1
    assert carried(result, num_turns) == [(FACTS[0], "ask on")] * num_turns


def test_a_log_without_lengths_is_read_by_its_trace(run: Any, make_sample: Any) -> None:
    def wordy(prompt: str) -> str:
        return f"<memory>{FACTS[0]} {'Note it well. ' * 80}LAST</memory><plan>go on</plan>"

    result = run(memory_agent(), make_sample(TEXT, passport=passport()), wordy, window=256)
    now = sample_view(result.sample)["turns"]
    for key in ("memory_chars", "plan_chars"):
        del result.memory[key]
    assert sample_view(result.sample)["turns"] == now


HOSTILE = "</p></article><script>alert(1)</script><img src=x onerror=alert(2)>"


def test_pages_escape_everything_and_fetch_nothing(
    run: Any, make_sample: Any, tmp_path: Path
) -> None:
    text = f"{HOSTILE} {TEXT}"
    sample = make_sample(text, question=f"Who? {HOSTILE}", passport=passport(text))
    sample.id, sample.target = f"../../{HOSTILE}", HOSTILE

    def policy(prompt: str) -> str:
        return f"<memory>{HOSTILE} {FACTS[0]}</memory><plan>{HOSTILE}</plan>"

    result = run(memory_agent(), sample, policy, window=512)
    out = tmp_path / "pages"
    xray_command(Path(result.log.location), out)
    assert sorted(path.name for path in out.iterdir()) == [
        "0001.html",
        "index.html",
        "metrics.json",
    ]
    for name in ("0001.html", "index.html"):
        page = (out / name).read_text("utf-8")
        assert "<script" not in page and "<img" not in page and "&lt;script&gt;" in page
        assert re.search(r"default-src 'none'; style-src 'sha256-[A-Za-z0-9+/=]+'", page)
        assert not re.search(r"https?://|style=|onerror=alert\(2\)>", page)


def test_the_command_writes_metrics_over_all_samples(
    forgot: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "pages"
    assert main(["xray", forgot.log.location, "--out", str(out)]) == 0
    metrics = json.loads((out / "metrics.json").read_text())["metrics"]
    assert metrics["num_with_evidence"] == 1 and metrics["read"] == 1.0
    assert metrics["kept"] == pytest.approx(1 / 3) == metrics["lost_not_noted"]
    assert "lost_overwritten 33.3%" in capsys.readouterr().out
    with pytest.raises(DataError, match="exists already"):
        xray_command(Path(forgot.log.location), out)


def test_the_shares_become_metrics_of_the_log(forgot: Any, run: Any, make_sample: Any) -> None:
    log = read_eval_log(forgot.log.location)
    scored = score(log, retention_scorer(), action="append", display="none")
    assert scored.results is not None
    metrics = {one.name: one.metrics["mean"].value for one in scored.results.scores}
    assert metrics["read"] == 1.0
    assert metrics["lost_overwritten"] == pytest.approx(1 / 3)
    assert set(SHARES) <= set(metrics)


def test_memagents_logs_have_pages_too(run: Any, make_sample: Any, tmp_path: Path) -> None:
    sample = make_sample(TEXT, passport=passport())
    result = run(memagent(chunk_tokens=64), sample, lambda _: FACTS[0], window=256)
    view = sample_view(result.sample)
    assert view["turns"][0].pieces[0].text == FACTS[0]
    assert view["row"]["fates"][0] == "used"


def test_a_sample_without_a_passport_has_a_page(run: Any, make_sample: Any, tmp_path: Path) -> None:
    result = run(memory_agent(), make_sample(TEXT), lambda _: "", window=256)
    xray_command(Path(result.log.location), tmp_path / "pages")
    page = (tmp_path / "pages" / "0001.html").read_text()
    assert "no passport" in page and "no memory in the output" in page


def test_a_log_of_another_solver_is_refused(tmp_path: Path, run: Any, make_sample: Any) -> None:
    from longspan.agents.full_context import full_context

    result = run(full_context(), make_sample("A b."), lambda _: "x", window=256)
    with pytest.raises(DataError, match="no memory agent's samples"):
        xray_command(Path(result.log.location), tmp_path / "pages")
    with pytest.raises(DataError, match="cannot read log"):
        xray_command(tmp_path / "none.eval", tmp_path / "pages")


def test_a_log_that_lacks_what_pages_show_is_one_line(
    forgot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(xray, "SHOWN", (*xray.SHOWN, "num_dreams"))
    with pytest.raises(DataError, match="lacks 'num_dreams' of its reading.*evaluate again"):
        xray_command(Path(forgot.log.location), tmp_path / "pages")
