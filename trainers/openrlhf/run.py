"""The driver process of a stage: `python -m longspan.trainers.openrlhf.run FILE OPTIONS...`.

FILE is the run file and OPTIONS are those of `openrlhf.cli.train_ppo_ray`, which runs here with the
patched classes. What stopped the run is written beside FILE in one line.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from longspan.harness.errors import LongspanError, ModelError, describe, one_line
from longspan.harness.spec import TASKS_VARIABLE
from longspan.harness.workers import end_with_parent
from longspan.trainers.openrlhf import cpu
from longspan.trainers.openrlhf.cluster import ClusterSettings
from longspan.trainers.openrlhf.run_file import RUN_VARIABLE, read_run

ADDRESS_VARIABLE = "LONGSPAN_RAY_ADDRESS"
"""Environment variable with the address of a Ray cluster; without it one is started here."""
ERROR_FILE = "error.txt"
OBJECT_STORE_BYTES = 512 << 20
"""Of a Ray that is started here: prompts and micro-batches pass through it."""
_LOOPBACK_ONLY = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Ray's switch that makes its servers listen on 127.0.0.1 only, where it is 0; on Linux, too."""
_PASSED_ON = (
    _LOOPBACK_ONLY,
    "PYTHONPATH",
    "HF_HUB_OFFLINE",
    "HF_HOME",
    "NCCL_DEBUG",
)
NO_SPACE = (
    "no space is left; the last whole state is kept: free some space, then run the same command "
    "again"
)
_KNOWN = {
    ("no space left", "file write failed", "disk quota", "errno 28", "errno 27"): NO_SPACE,
    ("address already in use", "eaddrinuse"): (
        "another program took a port that the run had chosen; the last state is kept: run the same "
        "command again"
    ),
    ("running low on memory",): (
        "Ray ended a process of the run since the machine's memory was used up; the last state is "
        "kept: free some memory, then run the same command again"
    ),
    ("timed out during startup",): (
        "Ray did not start in time on this machine, which is busy or out of memory; run the same "
        "command again"
    ),
}
"""Words of errors that have no type of their own, and what they mean."""


def main(arguments: Sequence[str]) -> int:
    """Runs a stage; returns 0, or 130 interrupted.

    Any error is written down in one line and raised on, so that the log has its traceback.
    """
    path = Path(arguments[0])
    os.environ[RUN_VARIABLE] = str(path)
    end_with_parent(os.getppid())
    # Jobs in the background of a shell begin deaf to it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    error_file = path.with_name(ERROR_FILE)
    error_file.unlink(missing_ok=True)
    try:
        _run(arguments[1:])
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        with contextlib.suppress(OSError):
            error_file.write_text(explain(error) + "\n", encoding="utf-8")
        raise
    return 0


def explain(error: BaseException) -> str:
    """Returns one line for what stopped a run, in whichever process it happened."""
    for cause in _causes(error):
        name = type(cause).__name__
        if isinstance(cause, LongspanError):
            return cause.message
        for words, meaning in _KNOWN.items():
            if any(word in str(cause).lower() for word in words):
                return meaning
        if (line := describe(cause)) is not None:
            return line
        if died := _died(name):
            return (
                f"{died} died ({one_line(str(cause), 200)}); the last state is kept: see the log, "
                "then run the same command again"
            )
    return one_line(f"{type(error).__name__}: {error}", 400)


def _died(error: str) -> str | None:
    """Returns what died where an error of that name says so of Ray's actors or vLLM's engine."""
    if error.startswith("EngineDead"):
        return "a vLLM engine"
    if "Actor" in error and ("Died" in error or "Unavailable" in error):
        return "a process of the run"
    return None


def _run(options: Sequence[str]) -> None:
    run = read_run()
    if run.cluster.device == "cpu":
        os.environ.update({**cpu.ENVIRONMENT, **os.environ})
        # DeepSpeed builds its shared-memory group with the ninja of this environment.
        os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        if ADDRESS_VARIABLE not in os.environ:
            os.environ[_LOOPBACK_ONLY] = "0"
        cpu.stand_in()
    # Imports OpenRLHF, for which the stand-ins must be there.
    from longspan.trainers.openrlhf.patch import install

    with _cluster(run.cluster):
        install()
        sys.argv = ["train_ppo_ray", *options]
        runpy.run_module("openrlhf.cli.train_ppo_ray", run_name="__main__", alter_sys=True)


@contextlib.contextmanager
def _cluster(settings: ClusterSettings) -> Iterator[None]:
    """Connects to a Ray cluster, or starts one on this machine, for the duration of the block.

    Raises:
        ModelError: there is none at the address, or it has too few GPUs.
    """
    import ray  # heavy, and reads the environment when it is imported

    address = os.environ.get(ADDRESS_VARIABLE)
    environment: dict[str, Any] = {"env_vars": _environment(settings)}
    if settings.device == "cpu":
        environment["worker_process_setup_hook"] = f"{cpu.__name__}.{cpu.stand_in.__name__}"
    try:
        if address:
            ray.init(address=address, runtime_env=environment)
        else:
            _start_here(settings, environment)
    except ConnectionError as error:
        raise ModelError(
            f"no Ray cluster at {address}: {one_line(str(error), 200)}; start one with ray start "
            "--head, check the address, or leave out --ray-address"
        ) from error
    try:
        there = int(ray.cluster_resources().get("GPU", 0))
        if there < settings.num_gpus:
            raise ModelError(
                f"the cluster needs {settings.num_gpus} GPUs and Ray sees {there}; choose another "
                "--cluster, or add machines"
            )
        yield
    finally:
        ray.shutdown()


def _start_here(settings: ClusterSettings, environment: dict[str, Any]) -> None:
    import ray

    # "local": without it Ray would join a cluster that someone else started on this machine.
    place: dict[str, Any] = {
        "address": "local",
        "include_dashboard": False,
        "runtime_env": environment,
    }
    if settings.device == "cpu":  # processes in the place of GPUs
        place |= {
            "num_gpus": settings.num_gpus,
            "num_cpus": 2 * settings.num_gpus + 2,
            "object_store_memory": OBJECT_STORE_BYTES,
        }
    ray.init(**place)


def _environment(settings: ClusterSettings) -> dict[str, str]:
    """Returns the environment variables of Ray's processes."""
    variables = {
        "TOKENIZERS_PARALLELISM": "false",
        "RAY_ENABLE_ZERO_COPY_TORCH_TENSORS": "1",
        RUN_VARIABLE: os.environ[RUN_VARIABLE],
    }
    if settings.device == "cpu":
        variables |= {name: os.environ[name] for name in cpu.ENVIRONMENT}
    variables |= {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    if TASKS_VARIABLE in os.environ:  # Ray's processes begin wherever it was started
        folders = os.environ[TASKS_VARIABLE].split(os.pathsep)
        variables[TASKS_VARIABLE] = os.pathsep.join(
            os.path.abspath(os.path.expanduser(folder)) for folder in folders if folder
        )
    return variables


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yields an error and what Ray says caused it, the innermost first."""
    inner = getattr(error, "cause", None)
    if isinstance(inner, BaseException) and inner is not error:
        yield from _causes(inner)
    yield error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
