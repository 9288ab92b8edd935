"""The code graph: what stands in one file, and what a name means in the others."""

import pytest

from longspan.harness.datasets.documents import Document
from longspan.synth_templates.code.graph import MAX_REPEATS, CodeStatement, code_statements


def module(name: str, text: str, kind: str = "python") -> Document:
    return Document(id=f"id-{name}", title=name, text=text, format=kind)


def statements(*documents: Document) -> dict[tuple[str, str], list[CodeStatement]]:
    found: dict[tuple[str, str], list[CodeStatement]] = {}
    for statement in code_statements(documents):
        found.setdefault((statement.subject, statement.relation), []).append(statement)
    return found


def edges(*documents: Document) -> set[tuple[str, str, str]]:
    return {
        (s.subject, s.relation, s.object) for s in code_statements(documents) if s.span is not None
    }


BASE = module("pack.base", "class Base:\n    kind = 'plain'\n\n    def run(self, speed=12): ...\n")


@pytest.mark.parametrize(
    "source",
    [
        "from pack.base import Base\nclass Child(Base): pass\n",
        "from pack.base import Base as B\nclass Child(B): pass\n",
        "from pack import base\nclass Child(base.Base): pass\n",
        "import pack.base\nclass Child(pack.base.Base): pass\n",
        "import pack.base as p\nclass Child(p.Base): pass\n",
        "from .base import Base\nclass Child(Base): pass\n",
        "from . import base\nclass Child(base.Base): pass\n",
        "import pack.other\nimport pack.base\nclass Child(pack.base.Base): pass\n",
    ],
)
def test_a_base_class_is_found_through_every_form_of_import(source):
    assert ("pack.child.Child", "code_base", "pack.base.Base") in edges(
        BASE, module("pack.child", source)
    )


def test_relative_imports_of_a_package_are_its_own():
    source = "from .base import Base\nclass Child(Base): pass\n"
    inside = edges(BASE, module("pack", source, "python_package"))
    assert ("pack.Child", "code_base", "pack.base.Base") in inside
    outside = edges(BASE, module("pack", source))
    assert not {edge for edge in outside if edge[1] == "code_base"}


@pytest.mark.parametrize(
    "source",
    [
        "from pack.base import *\nclass Child(Base): pass\n",
        "try:\n    from pack.base import Base\nexcept ImportError:\n    Base = object\n"
        "class Child(Base): pass\n",
        "from elsewhere import Base\nclass Child(Base): pass\n",
        "from pack.base import make\nclass Child(make()): pass\n",
        "from pack.base import Base\nclass Child(Base): pass\nclass Child(Base): pass\n",
        "from pack.base import Base\nif x:\n    class Child(Base): pass\nelse:\n    Child = 1\n",
        "from pack.base import Base\ndef f():\n    global Base\n    Base = 1\n"
        "class Child(Base): pass\n",
        "from ....base import Base\nclass Child(Base): pass\n",
    ],
)
def test_what_is_in_doubt_is_no_edge(source):
    found = edges(BASE, module("pack.child", source))
    assert not {edge for edge in found if edge[1] == "code_base"}


def test_a_name_that_a_third_file_passes_on_is_a_claim_of_its_definition():
    hub = module("hub", "from pack.base import Base\n")
    child = module("child", "from hub import Base\nclass Child(Base): pass\n")
    (claim,) = statements(BASE, hub, child)["child.Child", "code_base"]
    assert (claim.object, claim.span) == ("pack.base.Base", None)


TOOLS = module(
    "tools", "def dump(obj, indent=4): ...\n\nclass Box: ...\n\nclass Bad(Exception): ...\n"
)


def facts_of_f(body: str, *, head: str = "import tools\nfrom tools import dump, Box, Bad\n"):
    lines = "\n".join(f"    {line}" for line in body.split("\n"))
    found = statements(TOOLS, module("m", f"{head}def f(x, *args):\n{lines}\n"))
    return {
        relation: sorted((s.object, s.span is not None) for s in found.get(("m.f", relation), ()))
        for relation in ("code_calls", "code_creates", "code_raises")
    }


def test_calls_of_functions_and_classes_are_told_apart():
    found = facts_of_f("g = dump(x)\nreturn tools.Box()\n")
    assert found["code_calls"] == [("tools.dump", True)]
    assert found["code_creates"] == [("tools.Box", True)]


def test_calls_of_nested_functions_count_and_builtins_and_variables_do_not():
    found = facts_of_f("def inner():\n    return len(dump(x))\nx.run()\nreturn inner()")
    assert found["code_calls"] == [("tools.dump", True)]


def test_a_local_import_is_an_import():
    found = facts_of_f("from tools import dump\ndump(x)", head="")
    assert found["code_calls"] == [("tools.dump", True)]


@pytest.mark.parametrize("body", ["dump = x\ndump(x)", "for dump in x:\n    dump(x)"])
def test_a_variable_of_the_name_of_an_import_hides_it(body):
    assert facts_of_f(body)["code_calls"] == []


@pytest.mark.parametrize(
    ("body", "head"),
    [
        ("dump(x)\nother(x)", "from tools import dump\nfrom elsewhere import other\n"),
        ("dump(x)\nos.walk(x)", "import os\nfrom tools import dump\n"),
        ("dump(x)\nanything(x)", "from tools import dump\nfrom elsewhere import *\n"),
        (
            "dump(x)\nfast(x)",
            "from tools import dump\ntry:\n    from c import fast\nexcept ImportError:\n"
            "    fast = None\n",
        ),
        ("dump(x)\ntools.Box.make(x)", "import tools\nfrom tools import dump\n"),
    ],
)
def test_a_call_of_anything_else_that_is_imported_is_a_second_claim(body, head):
    claimed = {name for name, _ in facts_of_f(body, head=head)["code_calls"]}
    assert "tools.dump" in claimed and len(claimed) == 2


