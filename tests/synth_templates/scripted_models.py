"""Scripted models for tests of synthesis, by name, and a journal that counts what was paid."""

from __future__ import annotations

from collections.abc import Callable

from tests.harness.scripted import SCRIPTS, Request


class Script:
    """Answers calls by a function, and counts them: what is not called is not paid for."""

    def __init__(self, name: str, answer: Callable[[Request], str] | str) -> None:
        self.name = f"scripted/{name}"
        self.requests: list[Request] = []
        self.answer = answer if callable(answer) else lambda _: answer
        SCRIPTS[name] = self

    def __call__(self, request: Request) -> str:
        """Returns what is said to a request."""
        self.requests.append(request)
        return self.answer(request)

    @property
    def num_calls(self) -> int:
        """Number of calls that reached the model."""
        return len(self.requests)
