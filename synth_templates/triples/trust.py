"""Whether an extracted statement can be trusted: what extractors get wrong, seen in the wording.

They turn statements round ("Atlantic City, United States" -> the United States are in Atlantic
City), state what a passage only suggests, and confuse who did something with whom it was done to.
A passage that holds subject and object may do all three. So it must also hold a cue of the relation
in the object's sentence, and name the subject before the object unless it is the subject's page.
"""

from __future__ import annotations

import re
from functools import lru_cache

from longspan.harness.datasets.documents import Document
from longspan.synth_templates.triples.graph import Edge, find_mentions, is_page_of, split_sentences
from longspan.synth_templates.triples.relations import RelationForm

MAX_CUE_DISTANCE = 100
"""Characters between a cue and the object: what passes for a sentence may be a whole table."""


def is_trusted(edge: Edge, form: RelationForm, document: Document) -> bool:
    """Returns whether a passage says in words what the statement says."""
    passage = document.text[edge.start : edge.end]
    if form.cues and not _has_cue(edge.stated.object, form.cues, passage):
        return False
    if form.event and _is_agent(edge.stated.subject, form.cues, passage):
        return False
    if is_page_of(document, edge.stated.subject):
        return True
    if len(edge.subject.split()) == 1 and edge.stated.subject not in document.title:
        return False  # "Ruth died in 1992": who is Ruth?
    subjects = find_mentions(edge.stated.subject, passage)
    objects = find_mentions(edge.stated.object, passage)
    return bool(subjects and objects) and subjects[0] < objects[0]


def _has_cue(object_: str, cues: tuple[str, ...], passage: str) -> bool:
    """Whether a sentence that names the object holds a cue not far from it."""
    return any(
        abs(cue.start() - place) <= MAX_CUE_DISTANCE
        for start, end in split_sentences(passage)
        for place in find_mentions(object_, passage[start:end])
        for cue in _cue_pattern(cues).finditer(passage[start:end])
    )


@lru_cache(maxsize=1024)
def _cue_pattern(cues: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(r"\b(?:" + "|".join(map(re.escape, cues)) + ")", re.IGNORECASE)


def _is_agent(subject: str, cues: tuple[str, ...], passage: str) -> bool:
    """Whether the subject did it rather than had it done: "Admiral Twin released their album"."""
    name = re.escape(subject)
    done = f"{name} (?:{'|'.join(map(re.escape, cues))})\\w* (?!in\\b|on\\b|at\\b|around\\b|\\d)"
    by = f"\\bby (?:\\S+ )?{name}"
    return bool(re.search(f"{done}|{by}", passage, re.IGNORECASE))
