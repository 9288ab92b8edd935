"""The page in a real browser, opened from disk: hostile text, sorting, samples, width, keyboard."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from longspan.leaderboards.site import board_command
from tests.leaderboards.conftest import HOSTILE, samples

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
OBJECT_NAMES = ("__proto__", "constructor", "toString", "hasOwnProperty", "valueOf")
"""Sample ids that a plain object of the page's script would find though they are not there."""
EXECUTABLE = next((path for name in BROWSERS if (path := shutil.which(name))), None)
pytestmark = [
    pytest.mark.skipif(EXECUTABLE is None, reason="no Chromium (apt-get install chromium)"),
    pytest.mark.slow,
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, hostile_logs: tuple[Path, str, str]) -> Path:
    folder, baseline, title = hostile_logs
    work = tmp_path_factory.mktemp("browser")
    out = work / "board"
    task = f"<b>task</b>{HOSTILE[1]}-1x"
    columns = [{"name": HOSTILE[0], "tasks": [task]}, {"name": HOSTILE[4], "tasks": [HOSTILE[2]]}]
    declared = {"name": "hostile", "title": HOSTILE[6], "description": HOSTILE[3]}
    rows = [{"name": HOSTILE[1], "average": 50, "values": {HOSTILE[0]: 50}, "notes": ["n"]}]
    figures = {"source": HOSTILE[11], "notes": {"n": HOSTILE[2]}}
    figures["tables"] = {"t": {"where": HOSTILE[0], "rows": rows}}
    (work / "figures.yaml").write_text(yaml.safe_dump(figures))
    reported = {"file": "figures.yaml", "table": "t"}
    (work / "board.yaml").write_text(
        yaml.safe_dump(declared | {"columns": columns, "reported": reported})
    )
    board_command(
        logs=[str(folder)],
        out=out,
        baseline=baseline,
        title=title,
        declared=str(work / "board.yaml"),
        no_cache=True,
    )
    return out


@pytest.fixture(scope="module")
def browser(site: Path, site_of_object_names: Path) -> Iterator[Any]:
    """Starts the browser after the logs are made: neither runs inside the other's event loop."""
    with sync_api.sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu"]
        yield playwright.chromium.launch(executable_path=EXECUTABLE, args=flags)


@pytest.fixture(scope="module")
def site_of_object_names(tmp_path_factory: pytest.TempPathFactory, run_log: Any) -> Path:
    """Returns a board whose samples and checkpoints are called as every object's properties are.

    The second checkpoint has one sample less than the first.
    """
    work = tmp_path_factory.mktemp("objects")
    for count, checkpoint in ((len(OBJECT_NAMES), "__proto__"), (2, "constructor")):
        dataset = samples(count)
        for sample, name in zip(dataset, OBJECT_NAMES, strict=False):
            sample.id = name
            sample.metadata = (sample.metadata or {}) | {"kind": name, "task_type": name}
        run_log(
            work / "logs",
            checkpoint,
            lambda call: f"Therefore, the answer is {call.identity['sample']}.",
            dataset=dataset,
            name="toString",
        )
    board_command(logs=[str(work / "logs")], out=work / "board", no_cache=True)
    return work / "board"


@pytest.fixture
def page(browser: Any, site: Path) -> Iterator[Any]:
    """Opens the page; afterwards nothing was fetched from elsewhere, run or complained about."""
    with opened(browser, site) as page:
        yield page


@contextmanager
def opened(browser: Any, site: Path) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    elsewhere: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: elsewhere.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.goto((site / "index.html").as_uri())
    yield page
    assert page.evaluate("window.hacked") is None
    assert [url for url in elsewhere if not url.startswith(site.as_uri())] == []
    assert complaints == []
    context.close()


def test_hostile_text_is_shown_as_it_is(page: Any, hostile_logs: tuple[Path, str, str]):
    assert page.locator("h1").inner_text() == hostile_logs[2]
    page.select_option("#explore-outcome", "all")
    seen = set()
    while True:
        seen.update(page.locator(".question").all_inner_texts())
        if page.locator("#explore-next").is_disabled():
            break
        page.click("#explore-next")
    assert "<script>window.hacked = 1</script>" in seen
    assert any(text.startswith("<iframe srcdoc=") for text in seen)


