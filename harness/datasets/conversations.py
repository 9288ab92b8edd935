"""Record readers of benchmarks that are chats: MRCR, CorpusQA, LongMemEval.

MRCR and CorpusQA send a chat of their own; it is kept as it is (`Record.messages`). Beside it
stands the same content as text, for agents that read chunk by chunk and for windows that the chat
does not fit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict

from longspan.harness.datasets.documents import Document
from longspan.harness.datasets.records import ReadRow, Record, Row, make_document, row_text, text_id
from longspan.harness.errors import SpecError

Bin = Literal[8192, 16384, 32768, 65536, 131072, 262144, 524288, 1048576]
MRCR_BINS: tuple[int, ...] = get_args(Bin)
"""Upper bounds (tokens of o200k_base, prompt and answer): 8K to 1M; the first bin begins at 4K."""
CHARS_PER_TOKEN = 4.9
"""Characters per token of o200k_base in MRCR, where a row does not say its tokens."""
_DOCUMENT = re.compile(r"^(?=# Document \d+:)", re.MULTILINE)
_QUESTION = re.compile(r"^# Question:", re.MULTILINE)
_DOMAIN = re.compile(r"^(financial_zh|financial_en|education_en|real_estate_en)")
_ROLES = {"system", "user", "assistant"}


class MRCROptions(BaseModel):
    """Which rows of MRCR are asked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_needles: Literal[2, 4, 8] | None = None
    """Equal requests in the chat; None: all."""
    bin: Bin | None = None
    """Upper bound of the one length bin; None: all bins."""
    min_tokens_bin: Bin | None = None
    """Upper bound of the shortest bin."""
    max_tokens_bin: Bin | None = None
    """Upper bound of the longest bin (131072: the "0-128K" of the paper, five bins)."""
    exact_bins: bool = False
    """Whether tokens are counted with o200k_base (tiktoken, minutes) and not estimated."""


def mrcr(rows: Sequence[Row], options: MRCROptions) -> ReadRow:
    """OpenAI MRCR (openai/mrcr): repeat the n-th of several equal requests, after a given hash.

    Bins are on tokens of o200k_base. A row rarely says them, so they are estimated from its
    characters unless `exact_bins` is set; metadata `bin_rule` says which.
    """
    count = _o200k() if options.exact_bins else None

    def read(row: Row) -> Record | None:
        if options.num_needles not in (None, row["n_needles"]):
            return None
        messages = _chat(row["prompt"])
        if messages[-1]["role"] != "user":
            raise ValueError("the chat does not end with a user message")
        answer, start = row["answer"], row_text(row, "random_string_to_prepend")
        if not isinstance(answer, str) or not answer.startswith(start):
            raise ValueError(f"the answer does not begin with the hash: {start!r:.40}")
        num_tokens, rule = _num_tokens(row, messages, answer, count)
        upper = next((bound for bound in MRCR_BINS if num_tokens <= bound), MRCR_BINS[-1])
        shortest, longest = options.min_tokens_bin or 0, options.max_tokens_bin or MRCR_BINS[-1]
        if options.bin not in (None, upper) or not shortest <= upper <= longest:
            return None
        facts = ("n_needles", "desired_msg_index", "total_messages", "n_chars")
        return Record(
            id=text_id(json.dumps(messages), answer),
            values={"question": messages[-1]["content"]},
            targets=(answer,),
            documents=_turns(messages[:-1]),
            messages=messages,
            extra={
                "random_string_to_prepend": start,
                "bin": upper,
                "bin_rule": rule,
                "num_tokens": num_tokens,
                **{key: row.get(key) for key in facts},
            },
        )

    return read


def corpusqa(rows: Sequence[Row], options: BaseModel) -> ReadRow:
    """CorpusQA (arXiv 2601.14952): questions over a corpus, with a stored prompt of its own.

    The text form has the prompt's documents as documents, and what the prompt says after the
    question as format instructions. Gold answers that are lists are written as JSON; an empty list
    is a gold answer.
    """

    def read(row: Row) -> Record:
        name, question, answer = row_text(row, "id"), row_text(row, "question"), row["answer"]
        if answer is None or answer == "":
            raise ValueError("no gold answer")
        messages = _chat(row["prompt"])
        content = next((m["content"] for m in reversed(messages) if m["role"] == "user"), "")
        context, rules = _corpus_parts(content, question)
        domain = _DOMAIN.match(name)
        return Record(
            id=name,
            values={"question": question},
            targets=(_answer_text(answer),),
            documents=tuple(make_document("", part) for part in context),
            messages=messages,
            instructions=rules,
            extra={
                "domain": domain[1] if domain else row.get("domain"),
                "level": row.get("level") or row.get("difficulty"),
                "answer_type": type(answer).__name__,
            },
        )

    return read


