"""Tables of HTML pages: every value under its header, as a browser shows it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

html = pytest.importorskip("lxml.html")

from longspan.harness.datasets.html_tables import data_tables, table_markdown  # noqa: E402


def markdown(content: str) -> str:
    page = f"<html><body><table>{content}</table></body></html>"
    (table,) = data_tables(html.fromstring(page))
    return table_markdown(table)


def shown(content: str) -> list[list[str]]:
    """The rows of the one table of a page, the rule left out; a caption is a row of one."""
    lines = [line for line in markdown(content).splitlines() if line]
    rows = [
        [c.strip() for c in line.removeprefix("|").removesuffix("|").split("|")] for line in lines
    ]
    return [row for row in rows if set(row) != {"---"}]


def row(*cells: str, tag: str = "td") -> str:
    return "<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in cells) + "</tr>"


def test_headers_of_two_rows_become_one():
    content = (
        '<thead><tr><th rowspan="2">Player</th><th colspan="2">Passing</th></tr>'
        "<tr><th>Cmp</th><th>Yds</th></tr></thead>" + row("Brees", "21", "264")
    )
    assert shown(content) == [["Player", "Passing Cmp", "Passing Yds"], ["Brees", "21", "264"]]


def test_a_first_row_over_all_columns_is_the_caption():
    content = '<tr><th colspan="2">Cities</th></tr>' + row("City", "People", tag="th")
    assert shown(content + row("Rome", "3")) == [
        ["Table: Cities"],
        ["City", "People"],
        ["Rome", "3"],
    ]


def test_a_cell_over_rows_counts_for_each_and_one_over_columns_for_the_first():
    content = row("Group", "Town", "Sales", tag="th") + (
        '<tr><td rowspan="2">North</td><td>Kukton</td><td>5</td></tr>'
        "<tr><td>Tastal</td><td>7</td></tr>"
        '<tr><td colspan="2">South</td><td>9</td></tr>'
    )
    assert shown(content)[1:] == [
        ["North", "Kukton", "5"],
        ["North", "Tastal", "7"],
        ["South", "", "9"],
    ]


def test_repeated_headers_and_empty_rows_inside_a_table_are_left_out():
    header = row("Town", "Sales", tag="th")
    content = header + row("Rome", "3") + header + row("", "") + row("Oslo", "2")
    assert shown(content) == [["Town", "Sales"], ["Rome", "3"], ["Oslo", "2"]]


def test_what_readers_do_not_see_is_not_in_a_cell():
    cells = (
        '<span style="display: none">0007</span>7<sup>[note 1]</sup>',
        "10<sup>6</sup> km<sup>2</sup>",
        "a | b<br>c",
        "<script>x()</script><a href='/x'>Rome</a>",
    )
    content = row("w", "x", "y", "z", tag="th") + row(*cells)
    assert markdown(content).splitlines()[-1] == "| 7 | 10^6 km2 | a \\| b c | Rome |"


@pytest.mark.parametrize("span", ["0", "-3", "two", "", "999999999999", "\u0663"])
def test_a_strange_span_loses_no_row(span: str):
    content = row("a", "b", tag="th") + f'<tr><td rowspan="{span}">x</td><td>1</td></tr>'
    assert shown(content + row("y", "2"))[2][-2:] == ["y", "2"]


def test_a_table_of_too_many_cells_is_none():
    wide = '<tr><td colspan="1000">x</td><td>y</td></tr>' * 300
    assert markdown(row("a", "b", tag="th") + wide) == ""


def test_tables_that_lay_out_a_page_are_none():
    inner = f"<table>{row('a', 'b', tag='th')}{row('1', '2')}</table>"
    page = f"<html><body><table>{row('menu', inner)}{row('x', 'y')}</table></body></html>"
    assert len(data_tables(html.fromstring(page))) == 1


@given(
    st.integers(1, 5), st.lists(st.lists(st.integers(0, 99), min_size=5, max_size=5), min_size=1)
)
def test_a_plain_table_is_shown_as_it_is(width: int, numbers: list[list[int]]):
    header = [f"h{i}" for i in range(width + 1)]
    rows = [[f"r{j}", *map(str, line[:width])] for j, line in enumerate(numbers)]
    assert shown(row(*header, tag="th") + "".join(row(*one) for one in rows)) == [header, *rows]
