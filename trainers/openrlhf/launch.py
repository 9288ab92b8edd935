"""Runs a stage on a cluster from `longspan train`: starts its driver, follows it, ends it.

STAGE/openrlhf/run.json      what every process of the run reads
STAGE/openrlhf/command.txt   the command of the driver
STAGE/openrlhf/log.txt       what the processes print
STAGE/openrlhf/states/       to resume from, while the stage runs
STAGE/metrics.jsonl          one line per step, as in the embedded engine
STAGE/checkpoint/            of the finished stage
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from transformers import AutoConfig

from longspan.harness.errors import ModelError, RecipeError, one_line
from longspan.trainers.local.checkpoint import find_checkpoint, load_tokenizer, resolve_directory
from longspan.trainers.local.stage import (
    StageRun,
    stage_pools,
    stage_sampler,
    stage_samples,
    stage_tasks,
    task_versions,
)
from longspan.trainers.metrics import MetricsFile, alarm
from longspan.trainers.openrlhf.arguments import (
    Places,
    check_supported,
    command_line,
    openrlhf_options,
)
from longspan.trainers.openrlhf.cluster import ClusterSettings
from longspan.trainers.openrlhf.contract import check_flash_attention, check_installed, untested
from longspan.trainers.openrlhf.run import ADDRESS_VARIABLE, ERROR_FILE, NO_SPACE
from longspan.trainers.openrlhf.run_file import RunFile, read_run, write_run
from longspan.trainers.openrlhf.states import StageError, forget_states_after, last_whole_state
from longspan.trainers.progress import StageProgress, step_line
from longspan.trainers.stages import TrainStage
from longspan.trainers.tensorboard import TensorBoard

FOLDER = "openrlhf"
DRIVER = (sys.executable, "-m", "longspan.trainers.openrlhf.run")
POLL_SECONDS = 0.5
GRACE_SECONDS = 30.0
"""That the driver has to end its processes after an interrupt."""
CONNECT_SECONDS = 10.0
FULL_BYTES = 1 << 20
_CODE_KEYS = frozenset({"auto_map", "configuration_files"})
"""Entries of a checkpoint's files that name code, or other files that may."""
LOCAL_STATES = "states"
"""Folder of the embedded engine's states in that of a stage."""


