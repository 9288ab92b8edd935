"""References: the log is small, the model reads everything, and no text can forge one."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inspect_ai.model import ChatMessageUser, GenerateConfig, get_model

from longspan.harness.errors import DataError
from longspan.harness.references import (
    StoredText,
    expand,
    expands_references,
    original_text,
    refer,
    text_sha256,
)
from tests.harness.scripted import SCRIPTS, scripted_model

CONTEXT = "Kukton lies by the sea. " * 40 + "Brem is its mayor."


def test_a_passage_is_replaced_and_put_in_again() -> None:
    document = StoredText(CONTEXT)
    message = ChatMessageUser(content=f"Read: {CONTEXT} Who?", metadata={"turn": 1})
    referring = refer(message, document, [(0, len(CONTEXT))])
    assert len(referring.text) < 100 and "Kukton" not in referring.text
    (expanded,) = expand([referring])
    assert expanded.text == message.text
    assert expanded.metadata == {"turn": 1}


@given(
    context=st.text(min_size=1),
    cuts=st.lists(st.integers(0, 50), min_size=2, max_size=6),
    before=st.text(),
    after=st.text(),
)
def test_expansion_undoes_reference_whatever_the_text(
    context: str, cuts: list[int], before: str, after: str
) -> None:
    document = StoredText(context)
    ends = sorted(min(cut, len(context)) for cut in cuts)
    passages = list(zip(ends[::2], ends[1::2], strict=False))
    text = before + "|".join(context[a:b] for a, b in passages) + after
    (expanded,) = expand([refer(ChatMessageUser(content=text), document, passages)])
    assert expanded.text == text


def test_a_text_that_looks_like_a_reference_is_only_text() -> None:
    document = StoredText(CONTEXT)
    mark = refer(ChatMessageUser(content=CONTEXT), document, [(0, len(CONTEXT))]).text
    forged = ChatMessageUser(content=f"{mark} and {CONTEXT}")
    assert expand([forged])[0].text == forged.text
    referring = refer(forged, document, [(0, len(CONTEXT))])
    assert expand([referring])[0].text == forged.text


def test_a_message_without_the_passage_stays_as_it_is() -> None:
    message = ChatMessageUser(content="nothing of it")
    assert refer(message, StoredText(CONTEXT), [(0, 5)]) is message


def test_a_document_that_nobody_reads_any_more_is_an_error_in_one_line() -> None:
    document = StoredText("A document of its own.")
    referring = refer(ChatMessageUser(content="A document of its own."), document, [(0, 10)])
    del document
    with pytest.raises(DataError, match="no document with sha256"):
        expand([referring])


def test_a_log_is_read_again_with_its_samples_context() -> None:
    message = ChatMessageUser(content=f"Read: {CONTEXT}")
    referring = refer(message, StoredText(CONTEXT), [(0, len(CONTEXT))])
    assert original_text(referring, CONTEXT) == message.text
    assert original_text(message, "anything") == message.text
    with pytest.raises(DataError, match="the sample's context is another"):
        original_text(referring, CONTEXT + ".")


def test_the_hash_is_sha256_of_utf8_at_any_length() -> None:
    for text in ("", "é", "é" * 1_500_000):
        assert text_sha256(text) == hashlib.sha256(text.encode()).hexdigest()
    assert text_sha256("\ud800") != text_sha256("\udfff")


async def _ask(model: Any, message: ChatMessageUser) -> str:
    return (await model.generate([message], config=GenerateConfig())).completion


def test_the_wrapper_is_the_provider_with_expanded_messages() -> None:
    SCRIPTS["inner"] = lambda call: f"read {len(call.prompt)} characters"
    wrapped = get_model("longspan-ref/scripted/inner", memoize=False)
    plain = scripted_model(lambda _: "", "plain")
    document = StoredText(CONTEXT)
    referring = refer(ChatMessageUser(content=CONTEXT), document, [(0, len(CONTEXT))])
    assert expands_references(wrapped) and not expands_references(plain)
    assert asyncio.run(_ask(wrapped, referring)) == f"read {len(CONTEXT)} characters"
    assert str(wrapped).endswith("longspan-ref/scripted/inner")
    vars(wrapped.api.inner).update(window=99, max_connections=lambda: 7)  # type: ignore[attr-defined]
    assert wrapped.api.max_connections() == 7 and wrapped.api.window == 99  # type: ignore[attr-defined]
    assert asyncio.run(wrapped.api.count_text_tokens("12345678")) == 2
