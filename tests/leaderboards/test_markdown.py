"""Markdown: the cells of the page, and no name breaks out of a table."""

from __future__ import annotations

from longspan.leaderboards.markdown import to_markdown
from tests.leaderboards.test_tables import board


def test_accuracy_difference_and_verdict_stand_in_one_line():
    line = next(line for line in to_markdown(board()).splitlines() if "trained" in line)
    assert line == (
        "| world-1x | 1\u00d7 | full context | trained | 61.0 \\[57.0, 65.0\\] pass@4 80.0 "
        "\\[75.0, 85.0\\] | 600 | 99.0% | 25.0 | +17.7 \\[+11.3, +24.0\\] | better (p \\< 0.001) |"
    )


def test_every_view_of_the_page_is_there():
    text = to_markdown(board())
    assert "| world-1x | full context | 2 | trained | 61.0 \\[57.0, 65.0\\] | 600 |" in text
    assert "| 0-50% | 75.0 (n = 8) |" in text
    assert "| 100.0 | 50.0 | \u2013 | 25.0 | 0.0 | 50.0 | \u2013 | \u2013 | 10.0 |" in text
    assert "| world-1x | 1\u00d7 | full context | trained | 1,200 | \u2013 | 1.0 | 62 s |" in text
    assert "10 judge failed" in text
    assert "| rl | 1 | 0.500 | 0.500 | 1 of 1 |" in text
    assert "| lookup | 20 | 10 |" in text
    assert "| verify | 40 | 50 | 30 | ambiguous 20 |" in text


def test_names_cannot_break_out_of_a_table():
    text = to_markdown(board(checkpoint="a | b\n<script> [x](http://example.com) `c`"))
    lines = [line for line in text.splitlines() if "script" in line]
    assert len(lines) >= 5
    for line in lines:
        assert "\\| b \\<script\\> \\[x\\](http" in line and "\\`c\\`" in line
