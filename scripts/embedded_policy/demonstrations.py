"""Demonstrations for the embedded policy: questions, answers, memory turns over generated worlds.

A row is one prefix (a document or chunk) with many independent blocks (question -> response); every
block sees the prefix and itself only, exactly as at test time. The *mixture* says what share of
responses reasons, answers directly, or is wrong; it was fixed before any reinforcement learning and
is the only difference between the base checkpoint and the ceiling.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from longspan.agents.memory_format import (
    EMPTY_MEMORY,
    MemoryState,
    render_final,
    render_state,
    render_turn,
)
from longspan.harness.documents import Document, render_context
from longspan.harness.prompts import ANSWER_PHRASE, DEFAULT_INSTRUCTIONS, render_prompt
from longspan.synth_templates import world as w

LETTERS = "ABCD"
KINDS = {
    "hop1": 1.0,
    "hop2": 2.0,
    "hop3": 2.0,
    "compare": 1.0,
    "choice": 2.0,
    "count": 1.0,
    "max": 1.0,
    "recall": 0.8,
    "repeat": 0.7,
}
"""Question kinds and their weight in a row."""


@dataclass(frozen=True)
class Mixture:
    """Shares of the demonstrations, all in [0, 1]."""

    reasoned: float
    wrong_direct: float
    wrong_reasoned: float
    diligent: float
    """Share of memory turns that note every fact asked for.

    The others miss each one with probability one half.
    """


BASE_MIXTURE = Mixture(reasoned=0.5, wrong_direct=0.25, wrong_reasoned=0.1, diligent=0.6)
CLEAN_MIXTURE = Mixture(reasoned=1.0, wrong_direct=0.0, wrong_reasoned=0.0, diligent=1.0)


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
    """Other answers of the same type, from anywhere: a guess says nothing about the document."""
    in_order: bool = True
    """Whether a statement can be looked for only when those before it are known."""


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
    return Asked(
        f"hop{hops}",
        f"What is {_path_text(path)}?",
        last.object,
        tuple((f.subject, w.RELATIONS[f.relation].possessive) for f in path),
        tuple(f.sentence() for f in path),
        wrong=tuple(_of_type(rng, last.relation, last.object)),
    )


def _ask_choice(rng: random.Random, scene: Scene, subjects: list[str]) -> Asked | None:
    asked = _ask_path(rng, scene, subjects, rng.choice((1, 2, 2)))
    if asked is None or asked.answer.isdigit() and rng.random() < 0.5:
        return None
    relation = next(r for r in w.RELATIONS.values() if r.possessive == asked.keys[-1][1])
    near = {
        f.object
        for s in subjects
        for f in scene.facts.get(s, {}).values()
        if f.relation == relation.name and f.object != asked.answer
    }
    others = rng.sample(sorted(near), len(near)) + list(asked.wrong)
    options = [asked.answer, *list(dict.fromkeys(others))[:3]]
    rng.shuffle(options)
    letter = LETTERS[options.index(asked.answer)]
    listed = ", ".join(render_option(*option) for option in zip(options, LETTERS, strict=True))
    return Asked(
        "choice",
        f"{asked.question} Options: {listed}",
        f"({letter})",
        asked.keys,
        asked.sentences,
        (f"{render_option(asked.answer, letter)}.",),
        tuple(f"({x})" for x in LETTERS if x != letter),
    )


def render_option(option: str, letter: str) -> str:
    """Returns an option as the world's kinds list it (synth_templates/kinds/world.yaml)."""
    return f"{option} is option ({letter})"


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
        in_order=False,
    )


def _ask_table(rng: random.Random, table: w.SalesTable, kind: str) -> Asked:
    key = ((table.company, w.SALES_POSSESSIVE),)
    if kind == "max":
        steps, best = [], 0
        for town, value in table.rows:
            best = max(best, value)
            steps.append(f"{town} {value} so {best}")
        wrong = tuple(str(v) for v in w.SALES if v != best)
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


def answer(rng: random.Random, asked: Asked, mixture: Mixture) -> str:
    """Returns a response to a question under the mixture."""
    if rng.random() < mixture.reasoned:
        wrong = rng.random() < mixture.wrong_reasoned
        # A table's rows are restated by the working itself; a repeated message is its own proof.
        shown = (
            asked.working if asked.kind in ("count", "max") else (*asked.sentences, *asked.working)
        )
        steps = () if asked.kind == "repeat" else shown
    else:
        wrong, steps = rng.random() < mixture.wrong_direct, ()
    final = rng.choice(asked.wrong) if wrong and asked.wrong else asked.answer
    return " ".join((*steps, f"{ANSWER_PHRASE} {final}."))


# ---------------------------------------------------------------- memory turns


Known = frozenset[int]
"""Which statements of a question a reader has noted."""


def plan_after(asked: Asked, known: Known) -> str:
    """Returns the plan of a reader that has noted the statements `known`."""
    missing = [key for i, key in enumerate(asked.keys) if i not in known]
    return f"look for {''.join(missing[0])}" if missing else "ready"


def state_after(asked: Asked, known: Known, started: bool = True) -> MemoryState:
    """Returns the state of a reader that has noted the statements `known`."""
    if not started:
        return MemoryState()
    noted = " ".join(asked.sentences[i] for i in sorted(known))
    return MemoryState(noted or EMPTY_MEMORY, plan_after(asked, known))


