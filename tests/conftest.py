"""Settings of all tests: no busy machine and no earlier test makes one fail."""

import pytest
from hypothesis import HealthCheck, settings
from inspect_ai._display.core import active
from inspect_ai.model._model import init_model_roles

settings.register_profile(
    "longspan", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("longspan")


@pytest.fixture(autouse=True)
def _nothing_of_an_earlier_evaluation(monkeypatch):
    """Inspect leaves model roles and display of an evaluation to whatever runs in the process."""
    init_model_roles({})
    monkeypatch.setattr(active, "_active_display", None)


@pytest.fixture(autouse=True)
def _rows_of_logs_are_not_kept_in_the_users_cache(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
):
    """A board in a test neither reads nor fills the cache of whoever runs the tests."""
    monkeypatch.setenv("LONGSPAN_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
