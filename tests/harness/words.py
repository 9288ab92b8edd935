"""A tokenizer whose tokens a reader can count."""

import re

TOKEN = re.compile(r"\w+|[^\w\s]")


class WordTokens:
    """Words and signs are tokens; decoding joins them with spaces, so it is not verbatim."""

    name = "words"
    exact = True

    def __init__(self) -> None:
        self.words: list[str] = []
        self.ids: dict[str, int] = {}

    def encode(self, text: str) -> list[int]:
        ids = []
        for word in TOKEN.findall(text):
            if word not in self.ids:
                self.ids[word] = len(self.words)
                self.words.append(word)
            ids.append(self.ids[word])
        return ids

    def decode(self, ids: list[int]) -> str:
        return " ".join(self.words[i] for i in ids)

    def count(self, text: str) -> int:
        return len(TOKEN.findall(text))
