"""Every kind of the fictional world: samples hold, answers are right, changes are caught."""

import random
from collections import Counter

import pytest

from longspan.harness.passport import Passport, RepeatProof
from longspan.harness.taskset import SampleRow
from longspan.harness.tokens import EstimatedTokens
from longspan.synth_templates.corpus import Corpus
from longspan.synth_templates.extend import Context, Distractors, extend
from longspan.synth_templates.kind_files import load_kinds
from longspan.synth_templates.questions import Worded, draw, word
from longspan.synth_templates.shapes.draft import Draft
from longspan.synth_templates.shapes.registry import DIALOGUE_SHAPES
from longspan.synth_templates.verify import check_passport

KINDS = load_kinds("fiction").by_name()
COUNTER = EstimatedTokens()


def samples(name: str, corpus: Corpus, num: int = 12, tokens: int = 2500) -> list[SampleRow]:
    kind, rows = KINDS[name], []
    for seed in range(400):
        rng = random.Random(seed)
        draft = draw(kind, corpus, rng)
        context = (
            extend(draft, corpus, tokens, COUNTER, rng, Distractors())
            if isinstance(draft, Draft)
            else None
        )
        if not isinstance(draft, Draft) or not isinstance(context, Context):
            continue
        worded = word(draft, corpus, context.documents, rng)
        if isinstance(worded, Worded):
            rows.append(row_of(draft, context, worded, seed))
        if len(rows) == num:
            break
    return rows


def row_of(draft: Draft, context: Context, worded: Worded, seed: int) -> SampleRow:
    return SampleRow(
        id=str(seed),
        split="train",
        kind=draft.kind.name,
        task_type=draft.kind.task_type,
        question=worded.question,
        target=(worded.target,),
        scorer=draft.kind.scorer,
        documents=tuple(document.id for document in context.documents),
        document_group="f",
        seed=seed,
        passport=Passport(
            evidence=draft.all_evidence,
            proof=draft.proof,
            options=worded.options,
            obfuscations=draft.obfuscations,
        ),
    )


def edited(row: SampleRow, **changes: object) -> SampleRow:
    proof = row.passport.proof.model_copy(update=changes)
    return row.model_copy(update={"passport": row.passport.model_copy(update={"proof": proof})})


@pytest.mark.parametrize("name", KINDS)
def test_samples_of_every_kind_hold(name: str, fiction: Corpus):
    rows = samples(name, fiction)
    assert len(rows) >= 3
    for row in rows:
        assert check_passport(row, fiction) == [], row.question
        assert row.question[0].isupper() and "  " not in row.question and "{" not in row.question


@pytest.mark.parametrize("name", KINDS)
def test_a_wrong_target_is_caught(name: str, fiction: Corpus):
    for row in samples(name, fiction, 3):
        wrong = row.model_copy(update={"target": ("Nobody",)})
        assert any("the proof gives" in problem for problem in check_passport(wrong, fiction))


@pytest.mark.parametrize("name", KINDS)
def test_a_moved_span_is_caught(name: str, fiction: Corpus):
    for row in samples(name, fiction, 3):
        spans = list(row.passport.evidence)
        end = spans[0].end - 2
        text = fiction.by_id[spans[0].document].text[spans[0].start : end]
        spans[0] = spans[0].model_copy(update={"end": end, "quote": text[-9:]})
        passport = row.passport.model_copy(update={"evidence": tuple(spans)})
        assert check_passport(row.model_copy(update={"passport": passport}), fiction)


@pytest.mark.parametrize("name", [n for n, k in KINDS.items() if k.shape in DIALOGUE_SHAPES])
def test_sessions_stand_alone_and_in_order_of_time(name: str, fiction: Corpus):
    for row in samples(name, fiction, 4):
        assert fiction.sessions.in_order(row.documents)
        turned = row.model_copy(update={"documents": row.documents[::-1]})
        assert any("order of time" in problem for problem in check_passport(turned, fiction))


def test_pages_never_share_a_context_with_sessions(fiction: Corpus):
    for row in samples("fiction_hop2", fiction, 5):
        assert not set(row.documents) & set(fiction.sessions.place)


def test_no_question_about_pages_uses_what_a_dialogue_says(fiction: Corpus):
    users = {document.id for document in fiction.sessions.documents}
    edges = [
        edge.document
        for by_relation in fiction.graph.edges.values()
        for found in by_relation.values()
        for edge in found
    ]
    assert edges and not users & set(edges)


