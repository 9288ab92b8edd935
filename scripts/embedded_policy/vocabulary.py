"""The embedded policy's closed vocabulary and tokenizer: a token per name, number or fixed phrase.

Whole phrases ("'s birthplace is", "Therefore, the answer is", every instruction of the harness) are
one token, so that sequences are short while the text stays ordinary English. Text outside the
vocabulary becomes `<unk>`, which the model provider refuses.
"""

from __future__ import annotations

import re

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from longspan.agents import memory_format
from longspan.harness import prompts
from longspan.synth_templates.worlds import world

WINDOW = 256
"""Tokens of prompt and response together."""

READING: dict[str, str] = {
    "layout": "chunk_first",
    "instruction": memory_format.BRIEF_INSTRUCTION,
}
"""How memory turns are worded; the checkpoint declares it, so that agents ask it that way."""

SPECIAL = ("<pad>", "<s>", "<|user|>", "<|assistant|>", "<|end|>", "<unk>")
TAGS = ("<text>", "</text>", "<memory>", "</memory>", "<plan>", "</plan>")
SENTENCES = (
    prompts.READ_INSTRUCTION,
    prompts.DEFAULT_INSTRUCTIONS,
    prompts.ANSWER_PHRASE,
    memory_format.BRIEF_INSTRUCTION,
    memory_format.FINAL_INSTRUCTION,
)
QUESTION_PHRASES = (
    "Question:",
    "What is the highest of",
    "What is",
    "What was",
    "Who is older,",
    "In how many towns are",
    "Repeat",
    "Options:",
    "look for",
)
WORDS = (
    *("or", "above", "so", "ready", "Dialogue"),
    *(memory_format.EMPTY_MEMORY, memory_format.EMPTY_PLAN),
    *("(A)", "(B)", "(C)", "(D)", ".", ",", ";", "?"),
)
CHAT_TEMPLATE = (
    "{{ '<s>' }}{% for m in messages %}"
    "{{ '<|user|>' if m.role in ('user', 'system') else '<|assistant|>' }}"
    "{{ m.content }}{{ '<|end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def phrases() -> list[str]:
    """Returns every fixed phrase, longest first, so that the splitter prefers the longest match."""
    relations = world.RELATIONS.values()
    found = {
        *TAGS,
        *SENTENCES,
        *QUESTION_PHRASES,
        *WORDS,
        *(r.statement.strip() for r in relations),
        *(r.possessive for r in relations),
        world.SALES_STATEMENT,
        world.SALES_POSSESSIVE,
    }
    return sorted(found, key=lambda phrase: (-len(phrase), phrase))


def vocabulary() -> list[str]:
    """Returns all tokens in id order."""
    numbers = [str(n) for n in range(61)]
    names = [name for kind in world.NAMES.values() for name in kind]
    return [*SPECIAL, *phrases(), *world.COLOURS, *numbers, *names]


def _whole(phrase: str) -> str:
    """Returns a pattern of the phrase that does not match in a longer word ("or" in "orange")."""
    before = r"(?<!\w)" if phrase[0].isalnum() else ""
    after = r"(?!\w)" if phrase[-1].isalnum() else ""
    # The tokenizer's regular expressions (Oniguruma) take a plain space, not an escaped one.
    return before + re.escape(phrase).replace(r"\ ", " ") + after


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Returns the tokenizer with its chat template."""
    tokens = vocabulary()
    ids = {token: i for i, token in enumerate(tokens)}
    if len(ids) != len(tokens):
        raise ValueError("the vocabulary holds a token twice")
    backend = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    alternatives = [_whole(phrase) for phrase in phrases()]
    pattern = "|".join([*alternatives, r"\w+", r"[^\w\s]"])
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), behavior="removed", invert=True)
    backend.decoder = decoders.Sequence(
        [decoders.WordPiece(prefix="##", cleanup=True), decoders.Replace(" ;", ";")]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="<|end|>",
        unk_token="<unk>",
        additional_special_tokens=["<|user|>", "<|assistant|>"],
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=WINDOW,
        chat_template=CHAT_TEMPLATE,
    )
