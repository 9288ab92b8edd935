"""References to a document in messages: a log holds where a passage stands, not the passage.

A message that shows a passage of its sample's context says in its text which characters it stands
for, and in its metadata where in that text (`REFERENCES_KEY`) and of which document (sha256). The
passage is put in again inside the model's provider, after Inspect has logged the message: by our
own providers, and by `longspan-ref/<provider>/<model>` for every other. Places are taken from the
metadata alone, so a text that looks like a reference is only text.

A document is held here while somebody reads it (weakly), and is found again from a log by its
sample's metadata: see `original_text`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakValueDictionary

from inspect_ai.model import (
    ChatMessage,
    ChatMessageUser,
    GenerateConfig,
    Model,
    ModelAPI,
    get_model,
)

from longspan.harness.datasets.documents import ContextText
from longspan.harness.errors import DataError

REFERENCES_KEY = "longspan:passages"
"""Key of a message's metadata with its passages."""
_BLOCK_CHARS = 1 << 20


class StoredText:
    """A document that messages may refer to, for as long as someone holds this object."""

    def __init__(self, text: str | ContextText) -> None:
        self.text = text
        self.sha256 = text_sha256(text)
        _TEXTS[self.sha256] = self


_TEXTS: WeakValueDictionary[str, StoredText] = WeakValueDictionary()


def stored_text(text: str | ContextText) -> StoredText:
    """Returns the document of a text: the one that others hold already, else a new one."""
    return _TEXTS.get(text_sha256(text)) or StoredText(text)


def text_sha256(text: str | ContextText) -> str:
    """Returns the sha256 of a text in UTF-8, encoded block by block."""
    digest = hashlib.sha256()
    for start in range(0, len(text), _BLOCK_CHARS):
        block = text[start : start + _BLOCK_CHARS]
        digest.update(block.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def refer(
    message: ChatMessageUser, document: StoredText, passages: Sequence[tuple[int, int]]
) -> ChatMessageUser:
    """Returns the message with passages [start, end) of a document replaced by references.

    A passage that does not stand in the message stays out of it; of one that stands there several
    times the first is taken, which after expansion makes no difference.
    """
    text, places, done = message.text, [], 0
    parts: list[str] = []
    length = 0
    for start, end in passages:
        passage = document.text[start:end]
        at = text.find(passage, done)
        if at < 0 or not passage:
            continue
        mark = f"[characters {start} to {end} of {document.sha256[:12]}]"
        parts += [text[done:at], mark]
        length += at - done
        places.append({"at": length, "length": len(mark), "start": start, "end": end})
        length += len(mark)
        done = at + len(passage)
    if not places:
        return message
    reference = {"sha256": document.sha256, "places": places}
    metadata = {**(message.metadata or {}), REFERENCES_KEY: reference}
    content = "".join([*parts, text[done:]])
    return message.model_copy(update={"content": content, "metadata": metadata})


def expand(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Returns the messages with every passage in its place.

    Raises:
        DataError: a document that is referred to is not held in this process.
    """
    return [_expanded(message) for message in messages]


def original_text(message: ChatMessage, context: str | ContextText) -> str:
    """Returns what a logged message said to the model, given its sample's context.

    Raises:
        DataError: the context is not the document that the message refers to.
    """
    reference = (message.metadata or {}).get(REFERENCES_KEY)
    if not isinstance(reference, Mapping):
        return message.text
    if message.text.startswith("attachment://"):
        raise DataError(
            "the log keeps the message's text apart; read the sample with "
            "inspect_ai.log.resolve_sample_attachments"
        )
    if text_sha256(context) != reference["sha256"]:
        raise DataError(
            f"the log refers to a document with sha256 {reference['sha256']}, but the sample's "
            "context is another; use the task set that was evaluated"
        )
    return _restored(message.text, reference["places"], context)


def expands_references(model: Model) -> bool:
    """Returns whether a model's provider puts passages in, so that messages may refer to them."""
    return bool(getattr(model.api, "expands_references", False))


class ExpandingModelAPI(ModelAPI):
    """`longspan-ref/<provider>/<model>`: that model, with references expanded before every call.

    Everything but `generate` is the inner provider's: retries, connections, token limits.
    """

    expands_references = True

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig | None = None,
        **arguments: Any,
    ) -> None:
        """Makes the inner provider.

        Raises:
            ValueError: Inspect knows no such provider.
        """
        config = config or GenerateConfig()
        super().__init__(model_name, base_url, api_key, [], config)
        self.inner = get_model(
            model_name,
            config=config,
            base_url=base_url,
            api_key=api_key,
            memoize=False,
            **arguments,
        ).api

    async def generate(
        self, input: list[ChatMessage], tools: Any, tool_choice: Any, config: GenerateConfig
    ) -> Any:
        """Returns the inner provider's output for the messages with every passage in its place."""
        return await self.inner.generate(
            input=expand(input), tools=tools, tool_choice=tool_choice, config=config
        )

    def __getattr__(self, name: str) -> Any:
        """Returns what only the inner provider has: its tokenizer, its window."""
        if name == "inner":  # not made yet
            raise AttributeError(name)
        return getattr(self.inner, name)


def _delegated(name: str) -> Any:
    def call(self: ExpandingModelAPI, *args: Any, **kwargs: Any) -> Any:
        return getattr(self.inner, name)(*args, **kwargs)

    call.__name__ = name
    return call


for _name, _method in vars(ModelAPI).items():
    if callable(_method) and not _name.startswith("_") and _name != "generate":
        setattr(ExpandingModelAPI, _name, _delegated(_name))


def _expanded(message: ChatMessage) -> ChatMessage:
    reference = (message.metadata or {}).get(REFERENCES_KEY)
    if not isinstance(reference, Mapping):
        return message
    document = _TEXTS.get(reference["sha256"])
    if document is None:
        raise DataError(
            f"no document with sha256 {reference['sha256']} is being read in this process; "
            "run the evaluation again with the solver that made the message"
        )
    text = _restored(message.text, reference["places"], document.text)
    metadata = {k: v for k, v in (message.metadata or {}).items() if k != REFERENCES_KEY}
    return message.model_copy(update={"content": text, "metadata": metadata})


def _restored(text: str, places: Sequence[Mapping[str, int]], context: str | ContextText) -> str:
    parts, done = [], 0
    for place in places:
        parts += [text[done : place["at"]], context[place["start"] : place["end"]]]
        done = place["at"] + place["length"]
    return "".join([*parts, text[done:]])