def test_styles_and_scripts_work_from_disk(page: Any):
    assert page.locator("#explorer").is_visible()
    assert page.evaluate("getComputedStyle(document.querySelector('table')).borderCollapse") == (
        "collapse"
    )
    assert page.evaluate("[...document.images].every((one) => one.naturalWidth > 0)")


def test_a_click_sorts_a_table_both_ways(page: Any):
    head = page.locator("#overall table").first.locator("th", has_text="Accuracy")

    def values() -> list[float]:
        cells = "#overall table:first-of-type tbody tr td:nth-of-type(4)"
        return [float(c.get_attribute("data-value")) for c in page.locator(cells).all()][:4]

    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert values() == sorted(values(), reverse=True)
    head.locator("button").press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert values() == sorted(values())


def test_a_declared_board_shows_hostile_names_and_what_is_missing_as_text(page: Any):
    text = page.locator("#suite").inner_text()
    assert all(one in text for one in (HOSTILE[0], HOSTILE[4], HOSTILE[3], HOSTILE[11]))
    assert f"{HOSTILE[2]}: no run" in text
    assert page.locator("#suite table").nth(1).inner_text().count(HOSTILE[1]) == 1


def test_the_heat_map_is_a_picture_and_a_table(page: Any):
    page.locator("#depth summary").click()
    cells = page.locator("#depth table").first.locator("tbody td")
    shades = {cell.get_attribute("class") for cell in cells.all()}
    assert len(shades) > 1 and all(one.startswith("n") for one in shades)
    assert page.locator("#depth img").first.is_visible()


def test_rows_of_a_table_can_be_filtered(page: Any):
    table = page.locator("#kind table").first
    all_rows = table.locator("tbody tr:visible").count()
    page.locator("#kind input[type=search]").first.fill("iframe srcdoc")
    assert table.locator("tbody tr:visible").count() == 1 < all_rows
    page.locator("#kind input[type=search]").first.fill("")
    assert table.locator("tbody tr:visible").count() == all_rows


def test_wins_and_losses_are_told_apart(page: Any):
    page.select_option("#explore-outcome", "win")
    wins = page.locator("#explore-count").inner_text()
    assert page.locator(".side.right h4").first.inner_text().startswith("B: ")
    page.select_option("#explore-outcome", "loss")
    assert page.locator(".sample").count() == 0
    page.select_option("#explore-outcome", "unscored")
    assert "no score, engine failed" in page.locator(".sample").first.inner_text()
    page.select_option("#explore-outcome", "win")
    assert page.locator("#explore-count").inner_text() == wins


def test_a_search_finds_text_in_answers(page: Any):
    page.select_option("#explore-outcome", "all")
    page.fill("#explore-text", "s007")
    assert page.locator(".sample").count() == 1


def test_names_of_an_objects_properties_are_names_like_others(
    browser: Any, site_of_object_names: Path
):
    with opened(browser, site_of_object_names) as page:
        page.select_option("#explore-outcome", "all")
        shown = page.locator(".sample").all_inner_texts()
        assert len(shown) == len(OBJECT_NAMES)
        for name, text in zip(sorted(OBJECT_NAMES), shown, strict=True):
            assert f"Therefore, the answer is {name}." in text
            assert ("not in this run" in text) == (name not in OBJECT_NAMES[:2])


def test_the_theme_can_be_switched(page: Any):
    def background() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    light = background()
    page.click("#theme")
    assert background() != light
    page.click("#theme")
    assert background() == light


def test_sorting_needs_no_mouse(page: Any):
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('th') !== null"):
            break
    page.keyboard.press("Space")
    assert page.evaluate("document.activeElement.closest('th').hasAttribute('aria-sort')")


def test_a_phone_needs_no_sideways_scrolling_of_the_page(page: Any):
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