def longmemeval(rows: Sequence[Row], options: BaseModel) -> ReadRow:
    """LongMemEval (Wu et al. 2024, arXiv 2410.10813): a question on a user's chat history.

    A session is a document with its date, in the order of dates. The marks of turns that hold the
    answer (`has_answer`) are left out. Questions with an answer session in common are one cluster.
    """

    def read(row: Row) -> Record:
        name = row_text(row, "question_id")
        dates, sessions = row["haystack_dates"], row["haystack_sessions"]
        if not len(row["haystack_session_ids"]) == len(dates) == len(sessions):
            raise ValueError(
                f"haystack ids, dates and sessions differ in number: "
                f"{len(row['haystack_session_ids'])}, {len(dates)}, {len(sessions)}"
            )
        answer = str(row["answer"]).strip() if row["answer"] is not None else ""
        if not answer:
            raise ValueError("no gold answer")
        # By the date's text, as the benchmark's own code sorts; equal dates keep their order.
        history = sorted(zip(dates, sessions, strict=True), key=lambda part: str(part[0]))
        return Record(
            id=name,
            values={"question": row_text(row, "question"), "question_date": row["question_date"]},
            targets=(answer,),
            documents=tuple(
                _session(number, date, session)
                for number, (date, session) in enumerate(history, start=1)
            ),
            supporting=tuple(map(str, row.get("answer_session_ids") or ())),
            kind=row.get("question_type"),
            extra={
                "question_id": name,
                "question_type": row_text(row, "question_type"),
                "question_date": row["question_date"],
                "is_abstention": "_abs" in name,
                "answer": answer,
                "num_sessions": len(sessions),
            },
        )

    return read


def _chat(prompt: Any) -> tuple[dict[str, str], ...]:
    """Returns the messages of a chat, given as a list or as the JSON of one."""
    try:
        content = json.loads(prompt) if isinstance(prompt, str) else prompt
    except (ValueError, RecursionError) as error:
        raise ValueError(f"field 'prompt' is not the JSON of a chat ({error})") from error
    if not isinstance(content, list) or not content:
        raise ValueError("field 'prompt' holds no chat (a list of {role, content})")
    messages = tuple({"role": m["role"], "content": m["content"]} for m in content)
    for message in messages:
        if message["role"] not in _ROLES or not isinstance(message["content"], str):
            raise ValueError(f"field 'prompt' holds a message of role {message['role']!r:.40}")
    return messages


def _turns(messages: Sequence[Mapping[str, str]]) -> tuple[Document, ...]:
    return tuple(make_document(m["role"].capitalize(), m["content"]) for m in messages)


def _num_tokens(
    row: Row,
    messages: Sequence[Mapping[str, str]],
    answer: str,
    count: Callable[[str], int] | None,
) -> tuple[int, str]:
    """Returns the tokens by which a row is binned, and how they were found."""
    if count is not None:
        return sum(count(m["content"]) for m in messages) + count(answer), "o200k_base"
    for key in ("n_tokens", "num_tokens"):
        if isinstance(row.get(key), int):
            return row[key], f"field {key}"
    chars = row.get("n_chars")
    if not isinstance(chars, int):
        chars = sum(len(m["content"]) for m in messages)
    return round(chars / CHARS_PER_TOKEN), f"estimated: n_chars/{CHARS_PER_TOKEN}"


def _o200k() -> Callable[[str], int]:
    try:
        import tiktoken  # optional, and its vocabulary is fetched or cached on first use

        encoding = tiktoken.get_encoding("o200k_base")
    except Exception as error:  # whatever fetching the vocabulary raises
        raise SpecError(
            f"exact_bins needs tiktoken and its vocabulary o200k_base: {error}; leave exact_bins "
            "out, or fill TIKTOKEN_CACHE_DIR on a machine with internet"
        ) from error
    return lambda text: len(encoding.encode(text, disallowed_special=()))


def _corpus_parts(content: str, question: str) -> tuple[list[str], str]:
    """Returns the documents of a stored prompt, and its rules after the question."""
    marks = list(_QUESTION.finditer(content))
    body = content[: marks[-1].start()] if marks else content
    tail = content[marks[-1].end() :] if marks else ""
    rules = tail.partition(question)[2] if question in tail else tail
    parts = [part.strip() for part in _DOCUMENT.split(body)]
    return [part for part in parts if part], rules.strip()


def _answer_text(answer: Any) -> str:
    return answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)


def _session(number: int, date: Any, turns: Sequence[Mapping[str, Any]]) -> Document:
    lines = [f"{turn['role']}: {str(turn['content']).strip()}" for turn in turns]
    return make_document(f"Session {number}, {date}", "\n".join(lines))
