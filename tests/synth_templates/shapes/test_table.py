import pytest

from longspan.synth_templates.shapes.table import compute


@pytest.mark.parametrize(
    ("operation", "expected"),
    [("max", 9), ("min", 2), ("sum", 15), ("difference", 7), ("count_above", 2)],
)
def test_operations_by_hand(operation, expected):
    rows = (("a", 2.0), ("b", 9.0), ("c", 4.0))
    assert compute(rows, operation, 2.0) == expected
