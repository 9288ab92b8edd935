"""One run of lm-eval: settings in its terms, its files written whole, and tokens counted."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from longspan.harness.errors import DataError, SpecError, one_line
from longspan.harness.generation import GenerationSettings
from longspan.harness.lm_eval.record import COUNTS_KEY, LmEvalRecord, TokenCounts, write_record
from longspan.harness.lm_eval.task_names import Unit

VERSIONS = ("longspan", "lm_eval", "transformers", "torch", "datasets")


class LmEvalSettings(BaseModel):
    """How tasks of lm-eval are run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    generation: GenerationSettings = GenerationSettings()
    """Sampling settings, for tasks that generate; they win over the task's own."""

    limit: int | None = Field(default=None, ge=1)
    """Only the first so many samples of each task."""

    apply_chat_template: bool = False
    """Whether prompts go through the checkpoint's chat template."""

    batch_size: int = Field(default=1, ge=1)
    """Requests that are run together."""


@dataclass(frozen=True)
class LocalCheckpoint:
    """A checkpoint as `longspan eval` would run it."""

    name: str
    """Name of the model, with its provider."""
    label: str
    source: str
    """Folder or Hub id."""
    weights: str | None
    window: int
    device: str
    dtype: str

    def arguments(self) -> dict[str, Any]:
        """Returns the arguments of lm-eval's `hf` model."""
        return {"pretrained": self.source, "dtype": self.dtype, "max_length": self.window}


@contextlib.contextmanager
def without_remarks(quiet: bool) -> Iterator[None]:
    """Keeps the remarks of lm-eval and its libraries off the screen, and its progress if quiet.

    What matters of them (settings that win, prompts that are cut) is recorded with the run.
    """
    import datasets  # comes with lm-eval
    from transformers.utils import logging as transformers_logging  # heavy

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    datasets.disable_progress_bars()
    # lm-eval asks git for a commit, and outside of a repository git complains: subprocesses get no
    # stderr, this process keeps its own.
    with open(os.devnull, "w") as nowhere, open(os.dup(2), "w") as terminal:
        os.dup2(nowhere.fileno(), 2)
        try:
            with contextlib.redirect_stderr(nowhere if quiet else terminal):
                yield
        finally:
            terminal.flush()
            os.dup2(terminal.fileno(), 2)


def load_model(checkpoint: LocalCheckpoint, settings: LmEvalSettings) -> Any:
    """Returns lm-eval's `hf` model over a checkpoint."""
    from lm_eval.api.registry import get_model  # optional and heavy

    return get_model("hf").create_from_arg_obj(
        checkpoint.arguments(), {"device": checkpoint.device, "batch_size": settings.batch_size}
    )


