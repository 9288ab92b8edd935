"""By reference: the document is in no log; a bare provider reads it all the same."""

from __future__ import annotations

from typing import Any

import pytest
from inspect_ai.log import resolve_sample_attachments

from longspan.agents.map_reduce import map_reduce
from longspan.agents.memory import memagent, memory_agent
from longspan.harness.references import original_text

SENTENCE = "The harbour of Kukton lay quiet. "
TEXT = SENTENCE * 80


@pytest.mark.parametrize("agent", [memory_agent, memagent, map_reduce])
def test_the_document_is_nowhere_in_the_log(run: Any, make_sample: Any, agent: Any) -> None:
    def policy(prompt: str) -> str:
        return "<memory>m</memory><plan>p</plan>"

    solver = agent(chunk_tokens=60)
    inline = run(solver, make_sample(TEXT), policy, window=256)
    result = run(solver, make_sample(TEXT), policy, window=256, expands=True)
    prompts = [call.prompt for call in inline.calls]
    assert [call.prompt for call in result.calls] == prompts
    events = resolve_sample_attachments(result.sample).events
    messages = [event.input[-1] for event in events if event.event == "model"]
    assert all("harbour" not in message.text for message in messages)
    assert [original_text(message, TEXT) for message in messages] == prompts
