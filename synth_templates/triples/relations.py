"""The lexicon of relations: which stated relations mean the same, and how a question words them.

A question names its path by nested noun phrases ("the birthplace of the director of Alien"), so
every relation that may be asked has a phrase around `{{ inner }}`. Relations outside the lexicon
still count as claims when uniqueness is checked, but no question asks for them: "was" or "has
become" cannot be asked about in a way a reader would accept.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from longspan.harness.datasets.documents import Triple

ObjectClass = Literal["name", "date", "number", "other"]

_AUXILIARY = re.compile(r"^(?:is|was|are|were|has been|have been|had been|being|be)\s+(?=\w)")
_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
)
_DATE = re.compile(
    rf"(?:(?:early|mid|late|around|circa|c\.)[\s-]+)?"
    rf"(?:{_MONTH}\s+)?(?:\d{{1,2}}(?:st|nd|rd|th)?,?\s+)?(?:(?:of\s+)?{_MONTH},?\s+)?"
    rf"(?:of\s+)?\d{{3,4}}s?(?:\s+(?:ad|ce|bc|bce))?",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?")
INNER = "{{ inner }}"
MAX_NAME_WORDS = 6
_PRONOUN_WORDS = """he she it its it's they i we you his her their this that these those who which
there one both all some many most others several"""
PRONOUNS = frozenset(_PRONOUN_WORDS.split())
"""Words that stand for a name and are none."""
_LINKS = "of the and de da di du la le van von der den in on at for to a an & y"
_CONNECTIVES = frozenset(_LINKS.split())


class RelationForm(BaseModel):
    """One relation that questions may ask about."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """Canonical name: the relation in the graph."""
    stated: tuple[str, ...] = Field(min_length=1)
    """The forms in which documents state it; a leading "is", "was" ... is ignored."""
    phrase: str
    """Noun phrase of the object, around `{{ inner }}`. With `{{ detail }}` (and `{{ member }}`) the
    relation is a family, whose members fill it: "default/indent", "method_default/dump/indent"."""
    object: tuple[ObjectClass, ...] = ("name", "date", "number", "other")
    """Classes of object it is for; "born in 1950" and "born in Rome" are different relations."""
    word: str = "What"
    """Question word: "What is <phrase>?"."""
    group: str = "entity"
    """Kinds choose relations by group."""
    noun: str | None = None
    """What the subject is: "person"."""
    clause: str | None = None
    """What is said of the subject, around `{{ inner }}`: "was born in {{ inner }}". With it and
    `noun`, the relation can be asked backwards."""
    event: str | None = None
    """What happened to the subject at the date that is the object: "was born"."""
    aspect: Literal["geographic", "institutional", "descriptive"] = "descriptive"
    """What a description by this relation tells of its entity (by a date it is temporal)."""
    cues: tuple[str, ...] = ()
    """Beginnings of words of which the passage must hold one, or the statement is not asked about:
    extractors also state what a passage only suggests."""
    answer_as: str = ""
    """How the object is to be given, for wordings: "its full dotted name"."""
    is_parsed: bool = False
    """Whether statements are generated or parsed, so that neither names nor order are in doubt."""

    @field_validator("phrase", "clause")
    @classmethod
    def _has_inner(cls, value: str | None) -> str | None:
        if value is not None and INNER not in value:
            raise ValueError(f"phrase and clause must contain {INNER}: got {value!r}")
        return value

    @model_validator(mode="after")
    def _clause_needs_noun(self) -> Self:
        if self.clause is not None and self.noun is None:
            raise ValueError(f"relation {self.name}: a clause needs a noun")
        return self

    def member(self, name: str) -> RelationForm:
        """Returns the form of a member of this family: "default/indent" fills `{{ detail }}`."""
        phrase = self.phrase
        for slot, detail in zip(
            ("{{ detail }}", "{{ member }}"), name.split("/")[:0:-1], strict=False
        ):
            phrase = phrase.replace(slot, detail)
        return self.model_copy(update={"name": name, "phrase": phrase})

    def noun_phrase(self, inner: str, *, inverse: bool = False) -> str:
        """Returns what the relation leads to from `inner`: "the birthplace of Ada Lovelace"."""
        if not inverse:
            return self.phrase.replace(INNER, inner, 1)
        pronoun = "who" if self.noun == "person" else "that"
        return f"the {self.noun} {pronoun} {str(self.clause).replace(INNER, inner, 1)}"

    def ask(self, inner: str, *, inverse: bool = False) -> str:
        """Returns the question for what the relation leads to, without its question mark."""
        if not inverse:
            return f"{self.word} is {self.noun_phrase(inner)}"
        return f"Which {self.noun} {str(self.clause).replace(INNER, inner, 1)}"


class Lexicon:
    """Relation forms by name, the canonical name of any stated relation, and declared aliases."""

    def __init__(
        self, forms: Sequence[RelationForm], aliases: Sequence[Sequence[str]] = ()
    ) -> None:
        self.aliases = tuple(map(tuple, aliases))
        self.forms: dict[str, RelationForm] = {form.name: form for form in forms}
        self._by_stated: dict[str, list[RelationForm]] = {}
        for form in forms:
            for stated in form.stated:
                self._by_stated.setdefault(normalise_relation(stated), []).append(form)

    def canonical(self, triple: Triple) -> str:
        """Returns the name of the form that the triple states, else its own normalised relation."""
        if (parsed := self.forms.get(family(triple.relation))) and parsed.is_parsed:
            return triple.relation
        key = normalise_relation(triple.relation)
        forms = self._by_stated.get(key, ())
        if forms:
            found = object_class(triple.object)
            for form in forms:
                if found in form.object:
                    return form.name
        return f"~{key}"

    def form(self, relation: str) -> RelationForm:
        """Returns the form of a relation; of a member of a family, one made from the family's."""
        declared = self.forms[family(relation)]
        return declared if declared.name == relation else declared.member(relation)

    def names(self, group: str) -> frozenset[str]:
        """Returns the names of the relations of a group; a family stands for all its members."""
        return frozenset(name for name, form in self.forms.items() if form.group == group)

    def invertible(self, group: str) -> frozenset[str]:
        """Returns the names of the relations of a group that can be asked backwards."""
        return frozenset(name for name in self.names(group) if self.forms[name].clause)


