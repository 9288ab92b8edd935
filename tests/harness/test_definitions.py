"""The generated definitions: up to date, seen by `inspect list tasks`, and registered by nobody."""

import ast
import subprocess
import sys
from pathlib import Path

from inspect_ai import list_tasks

from longspan.harness.definitions import definitions_file, render_definitions
from longspan.harness.registry import EXTERNALS, SPECS, tasks_folder

ROOT = Path(__file__).parents[2]


def shipped():
    files = {**SPECS, **EXTERNALS}
    return {name for name, file in files.items() if file.path.parent == tasks_folder()}


def test_the_definitions_are_those_of_the_specs():
    assert definitions_file().samefile(ROOT / "tasks" / "definitions.py")
    written = definitions_file().read_text(encoding="utf-8")
    assert written == render_definitions(), "run: longspan tasks --write-definitions"


def test_inspect_lists_every_shipped_task():
    listed = {info.name for info in list_tasks("tasks", root_dir=ROOT)}
    assert listed == shipped()


def test_each_definition_has_its_parameters_and_says_what_it_is():
    tree = ast.parse(definitions_file().read_text(encoding="utf-8"))
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert set(functions) == shipped()
    assert all(ast.get_docstring(node) for node in functions.values())
    names = [argument.arg for argument in functions["mrcr_2needle"].args.args]
    assert names[:3] == ["bin", "min_tokens_bin", "max_tokens_bin"] and "protocol" in names


def test_the_registry_does_not_import_them_and_they_call_it():
    code = (
        "import sys, longspan.tasks.registry as r\n"
        "assert 'longspan.tasks.definitions' not in sys.modules\n"
        "from longspan.harness.registry import TASKS\n"
        "before = dict(TASKS)\n"
        "from longspan.tasks import definitions\n"
        "assert TASKS == before\n"
        "try: definitions.taskset()\n"
        "except Exception as error: print(error)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "task taskset needs a task set; pass -T path=DIR" in result.stdout, result.stderr
