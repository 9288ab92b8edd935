"""Registers our tasks, solvers and scorers under `longspan/` before any test runs.

An editable install leaves `longspan.egg-info` in the repository, and `python -m pytest` puts the
repository on the path. Inspect would take that folder for the installed package, not see that it is
an editable install, and register everything without the package's name. What Inspect has found out
it remembers, so the registry is imported once while the repository is off the path.
"""

import sys
from pathlib import Path

REPOSITORY = str(Path(__file__).parent)

path, sys.path = sys.path, [entry for entry in sys.path if entry not in ("", REPOSITORY)]
try:
    import longspan.tasks.registry  # noqa: F401
finally:
    sys.path = path
