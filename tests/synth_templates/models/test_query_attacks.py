"""What a model may not put into SQL: attacks, and queries that say nothing certain."""

import json
import re
from pathlib import Path

import pytest

from longspan.harness.errors import SynthesisError
from tests.synth_templates.models.query_models import QUESTIONS, TITLES, Pair, build, write_tables


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tables(tmp_path / "docs")


ATTACKS = {
    "attach": "ATTACH DATABASE '{place}' AS other",
    "vacuum": "VACUUM INTO '{place}'",
    "with_attach": "SELECT 1 FROM data; ATTACH DATABASE '{place}' AS other",
    "pragma": "PRAGMA database_list",
    "write": "DELETE FROM data",
    "extension": "SELECT load_extension('{place}') FROM data",
    "file": "SELECT writefile('{place}', 'x') FROM data",
    "endless": "WITH RECURSIVE n(i) AS (SELECT 1 UNION SELECT i + 1 FROM n) SELECT max(i) FROM n",
    "huge": "SELECT a.sales FROM data a, data b, data c",
    "schema": "SELECT count(*) FROM sqlite_master",
    "random": "SELECT avg(sales) + random() FROM data",
    "constant": "SELECT 12.5",
    "none": "SELECT sales FROM data WHERE town = 'Nowhere'",
}


@pytest.mark.parametrize("role", ["writer", "checker"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_a_query_that_attacks_is_sent_back_and_leaves_nothing(
    folder: Path, tmp_path: Path, attack: str, role: str
):
    pair = Pair(f"attack-{attack}-{role}")
    place = tmp_path / "written"
    before = sorted(folder.iterdir())
    sql = ATTACKS[attack].format(place=place)
    reply = {"sql": sql} | ({"question": QUESTIONS[0][0]} if role == "writer" else {})
    getattr(pair, role).answer = lambda _: json.dumps(reply)
    with pytest.raises(SynthesisError, match="no sample could be built.*no confirmed proposal"):
        build(pair, folder, tmp_path / "set", splits={"test": {900: 1}}, queries={"rounds": 1})
    assert not place.exists() and sorted(folder.iterdir()) == before
    requests = getattr(pair, role).requests
    assert len(requests) == 3, "told twice what is wrong"
    assert re.search("refused|must read|one row|must give one", requests[-1].prompt)


@pytest.mark.parametrize(
    ("kind", "sql", "reason"),
    [
        ("query_number", "SELECT 7.0 FROM data LIMIT 1", "does not depend on the rows"),
        (
            "query_number",
            "SELECT COUNT(*) / (SELECT COUNT(*) FROM data WHERE region = 'Coast') + 7 "
            "FROM data WHERE sales > 300",
            "drops the rest",
        ),
        ("query_number", "SELECT SUM(town) + AVG(sales) FROM data", "no such reason"),
        ("query_name", "SELECT 'yes' FROM data WHERE sales > 0 LIMIT 1", "a cell of a column"),
        (
            "query_name",
            "SELECT town || region FROM data ORDER BY sales DESC LIMIT 1",
            "a cell of a column",
        ),
        ("query_name", "SELECT MIN(town) FROM data WHERE sales > 0", "the order of names"),
        (
            "query_name",
            "SELECT town FROM data ORDER BY sales > 0 DESC, town LIMIT 1",
            "the order of names",
        ),
        (
            "query_across",
            "SELECT AVG(sales) FROM data WHERE document = 'Northland'",
            "rows of several documents",
        ),
    ],
)
def test_a_query_that_says_nothing_certain_is_sent_back_to_either_model(
    folder: Path, tmp_path: Path, kind: str, sql: str, reason: str
):
    if reason == "no such reason":  # digits at the start of names would be added up
        for title in TITLES:
            file = folder / f"{title}.csv"
            file.write_text(file.read_text().replace(f"{title[:3]}ton", "1st "))
        reason = "must read"
    for role in ("writer", "checker"):
        pair = Pair(f"nothing-{role}-{abs(hash(sql))}")
        if kind == "query_name":
            name = "SELECT town FROM data WHERE region = 'Coast' ORDER BY sales DESC LIMIT 1"
            told = {"question": "Which town of the Coast sells the most?", "sql": name}
            pair.writer.answer = lambda _, told=told: json.dumps(told)
        script = getattr(pair, role)
        question = {"question": QUESTIONS[0][0]} if role == "writer" else {}
        script.answer = lambda _, told={"sql": sql, **question}: json.dumps(told)
        plan = {"kinds": {kind: 1}, "splits": {"test": {900: 1}}, "queries": {"rounds": 1}}
        with pytest.raises(SynthesisError, match="no confirmed proposal"):
            build(pair, folder, tmp_path / role, **plan)
        assert reason in script.requests[-1].prompt
