import pytest

from longspan.harness.datasets.documents import Document
from longspan.harness.errors import SynthesisError
from longspan.synth_templates.tables.corpus_tables import TableIndex, align


def sheet(name: str, text: str, title: str | None = None) -> Document:
    return Document(id=name, title=title or name.title(), text=text, format="csv")


NORTH = sheet("north", "Town,Sales,Note\nA,5,x\nB,6,y\nC,7,x\nD,9,y\n")
SOUTH = sheet("south", "town,SALES,Staff\nE,1,4\nF,2,5\nG,3,6\nH,4,7\n")
EUROS = sheet("euros", "Town,Sales,Note\nA,€5,x\nB,€6,y\nC,€7,x\nD,€9,y\n")
OTHER = sheet("other", "Fish,Weight\nA,5\nB,6\nC,7\nD,9\n")


def test_tables_of_one_schema_become_one_with_the_document_of_each_row():
    index = TableIndex([NORTH, SOUTH, OTHER])
    (members,) = index.clusters
    table = index.align(members)
    assert table.schema == (("town", "text", ""), ("sales", "number", ""))
    rows = index.run(table, "SELECT document, SUM(sales) FROM data GROUP BY 1 ORDER BY 1").rows
    assert rows == (("North", 27.0), ("South", 10.0))


def test_what_alignment_drops_is_counted_with_its_reason():
    index = TableIndex([NORTH, SOUTH, EUROS])
    found = align(index.tables)
    assert found.schema == (("town", "text", ""),)
    assert found.dropped == {
        "sales: units differ": 3,
        "note: not in every table": 1,
        "staff: not in every table": 2,
    }


def test_documents_that_a_title_does_not_tell_apart_take_no_part():
    twin = sheet("twin", NORTH.text + "E,3,x\n", title="NORTH")
    index = TableIndex([NORTH, twin, OTHER])
    assert [table.document for table in index.tables] == ["other"]
    assert index.left_out["no title or caption of its own"] == 2


def test_a_table_that_repeats_another_takes_no_part():
    copy = sheet("copy", NORTH.text.replace("Sales", "SALES").replace("Note", "Remark"))
    (members,) = TableIndex([NORTH, SOUTH, copy]).clusters
    assert [table.document for table in members] == ["north", "south"]


def test_columns_named_by_letters_alone_share_no_schema():
    first = sheet("first", "x,y\n1,2\n3,4\n5,6\n7,8\n")
    second = sheet("second", "x,y\n1,2\n3,4\n5,6\n7,9\n")
    assert TableIndex([first, second]).clusters == []


def test_a_query_on_an_index_takes_the_safe_path():
    index = TableIndex([NORTH])
    with pytest.raises(SynthesisError, match="query refused"):
        index.run(index.align(index.tables), "DROP TABLE data")


def test_many_tables_do_not_stay_in_memory_as_databases():
    index = TableIndex([sheet(f"n{i}", NORTH.text, f"Title {i}") for i in range(40)])
    for table in index.tables:
        assert index.run(index.align([table]), "SELECT COUNT(*) FROM data").rows == ((4,),)
    assert len(index._databases) <= 16
    first = index.align([index.tables[0]])
    assert index.run(first, "SELECT SUM(sales) FROM data").rows == ((27.0,),)
