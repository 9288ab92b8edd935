"""Settings of all tests: no test fails because the machine is busy."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "longspan", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("longspan")
