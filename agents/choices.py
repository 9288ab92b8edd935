"""Multiple choice of other packages: options are shown, and the answer is marked for `choice()`.

Prompts and parsing are Inspect's own (`inspect_ai.solver.multiple_choice`), so that its scorer
scores an agent as it scores Inspect's solver. The two functions that read and mark an answer are
private there; only this module uses them.
"""

from __future__ import annotations

from collections.abc import Sequence

from inspect_ai.model import ChatMessage
from inspect_ai.solver import MultipleChoiceTemplate, TaskState
from inspect_ai.solver._multiple_choice import (
    parse_answers,
    set_choices_based_on_generated_response,
)


def shows_choices(state: TaskState) -> bool:
    """Returns whether the sample has options that its messages do not show yet."""
    options = _filled(state, "{choices}")
    return bool(state.choices) and not any(options in one.text for one in state.messages)


def with_choices(state: TaskState) -> list[ChatMessage]:
    """Returns the messages, the last user message as Inspect's prompt with the options."""
    messages = list(state.messages)
    for index in reversed(range(len(messages))):
        if messages[index].role == "user":
            asked = messages[index].model_copy(deep=True)
            asked.text = state.choices.prompt(asked.text, _template(state))
            messages[index] = asked
            break
    return messages


def question_with_choices(state: TaskState, question: str) -> str:
    """Returns a core question with its options below it, without format instructions."""
    return state.choices.prompt(question, "{question}\n\n{choices}")


def choice_instructions(state: TaskState) -> str:
    """Returns what Inspect's prompt says about the form of the answer."""
    return _filled(state, _template(state).partition("{question}")[0]).strip()


def mark_choices(state: TaskState) -> None:
    """Marks the options that the output names; without any, all stay unmarked."""
    if answers := parse_answers(state, _has_several_answers(state)):
        set_choices_based_on_generated_response(state, answers)


def _template(state: TaskState) -> str:
    several = _has_several_answers(state)
    kind = MultipleChoiceTemplate.MULTIPLE_ANSWER if several else None
    return (kind or MultipleChoiceTemplate.SINGLE_ANSWER).value


def _has_several_answers(state: TaskState) -> bool:
    """Returns whether the target names several options, as the solver of the task would know."""
    letters = _letters(state.target)
    return len(letters) > 1 and letters <= set(_filled(state, "{letters}").split(","))


def _letters(target: Sequence[str]) -> set[str]:
    return {letter for value in target for letter in value.replace(",", " ") if letter.strip()}


def _filled(state: TaskState, template: str) -> str:
    return state.choices.prompt("", template)
