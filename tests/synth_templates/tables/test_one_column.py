import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.harness.datasets.documents import Document
from longspan.synth_templates.tables.one_column import (
    compute,
    find_tables,
    format_number,
    parse_number,
)

MARKDOWN = """Before.

| town | sales | share |
|------|------:|-------|
| Kukton | 1,200 | x |
| Tastal | 7 | y |

After."""


def test_a_sentence_list_is_a_table():
    text = "KaroCo's sales are: Kukton 5; Tastal 17."
    (table,) = find_tables(Document(id="d", title="KaroCo", text=text))
    assert (table.subject, table.column) == ("KaroCo", "sales")
    assert table.rows == (("Kukton", 5.0), ("Tastal", 17.0))
    assert text[table.start : table.end] == text


def test_a_pipe_table_gives_its_numeric_columns():
    (table,) = find_tables(Document(id="d", title="Report", text=MARKDOWN))
    assert (table.subject, table.column) == ("Report", "sales")
    assert table.rows == (("Kukton", 1200.0), ("Tastal", 7.0))
    quoted = MARKDOWN[table.start : table.end]
    assert quoted.startswith("| town") and quoted.endswith("| y |")


def test_prose_with_repeated_labels_is_no_table():
    twice = "KaroCo's sales are: Kukton 5; Kukton 7."
    assert find_tables(Document(id="d", title="t", text=twice)) == []


@pytest.mark.parametrize(
    ("operation", "expected"),
    [("max", 9), ("min", 2), ("sum", 15), ("difference", 7), ("count_above", 2)],
)
def test_operations_by_hand(operation, expected):
    rows = (("a", 2.0), ("b", 9.0), ("c", 4.0))
    assert compute(rows, operation, 2.0) == expected


def test_numbers_are_read_and_written_without_noise():
    assert parse_number(" 1,234.5 ") == 1234.5
    assert parse_number("12 km") is None
    assert parse_number("1,23") is None
    assert format_number(3.0) == "3"
    assert format_number(2.50) == "2.5"


@given(st.integers(-(10**6), 10**6))
def test_written_integers_are_read_back(value):
    assert parse_number(format_number(float(value))) == value
