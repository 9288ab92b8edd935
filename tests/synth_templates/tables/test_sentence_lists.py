from longspan.harness.datasets.documents import Document
from longspan.synth_templates.tables.sentence_lists import find_tables


def test_a_sentence_list_is_a_table():
    text = "KaroCo's sales are: Kukton 5; Tastal -17."
    (table,) = find_tables(Document(id="d", title="KaroCo", text=text))
    assert (table.subject, table.column) == ("KaroCo", "sales")
    assert table.rows == (("Kukton", 5.0), ("Tastal", -17.0))
    assert text[table.start : table.end] == text


def test_prose_with_repeated_labels_is_no_table():
    twice = "KaroCo's sales are: Kukton 5; Kukton 7."
    assert find_tables(Document(id="d", title="t", text=twice)) == []


def test_one_row_is_no_table():
    assert find_tables(Document(id="d", title="t", text="KaroCo's sales are: Kukton 5.")) == []
