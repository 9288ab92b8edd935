"""Whether a query says something of a table: tried on tables whose answers are known by hand."""

import pytest

from longspan.harness.datasets.documents import Document
from longspan.synth_templates.tables.corpus_tables import CorpusTable, TableIndex
from longspan.synth_templates.tables.fitness import is_without_gaps, usable_columns, why_unfit
from longspan.synth_templates.tables.sql import run_query

TOWNS = """town,region,sales,visitors,opened,staff
Arlen,Coast,30,"4,203*",1901-02-03,5
Brask,Hills,80,"1,200",1902-05-06,
Corvo,Coast,80,950,1903-07-08,7
Dunmere,Hills,10,300,1904-09-10,9
"""
YEARS = """land,2001,2002,2003
North,10,20,{gap}
South,30,40,50
West,31,42,53
East,11,22,33
"""


def table_of(*texts: str) -> CorpusTable:
    documents = [
        Document(id=f"d{i}", title=f"Land {i}", text=text, format="csv")
        for i, text in enumerate(texts)
    ]
    index = TableIndex(documents)
    return index.align(index.tables)


def unfit(query: str, table: CorpusTable, answer: str = "number") -> str | None:
    return why_unfit(query, run_query(query, [table.to_sql()]), answer, table)


def test_columns_with_gaps_dates_and_texts_of_digits_are_left_out():
    names = [column.name for column in usable_columns(table_of(TOWNS))]
    assert names == ["town", "region", "sales", "opened_as_year"]


@pytest.mark.parametrize(("gap", "whole"), [("", False), ("15", True)])
def test_a_figure_that_is_missing_under_a_year_is_found(gap: str, whole: bool):
    table = table_of(YEARS.format(gap=gap))
    assert table.layout == "wide"
    assert is_without_gaps(table) == whole


@pytest.mark.parametrize(
    ("query", "answer", "reason"),
    [
        ("SELECT AVG(sales) FROM data", "number", None),
        ("SELECT COUNT(*) FROM data WHERE region = 'Coast'", "number", None),
        ("SELECT town FROM data ORDER BY sales LIMIT 1", "name", None),
        ("SELECT MAX(staff) FROM data", "number", "must read"),
        ("SELECT SUM(visitors) FROM data", "number", "must read"),
        ("SELECT 7", "number", "must read"),
        ("SELECT 7 FROM data LIMIT 1", "number", "does not depend on the rows"),
        ("SELECT COUNT(*) / 3 FROM data", "number", "drops the rest"),
        ("SELECT 1.0 * COUNT(*) / 3 FROM data", "number", None),
        ("SELECT town FROM data ORDER BY sales DESC, town LIMIT 1", "name", "two rows tie"),
        ("SELECT MIN(town) FROM data WHERE sales = 80", "name", "two rows tie"),
        ("SELECT town FROM data WHERE region = 'Coast' AND sales > 50", "name", None),
        ("SELECT town || '!' FROM data ORDER BY sales LIMIT 1", "name", "must be a cell"),
    ],
)
def test_a_query_must_say_something_of_the_rows(query: str, answer: str, reason: str | None):
    found = unfit(query, table_of(TOWNS), answer)
    assert found is None if reason is None else reason in str(found)


def test_a_query_across_documents_must_need_two_of_them():
    table = table_of(TOWNS, TOWNS.replace("30", "31").replace("10,300", "17,300"))
    assert unfit("SELECT AVG(sales) FROM data", table) is None
    one = "SELECT AVG(sales) FROM data WHERE document = 'Land 0'"
    assert "several documents" in str(unfit(one, table))
