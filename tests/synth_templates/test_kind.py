from pathlib import Path

import pytest
import yaml

from longspan.harness.errors import DataError, LongspanError, SynthesisError
from longspan.synth_templates.kind_files import load_kinds, parse_kind_file

TASK_TYPES = {
    "multiple_choice",
    "multi_hop",
    "reading_comprehension",
    "dialogue_memory",
    "corpus_numeric",
}


def test_the_world_has_kinds_of_all_five_task_types(world_kinds):
    assert {kind.task_type for kind in world_kinds.kinds} == TASK_TYPES


def test_fiction_has_kinds_of_all_five_task_types_and_most_paradigms():
    kinds = load_kinds("fiction").kinds
    assert {kind.task_type for kind in kinds} == TASK_TYPES
    assert len(kinds) >= 40
    assert {kind.paradigm for kind in kinds} >= {
        "multi_fact",
        "temporal",
        "causal",
        "hypothetical",
        "numeric",
        "comparison",
        "intersection",
        "repetition",
    }


@pytest.mark.parametrize(
    "fields",
    [
        "shape: arithmetic, relation: population, operation: shift, num_sides: 2",
        "shape: arithmetic, relation: population, operation: sum, num_sides: 1",
        "shape: mentions, operation: days, num_mentions: 3",
        "shape: recall, operation: guess",
    ],
)
def test_a_kind_whose_parts_do_not_fit_is_refused(fields: str):
    shared = "name: x, task_type: multi_hop, question: q, scorer: s"
    with pytest.raises(SynthesisError):
        parse_kind_file(f"source: fiction\nkinds: [{{{shared}, {fields}}}]", "mine.yaml")


def test_documents_have_kinds_for_triples_and_tables():
    kinds = load_kinds("documents")
    types = {kind.task_type for kind in kinds.kinds}
    assert types == TASK_TYPES - {"dialogue_memory"}
    compared = {name for kind in kinds.kinds if kind.shape == "compare" for name in kind.relation}
    assert compared <= {form.name for form in kinds.relations}


def test_a_new_kind_needs_no_python(tmp_path: Path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        "source: world\n"
        "kinds:\n"
        "  - {name: mine, task_type: multi_hop, shape: path, hops: 4, "
        'question: "Name {{ path }}.", scorer: cover_exact_match}\n'
    )
    mine = load_kinds("world", [file]).by_name()["mine"]
    assert (mine.hops, mine.question) == (4, ("Name {{ path }}.",))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("source: world\nkinds: [{name: x}]", "kinds.0.*shape"),
        ("source: world\nkinds: [{name: x, shape: path}]", "kinds.0.path.task_type"),
        ("source: mars", "source"),
        ("source: world\ncolour: red", "colour"),
        ("source: [", "not YAML"),
    ],
)
def test_a_wrong_kind_file_is_one_line(text, what):
    with pytest.raises(LongspanError, match=what) as caught:
        parse_kind_file(text, "mine.yaml")
    assert "\n" not in str(caught.value)


def test_a_name_is_declared_once(tmp_path: Path):
    file = tmp_path / "again.yaml"
    file.write_text(
        "source: world\n"
        "kinds: [{name: world_hop1, task_type: multi_hop, shape: path, question: q, "
        "scorer: exact_match}]"
    )
    with pytest.raises(SynthesisError, match="declared twice: world_hop1"):
        load_kinds("world", [file])


def test_a_missing_kind_file_is_one_line(tmp_path: Path):
    with pytest.raises(DataError, match="cannot read .*none.yaml"):
        load_kinds("world", [tmp_path / "none.yaml"])


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"scorer": "nosuch"}, "unknown scorer"),
        ({"scorer": "letter"}, "only a choice is scored by letter"),
        ({"num_options": 4, "question": "{{ path }}: {{ options }}"}, "a choice is scored by"),
        ({"num_options": 4, "scorer": "letter"}, r"list \{\{ options"),
        ({"question": "{{ path }}: {{ options }}"}, "set num_options"),
        ({"question": "Name {{ path"}, "template cannot be filled"),
        ({"question": "{{ path|attr('__class__') }}"}, "template cannot be filled"),
        ({"share": float("inf")}, "share"),
    ],
)
def test_a_kind_that_could_never_be_asked_or_scored_is_one_line(declared, message):
    kind = {
        "name": "mine",
        "task_type": "multi_hop",
        "shape": "path",
        "hops": 2,
        "question": "Name {{ path }}.",
        "scorer": "cover_exact_match",
        **declared,
    }
    text = yaml.safe_dump({"source": "world", "kinds": [kind]})
    with pytest.raises(SynthesisError, match=message) as caught:
        parse_kind_file(text, "mine.yaml")
    assert "\n" not in str(caught.value)
