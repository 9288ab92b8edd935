"""How long a board's page takes to open from disk in a browser, until its tables can be used.

    python benchmarks/board_page.py SITE [--times 5]

Each time in a fresh profile of a headless Chromium that runs already. The clock starts with the
navigation; it ends when the page has loaded, its script has set up sorting, filters and the sample
explorer, and two frames have been painted after that.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-quic")
PAINTED = """new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(
    () => done(performance.now() / 1000))))"""
"""Seconds since the navigation began, once two frames have been painted."""
USABLE = """document.querySelectorAll("table.sortable th button").length > 0
    && !document.getElementById("explorer").classList.contains("hidden")"""


@dataclass(frozen=True)
class Opening:
    """What opening a page took."""

    seconds: float
    """Median."""
    slowest_seconds: float
    heap_mb: float
    """Memory of the page's scripts."""


def find_browser() -> str | None:
    """Returns the path of a Chromium, None where there is none."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def measure_opening(site: Path, times: int = 5) -> Opening:
    """Returns how long the page of a site takes to open.

    Raises:
        SystemExit: there is no Chromium, or the page's script did not run.
    """
    executable = find_browser()
    if executable is None:
        raise SystemExit("no Chromium; install it, for example with: apt-get install chromium")
    seconds, heaps = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(FLAGS))
        for _ in range(times):
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.goto((site / "index.html").absolute().as_uri(), wait_until="load")
            seconds.append(float(page.evaluate(PAINTED)))
            if not page.evaluate(USABLE):
                raise SystemExit(f"the script of {site / 'index.html'} did not run")
            heaps.append(page.evaluate("performance.memory.usedJSHeapSize") / 1e6)
            page.close()
        browser.close()
    return Opening(statistics.median(seconds), max(seconds), max(heaps))


def main() -> None:
    """Prints what opening a page took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("site", type=Path)
    parser.add_argument("--times", type=int, default=5)
    arguments = parser.parse_args()
    found = measure_opening(arguments.site, arguments.times)
    print(
        f"the page opens in {found.seconds:.2f} s (median of {arguments.times}; the slowest "
        f"{found.slowest_seconds:.2f} s); its scripts hold {found.heap_mb:.0f} MB"
    )


if __name__ == "__main__":
    main()