def test_raised_classes_are_named_and_raised_variables_are_claims():
    assert facts_of_f("raise Bad('no')")["code_raises"] == [("tools.Bad", True)]
    assert facts_of_f("if x:\n    raise Bad\nraise x")["code_raises"] == [
        ("(unknown)", False),
        ("tools.Bad", True),
    ]
    assert facts_of_f("raise dump")["code_raises"] == [("tools.dump", False)]


def test_values_are_as_the_source_writes_them():
    source = (
        "LIMIT = 0x1F\nNAME: str = 'utf-8'\nTWICE = 7\nTWICE = 8\nCHANGED = 9\n"
        "def set():\n    global CHANGED\n    CHANGED = 10\n"
        "def f(a, b=-2.5, *, code='cp 1252', none=None, on=True, odd='\\n'): ...\n"
        "class C:\n    level = 3_000\n    def m(self, size=64) -> int: ...\n"
    )
    found = {e for e in edges(module("m", source)) if "/" in e[1] or e[1] == "code_returns"}
    assert found == {
        ("m", "code_value/LIMIT", "0x1F"),
        ("m", "code_value/NAME", "utf-8"),
        ("m.f", "code_default/b", "-2.5"),
        ("m.f", "code_default/code", "cp 1252"),
        ("m.C", "code_attribute/level", "3_000"),
        ("m.C", "code_method_default/m/size", "64"),
        ("m.C.m", "code_default/size", "64"),
        ("m.C.m", "code_returns", "int"),
    }


def test_numbers_and_names_of_parameters_and_methods():
    source = (
        "def f(a, /, b, *, last): ...\ndef g(*args): ...\n"
        "class C:\n    def x(self): ...\n    def y(self): ...\n    async def z(self): ...\n"
        "class D:\n    @property\n    def x(self): ...\n    @x.setter\n    def x(self, v): ...\n"
        "    def y(self): ...\n"
    )
    found = {e for e in edges(module("m", source)) if "num" in e[1] or "last" in e[1]}
    assert found == {
        ("m.f", "code_num_parameters", "3"),
        ("m.f", "code_last_parameter", "last"),
        ("m.C", "code_num_methods", "3"),
    }


def test_a_module_is_what_a_name_is_imported_from():
    found = edges(module("m", "from a.b import c\nfrom d import e as f\nimport g\n"))
    assert {e for e in found if e[0] == "m"} == {("m", "code_imported_from/c", "a.b")}


def test_spans_are_the_characters_that_say_so():
    text = (
        "# caf\u00e9 \U0001f600\nfrom tools import dump\n\n\n"
        "@dump\ndef f(\n    x='\u00e9', size=64\n):  # why\n"
        "    '''Doc.'''\n    return '\u00e9' + dump(x)\n"
    )
    said = {
        (s.relation, s.object): text[slice(*s.span)]
        for s in code_statements([TOOLS, module("m", text)])
        if s.subject in ("m", "m.f") and s.span
    }
    head = "def f(\n    x='\u00e9', size=64\n):"
    assert said["code_imported_from/dump", "tools"] == "from tools import dump"
    assert said["code_default/size", "64"].startswith(head)
    assert said["code_decorator", "tools.dump"].startswith(f"@dump\n{head}")
    assert said["code_calls", "tools.dump"].endswith("return '\u00e9' + dump(x)")


def test_usual_values_and_names_that_differ_in_case_only_are_claims():
    many = [module(f"m{n}", "def f(errors='strict'): ...\n") for n in range(MAX_REPEATS + 1)]
    assert all(s.span is None for s in statements(*many)["m0.f", "code_default/errors"])
    assert ("m0.f", "code_default/errors", "strict") in edges(*many[:-1])
    both = module("m", "class Lock:\n    size = 64\n\n\ndef lock(size=32): ...\n")
    assert edges(both) == set()


def test_two_files_of_one_name_say_nothing():
    assert edges(BASE, BASE.model_copy(update={"id": "again"})) == set()


@pytest.mark.parametrize(
    "text",
    [
        "def f(:\n",
        "print 'two'\n",
        "x = " + "(" * 5000 + ")" * 5000,
        "x = " + "-" * 200_000 + "1",
        "x = a" + ".b" * 200_000,
        "x = " + "1 + " * 100_000 + "1",
        "x = " + "9" * 10_000,
        "x = '\x00'",
        "a = 1\n" * 200_000,
        "if 1:\n" + "".join(" " * n + "if 1:\n" for n in range(1, 150)),
        "x = '\\d'\n\n\ndef f(): ...",
    ],
    ids=lambda text: text[:12],
)
def test_hostile_and_broken_sources_are_never_an_error(text, recwarn):
    good = module("good", "def f(size=64): ...\n")
    assert ("good.f", "code_default/size", "64") in edges(good, module("bad", text))
    assert not recwarn.list


def test_sources_are_not_executed(tmp_path):
    target = tmp_path / "made"
    code_statements([module("m", f"open({str(target)!r}, 'w').write('x')\n")])
    assert not target.exists()


def test_other_documents_are_not_parsed():
    assert code_statements([Document(id="a", title="a", text="def f(size=64): ...")]) == []
