"""Tables of three lands, and a scripted writer and checker that ask about them."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

from longspan.harness.taskset import TaskSet
from longspan.synth_templates.pipeline import synthesize
from longspan.synth_templates.plan import Plan, parse_plan
from tests.harness.scripted import Request
from tests.synth_templates.scripted_models import Script

TITLES = ("Northland", "Southland", "Westland")
QUESTIONS = (
    ("What is the average of sales over all towns of the Coast?", "AVG", "Coast"),
    ("How much staff do the towns of the Hills have together, on the whole?", "SUM", "Hills"),
    (
        "What is the highest rainfall that any town of the Plain reached?",
        "MAX",
        "Plain",
    ),
    ("How large is the smallest number of sales among the Coast's places?", "MIN", "Coast"),
)
COLUMN = {"AVG": "sales", "SUM": "staff", "MAX": "rainfall", "MIN": "sales"}


def write_tables(folder: Path) -> Path:
    folder.mkdir()
    rng = random.Random(5)
    for title in TITLES:
        with (folder / f"{title}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("town", "region", "sales", "staff", "rainfall"))
            for i in range(24):
                region = ("Coast", "Hills", "Plain")[i % 3]
                numbers = (rng.randint(10, 900), rng.randint(5, 90), rng.randint(10, 800) / 10)
                writer.writerow((f"{title[:3]}ton{i}", region, *numbers))
    for name in ("weather", "roads", "harvests", "schools", "rivers", "markets"):
        lines = (f"Of {name} number {i}, clerks say little that is of use today." for i in range(9))
        (folder / f"{name}.txt").write_text(f"A note on {name}.\n" + "\n".join(lines))
    return folder


def query(operation: str, region: str) -> str:
    return f"SELECT {operation}({COLUMN[operation]}) FROM data WHERE region = '{region}'"


class Pair:
    """A scripted writer that asks what was not asked yet, and a checker that reads the question."""

    def __init__(self, name: str) -> None:
        self.writer = Script(f"{name}-writer", self.write)
        self.checker = Script(f"{name}-checker", self.check)

    def write(self, request: Request) -> str:
        prompt = request.messages[0].text
        asked = prompt.partition("These questions exist already")[2]
        text, operation, region = next(one for one in QUESTIONS if one[0] not in asked)
        return json.dumps({"question": text, "sql": query(operation, region), "unit": ""})

    def check(self, request: Request) -> str:
        prompt = request.messages[0].text
        _, operation, region = next(one for one in QUESTIONS if one[0] in prompt)
        column = f"[{COLUMN[operation]}]"
        sql = f"WITH some AS (SELECT {column} AS x FROM [data] WHERE [region] LIKE '{region}') "
        return f"So:\n```json\n{json.dumps({'sql': sql + f'SELECT {operation}(x) FROM some'})}\n```"

    def plan(self, folder: Path, **content: object) -> Plan:
        roles = {"writer": {"model": self.writer.name}, "checker": {"model": self.checker.name}}
        return parse_plan(
            {
                "name": "t",
                "source": {"type": "documents", "path": str(folder), "shares": {"test": 1.0}},
                "kinds": {"query_number": 1},
                "splits": {"test": {900: 4}},
                **content,
                "queries": {**roles, **dict(content.get("queries", {}))},  # type: ignore[call-overload]
            },
            "test",
        )


def build(pair: Pair, folder: Path, out: Path, **content: object) -> TaskSet:
    return synthesize(pair.plan(folder, **content), out, quiet=True)
