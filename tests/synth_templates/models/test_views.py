from pathlib import Path

from longspan.harness.taskset import to_sample
from longspan.synth_templates.models.views import VIEWS, blind, scarce
from longspan.synth_templates.pipeline import synthesize
from longspan.synth_templates.plan import parse_plan

PLAN = {"name": "t", "kinds": {"world_hop2": 1}, "splits": {"test": {300: 2}}}


def test_views_show_less_and_say_nothing_of_the_evidence(tmp_path: Path):
    built = synthesize(parse_plan(PLAN, "test"), tmp_path / "set", quiet=True)
    row = built.rows()[0]
    sample = to_sample(row, built.folder)
    assert row.passport is not None
    closed, some = blind(sample), scarce(sample)
    assert "context" not in closed.metadata and "passport" not in closed.metadata
    text = some.metadata["context"]["text"]
    first, last = (built.documents[span.document].text for span in row.passport.evidence)
    assert last in text and first not in text and "passport" not in some.metadata


def test_a_sample_with_one_document_of_evidence_is_scarce_with_titles_only(tmp_path: Path):
    plan = parse_plan({**PLAN, "kinds": {"world_hop1": 1}}, "test")
    built = synthesize(plan, tmp_path / "set", quiet=True)
    sample = to_sample(built.rows()[0], built.folder)
    some = scarce(sample)
    documents = [built.documents[name] for name in built.rows()[0].documents]
    titles = "\n".join(document.title for document in documents if document.title)
    assert some.metadata.get("context", {"text": ""})["text"] == titles
    assert VIEWS["robustness"](sample).metadata == sample.metadata
