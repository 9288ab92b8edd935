from longspan.harness.datasets.documents import Document
from longspan.synth_templates.tables.column_roles import Role
from longspan.synth_templates.tables.corpus_tables import align
from longspan.synth_templates.tables.source_tables import read_tables

HEADER = "id,country,region,year,sales,tax rate,flag,zip,gap\n"
ROWS = [
    (i + 1, f"Land{i // 4}", "NS"[i % 2] + "orth", 2000 + i % 4, 10 * i, i / 8, i % 2, 9 + i, "")
    for i in range(16)
]
TEXT = HEADER + "\n".join(",".join(map(str, (*row[:8], row[8] or i))) for i, row in enumerate(ROWS))


def names(text: str, role: Role) -> list[str]:
    tables = read_tables(Document(id="d", title="t", text=text, format="csv")).tables
    return [column.name for column in align(tables).roles[role]]


def test_identifiers_flags_and_codes_are_no_measures():
    assert names(TEXT, "measure") == ["sales", "tax_rate"]


def test_rates_are_not_added_up():
    assert names(TEXT, "amount") == ["sales"]


def test_labels_group_or_name_rows():
    assert names(TEXT, "category") == ["country", "region"]
    assert names(TEXT, "panel") == ["country"]
    assert names(TEXT, "key") == []
    assert names(TEXT, "year") == ["year"]


def test_a_column_with_a_gap_has_no_role():
    with_gap = TEXT.replace(",20,", ",,", 1)
    assert names(with_gap, "measure") == ["tax_rate"]


def test_labels_that_differ_by_case_alone_are_no_labels():
    text = "town,sales\nOrm,1\nORM,2\nPel,3\nTas,4\n"
    assert names(text, "key") == []
    assert names(text.replace("ORM", "Kuk"), "key") == ["town"]


def test_a_sign_in_the_header_tells_a_rate():
    text = "team,PTS/G,W-L%,PTS\n" + "\n".join(f"T{i},{i * 7},{i * 3},{i * 5}" for i in range(9))
    assert names(text, "measure") == ["pts_g", "w_l", "pts"]
    assert names(text, "amount") == ["pts"]


def test_what_is_counted_up_from_row_to_row_is_no_measure():
    wins = (0, 1, 1, 2, 3, 3, 4, 5, 5)
    text = "date,W,Opp\n" + "\n".join(f"day {i},{w},{80 + i * i}" for i, w in enumerate(wins))
    assert names(text, "measure") == ["opp"]