def run_unit(
    unit: Unit,
    lm: Any,
    manager: Any,
    checkpoint: LocalCheckpoint,
    settings: LmEvalSettings,
    folder: Path,
) -> None:
    """Runs a unit and writes its folder: whole or not at all.

    Raises:
        SpecError: the task does not run with this model and settings.
        DataError: lm-eval could not write its files.
    """
    from lm_eval.loggers import EvaluationTracker  # optional and heavy

    staging = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    shutil.rmtree(staging, ignore_errors=True)
    tracker = EvaluationTracker(output_path=str(staging / "results.json"))
    results = _evaluate(unit, lm, manager, checkpoint, settings, tracker)
    samples = results.pop("samples")
    for rows in samples.values():
        for row in rows:
            row[COUNTS_KEY] = _count_tokens(lm, row).model_dump()
    try:
        tracker.save_results_aggregated(results=results, samples=samples)
        for name, rows in samples.items():
            tracker.save_results_samples(task_name=name, samples=rows)
        _require_written(staging, tracker.date_id, samples)
        write_record(staging, _record(unit, checkpoint, settings))
        staging.rename(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def recorded_settings(
    unit: Unit, checkpoint: LocalCheckpoint, settings: LmEvalSettings
) -> dict[str, Any]:
    """Returns the settings that matter for a unit; those of generation only if it generates."""
    generation = settings.generation.model_dump(exclude_none=True)
    return {
        **settings.model_dump(exclude={"generation"}),
        **(generation if unit.generates else {"seed": settings.generation.seed}),
        "window": checkpoint.window,
        "device": checkpoint.device,
        "dtype": checkpoint.dtype,
    }


def generation_arguments(generation: GenerationSettings) -> dict[str, Any]:
    """Returns settings of generation in lm-eval's terms."""
    limit = {} if generation.max_tokens is None else {"max_gen_toks": generation.max_tokens}
    if generation.temperature == 0:
        return {"do_sample": False, "temperature": 0.0} | limit
    # top_k=0 turns off the 50 of Hugging Face's `generate`, which `longspan eval` does not have.
    sampling = {"temperature": generation.temperature, "top_p": generation.top_p, "top_k": 0}
    return {"do_sample": True} | sampling | limit


def _evaluate(
    unit: Unit,
    lm: Any,
    manager: Any,
    checkpoint: LocalCheckpoint,
    settings: LmEvalSettings,
    tracker: Any,
) -> dict[str, Any]:
    """Returns lm-eval's results, with samples."""
    import lm_eval  # optional and heavy

    seed = settings.generation.seed
    try:
        results: dict[str, Any] = lm_eval.simple_evaluate(
            model=lm,
            model_args=checkpoint.arguments(),
            tasks=list(unit.members),
            task_manager=manager,
            evaluation_tracker=tracker,
            limit=settings.limit,
            batch_size=settings.batch_size,
            device=checkpoint.device,
            gen_kwargs=generation_arguments(settings.generation) if unit.generates else None,
            apply_chat_template=settings.apply_chat_template,
            random_seed=seed,
            numpy_random_seed=seed,
            torch_random_seed=seed,
            fewshot_random_seed=seed,
        )
    except OSError:
        raise
    except Exception as error:  # tasks are programs, and lm-eval asserts what it cannot do
        print(file=sys.stderr)  # leaves the line of an unfinished progress bar
        reason = one_line(str(error) or type(error).__name__, 300).rstrip(".")
        raise SpecError(
            f"lm-eval could not run {unit.name} on {checkpoint.label}: {reason}; mend the task or "
            "the settings (LONGSPAN_TRACEBACK=1 shows where)"
        ) from error
    # It was given a loaded model, so that the next task need not load it again.
    tracker.general_config_tracker.model_source = results["config"]["model"] = "hf"
    return results


def _count_tokens(lm: Any, row: Mapping[str, Any]) -> TokenCounts:
    """Returns the tokens of a sample's requests, and how many did not fit into the window."""
    from lm_eval.models.utils import normalize_gen_kwargs  # optional and heavy

    num_input = num_output = dropped = 0
    for request, responses in zip(row["arguments"], row["resps"], strict=True):
        text, *more = request
        room = lm.max_length + 1  # the last token of a continuation is not put in
        if more and isinstance(more[0], Mapping):
            room = lm.max_length - normalize_gen_kwargs(more[0], lm.max_gen_toks)["max_gen_toks"]
            num_output += sum(len(lm.tok_encode(response)) for response in responses)
        elif more:
            text += more[0]
        length = len(lm.tok_encode(text))
        num_input += length
        # A single text is a whole document, which is read in windows: nothing of it is dropped.
        dropped = max(dropped, length - room) if more else dropped
    return TokenCounts(
        calls=len(row["arguments"]),
        input_tokens=num_input,
        output_tokens=num_output,
        tokens_dropped=dropped,
    )


def _require_written(folder: Path, date_id: str, samples: Mapping[str, Any]) -> None:
    """Raises unless lm-eval wrote all its files: it logs an error of the disk and goes on."""
    expected = {f"samples_{name}_{date_id}.jsonl": len(rows) for name, rows in samples.items()}
    paths = [folder / name for name in expected]
    whole = (folder / f"results_{date_id}.json").is_file() and all(
        path.is_file() and path.read_bytes().count(b"\n") == expected[path.name] for path in paths
    )
    if not whole:
        raise DataError(
            f"lm-eval could not write its files into {folder.parent}; check free space and "
            "permissions, then run the same command again"
        )


def _record(unit: Unit, checkpoint: LocalCheckpoint, settings: LmEvalSettings) -> LmEvalRecord:
    return LmEvalRecord(
        task=unit.name,
        checkpoint=checkpoint.label,
        checkpoint_hash=checkpoint.weights,
        model=checkpoint.name,
        settings=recorded_settings(unit, checkpoint, settings),
        versions={name: version(name) for name in VERSIONS},
        files={},
    )
