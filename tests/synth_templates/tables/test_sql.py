"""Queries that nobody trusts: what is answered, what is refused, what is left behind."""

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.harness.errors import SynthesisError
from longspan.synth_templates.tables.sql import (
    Database,
    SqlLimits,
    SqlTable,
    quote_name,
    quote_value,
    run_query,
    same_rows,
    with_real_division,
)

SALES = SqlTable(
    "data",
    (("town", "TEXT"), ("year", "INTEGER"), ("sales", "REAL")),
    tuple((f"T{i % 7}", 2000 + i % 10, float(i)) for i in range(200)),
)
ATTACKS = {
    "attach": "ATTACH 'stolen.db' AS s",
    "attach after select": "SELECT 1; ATTACH 'stolen.db' AS s",
    "pragma": "PRAGMA query_only = OFF",
    "pragma as table": "SELECT * FROM pragma_database_list",
    "insert": "INSERT INTO data VALUES ('x', 1, 1)",
    "insert behind a with": "WITH x AS (SELECT 1) INSERT INTO data SELECT 'x', 1, 1",
    "update": "UPDATE data SET sales = 0",
    "delete": "DELETE FROM data",
    "drop": "DROP TABLE data",
    "create": "CREATE TABLE stolen AS SELECT * FROM data",
    "virtual table": "CREATE VIRTUAL TABLE stolen USING fts5(x)",
    "vacuum into": "VACUUM INTO 'stolen.db'",
    "extension": "SELECT load_extension('stolen.so')",
    "readfile": "SELECT readfile('/etc/passwd')",
    "writefile": "SELECT writefile('stolen.txt', 'x')",
    "edit": "SELECT edit('x', 'touch stolen.txt')",
    "fts token": "SELECT fts3_tokenizer('x')",
    "explain": "EXPLAIN SELECT 1",
    "schema": "SELECT sql FROM sqlite_master",
    "json table": "SELECT * FROM json_each('[1,2]')",
    "series": "SELECT * FROM generate_series(1, 1000000000)",
    "infinite recursion": "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) "
    "SELECT count(*) FROM r",
    "cross join": "SELECT count(*) FROM data a, data b, data c, data d WHERE a.sales < d.sales",
    "sorted cross join": "SELECT a.town FROM data a, data b, data c, data d ORDER BY d.sales",
    "huge result": "SELECT a.town FROM data a, data b",
    "printf": "SELECT printf('%1000000000d', 1)",
    "format": "SELECT format('%.*c', 100000000, 'x')",
    "zeroblob": "SELECT zeroblob(1000000000)",
    "randomblob": "SELECT randomblob(1000)",
    "hex": "SELECT hex(town) FROM data",
    "replace": "SELECT replace(replace('aaaa', 'a', 'aaaaaaaa'), 'a', 'aaaaaaaa')",
    "group_concat": "SELECT group_concat(town) FROM data",
    "random": "SELECT random()",
    "clock": "SELECT datetime('now')",
    "clock keyword": "SELECT CURRENT_TIMESTAMP",
    "counter": "SELECT total_changes()",
    "two statements": "SELECT 1; SELECT 2",
    "statement in a comment's shadow": "SELECT 1 /* ; */ ; DROP TABLE data --",
    "comment first": "/* SELECT */ DELETE FROM data",
    "bytes": "SELECT x'00ff'",
    "infinity": "SELECT 9e999",
    "nul": "SELECT '\0'",
    "surrogate": "SELECT '\ud800'",
    "unknown column in double quotes": "SELECT count(*) FROM data WHERE \"twon\" = 'T1'",
    "deep": "SELECT " + "(" * 500 + "1" + ")" * 500,
    "long": "SELECT " + "1+" * 9000 + "1",
    "compound": " UNION ALL ".join(["SELECT 1"] * 200),
    "wide": "SELECT " + ", ".join(["*"] * 400) + " FROM data",
    "nothing": "",
    "no sql": "the answer is 7",
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_in_one_line_soon_and_leaves_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    started = time.monotonic()
    with pytest.raises(SynthesisError) as caught:
        run_query(ATTACKS[name], [SALES], SqlLimits(seconds=3.0, steps=5_000_000))
    assert time.monotonic() - started < 8
    message = str(caught.value)
    assert message.startswith("query refused: ") and ";" in message and "\n" not in message
    assert os.listdir(tmp_path) == []


def test_a_text_that_doubles_stops_at_the_length_of_a_cell():
    query = "'x'"
    for level in range(40):
        query = f"a{level} || a{level} FROM (SELECT {query} AS a{level})"
    with pytest.raises(SynthesisError, match="query refused"):
        run_query(f"SELECT {query}", [SALES])


def test_memory_is_capped():
    wide = SqlTable("data", (("a", "TEXT"),), tuple((str(i) * 4000,) for i in range(300)))
    query = "SELECT a.a || b.a AS x FROM data a, data b, data c ORDER BY x LIMIT 100000"
    with pytest.raises(SynthesisError, match="MiB"):
        run_query(query, [wide], SqlLimits(memory_bytes=32 << 20, cell_bytes=100_000))


def test_after_a_refusal_the_tables_are_as_they_were():
    database = Database([SALES])
    for query in ATTACKS.values():
        with pytest.raises(SynthesisError):
            database.run(query)
    assert database.run("SELECT count(*), sum(sales) FROM data").rows == ((200, 19900.0),)


def test_ordinary_questions_are_answered_with_types():
    query = """WITH yearly AS (SELECT year, sum(sales) AS total FROM data GROUP BY year)
        SELECT year, total, lag(total) OVER (ORDER BY year) AS before FROM yearly ORDER BY year"""
    result = run_query(query, [SALES])
    assert result.columns == ("year", "total", "before")
    assert result.rows[:2] == ((2000, 1900.0, None), (2001, 1920.0, 1900.0))


@pytest.mark.parametrize(
    "query",
    [
        "SELECT town FROM data ORDER BY year LIMIT 1",
        "SELECT sales FROM data LIMIT 3",
        "SELECT town, sum(sales) FROM data",
        "SELECT (SELECT sales FROM data WHERE town = 'T1')",
        "SELECT town FROM data WHERE year = 2001",
    ],
)
def test_an_answer_that_depends_on_the_order_of_rows_is_refused(query: str):
    with pytest.raises(SynthesisError, match="order of the rows"):
        run_query(query, [SALES])


def test_numbers_never_divide_as_integers():
    table = SqlTable("data", (("a", "REAL"),), ((7.0,), (2.0,)))
    assert run_query("SELECT max(a) / min(a) FROM data", [table]).rows == ((3.5,),)


def test_names_from_documents_cannot_break_out():
    with pytest.raises(SynthesisError, match="not a name"):
        quote_name("a] TEXT); DROP TABLE data; --")


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=50))
def test_any_text_is_a_literal_that_reads_back(text: str):
    (row,) = run_query(f"SELECT {quote_value(text)}", []).rows
    assert row == (text,)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_number_is_a_literal_that_reads_back(number: float):
    (row,) = run_query(f"SELECT {quote_value(number)}", []).rows
    assert same_rows((row,), ((number,),))


def test_a_division_is_made_real_outside_texts_and_comments_only():
    query = "SELECT a/b FROM t WHERE c = 'x/y' /* 1/2 */ AND d > 1 / 3"
    assert with_real_division(query) == (
        "SELECT a* 1.0 /b FROM t WHERE c = 'x/y' /* 1/2 */ AND d > 1 * 1.0 / 3"
    )


def test_a_result_says_which_columns_it_reads_also_when_it_is_run_again():
    database = Database([SALES])
    for _ in range(2):
        assert database.run("SELECT AVG(sales) FROM data WHERE year > 2003").reads == {
            "sales",
            "year",
        }
        assert database.run("SELECT COUNT(*) FROM data").reads == {""}
        assert database.run("SELECT 1").reads == frozenset()
