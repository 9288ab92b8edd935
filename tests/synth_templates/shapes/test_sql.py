import csv
import io
import random
import re
from collections import Counter
from collections.abc import Iterator

import pytest

from longspan.harness.datasets.documents import Document
from longspan.harness.errors import SynthesisError
from longspan.harness.passport import Passport
from longspan.harness.scoring.metrics import cover_exact_match
from longspan.harness.scoring.numbers import numeric
from longspan.harness.taskset import SampleRow
from longspan.synth_templates.corpus import Corpus
from longspan.synth_templates.kind_files import load_kinds, parse_kind_file
from longspan.synth_templates.questions import Worded, draw, word
from longspan.synth_templates.shapes.draft import Draft
from longspan.synth_templates.shapes.sql import SqlKind
from longspan.synth_templates.tables.corpus_tables import TABLE
from longspan.synth_templates.tables.sql import quote_name
from longspan.synth_templates.triples.relations import Lexicon
from longspan.synth_templates.verify import check_passport

KINDS = {kind.name: kind for kind in load_kinds("documents").kinds if isinstance(kind, SqlKind)}


def sheet(title: str, rows: list[tuple[object, ...]]) -> Document:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return Document(id=title.lower(), title=title, text=text.getvalue(), format="csv")


def make_documents(seed: int = 0) -> list[Document]:
    rng = random.Random(seed)
    header = ("town", "region", "sales", "staff", "rainfall")
    sheets = [
        sheet(
            title,
            [
                header,
                *(
                    (
                        f"{title[:3]}ton{i}",
                        rng.choice(["Coast", "Hills", "Plain"]),
                        rng.randint(10, 900),
                        rng.randint(5, 90),
                        round(rng.uniform(1, 80), 1),
                    )
                    for i in range(30)
                ),
            ],
        )
        for title in ("Northland", "Southland", "Westland")
    ]
    panel = [
        (firm, 1990 + i, rng.randint(100, 999))
        for firm in ("Acme", "Bolt", "Core")
        for i in range(8)
    ]
    series = [(1900 + i, round(rng.uniform(1, 99), 2)) for i in range(20)]
    daily = [(f"{2000 + i // 6}-0{1 + i % 6}-01", rng.randint(1, 500)) for i in range(30)]
    wide = [(f"Land{i}", *(rng.randint(1, 99) / 10 for _ in range(6))) for i in range(12)]
    return [
        *sheets,
        sheet("Firms", [("firm", "year", "profit"), *panel]),
        sheet("River", [("year", "volume"), *series]),
        sheet("Visits", [("date", "visitors"), *daily]),
        sheet("Births", [("country", *range(1960, 1966)), *wide]),
    ]


def corpus_of(documents: list[Document]) -> Corpus:
    return Corpus("tables", documents, Lexicon(()))


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return corpus_of(make_documents())


def sample_of(draft: Draft, corpus: Corpus, rng: random.Random) -> SampleRow:
    context = [corpus.by_id[name] for name in draft.documents]
    worded = word(draft, corpus, context, rng)
    assert isinstance(worded, Worded)
    return SampleRow(
        id="s",
        split="train",
        kind=draft.kind.name,
        task_type=draft.kind.task_type,
        question=worded.question,
        target=(worded.target,),
        scorer=draft.kind.scorer,
        documents=draft.documents,
        document_group="tables",
        seed=0,
        passport=Passport(evidence=draft.evidence, proof=draft.proof),
    )


def samples(name: str, corpus: Corpus, attempts: int = 40) -> Iterator[SampleRow]:
    for seed in range(attempts):
        rng = random.Random(f"{name}/{seed}")
        draft = draw(KINDS[name], corpus, rng)
        if isinstance(draft, Draft):
            yield sample_of(draft, corpus, rng)


def rows_of(corpus: Corpus, title: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(corpus.by_id[title.lower()].text)))


def quoted(question: str) -> list[str]:
    return re.findall(r'"([^"]*)"', question)


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_gives_samples_whose_proofs_hold_and_whose_answers_score(name, corpus):
    found = list(samples(name, corpus))
    assert found
    score = {"numeric": numeric, "cover_exact_match": cover_exact_match}[KINDS[name].scorer]
    for row in found:
        assert check_passport(row, corpus) == []
        assert score(row.target[0], row.target[0]) == 1.0
        assert score("", row.target[0]) == 0.0
        assert "{{" not in row.question and "[" not in row.question


