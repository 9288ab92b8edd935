"""Needle in a haystack: every cell of the grid has its length and its depth."""

import random

import pytest
from pydantic import ValidationError

from longspan.harness.datasets.documents import render_context
from longspan.harness.datasets.generated.niah import (
    INSTRUCTIONS,
    NiahOptions,
    make_fact,
    niah_records,
)
from longspan.harness.errors import DataError
from longspan.harness.prompts import render_prompt
from longspan.harness.tokens import EstimatedTokens
from tests.harness.datasets.generated.material import essays
from tests.harness.words import WordTokens

TEXTS = essays()


def records(texts=TEXTS, counter=None, lengths=(600, 5000), **options):
    chosen = NiahOptions(lengths_tokens=lengths, **options)
    return niah_records(chosen, counter or EstimatedTokens(), texts)


def test_the_grid_is_repeats_by_lengths_by_depths():
    cells = [
        (r.extra["repeat"], r.extra["length_tokens"], r.extra["depth"])
        for r in records(num_depths=3, num_repeats=2)
    ]
    assert cells == [(r, n, d) for r in (0, 1) for n in (600, 5000) for d in (0.0, 0.5, 1.0)]


def test_a_seed_fixes_everything_and_another_seed_changes_every_context():
    first, again, other = records(), records(), records(seed=43)
    assert first == again
    contexts = [{render_context(r.documents) for r in some} for some in (first, other)]
    assert not contexts[0] & contexts[1]
    assert len({record.id for record in first}) == len(first)


@pytest.mark.parametrize("texts", [TEXTS, ()], ids=["essays", "noise"])
def test_the_answer_stands_once_and_at_its_depth(texts):
    for record in records(texts, lengths=(5000,), depths=(0, 0.25, 0.9, 1)):
        text = render_context(record.documents)
        (target,) = record.targets
        assert text.count(target) == 1 and target not in record.values["question"]
        assert text.index(target) / len(text) == pytest.approx(record.extra["depth"], abs=0.02)
        assert record.hops == 1


def test_cells_of_a_repeat_ask_for_the_same_fact_and_repeats_for_different_ones():
    asked = {}
    for record in records(num_repeats=3):
        asked.setdefault(record.extra["repeat"], set()).add(record.values["question"])
    assert all(len(questions) == 1 for questions in asked.values())
    assert len(set.union(*asked.values())) == 3


@pytest.mark.parametrize("counter", [EstimatedTokens(), WordTokens()], ids=lambda c: c.name)
@pytest.mark.parametrize("texts", [TEXTS, ()], ids=["essays", "noise"])
def test_prompt_answer_and_overhead_come_close_to_the_length_and_never_exceed_it(counter, texts):
    for record in records(texts, counter, lengths=(600, 5000, 30_000), num_depths=4):
        text = render_context(record.documents)
        used = counter.count(render_prompt(text, record.values["question"], INSTRUCTIONS))
        assert used == record.extra["prompt_tokens"]
        length = record.extra["length_tokens"]
        assert length - max(30, length / 1000) <= used + 128 + 32 <= length


def test_facts_are_complete_sentences_with_their_answer():
    for seed in range(30):
        fact = make_fact(random.Random(seed))
        assert fact.answer in fact.sentence and fact.sentence.endswith(".")
        assert fact.question.endswith("?") and "{" not in fact.sentence + fact.question


def test_a_length_without_room_is_an_error():
    with pytest.raises(DataError, match="too small for niah: got 300, of which 10 .* raise it"):
        records(lengths=(300,), answer_tokens=258)


@pytest.mark.parametrize(
    "options",
    [
        {"lengths_tokens": ()},
        {"lengths_tokens": (10,)},
        {"depths": (1.5,)},
        {"depths": ()},
        {"num_depths": 1},
        {"needles": 3},
    ],
)
def test_options_out_of_bounds_are_refused(options):
    with pytest.raises(ValidationError):
        NiahOptions(**{"lengths_tokens": (1000,), **options})
