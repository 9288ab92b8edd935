"""The rule of a middle cut, to the token, beside that of the paper's reference code."""

from __future__ import annotations

import pytest

from longspan.agents.full_context import cut_prompt, fit_prompt
from longspan.agents.query import Query

CONTEXT = "0123456789abcdefghijklmnopqrstuvwxyz" * 10


class Characters:
    """Every character is a token, so decoding is verbatim and lengths can be counted by hand."""

    name = "characters"
    exact = True

    def encode(self, text: str) -> list[int]:
        return [ord(character) for character in text]

    def decode(self, ids: list[int]) -> str:
        return "".join(map(chr, ids))

    def count(self, text: str) -> int:
        return len(text)


def query() -> Query:
    return Query("Who won?", "End with the answer.", CONTEXT, (), (), is_plain=False)


def reference(prompt: str, num: int) -> str:
    """QwenLong-L1 and LongBench-V2: `ids[:M//2] + ids[-M//2:]` of the whole prompt.

    `-M//2` is floor(-M / 2): an odd M leaves the tail one token more than the head.
    """
    return prompt if len(prompt) <= num else prompt[: num // 2] + prompt[-num // 2 :]


@pytest.mark.parametrize("room", [300, 301, 302, 403])
@pytest.mark.parametrize("overhead", [0, 7])
def test_only_the_context_is_cut_to_what_question_and_template_leave(room, overhead):
    frame = len(query().prompt("")) + overhead
    budget = room - frame
    prompt, cut, num_tokens = fit_prompt(query(), room, overhead, Characters(), "middle")
    head, tail = CONTEXT[: budget // 2], CONTEXT[len(CONTEXT) - (budget - budget // 2) :]
    assert prompt == query().prompt(head + tail)
    assert len(tail) - len(head) == budget % 2
    assert (num_tokens, cut.tokens_kept) == (room, budget)


@pytest.mark.parametrize("room", [400, 401])
def test_the_reference_cuts_the_whole_prompt_so_its_seam_is_elsewhere(room):
    whole = query().prompt(CONTEXT)
    theirs = reference(whole, room)
    ours, _, _ = fit_prompt(query(), room, 0, Characters(), "middle")
    assert len(theirs) == len(ours) == room
    assert theirs.endswith(whole[-60:]) and ours.endswith(whole[-60:])
    before, after = whole.split(CONTEXT)
    kept_head = room // 2 - len(before)  # of the context, in the reference's prompt
    kept_tail = room - room // 2 - len(after)
    assert theirs == before + CONTEXT[:kept_head] + CONTEXT[-kept_tail:] + after
    assert kept_head + kept_tail == room - len(before) - len(after)  # as many tokens as ours
    assert ours != theirs and abs(kept_head - kept_tail) > 1  # but theirs are not half and half


def test_the_reference_cuts_into_a_long_question_and_ours_does_not():
    asked = Query("Why? " * 60, "End with the answer.", CONTEXT, (), (), is_plain=False)
    room = 450
    theirs = reference(asked.prompt(CONTEXT), room)
    ours, _, _ = fit_prompt(asked, room, 0, Characters(), "middle")
    assert asked.question.strip() not in theirs and asked.question.strip() in ours


def test_a_prompt_that_fits_is_not_touched():
    whole = query().prompt(CONTEXT)
    prompt, cut, _ = fit_prompt(query(), len(whole), 0, Characters(), "middle")
    assert prompt == whole == reference(whole, len(whole)) and cut.tokens_dropped == 0


@pytest.mark.parametrize("num", [59, 60, 299, 300, 301, 10_000])
def test_on_request_the_whole_prompt_is_cut_as_the_reference_does(num):
    whole = query().prompt(CONTEXT)
    prompt, left = cut_prompt(query(), num, Characters(), "middle")
    assert prompt == reference(whole, num)
    kept = "".join(CONTEXT[a:b] for a, b in left.kept_ranges)
    assert (kept == "") == (num < 100) and kept in prompt.replace("\n", "")
    assert left.tokens_before == len(whole) and left.tokens_kept == min(num, len(whole))
    assert cut_prompt(query(), None, Characters(), "middle")[0] == whole