@pytest.mark.parametrize(
    ("name", "compute"),
    [
        ("fiction_sum", lambda values, amount: sum(values)),
        ("fiction_spread", lambda values, amount: max(values) - min(values)),
        ("fiction_count_above", lambda values, amount: sum(v > amount for v in values)),
        ("fiction_count_before", lambda values, amount: sum(v < amount for v in values)),
        ("fiction_shifted_year", lambda values, amount: values[0] + amount),
    ],
)
def test_arithmetic_agrees_with_the_documents(name: str, compute, fiction: Corpus):
    for row in samples(name, fiction):
        proof = row.passport.proof
        said = [side[-1].object for side in proof.sides]
        values = [int(text.split()[-1].replace(",", "")) for text in said]
        assert int(row.target[0]) == compute(values, proof.amount)


def test_a_shift_changes_the_order_about_half_the_time(fiction: Corpus):
    answers = Counter()
    for row in samples("fiction_grown", fiction, 100):
        sides = [side[-1] for side in row.passport.proof.sides]
        values = [int(step.object.replace(",", "")) for step in sides]
        stated = sides[values.index(max(values))].subject
        answers[row.target[0] == stated] += 1
    assert 0.25 < answers[True] / answers.total() < 0.75


def test_a_changed_amount_is_caught(fiction: Corpus):
    for row in samples("fiction_shifted_year", fiction, 3):
        assert check_passport(edited(row, amount=row.passport.proof.amount + 1), fiction)


def test_recall_agrees_with_the_order_of_what_was_said(fiction: Corpus):
    for name, pick in (("dialogue_latest", -1), ("dialogue_original", 0)):
        for row in samples(name, fiction):
            assert row.target[0] == row.passport.proof.steps[pick].object
    for row in samples("dialogue_changes", fiction):
        values = [step.object for step in row.passport.proof.steps]
        changes = sum(a != b for a, b in zip(values, values[1:], strict=False))
        assert row.target == (str(changes),)


def test_an_update_that_a_proof_leaves_out_is_caught(fiction: Corpus):
    for row in samples("dialogue_latest", fiction, 5):
        passport, proof = row.passport, row.passport.proof
        shorter = edited(row, steps=proof.steps[:-1])
        shorter = shorter.model_copy(
            update={
                "target": (proof.steps[-2].object,),
                "passport": shorter.passport.model_copy(
                    update={"evidence": passport.evidence[:-1]}
                ),
            }
        )
        assert any("all that was said" in p for p in check_passport(shorter, fiction))


def test_a_proof_about_something_else_than_the_question_is_caught(fiction: Corpus):
    rows = samples("dialogue_latest", fiction)
    relations = [row.passport.proof.steps[0].relation for row in rows]
    other = next(i for i, relation in enumerate(relations) if relation != relations[0])
    swapped = rows[0].model_copy(update={"question": rows[other].question})
    assert any("does not name" in problem for problem in check_passport(swapped, fiction))


def test_another_reply_is_not_the_one_that_was_asked_for(fiction: Corpus):
    for row in samples("dialogue_repeat_prefixed", fiction, 4):
        proof = row.passport.proof
        assert isinstance(proof, RepeatProof)
        assert row.target[0].startswith(proof.prefix) and proof.prefix in row.question
        other = proof.position % len(proof.documents) + 1
        assert check_passport(edited(row, position=other), fiction)
        assert check_passport(edited(row, position=99), fiction)
        assert check_passport(edited(row, prefix="abcdefghij"), fiction)


@pytest.mark.parametrize("name", [n for n, k in KINDS.items() if k.shape in DIALOGUE_SHAPES])
def test_a_proof_that_points_outside_the_dialogue_is_a_problem_and_no_crash(name, fiction: Corpus):
    for row in samples(name, fiction, 2):
        proof = row.passport.proof
        if isinstance(proof, RepeatProof):
            broken = edited(row, documents=("nowhere", *proof.documents[1:]))
        else:
            first = proof.steps[0].model_copy(update={"document": "nowhere"})
            broken = edited(row, steps=(first, *proof.steps[1:]))
        assert check_passport(broken, fiction)


def test_a_date_that_does_not_exist_is_a_problem_and_no_crash(fiction: Corpus):
    row = samples("dialogue_days_between", fiction, 1)[0]
    wrong = {row.passport.proof.steps[0].document}
    documents = [
        d.model_copy(update={"title": f"{d.title.split(',')[0]}, 31 February 2031"})
        if d.id in wrong
        else d
        for d in fiction.documents
    ]
    damaged = Corpus("f", documents, fiction.lexicon)
    assert any("no date" in problem for problem in check_passport(row, damaged))


def test_options_never_hold_what_the_question_names(fiction: Corpus):
    for row in samples("fiction_choice_cause", fiction, 10):
        asked = row.question.partition("?")[0]
        assert not any(option in asked for option in row.passport.options)