class Launcher:
    """Trains stages on a cluster."""

    def __init__(self, cluster: ClusterSettings, ray_address: str | None = None) -> None:
        """Checks what is installed.

        Args:
            cluster: the machines.
            ray_address: of a Ray cluster that runs; None starts one on this machine.

        Raises:
            RecipeError: OpenRLHF or what it needs is missing, or it is another version than the
                patch fits; or the address is none.
            ModelError: nobody listens at the address.
        """
        check_installed()
        check_flash_attention(cluster.device)
        if ray_address is not None:
            check_address(ray_address)
        self._cluster, self._address = cluster, ray_address

    def train_stage(self, run: StageRun[TrainStage]) -> Path:
        """Runs or resumes a stage and returns the folder of its checkpoint.

        Raises:
            RecipeError: the stage asks for what the engine does not have, or its tasks have
                changed since it began.
            ModelError: the checkpoint cannot be used.
            StageError: the run stopped; the last state is kept.
        """
        if run.checkpoint.exists():
            return run.checkpoint
        check_supported(run, self._cluster)
        if (run.folder / LOCAL_STATES).exists():
            raise RecipeError(
                f"{run.folder} was begun by the embedded engine; go on with --engine local, or "
                "train into another folder"
            )
        folder = run.folder.resolve() / FOLDER
        file = self._run_file(run)
        _check_names(folder, file.start)
        places = Places(file.start, folder / "states", folder / "checkpoint.partial")
        done = last_whole_state(places.states / "_actor")
        _check_unchanged(folder / "run.json", file, done)
        write_run(folder / "run.json", file)
        forget_states_after(done, places.states / "_actor")
        _forget_steps_after(done, MetricsFile(run.folder / "metrics.jsonl"))
        shutil.rmtree(places.checkpoint, ignore_errors=True)
        options = openrlhf_options(run, self._cluster, places, file.window)
        command = [*DRIVER, str(folder / "run.json"), *command_line(options)]
        (folder / "command.txt").write_text(shlex.join(command) + "\n", encoding="utf-8")
        self._follow(run, folder, command, done)
        places.checkpoint.rename(run.checkpoint)
        shutil.rmtree(places.states, ignore_errors=True)
        return run.checkpoint

    def _run_file(self, run: StageRun[TrainStage]) -> RunFile:
        start = resolve_directory(find_checkpoint(run.start)).resolve()
        window = check_checkpoint(start, self._cluster.max_window_tokens)
        tasks = stage_tasks(run)
        pools = stage_pools(stage_samples(tasks, run), run)
        stage_sampler(pools, run)  # refuses what the run would refuse after minutes
        return RunFile(
            stage=run.stage,
            folder=run.folder.resolve(),
            working_directory=Path.cwd(),
            model=run.model,
            start=start,
            window=window,
            sources=run.sources,
            kept=None if run.kept is None else tuple(sorted(run.kept)),
            pools={kind: tuple(sorted(keys)) for kind, keys in pools.items()},
            versions=task_versions(tasks),
            seed=run.seed,
            model_roles=dict(run.model_roles),
            cluster=self._cluster,
        )

    def _follow(
        self, run: StageRun[TrainStage], folder: Path, command: list[str], done: int
    ) -> None:
        """Runs the driver to its end and shows the steps after the first `done`."""
        metrics = MetricsFile(run.folder / "metrics.jsonl")
        environment = dict(os.environ)
        environment.pop(ADDRESS_VARIABLE, None)
        if self._address:
            environment[ADDRESS_VARIABLE] = self._address
        log = folder / "log.txt"
        (folder / ERROR_FILE).unlink(missing_ok=True)
        began = log.stat().st_size if log.exists() else 0
        with (
            _tensorboard(run, metrics) as board,
            StageProgress(run.stage.name, run.stage.num_steps, done, run.quiet) as progress,
        ):
            progress.note(f"command: {shlex.join(command)}")
            progress.note(f"log: {log}")
            if note := untested():
                progress.note(note)
            if done:
                progress.note(f"resuming after step {done} of {run.stage.num_steps}")
            with _driver(command, environment, log) as driver:
                for row in _steps(driver, metrics, done):
                    progress.show(row["step"], step_line(row))
                    if board is not None:
                        board.append(row)
                    if warning := alarm(row):
                        progress.note(f"ALARM step {row['step']}: {warning}")
        if driver.returncode:
            raise StageError(_why(folder, driver.returncode, log, began))


@contextmanager
def _tensorboard(run: StageRun[TrainStage], metrics: MetricsFile) -> Iterator[TensorBoard | None]:
    """Yields where the stage's events go, with those of the steps that are done."""
    if run.tensorboard is None:
        yield None
        return
    with closing(TensorBoard(run.tensorboard, _whole_rows(metrics))) as board:
        yield board


def _check_names(*places: Path) -> None:
    """Refuses paths in which DeepSpeed, vLLM or Ray see a pattern or a variable."""
    for place in places:
        if found := set(str(place.resolve())) & set("[]*?$"):
            raise RecipeError(
                f"the OpenRLHF engine cannot use a path with {' '.join(sorted(found))}: {place}; "
                "choose another name"
            )


