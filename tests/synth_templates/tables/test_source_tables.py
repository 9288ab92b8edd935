import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.harness.datasets.documents import Document
from longspan.synth_templates.tables.source_tables import MAX_ROWS, read_tables, slug

MARKDOWN = """# Trade

## By town

Table 1: Sales of the year

| Town       | Sales ($) | Growth |
|------------|----------:|-------:|
| **Kukton** | $1,200    | 5.5%   |
| Tastal     | ($70)     | -1%    |
| [Orm](x)   | $30       | 2%     |
| Pel\\_ma   | $9        | n/a    |

After.
"""


def document(text: str, form: str = "text", title: str = "Report") -> Document:
    return Document(id="d", title=title, text=text, format=form)


def test_a_markdown_table_has_types_units_caption_and_place():
    (table,) = read_tables(document(MARKDOWN)).tables
    assert table.caption == "Table 1: Sales of the year"
    assert MARKDOWN[table.start : table.end].startswith("| Town")
    assert MARKDOWN[table.start : table.end].endswith("| n/a    |")
    town, sales, growth = table.columns
    assert town.data.values == ("Kukton", "Tastal", "Orm", "Pel_ma")
    assert (sales.name, sales.data.unit, sales.data.values) == ("sales", "$", (1200, -70, 30, 9))
    assert (growth.data.unit, growth.data.values) == ("%", (5.5, -1, 2, None))


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("csv", 'name,sales\n"Ko, Inc.",5\nB,7\nC,9\nD,"1,000"\n'),
        ("csv", "name;sales\nKo, Inc.;5\nB;7\nC;9\nD;1,000\n"),
        ("tsv", "name\tsales\nKo, Inc.\t5\nB\t7\nC\t9\nD\t1,000\n"),
        ("text", "name      sales\nKo, Inc.  5\nB         7\nC         9\nD         1,000\n"),
    ],
)
def test_every_form_gives_the_same_table(form: str, text: str):
    (table,) = read_tables(document(text, form)).tables
    assert [column.header for column in table.columns] == ["name", "sales"]
    assert table.columns[0].data.values == ("Ko, Inc.", "B", "C", "D")
    assert table.columns[1].data.values == (5, 7, 9, 1000)
    assert text[table.start : table.end].strip() == text.strip()


def test_years_as_headers_make_rows_of_label_year_and_value():
    text = "country,1990,1991,1992\nAl,1,2,3\nBo,4,,6\nCy,7,8,9\nDu,1,1,1\n"
    (table,) = read_tables(document(text, "csv")).tables
    label, year, value = table.columns
    assert table.layout == "wide" and table.num_rows == 11
    assert list(zip(label.data.values, year.data.values, value.data.values, strict=True))[3:5] == [
        ("Bo", 1990, 4.0),
        ("Bo", 1992, 6.0),
    ]


def test_a_first_column_without_header_is_used_for_labels_only():
    labelled = ",speed,dist\nfast,1,5\nslow,2,6\nodd,3,7\neven,4,9\n"
    counted = ",speed,dist\n1,1,5\n2,2,6\n3,3,7\n4,4,9\n"
    (table,) = read_tables(document(labelled, "csv")).tables
    assert [column.name for column in table.columns] == ["table_labels", "speed", "dist"]
    (table,) = read_tables(document(counted, "csv")).tables
    assert [column.name for column in table.columns] == ["speed", "dist"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a,b\nx,1\ny,2\nz,3\n", "rows"),
        ("a,b\nx,1\ny,2\nz\nw,3\nv,1\n", "several lengths"),
        ("a,b\n" + "x,1\n" * (MAX_ROWS + 1), "rows"),
        ("1,2\n3,4\n5,6\n7,8\n9,9\n", "no header"),
        ("a,A\nx,1\ny,2\nz,3\nw,4\n", "one name"),
        ("a,b\nx,1\ny,2\nz,3\nTotal,6\n", "totals"),
        ("a,b\nx,1\ny,2\nz,3\n" + "w" * 400 + ",4\n", "characters"),
        ('a,b\n"x,1\n', "several lengths"),
    ],
)
def test_a_table_that_could_be_misunderstood_is_left_out_with_its_reason(text: str, reason: str):
    reading = read_tables(document(text, "csv"))
    assert reading.tables == []
    (found,) = reading.left_out
    assert reason in found


def test_tables_under_one_caption_cannot_be_named():
    rows = "| a | b |\n|---|---|\n| x | 1 |\n| y | 2 |\n| z | 3 |\n| w | 4 |\n"
    twice = read_tables(document(f"# Figures\n\n{rows}\n# Figures\n\n{rows}")).tables
    apart = read_tables(document(f"# Figures\n\n{rows}\n# Others\n\n{rows}")).tables
    assert [table.is_named for table in twice] == [False, False]
    assert [table.is_named for table in apart] == [True, True]


@given(st.text(max_size=300), st.sampled_from(["text", "csv", "tsv"]))
def test_any_text_is_read_without_an_error(text: str, form: str):
    for table in read_tables(document(text, form)).tables:
        assert 0 <= table.start < table.end <= len(text)


@given(st.text(max_size=80))
def test_any_header_is_a_name_or_nothing(header: str):
    name = slug(header)
    assert name == "" or (name[0].isalpha() and name.replace("_", "").isalnum() and name.isascii())


def test_python_source_has_no_tables():
    assert read_tables(document("x = 1  # a | b\n", "python")).tables == []


@pytest.mark.parametrize("label", ["Team Totals", "League Average", "Career", "Totals", "Lg Avg."])
def test_a_row_that_sums_up_the_others_leaves_a_table_out(label: str):
    text = f"name,sales\nA,5\nB,7\nC,9\nD,8\n{label},29\n"
    assert read_tables(document(text, "csv")).left_out == {"a row of totals": 1}


def test_the_caption_of_an_html_table_is_named_without_its_mark():
    rows = "".join(f"| Town {i} | {i * i} |\n" for i in range(5))
    text = f"## Sales\n\nTable: By town\n\n| Town | Sales |\n| --- | --- |\n{rows}"
    (table,) = read_tables(document(text)).tables
    assert table.caption == "By town"


@pytest.mark.parametrize(
    ("line", "is_caption"),
    [
        ("Table 3: Sales", True),
        ("Table A. Sales", True),
        ("TABLE IV. Sales", True),
        ("Tab. 2.1: Sales", True),
        ("Table name. The name of the table.", False),
        ("Tables: many", False),
    ],
)
def test_a_caption_is_numbered_or_marked(line: str, is_caption: bool):
    rows = "".join(f"| Town {i} | {i * i} |\n" for i in range(5))
    text = f"{line}\n\n| Town | Sales |\n| --- | --- |\n{rows}"
    (table,) = read_tables(document(text)).tables
    assert table.caption == (line if is_caption else "")