def family(relation: str) -> str:
    """Returns the name under which a relation is declared: "default/indent" is of "default"."""
    return relation.partition("/")[0]


@lru_cache(maxsize=1 << 16)
def normalise_relation(stated: str) -> str:
    """Returns a stated relation in lower case, without a leading auxiliary verb."""
    return _AUXILIARY.sub("", " ".join(stated.casefold().replace("_", " ").split()))


@lru_cache(maxsize=1 << 16)
def object_class(text: str) -> ObjectClass:
    """Returns what an entity looks like: a date, a plain number, a proper name, or other."""
    stripped = text.strip()
    if _NUMBER.fullmatch(stripped):
        return "date" if re.fullmatch(r"1\d{3}|20\d{2}", stripped) else "number"
    if _DATE.fullmatch(stripped):
        return "date"
    return "name" if is_name(stripped) else "other"


def numeric_value(text: str) -> float | None:
    """Returns the number or the year that an object states, None without exactly one."""
    if _NUMBER.fullmatch(text.strip()):
        return float(text.strip().replace(",", ""))
    years = re.findall(r"\b(?:1\d{3}|20\d{2})\b", text)
    return float(years[0]) if len(years) == 1 and object_class(text) == "date" else None


@lru_cache(maxsize=1 << 16)
def is_name(text: str) -> bool:
    """Returns whether a text looks like a proper name.

    After a leading article, every word but connectives begins with a capital or a digit, the first
    with a capital, there are at most six words, and it is not a pronoun. So "the film" and "monthly
    publication" are none.
    """
    words = text.strip("\"' ").split()
    if words and words[0] in ("the", "The", "a", "A", "an", "An"):
        words = words[1:]
    if not words or len(words) > MAX_NAME_WORDS or len(text.strip()) < 3:
        return False
    if words[0].casefold() in PRONOUNS or not words[0].lstrip("\"'(")[:1].isupper():
        return False
    return all(
        word.casefold() in _CONNECTIVES or word.lstrip("\"'(")[:1].isupper() or word[:1].isdigit()
        for word in words
    )