def test_kinds_ask_in_many_ways():
    assert len(KINDS) >= 30
    assert {kind.task_type for kind in KINDS.values()} == {"corpus_numeric"}
    assert {kind.layout for kind in KINDS.values()} == {"long", "wide"}
    assert sum(kind.documents[1] > 1 for kind in KINDS.values()) >= 5


def test_a_conditional_sum_by_hand(corpus):
    for row in samples("sql_sum_where", corpus):
        title = row.documents[0].title()
        column, group, value = [q for q in quoted(row.question) if q != title]
        rows = [r for r in rows_of(corpus, title) if r[group] == value]
        assert float(row.target[0]) == pytest.approx(sum(float(r[column]) for r in rows))


def test_a_share_of_several_documents_by_hand(corpus):
    for row in samples("sql_documents_share", corpus):
        column, *titles, asked = quoted(row.question)
        sums = {t: sum(float(r[column]) for r in rows_of(corpus, t)) for t in titles}
        expected = 100 * sums[asked] / sum(sums.values())
        assert float(row.target[0]) == pytest.approx(expected, abs=0.051)


def test_the_year_of_largest_growth_by_hand(corpus):
    for row in samples("sql_year_largest_growth", corpus):
        column = "volume"
        values = {int(r["year"]): float(r[column]) for r in rows_of(corpus, "River")}
        growth = {y: values[y] - values[y - 1] for y in values if y - 1 in values}
        assert row.target[0] == str(max(growth, key=lambda year: growth[year]))


def test_a_count_in_a_wide_table_by_hand(corpus):
    for row in samples("sql_wide_count_above", corpus):
        limit, first, last = re.findall(
            r"greater than ([\d.]+) for (\d+) .* for (\d+)", row.question
        )[0]
        rows = rows_of(corpus, "Births")
        count = sum(float(r[first]) > float(limit) > float(r[last]) for r in rows)
        assert row.target[0] == str(count)


def edited(row: SampleRow, **proof: object) -> SampleRow:
    passport = row.passport
    changed = passport.model_copy(update={"proof": passport.proof.model_copy(update=proof)})
    return row.model_copy(update={"passport": changed})


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"sql": "SELECT SUM([sales]) FROM [data]"}, "query gives"),
        ({"sql": "DROP TABLE data"}, "query refused"),
        ({"sql": "SELECT SUM([staff] FROM [data]"}, "query refused"),
        ({"rows": ((1.0,),)}, "query gives"),
        ({"columns": (("sales", "number", "$"),)}, "other columns"),
        ({"documents": ("southland",)}, "evidence is not"),
        ({"decimals": 5}, "how to round"),
        ({"exact": True}, "how to round"),
    ],
)
def test_a_changed_proof_is_caught(change, problem, corpus):
    row = next(r for r in samples("sql_average_where", corpus, 99) if r.documents == ("northland",))
    assert check_passport(row, corpus) == []
    assert any(problem in found for found in check_passport(edited(row, **change), corpus))


def test_every_changed_cell_is_caught(corpus):
    row = next(r for r in samples("sql_documents_total", corpus) if len(r.documents) == 3)
    for name in row.documents:
        documents = [
            d.model_copy(update={"text": d.text.replace("5", "6", 1)}) if d.id == name else d
            for d in corpus.documents
        ]
        (problem,) = check_passport(row, corpus_of(documents))
        assert name in problem


def test_a_changed_cell_is_caught_even_where_the_quote_was_changed_with_it(corpus):
    row = next(r for r in samples("sql_sum_where", corpus) if r.documents == ("northland",))
    span = row.passport.evidence[0]
    text = re.sub(r",(\d+),(\d+),", lambda m: f",{int(m[1]) + 1},{int(m[2]) + 1},", span.quote)
    documents = [
        d.model_copy(update={"text": text}) if d.id == "northland" else d for d in corpus.documents
    ]
    evidence = (span.model_copy(update={"quote": text, "end": len(text)}),)
    passport = row.passport.model_copy(update={"evidence": evidence})
    problems = check_passport(row.model_copy(update={"passport": passport}), corpus_of(documents))
    assert any("query gives" in problem for problem in problems)