def check_address(address: str) -> None:
    """Makes sure that somebody listens at the address of a Ray cluster.

    Ray itself tries for minutes.

    Raises:
        RecipeError: it is no address.
        ModelError: nobody listens there.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        raise RecipeError(
            f"--ray-address must be HOST:PORT: got {address!r}; ray start --head prints it"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ModelError(
            f"no Ray cluster at {address} ({reason}); start one with ray start --head, check the "
            "address, or leave out --ray-address"
        ) from error


def check_checkpoint(folder: Path, max_window_tokens: int | None) -> int:
    """Returns the window to use with a checkpoint.

    Raises:
        ModelError: it brings code of its own, has no chat template, or no such window.
    """
    for path in sorted(folder.glob("*.json")):
        content = _read_json(path)
        for key in _CODE_KEYS & (content.keys() if isinstance(content, dict) else set()):
            raise ModelError(
                f"{path} may name code of the checkpoint's own ({key}), which OpenRLHF would run; "
                "use a model that transformers has, or remove the entry"
            )
    load_tokenizer(folder)
    try:
        config = AutoConfig.from_pretrained(folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"cannot read {folder / 'config.json'} ({one_line(str(error), 200)}); copy the "
            "checkpoint again, or use a model that transformers has"
        ) from error
    own = getattr(config, "max_position_embeddings", None)
    window = max_window_tokens or own
    if window is None:
        raise ModelError(
            f"{folder} declares no max_position_embeddings; set max_window_tokens of the cluster"
        )
    if own is not None and window > own:
        raise ModelError(
            f"max_window_tokens must be at most the model's own {own}: got {window}; lower it"
        )
    return int(window)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"cannot read {path} ({one_line(str(error), 200)}); copy the checkpoint again"
        ) from error


def _forget_steps_after(done: int, metrics: MetricsFile) -> None:
    """Cuts off the metrics of steps that will be repeated, so that they are not shown as new."""
    kept = 0
    for line in _lines(metrics):
        try:
            if json.loads(line)["step"] > done:
                break
        except (ValueError, KeyError, TypeError):  # damaged: it ends there
            break
        kept += len(line) + 1
    metrics.truncate(kept)


def _lines(metrics: MetricsFile) -> list[bytes]:
    """Returns the lines that are written to their end."""
    content = metrics.path.read_bytes() if metrics.path.exists() else b""
    return content.split(b"\n")[:-1]


def _check_unchanged(path: Path, file: RunFile, done: int) -> None:
    """Refuses to resume a stage whose tasks, or how its states are spread, have changed."""
    if not path.is_file():
        return
    before = read_run(path)
    if before.versions != file.versions:
        raise RecipeError(
            f"the tasks have changed since {path.parent} was started: {file.versions}, then "
            f"{before.versions}; restore them or train into another folder"
        )
    spread, now = ((one.num_ranks, one.zero_stage) for one in (before.cluster, file.cluster))
    if done and spread != now:
        raise RecipeError(
            "a state can only be read by as many training processes, with the same ZeRO stage, as "
            f"wrote it: {path.parent} has {spread[0]} with ZeRO {spread[1]}, the cluster says "
            f"{now[0]} with ZeRO {now[1]}; use that cluster again or train into another folder"
        )


@contextmanager
def _driver(
    command: list[str], environment: dict[str, str], log: Path
) -> Iterator[subprocess.Popen[Any]]:
    """Yields the driver process; an error or interrupt in the block ends it and its children."""
    with log.open("a", encoding="utf-8") as output:
        driver = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield driver
    except BaseException:
        _stop(driver)
        raise


def _stop(driver: subprocess.Popen[Any]) -> None:
    """Lets the driver end its run, then ends what is left of it."""
    driver.send_signal(signal.SIGINT)
    try:
        driver.wait(GRACE_SECONDS)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()


def _steps(
    driver: subprocess.Popen[Any], metrics: MetricsFile, shown: int
) -> Iterator[dict[str, Any]]:
    """Yields the metrics of the driver's steps after the first `shown`, until it ends."""
    while True:
        is_over = driver.poll() is not None
        for row in _whole_rows(metrics):
            if row["step"] > shown:
                shown = row["step"]
                yield row
        if is_over:
            return
        time.sleep(POLL_SECONDS)


def _whole_rows(metrics: MetricsFile) -> list[dict[str, Any]]:
    """Returns the lines that are written to their end; null stands for what is not finite."""
    rows = [json.loads(line) for line in _lines(metrics)]
    return [
        {name: float("nan") if value is None else value for name, value in row.items()}
        for row in rows
    ]


def _why(folder: Path, code: int, log: Path, began: int) -> str:
    """Returns one line for a driver that stopped; its log begins at that byte."""
    error = folder / ERROR_FILE
    if error.is_file() and (line := error.read_text(encoding="utf-8").strip()):
        return f"{line} [log: {log}]"
    if shutil.disk_usage(folder).free < FULL_BYTES:  # then neither file says why
        return f"at {folder} {NO_SPACE}"
    text = log.read_bytes()[began:].decode("utf-8", "replace")
    lines = [line for line in text.splitlines() if line.strip()]
    last = one_line(lines[-1], 200) if lines else "it printed nothing"
    return (
        f"the driver stopped with code {code}: {last}; see {log}, then run the same command again"
    )
