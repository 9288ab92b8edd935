"""Templates: what is offered works, what is hostile ends in one line and soon."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.harness.errors import SpecError
from longspan.harness.templates import render

VALUES = {"name": "Karo", "facts": [{"who": "A", "age": 3}, {"who": "B", "age": 5}], "d": {"k": 1}}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("Where is {{ name }}?", "Where is Karo?"),
        ("{{ name|lower ~ '-' ~ (1 + 1) }}", "karo-2"),
        ("{{ name.upper() }}", "KARO"),
        ("{{ facts|map(attribute='who')|join(', ') }}", "A, B"),
        ("{{ facts|sum_of }}", None),
        ("{{ facts|map(attribute='age')|sum }}", "8"),
        ("{% for f in facts if f.age > 3 %}{{ loop.index }}{{ f.who }}{% endfor %}", "1B"),
        ("{% for k, v in d.items() %}{{ k }}={{ v }}{% endfor %}", "k=1"),
        ("{% set n = d['k'] * 3 %}{{ n if n > 2 else 0 }}", "3"),
        ("{{ 2.345|round(2) }} {{ 7 // 2 }} {{ 7 % 4 }}", "2.35 3 3"),
        ("{{ d|tojson }}", '{"k": 1}'),
        ("line\n", "line\n"),
    ],
)
def test_what_is_offered(template, text):
    if text is None:
        with pytest.raises(SpecError, match="No filter named"):
            render(template, VALUES)
    else:
        assert render(template, VALUES) == text


@given(st.text())
def test_a_value_stands_as_it_is_whatever_it_holds(value):
    assert render("<{{ value }}>", {"value": value}) == f"<{value}>"


def test_a_missing_value_is_an_error_that_names_it():
    with pytest.raises(SpecError, match="'town' is undefined"):
        render("{{ town }}", VALUES)


@pytest.mark.parametrize(
    "template",
    [
        "{% if %}",
        "{{ name.__class__ }}",
        "{{ facts.append(1) }}",
        "{{ facts[0].update(a=1) }}",
        "{{ d.__getitem__ }}",
        "{{ name['format'] }}",
        "{{ facts|map(attribute='__class__')|list|join }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ 'a'.ljust(1000000000) }}",
        "{{ 'a' * 1000000000 }}",
        "{{ [1] * 1000000000 }}",
        "{{ 9 ** 9 ** 9 }}",
        "{{ 5|round(-1000000000) }}",
        "{{ [[name]] }}",
        "{{ facts }}",
        "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}",
        "{% set ns = namespace(a=1) %}",
        "{% include 'x' %}",
        "{% for a in facts recursive %}{{ loop(facts) }}{% endfor %}",
        "{{ range(99999)|join('a' ~ 'b'.upper() ~ name) }}" + "{{ range(99999)|join(name) }}" * 9,
        "{% set a = 'aaaaaaaa' %}" + "{% set a = a ~ a %}" * 60 + "{{ a }}",
        "{% set a = 'aaaaaaaa' %}" + "{% set a = a + a %}" * 60 + "{{ a }}",
        "{% set a = 99999999 %}" + "{% set a = a * a %}" * 60 + "{{ a }}",
        "{% for a in range(99999) %}{{ name * 1 }}{% endfor %}",
        "{% for a in range(99999) %}0123456789ABCDEF{% endfor %}",
        "{{ 1 / 0 }}",
        "{{ name() }}",
        "x" * 200_000,
        "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    ],
)
def test_hostile_and_broken_templates_end_in_one_line(template):
    start = time.process_time()
    with pytest.raises(SpecError) as caught:
        render(template, VALUES)
    assert time.process_time() - start < 2
    assert "\n" not in str(caught.value)


def test_a_loop_without_end_is_stopped():
    loops = "{% for a in range(99999) %}" * 3 + "{% endfor %}" * 3
    with pytest.raises(SpecError, match="runs too long"):
        render(loops, {}, timeout_seconds=0.2)


def test_the_output_cap_is_the_callers():
    assert render("{{ name }}", VALUES, max_chars=4) == "Karo"
    with pytest.raises(SpecError, match="more than 3 characters"):
        render("{{ name }}", VALUES, max_chars=3)


def test_values_stay_as_they_are():
    values = {"xs": [3, 1, 2]}
    assert render("{{ xs|sort|join }}{{ xs|reverse|join }}", values) == "123213"
    assert values == {"xs": [3, 1, 2]}