def test_a_moved_span_is_no_table(corpus):
    row = next(samples("sql_sum_where", corpus))
    span = row.passport.evidence[0]
    part = span.model_copy(update={"start": 5, "quote": span.quote[5:]})
    passport = row.passport.model_copy(update={"evidence": (part,)})
    (problem,) = check_passport(row.model_copy(update={"passport": passport}), corpus)
    assert "no such table" in problem


def test_a_second_document_of_the_title_makes_the_question_ambiguous(corpus):
    row = next(r for r in samples("sql_sum_where", corpus) if r.documents == ("northland",))
    twin = Document(id="twin", title="NORTHLAND", text="Another report.")
    (problem,) = check_passport(row, corpus_of([*corpus.documents, twin]))
    assert "no such table" in problem


def test_a_question_that_names_another_document_is_caught(corpus):
    row = next(samples("sql_sum_where", corpus))
    title = corpus.by_id[row.documents[0]].title
    other = row.model_copy(update={"question": row.question.replace(title, "Elsewhere")})
    assert check_passport(other, corpus) == [f"question does not name {title!r}"]


def test_ties_reject_the_draw():
    rows = [(f"T{i}on", "AB"[i % 2] + "side", 50) for i in range(12)]
    flat = corpus_of([sheet("Flat", [("town", "region", "sales"), *rows])])
    assert not list(samples("sql_group_total_rank", flat))


def test_the_same_seed_draws_the_same(corpus):
    for name in KINDS:
        first = [row.model_dump() for row in samples(name, corpus, 3)]
        assert first == [row.model_dump() for row in samples(name, corpus_of(make_documents()), 3)]


def test_draws_over_one_table_differ(corpus):
    questions = Counter(row.question for row in samples("sql_count_where", corpus, 60))
    assert len(questions) > 40


def test_sql_in_a_document_stays_data():
    evil = "x'); DROP TABLE data; --"
    rows = [(evil if i % 2 else "y] FROM data; --", 10 * i + i % 3, i * i) for i in range(12)]
    header = ("region] TEXT); --", "sales'; DROP", "staff")
    evil_corpus = corpus_of([sheet("Evil", [header, *rows])])
    found = [row for name in KINDS for row in samples(name, evil_corpus, 20)]
    assert found and all(check_passport(row, evil_corpus) == [] for row in found)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("{value: g}", "{value: h}", "needs h before it"),
        ("{value: g}", "{value: g, title: true}", "exactly one of"),
        ("{{ v }}", "{{ w }}", "'w' is undefined"),
        ("documents: [1, 1]", "documents: [3, 2]", "documents must be"),
        ("category", "colour", "slots.g.column"),
    ],
)
def test_a_malformed_kind_is_one_line(old, new, problem):
    text = """source: documents
kinds:
  - name: mine
    task_type: corpus_numeric
    shape: sql
    documents: [1, 1]
    slots: {g: {column: category}, v: {value: g}}
    sql: SELECT COUNT(*) FROM {{ table }} WHERE {{ g }} = {{ v }}
    question: How many rows of {{ table }} have {{ v }} as {{ g }}?
    scorer: numeric
"""
    assert parse_kind_file(text, "mine.yaml").kinds[0].name == "mine"
    with pytest.raises(SynthesisError) as caught:
        parse_kind_file(text.replace(old, new), "mine.yaml")
    assert problem in str(caught.value) and "\n" not in str(caught.value)


def test_a_query_about_something_else_is_no_proof_of_a_question(corpus):
    row = next(iter(samples("sql_sum_where", corpus)))
    for sql in ("SELECT 42", f"SELECT 42 FROM {quote_name(TABLE)} LIMIT 1"):
        proof = row.passport.proof.model_copy(update={"sql": sql, "rows": ((42,),)})
        passport = row.passport.model_copy(update={"proof": proof})
        problems = check_passport(
            row.model_copy(update={"passport": passport, "target": ("42",)}), corpus
        )
        assert any("query does not use" in problem for problem in problems)