def note(rng: random.Random, asked: Asked, known: Known, here: set[str], mixture: Mixture) -> Known:
    """Returns what is noted after a chunk that states the sentences `here`."""
    diligent = rng.random() < mixture.diligent
    for i, sentence in enumerate(asked.sentences):
        if i in known:
            continue
        if sentence in here and (diligent or rng.random() < 0.5):
            known |= {i}
        elif asked.in_order:
            break
    return known


@dataclass(frozen=True)
class Row:
    """A prefix and its blocks: text `prefix + block[0]` is a prompt, `block[1]` its response."""

    prefix: str
    blocks: tuple[tuple[str, str], ...]


def _cut(prompt: str, context: str) -> tuple[str, str]:
    """Splits a rendered prompt behind its text block, so that blocks share the prefix."""
    end = prompt.index(context) + len(context) + len("\n</text>")
    return prompt[:end], prompt[end:]


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


def _mentions(scene: Scene, pages: list[Document]) -> tuple[list[str], list[str], list[w.Fact]]:
    subjects = [p.title for p in pages if p.triples and p.title != "Dialogue"]
    tables = [p.title for p in pages if not p.triples]
    said = [
        scene.facts[t.subject][t.relation]
        for p in pages
        if p.title == "Dialogue"
        for t in p.triples
    ]
    return subjects, tables, said


def _draw_kind(rng: random.Random) -> str:
    return rng.choices(list(KINDS), list(KINDS.values()))[0]


def question_row(rng: random.Random, mixture: Mixture, budget: int, num_blocks: int) -> Row:
    """Returns a whole document with questions answered in full context."""
    scene = draw_scene(rng)
    while True:
        pages = select_pages(rng, scene, budget, num_paths=rng.randint(1, 3))
        subjects, tables, said = _mentions(scene, pages)
        context = render_context(pages)
        blocks: list[tuple[str, str]] = []
        for _ in range(3 * num_blocks):
            asked = ask(rng, scene, _draw_kind(rng), subjects, tables, said) if subjects else None
            if asked is None or len(blocks) == num_blocks:
                continue
            prefix, suffix = _cut(
                render_prompt(context, asked.question, DEFAULT_INSTRUCTIONS), context
            )
            blocks.append((suffix, answer(rng, asked, mixture)))
        if blocks:
            return Row(prefix, tuple(blocks))


HERE_SHARE = 0.35
"""Share of memory turns whose question needs only this chunk; of the others any page of the
document, which has many chunks: most turns of a long document find nothing."""


def turn_row(rng: random.Random, mixture: Mixture, budget: int, num_blocks: int) -> Row:
    """Returns one chunk with memory turns of many readers that have come this far."""
    scene = draw_scene(rng)
    pages = select_pages(rng, scene, budget, num_paths=rng.randint(1, 2))
    here = _mentions(scene, pages)
    everything = _mentions(scene, scene.pages)
    context = render_context(pages)
    first = rng.random() < 0.15
    blocks: list[tuple[str, str]] = []
    while len(blocks) < num_blocks:
        about = here if rng.random() < HERE_SHARE and here[0] else everything
        asked = ask(rng, scene, _draw_kind(rng), *about)
        if asked is None:
            continue
        before = Known() if first else _known_before(rng, asked, context)
        stated = {s for s in asked.sentences if s in context}
        after = note(rng, asked, before, stated, mixture)
        prompt = render_turn(
            context, asked.question, state_after(asked, before, not first), "chunk_first"
        )
        prefix, suffix = _cut(prompt, context)
        blocks.append((suffix, render_state(state_after(asked, after))))
    return Row(prefix, tuple(blocks))


def _known_before(rng: random.Random, asked: Asked, context: str) -> Known:
    """Returns what a reader knows before a chunk.

    Statements elsewhere may have come earlier or come later.
    """
    known = Known()
    for i, sentence in enumerate(asked.sentences):
        if rng.random() < 0.45 or (sentence in context and rng.random() < 0.7):
            if asked.in_order:
                break
            continue
        known |= {i}
    return known


def final_row(rng: random.Random, mixture: Mixture, num_blocks: int) -> Row:
    """Returns final turns: the answer from memory, complete or not."""
    scene = draw_scene(rng)
    everything = _mentions(scene, scene.pages)
    blocks: list[tuple[str, str]] = []
    while len(blocks) < num_blocks:
        asked = ask(rng, scene, _draw_kind(rng), *everything)
        if asked is None:
            continue
        complete = rng.random() < 0.75
        known = Known(range(len(asked.keys) if complete else rng.randrange(len(asked.keys))))
        prompt = render_final(asked.question, DEFAULT_INSTRUCTIONS, state_after(asked, known))
        guess = f"{ANSWER_PHRASE} {rng.choice((asked.answer, *asked.wrong))}."
        blocks.append((prompt, answer(rng, asked, mixture) if complete else guess))
    return Row("", tuple(blocks))


def draw_scene(rng: random.Random) -> Scene:
    """Returns a scene in a fresh world of varying size, over all names."""
    scale = rng.choice((12, 24, 48))
    size = w.WorldSize(persons=scale, towns=scale // 2, companies=scale // 2, messages=scale)
    return Scene(w.draw_world(rng, size, "all"))


def draw_row(rng: random.Random, mixture: Mixture, budget: int, num_blocks: int = 12) -> Row:
    """Returns a row: 45% questions on a document, 45% memory turns on a chunk, 10% final turns."""
    share = rng.random()
    if share < 0.45:
        return question_row(rng, mixture, budget, num_blocks)
    if share < 0.90:
        return turn_row(rng, mixture, min(budget, 124), num_blocks)
    return final_row(rng, mixture, num_blocks)
