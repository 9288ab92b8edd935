"""Workers on a Ray cluster: parts as a Ray Data stream, made by the same code as in processes.

The work folder has to be where all machines see it: workers keep the documents of generated worlds
there. Corpora of the user's documents travel to the workers once.
"""

from __future__ import annotations

import logging
import os
import pickle
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from longspan.harness.errors import SynthesisError, one_line
from longspan.synth_templates.parts import PartTask
from longspan.synth_templates.workers import PartAhead, PartWorker

LOCAL = "local"
"""Address of a cluster of this machine alone, which ends with the command."""
CONNECT_SECONDS = 10.0
_ERROR_LINE = re.compile(r"^[\w.]*(?:Error|Exception): (.*)$", re.MULTILINE)
"""The first error in a traceback, which is the cause of the others."""


class _Actor:
    """A worker of Ray Data; tasks and parts travel as bytes, which its blocks do not interpret."""

    def __init__(self, worker: Any) -> None:
        import ray

        self.worker: PartWorker = ray.get(worker)

    def __call__(self, row: dict[str, bytes]) -> dict[str, bytes]:
        return {"part": pickle.dumps(self.worker.make(pickle.loads(row["task"])))}


@dataclass
class RayWorkers:
    """Workers of a cluster.

    Attributes:
        worker: Reference to the worker that actors hold.
    """

    worker: Any
    head_start_seconds: float = 0.0

    def make(self, tasks: Sequence[PartTask]) -> Iterator[PartAhead]:
        """Yields the parts in order, made ahead as Ray Data has room for them."""
        import ray

        items = [{"task": pickle.dumps(task)} for task in tasks]
        most = max(1, min(len(items), int(ray.cluster_resources().get("CPU", 1))))
        parts = ray.data.from_items(items, override_num_blocks=len(items)).map(
            _Actor,
            fn_constructor_args=(self.worker,),
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=most),
        )
        try:
            for row in parts.iter_rows():
                yield pickle.loads(row["part"])
        except Exception as error:  # of many classes, and with whole tracebacks as their texts
            said = _ERROR_LINE.search(str(error))
            reason = one_line(said.group(1) if said else str(error), 300)
            raise SynthesisError(
                f"a worker on Ray failed ({reason}); run the command again: parts that are "
                "finished are kept"
            ) from error


@contextmanager
def ray_workers(worker: PartWorker, address: str) -> Iterator[RayWorkers]:
    """Yields the workers of a cluster, which are released in the end.

    Raises:
        SynthesisError: Ray is not installed, or there is no cluster at the address.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise SynthesisError(
            "--ray needs Ray, which is not installed; pip install 'longspan[ray]'"
        ) from error
    if ":" in address:
        _knock(address)
    try:
        ray.init(address=address, **_options(address))
    except Exception as error:
        raise SynthesisError(_no_cluster(address, error)) from error
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        yield RayWorkers(ray.put(worker))
    finally:
        ray.shutdown()


def _options(address: str) -> dict[str, Any]:
    """Returns how to connect; a cluster of this machine alone talks to nobody else."""
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == LOCAL:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        options |= {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    return options


def _knock(address: str) -> None:
    """Raises an error at once where nobody listens: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except (OSError, ValueError, OverflowError) as error:
        raise SynthesisError(_no_cluster(address, error)) from error


def _no_cluster(address: str, error: Exception) -> str:
    return (
        f"no Ray cluster at {address} ({one_line(str(error), 200)}); start one with `ray start "
        f"--head`, or give --ray {LOCAL}"
    )
