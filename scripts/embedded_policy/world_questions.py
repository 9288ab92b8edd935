"""Questions over a generated world for the embedded policy, each with the statements it needs.

They repeat the kinds and wordings of `synth_templates/kinds/world.yaml`. Here a question is asked
about given pages, without building a task set: training draws millions.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from longspan.harness.datasets.documents import Document
from longspan.synth_templates.worlds import world as w

LETTERS = "ABCD"
KINDS = {
    "hop1": 1.0,
    "hop2": 2.0,
    "hop3": 2.0,
    "compare": 1.0,
    "choice": 1.5,
    "count": 1.0,
    "max": 1.0,
    "recall": 0.8,
    "repeat": 0.7,
}
"""Question kinds and their weight in a row."""


@dataclass(frozen=True)
class Asked:
    """A question with its proof: the statements it needs, in order, and the answer."""

    kind: str
    question: str
    answer: str
    keys: tuple[tuple[str, str], ...]
    """(subject, possessive) of each statement needed, in the order of the proof."""
    sentences: tuple[str, ...]
    """The statement for each key."""
    working: tuple[str, ...] = ()
    """Steps after the statements (running maximum, numbered rows, the option)."""
    wrong: tuple[str, ...] = ()
    """Other answers of the same type."""


@dataclass
class Scene:
    """A drawn world with look-up tables."""

    world: w.World
    facts: dict[str, dict[str, w.Fact]] = field(default_factory=dict)
    pages: list[Document] = field(default_factory=list)

    def __post_init__(self) -> None:
        for fact in (*self.world.facts, *self.world.messages):
            self.facts.setdefault(fact.subject, {})[fact.relation] = fact
        self.pages = self.world.documents()
        self.tables = {table.company: table for table in self.world.tables}


def ask(
    rng: random.Random,
    scene: Scene,
    kind: str,
    subjects: list[str],
    tables: list[str],
    said: list[w.Fact],
) -> Asked | None:
    """Returns a question of `kind` about the given pages and messages, or None where none fits."""
    if kind in ("hop1", "hop2", "hop3"):
        return _ask_path(rng, scene, subjects, int(kind[-1]))
    if kind == "choice":
        return _ask_choice(rng, scene, subjects)
    if kind == "compare":
        return _ask_compare(rng, scene, subjects)
    if kind in ("count", "max"):
        return _ask_table(rng, scene.tables[rng.choice(tables)], kind) if tables else None
    return _ask_message(rng, rng.choice(said), kind) if said else None


def draw_path(
    rng: random.Random, scene: Scene, subjects: list[str], hops: int
) -> list[w.Fact] | None:
    """Returns a path whose facts are all stated on the pages of `subjects`."""
    inside = set(subjects)
    for _ in range(20):
        subject, path, seen = rng.choice(subjects), [], set()
        for hop in range(hops):
            seen.add(subject)
            options = [
                f
                for f in scene.facts.get(subject, {}).values()
                if f.relation not in _MESSAGES
                and f.object not in seen
                and (hop == hops - 1 or f.object in inside)
            ]
            if not options:
                break
            path.append(rng.choice(options))
            subject = path[-1].object
        if len(path) == hops:
            return path
    return None


_MESSAGES = {r.name for r in w.MESSAGE_RELATIONS}


def _path_text(path: list[w.Fact]) -> str:
    return path[0].subject + "".join(w.RELATIONS[f.relation].possessive for f in path)


def _of_type(rng: random.Random, relation: str, not_this: str, count: int = 6) -> list[str]:
    kind = w.RELATIONS[relation].object
    if kind == "number":
        pool = [str(n) for n in w.AGES]
    elif kind == "colour":
        pool = list(w.COLOURS)
    else:
        pool = list(w.NAMES[kind])
    return [name for name in rng.sample(pool, count) if name != not_this]


def _ask_path(rng: random.Random, scene: Scene, subjects: list[str], hops: int) -> Asked | None:
    path = draw_path(rng, scene, subjects, hops)
    if path is None:
        return None
    last = path[-1]
    near = [
        f.object
        for s in subjects
        for f in scene.facts.get(s, {}).values()
        if f.relation == last.relation
    ]
    wrong = [x for x in near if x != last.object] or _of_type(rng, last.relation, last.object)
    return Asked(
        f"hop{hops}",
        f"What is {_path_text(path)}?",
        last.object,
        tuple((f.subject, w.RELATIONS[f.relation].possessive) for f in path),
        tuple(f.sentence() for f in path),
        wrong=tuple(wrong),
    )


def _ask_choice(rng: random.Random, scene: Scene, subjects: list[str]) -> Asked | None:
    asked = _ask_path(rng, scene, subjects, rng.choice((1, 2, 2)))
    if asked is None or asked.answer.isdigit() and rng.random() < 0.5:
        return None
    others = list(dict.fromkeys(asked.wrong))
    rng.shuffle(others)
    relation = next(r for r in w.RELATIONS.values() if r.possessive == asked.keys[-1][1])
    for name in _of_type(rng, relation.name, asked.answer, 8):
        if len(others) < 3 and name not in others:
            others.append(name)
    options = [asked.answer, *others[:3]]
    rng.shuffle(options)
    letter = LETTERS[options.index(asked.answer)]
    listed = ", ".join(f"{name} ({x})" for name, x in zip(options, LETTERS, strict=True))
    return Asked(
        "choice",
        f"{asked.question} Options: {listed}",
        f"({letter})",
        asked.keys,
        asked.sentences,
        (f"{asked.answer} ({letter}).",),
        tuple(f"({x})" for x in LETTERS if x != letter),
    )


def _ask_compare(rng: random.Random, scene: Scene, subjects: list[str]) -> Asked | None:
    ages = [f for s in subjects for f in scene.facts.get(s, {}).values() if f.relation == "age"]
    if len(ages) < 2:
        return None
    first, second = rng.sample(ages, 2)
    if first.object == second.object:
        return None
    older, younger = sorted((first, second), key=lambda f: -int(f.object))
    possessive = w.RELATIONS["age"].possessive
    return Asked(
        "compare",
        f"Who is older, {first.subject} or {second.subject}?",
        older.subject,
        ((first.subject, possessive), (second.subject, possessive)),
        (first.sentence(), second.sentence()),
        wrong=(younger.subject,),
    )


def _ask_table(rng: random.Random, table: w.SalesTable, kind: str) -> Asked:
    key = ((table.company, w.SALES_POSSESSIVE),)
    if kind == "max":
        steps, best = [], 0
        for town, value in table.rows:
            best = max(best, value)
            steps.append(f"{town} {value} so {best}")
        wrong = tuple(str(v) for _, v in table.rows if v != best)
        question = f"What is the highest of {table.company}'s sales?"
        return Asked(
            kind, question, str(best), key, (table.sentence(),), ("; ".join(steps) + ".",), wrong
        )
    threshold = rng.choice(list(w.SALES)[1:-1])
    above = [(town, value) for town, value in table.rows if value > threshold]
    rows = "; ".join(f"{i} {town} {value}" for i, (town, value) in enumerate(above, 1)) or "none"
    wrong = tuple(str(n) for n in range(len(table.rows) + 1) if n != len(above))
    question = f"In how many towns are {table.company}'s sales above {threshold}?"
    return Asked(kind, question, str(len(above)), key, (table.sentence(),), (rows + ".",), wrong)


def _ask_message(rng: random.Random, fact: w.Fact, kind: str) -> Asked:
    relation = w.RELATIONS[fact.relation]
    path = f"{fact.subject}{relation.possessive}"
    key = ((fact.subject, relation.possessive),)
    others = _of_type(rng, fact.relation, fact.object)
    if kind == "recall":
        return Asked(
            kind, f"What was {path}?", fact.object, key, (fact.sentence(),), wrong=tuple(others)
        )
    wrong = tuple(w.Fact(fact.relation, fact.subject, x).sentence()[:-1] for x in others)
    return Asked(
        kind, f"Repeat {path}.", fact.sentence()[:-1], key, (fact.sentence(),), wrong=wrong
    )


def draw_scene(rng: random.Random) -> Scene:
    """Returns a scene in a fresh world of varying size, over all names."""
    scale = rng.choice((12, 24, 48))
    size = w.WorldSize(persons=scale, towns=scale // 2, companies=scale // 2, messages=scale)
    return Scene(w.draw_world(rng, size, "all"))


def select_pages(rng: random.Random, scene: Scene, budget: int, num_paths: int) -> list[Document]:
    """Returns pages of connected paths, tables, dialogues and others, of about `budget` tokens."""
    by_title: dict[str, Document] = {}
    others: list[Document] = []
    for page in scene.pages:
        if page.triples and page.title != "Dialogue":
            by_title[page.title] = page
        else:
            others.append(page)
    subjects = list(by_title)
    wanted: list[Document] = []
    for _ in range(num_paths):
        path = draw_path(rng, scene, subjects, 3)
        wanted += [by_title[f.subject] for f in path or []]
    wanted += rng.sample(others, min(2, len(others)))
    rest = [page for page in scene.pages if page not in wanted]
    rng.shuffle(rest)
    chosen: dict[str, Document] = {}
    used = 0
    for page in [*wanted, *rest]:
        size = page_tokens(page)
        if page.id not in chosen and used + size <= budget:
            chosen[page.id] = page
            used += size
    pages = list(chosen.values())
    rng.shuffle(pages)
    return pages


def page_tokens(page: Document) -> int:
    """Returns the tokens of a page: its title, 4 per statement, 3 per table row and 2 more."""
    if page.triples:
        return 1 + 4 * len(page.triples)
    return 3 + 3 * (page.text.count(";") + 1)


def mentions(scene: Scene, pages: list[Document]) -> tuple[list[str], list[str], list[w.Fact]]:
    """Returns what pages can be asked about: subjects of facts, sales tables, messages."""
    subjects = [p.title for p in pages if p.triples and p.title != "Dialogue"]
    tables = [p.title for p in pages if not p.triples]
    said = [
        scene.facts[t.subject][t.relation]
        for p in pages
        if p.title == "Dialogue"
        for t in p.triples
    ]
    return subjects, tables, said


def draw_kind(rng: random.Random) -> str:
    """Returns a question kind by its weight."""
    return rng.choices(list(KINDS), list(KINDS.values()))[0]
