"""Settings of generation in lm-eval's terms."""

from __future__ import annotations

import pytest

from longspan.harness.generation import GenerationSettings
from longspan.harness.lm_eval.run import generation_arguments


@pytest.mark.parametrize(
    ("settings", "arguments"),
    [
        ({}, {"do_sample": True, "temperature": 0.7, "top_p": 0.95, "top_k": 0}),
        (
            {"temperature": 1.0, "top_p": 1.0, "max_tokens": 9},
            {"do_sample": True, "temperature": 1.0, "top_p": 1.0, "top_k": 0, "max_gen_toks": 9},
        ),
        (
            {"temperature": 0.0, "max_tokens": 9},
            {"do_sample": False, "temperature": 0.0, "max_gen_toks": 9},
        ),
    ],
)
def test_settings_are_those_of_longspan_eval_in_lm_evals_names(settings, arguments):
    assert generation_arguments(GenerationSettings(**settings)) == arguments
