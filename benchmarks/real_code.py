"""Questions over the standard library: how many are verified, how fast, and some to read.

    python benchmarks/real_code.py [FOLDER] [--num-samples 1000] [--read 40]

Without a folder the standard library of the running interpreter is read, without its tests and
without what `pip` installed. There facts of the code graph are also compared with what the
interpreter itself says of its objects (`inspect`), which knows nothing of the graph. Prints the
figures; `--out` keeps the task set, and beside it `questions.txt` with a seeded sample to read.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import random
import shutil
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from longspan.harness.datasets.document_files import read_documents
from longspan.harness.taskset import TaskSet
from longspan.synth_templates.code.graph import CodeStatement, code_statements
from longspan.synth_templates.kind_files import load_kinds
from longspan.synth_templates.pipeline import synthesize
from longspan.synth_templates.plan import parse_plan
from longspan.synth_templates.verify import check_taskset

TOKENS = 32_768
LEFT_OUT = {"site-packages", "test", "tests", "idlelib", "lib2to3", "turtledemo", "ensurepip"}
NOT_IMPORTED = {"antigravity", "this", "tkinter", "turtle", "__main__", "msilib", "idlelib"}
"""Modules that do something when they are imported, or need a display."""


def main() -> None:
    """Builds and checks a task set over Python sources."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--num-samples", type=int, default=1000)
    parser.add_argument("--read", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        docs = arguments.folder or collect(Path(scratch) / "docs")
        out = arguments.out or Path(scratch) / "code"
        started = time.process_time()
        taskset = build(docs, out, arguments.num_samples, arguments.seed)
        built = time.process_time()
        problems = check_taskset(taskset)
        print(f"built in {built - started:.1f} s, checked in {time.process_time() - built:.1f} s")
        report(taskset, problems)
        if arguments.folder is None:
            compare(code_statements(read_documents(docs).documents))
        write_sample(taskset, out.with_name("questions.txt"), arguments.read, arguments.seed)


def collect(docs: Path) -> Path:
    """Returns a folder with the sources of the standard library."""
    library = Path(sysconfig.get_paths()["stdlib"])
    for file in sorted(library.rglob("*.py")):
        place = file.relative_to(library)
        if LEFT_OUT.isdisjoint(place.parts):
            (docs / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, docs / place)
    return docs


def build(docs: Path, out: Path, num_samples: int, seed: int) -> TaskSet:
    """Returns a task set of all kinds over code."""
    kinds = {k.name: k.share for k in load_kinds("documents").kinds if k.paradigm == "code"}
    plan = {
        "name": "code",
        "seed": seed,
        "source": {"type": "documents", "path": docs, "shares": {"train": 1.0}},
        "splits": {"train": {TOKENS: num_samples}},
        "kinds": kinds,
    }
    return synthesize(parse_plan(plan, "code"), out)


def report(taskset: TaskSet, problems: dict[str, list[str]]) -> None:
    """Prints the figures of a task set."""
    rows = taskset.rows()
    hops = Counter(row.hops for row in rows)
    print(f"documents: {taskset.manifest['source']['documents']}")
    print(f"verified: {len(rows) - len(problems)} of {len(rows)}")
    print(f"hops: {dict(sorted(hops.items(), key=str))}; kinds: {len({r.kind for r in rows})}")


def compare(statements: list[CodeStatement]) -> None:
    """Prints in how many facts the interpreter agrees."""
    agreed: Counter[str] = Counter()
    differing: dict[str, list[str]] = {}
    for statement in statements:
        relation, *detail = statement.relation.split("/")
        if statement.span is None or relation not in READ:
            continue
        try:
            found = READ[relation](find(statement.subject), *detail)
        except (LookupError, AttributeError, TypeError, ValueError):
            continue  # not importable here, or not an object of Python
        if found == statement.object or found == value_of(statement.object):
            agreed[relation] += 1
        else:
            differing.setdefault(relation, []).append(statement.subject)
    for relation, num in agreed.items():
        others = differing.get(relation, [])
        print(f"{relation}: {num} as the interpreter says, {len(others)} not: {others[:8]}")


def find(name: str) -> Any:
    """Returns the object of a dotted name.

    Raises:
        LookupError: there is none in this interpreter, or its module is not imported here.
    """
    parts = name.split(".")
    for num in range(len(parts), 0, -1):
        module = ".".join(parts[:num])
        if NOT_IMPORTED.isdisjoint(parts[:num]) and module in sys.modules:
            found: Any = sys.modules[module]
            for part in parts[num:]:
                found = getattr(found, part)
            return found
    try:
        if parts[0] in sys.stdlib_module_names and NOT_IMPORTED.isdisjoint(parts):
            importlib.import_module(parts[0])
            return find(name) if parts[0] in sys.modules else None
    except ImportError as error:
        raise LookupError(name) from error
    raise LookupError(name)


def value_of(text: str) -> object:
    """Returns the value that a text writes, the text itself where it is none."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


READ: dict[str, Any] = {
    "code_num_parameters": lambda o: len(inspect.signature(o, follow_wrapped=False).parameters),
    "code_default": lambda o, name: inspect.signature(o).parameters[name].default,
    "code_value": lambda o, name: vars(o)[name],
}
"""Relation -> how the interpreter says it."""


def write_sample(taskset: TaskSet, place: Path, num: int, seed: int) -> None:
    """Writes a seeded sample of questions with their evidence."""
    rows = taskset.rows()
    lines = []
    for row in random.Random(seed).sample(rows, min(num, len(rows))):
        lines.append(f"{row.kind}: {row.question}\n-> {row.target[0]}")
        for span in row.passport.evidence if row.passport else ():
            title = taskset.documents[span.document].title
            lines.append(f"   {title}: {' '.join(span.quote.split())[:300]}")
    place.write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
