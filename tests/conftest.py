"""Settings of all tests: no busy machine and no earlier test makes one fail."""

import pytest
from hypothesis import HealthCheck, settings
from inspect_ai.model._model import init_model_roles

settings.register_profile(
    "longspan", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("longspan")


@pytest.fixture(autouse=True)
def _no_grader_of_an_earlier_evaluation():
    """Inspect leaves the model roles of the last evaluation to whatever runs in the process."""
    init_model_roles({})
