import json
import re
from html.parser import HTMLParser

from longspan.synth_templates.curation.benchmark_questions import Benchmark, BenchmarkQuestion
from longspan.synth_templates.curation.contamination import BenchmarkIndex
from longspan.synth_templates.curation.contamination_report import (
    JSON_FILE,
    PAGE_FILE,
    pieces,
    render_reports,
)

EVIL = '<script>alert(1)</script><img src=x onerror="alert(2)"> {{ 7 * 7 }}'
FACTS = {"name": "mine", "num_samples": 2}


def reports(question: str, answer: str = "A") -> dict[str, str]:
    asked = BenchmarkQuestion("bench", "q1", question, (answer,), "")
    index = BenchmarkIndex([Benchmark("bench", (asked,))])
    matches = index.matches(question, [answer], "s1")
    overlap = {"document": "d", "title": EVIL, "benchmark": "bench", "id": "q1", "share": 1.0}
    documents = [{**overlap, "num_samples": 1, "dropped": False}]
    return render_reports(FACTS, index.facts(), matches, documents)


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        self.found.append(tag)
        assert not any(name.startswith("on") for name, _ in attrs)


def test_questions_and_answers_are_text_and_the_policy_forbids_the_rest():
    page = reports(f"Who is {EVIL} of Karo?", EVIL)[PAGE_FILE]
    tags = Tags()
    tags.feed(page)
    assert not {"script", "img", "a", "iframe", "link"} & set(tags.found)
    assert "&lt;script&gt;" in page and "{{ 7 * 7 }}" in page and "49" not in page
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy[1]


def test_the_policy_names_the_style_that_stands_in_the_page():
    import base64
    import hashlib

    page = reports("Who is Karo?")[PAGE_FILE]
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"'sha256-{digest}'" in page


def test_the_page_shows_both_sides_and_the_decision_and_the_json_all_of_it():
    made = reports("Who is the father of Karo Bel?", "Mira")
    content = json.loads(made[JSON_FILE])
    (match,) = content["matches"]
    assert (match["sample"], match["benchmark_id"], match["dropped"]) == ("s1", "q1", True)
    assert content["taskset"] == FACTS
    page = made[PAGE_FILE]
    assert page.count("<mark>Who is the father of Karo Bel</mark>?") == 2
    assert "1 matches dropped, 0 kept" in page and "the same question" in page


def test_shared_words_are_marked_with_what_stands_between_them():
    shared = frozenset({"the father of", "father of karo", "bel"})
    assert pieces("Who's the father of Karo? Of Bel.", shared) == [
        ("Who's ", False),
        ("the father of Karo", True),
        ("? Of ", False),
        ("Bel", True),
        (".", False),
    ]
    assert pieces("", shared) == []
