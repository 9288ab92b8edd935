"""Checkpoints: Hugging Face directories, read safely and written whole or not at all.

Only safetensors are read and no code of a checkpoint is run. A checkpoint's identity is the hash of
its weights (`weights_hash`), whatever its folder or shards are called.
"""

from __future__ import annotations

import copy
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint
from transformers.utils import logging
from transformers.utils.hub import cached_file

import longspan.trainers
from longspan.harness.errors import ModelError, one_line

CHECKPOINTS = Path(longspan.trainers.__file__).parent / "checkpoints"
"""Folder of the packaged checkpoints."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
GGUF_MAGIC = b"GGUF"
_REPAIR = "if its files are damaged or missing, copy or download them again"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model")


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint."""

    model: Any
    tokenizer: Any
    directory: Path


def load_checkpoint(
    source: str | Path, device: str = "cpu", dtype: str = "auto", chat_template: bool = True
) -> Checkpoint:
    """Returns the model and tokenizer of a checkpoint directory or Hub id.

    Args:
        source: directory with config, safetensors and tokenizer, or an id of the Hugging Face Hub.
        device: see `resolve_place`.
        dtype: see `resolve_place`.
        chat_template: whether the tokenizer must have one.

    Raises:
        ModelError: the checkpoint is missing, incomplete or unreadable.
    """
    directory = resolve_directory(source)
    tokenizer = load_tokenizer(source, chat_template)
    device, dtype = resolve_place(device, dtype)
    if not list(directory.glob("*.safetensors")) and directory == Path(source):
        raise ModelError(
            f"no safetensors in {source}; other weight formats are not read: convert it with "
            "save_pretrained (a GGUF file with longspan convert-gguf)"
        )
    try:
        with _quiet():
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                str(source),
                dtype=DTYPES[dtype],
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
            model, found = loaded
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"cannot load model {source}: {_reason(error)}; {_REPAIR}") from error
    if missing := sorted(found["missing_keys"]):  # they would be random numbers
        raise ModelError(f"cannot load model {source}: no weights for {missing[0]}; {_REPAIR}")
    return Checkpoint(model.to(device).eval(), tokenizer, resolve_directory(source))


def resolve_place(device: str, dtype: str) -> tuple[str, str]:
    """Returns device and type of a model, with what is left to the machine decided.

    Args:
        device: "cpu", "cuda", "cuda:1", ...; "auto" is cuda where there is one.
        dtype: "float32", "bfloat16", "float16"; "auto" is float32 on a CPU, else bfloat16.

    Raises:
        ModelError: the device is not there, or one of them is unknown.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.split(":")[0] not in ("cpu", "cuda"):
        raise ModelError(f"unknown device: {device}; use auto, cpu, cuda or cuda:<number>")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ModelError(f"device {device} is not available on this machine; use device=cpu")
    if dtype == "auto":
        dtype = "float32" if device == "cpu" else "bfloat16"
    if dtype not in DTYPES:
        raise ModelError(f"unknown dtype: {dtype}; use one of auto, {', '.join(DTYPES)}")
    return device, dtype


def load_tokenizer(source: str | Path, chat_template: bool = True) -> Any:
    """Returns the tokenizer of a checkpoint directory or Hub id.

    Raises:
        ModelError: it has none, or no working chat template although one is asked for.
    """
    directory = resolve_directory(source)
    local = directory == Path(source)
    if local and not any((directory / name).is_file() for name in TOKENIZER_FILES):
        raise ModelError(f"no tokenizer in {source}; save the model's tokenizer into that folder")
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(source), trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"cannot load the tokenizer of {source}: {_reason(error)}; {_REPAIR}"
        ) from error
    if chat_template and not tokenizer.chat_template:
        raise ModelError(
            f"model {source} has no chat template; use an instruction-tuned checkpoint or save a "
            "chat_template.jinja into its folder"
        )
    if chat_template:
        _try_chat_template(tokenizer, source)
    return tokenizer


def find_checkpoint(name: str) -> str:
    """Returns the folder of a packaged checkpoint, else the name itself (a folder or Hub id).

    Raises:
        ModelError: it is neither packaged, nor a folder, nor of the form of a Hub id.
    """
    packaged = CHECKPOINTS / name
    if "/" not in name and (packaged / "config.json").is_file():
        return str(packaged)
    if "/" not in name and not Path(name).exists():
        shipped = sorted(path.parent.name for path in CHECKPOINTS.glob("*/config.json"))
        raise ModelError(
            f"no packaged checkpoint or folder {name!r}; packaged: {', '.join(shipped) or 'none'}; "
            "give one of them, a folder, or a Hub id (owner/name)"
        )
    return name


def resolve_directory(source: str | Path) -> Path:
    """Returns the directory of a checkpoint: itself, or where the Hub's copy lies.

    Raises:
        ModelError: there is no such directory, or no such model on the Hub or in its cache.
    """
    directory = Path(source)
    if (directory / "config.json").is_file():
        return directory
    if directory.is_dir():
        raise ModelError(f"no config.json in {source}; give a Hugging Face checkpoint folder")
    if directory.is_absolute() or str(source).startswith((".", "~")) or str(source).count("/") > 1:
        raise ModelError(f"no such checkpoint folder: {source}; check the path")
    try:
        found = cached_file(str(source), "config.json")
    except OSError as error:
        reason = str(error).splitlines()[0]
        raise ModelError(
            f"no folder and no Hub model {source} ({one_line(reason, 200)}); check the name, the "
            "network, or give a folder"
        ) from error
    return Path(str(found)).parent


def save_checkpoint(
    directory: Path, model: Any, tokenizer: Any, dtype: torch.dtype | None = None
) -> None:
    """Writes a Hugging Face checkpoint; `directory` appears, or changes, only once it is whole.

    Args:
        directory: where it goes; an older checkpoint there is replaced.
        model: the model; it is not changed.
        tokenizer: its tokenizer.
        dtype: type of the stored weights (default: as they are).
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    partial = directory.parent / f".{directory.name}.{uuid.uuid4().hex[:8]}.partial"
    try:
        stored = model if dtype is None else copy.deepcopy(model).to(dtype)
        with _quiet():
            stored.save_pretrained(partial, safe_serialization=True)
        tokenizer.save_pretrained(partial)
        _flush(partial)
        if directory.exists():
            old = partial.with_suffix(".replaced")
            directory.rename(old)
            partial.rename(directory)
            shutil.rmtree(old)
        else:
            partial.rename(directory)
        _sync(directory.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def weights_hash(directory: Path) -> str:
    """Returns the SHA-256 (first 16 hexadecimal digits) of a checkpoint's tensors in order of name.

    Covers name, type, shape and bytes of every tensor; not shards, metadata or config.

    Raises:
        ModelError: there are no readable safetensors.
    """
    places: dict[str, Path] = {}
    try:
        for file in sorted(directory.glob("*.safetensors")):
            with safe_open(file, "pt") as tensors:
                places.update(dict.fromkeys(tensors.keys(), file))
        digest = hashlib.sha256()
        for name in sorted(places):
            with safe_open(places[name], "pt") as tensors:
                tensor = tensors.get_tensor(name)
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy())
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"cannot read the weights in {directory}: {_reason(error)}; {_REPAIR}"
        ) from error
    if not places:
        raise ModelError(f"no safetensors in {directory}; give a Hugging Face checkpoint folder")
    return digest.hexdigest()[:16]


def convert_gguf_command(
    gguf: Annotated[Path, typer.Argument(help="GGUF file.")],
    out: Annotated[Path, typer.Argument(help="Checkpoint folder to write.")],
) -> None:
    """Turns a GGUF file into an ordinary checkpoint (dequantised, float16 safetensors)."""
    if not gguf.is_file():
        raise ModelError(f"no such file: {gguf}; check the path")
    with gguf.open("rb") as file:
        if file.read(len(GGUF_MAGIC)) != GGUF_MAGIC:
            raise ModelError(f"not a GGUF file: {gguf}; give a file ending in .gguf")
    if find_spec("gguf") is None:
        raise ModelError("reading GGUF needs the package gguf; pip install 'longspan[gguf]'")
    if out.exists():
        raise ModelError(f"{out} exists already; choose another folder or remove it")
    typer.echo(f"reading {gguf} ...")
    try:
        with _quiet():
            model, tokenizer = _read_gguf(gguf)
    except (OSError, ValueError, KeyError, NotImplementedError, RuntimeError) as error:
        raise ModelError(f"cannot read {gguf}: {error}") from error
    save_checkpoint(out, model, tokenizer, torch.float16)
    typer.echo(f"wrote {out} (weights {weights_hash(out)})")


def _read_gguf(gguf: Path) -> tuple[Any, Any]:
    """Returns a GGUF file's model, dequantised, and its tokenizer.

    `from_pretrained(gguf_file=...)` would do it too, but needs accelerate, and its model counts as
    quantised and refuses to be saved.
    """
    folder, name = str(gguf.parent), gguf.name
    config = AutoConfig.from_pretrained(folder, gguf_file=name)
    model: Any = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
        config, dtype=torch.float32
    )
    parsed = load_gguf_checkpoint(  # type: ignore[no-untyped-call]
        str(gguf), return_tensors=True, model_to_load=model
    )
    missing, unexpected = model.load_state_dict(parsed["tensors"], strict=False)
    model.tie_weights()
    tied = set(model.all_tied_weights_keys)
    if lost := [*unexpected, *(key for key in missing if key not in tied)]:
        raise ValueError(f"its tensors do not fit {type(model).__name__}: {lost[0]}")
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
    if isinstance(config.eos_token_id, int):  # the reader takes the begin token for the end token
        tokenizer.eos_token = tokenizer.convert_ids_to_tokens(config.eos_token_id)
    tokenizer.clean_up_tokenization_spaces = False  # it would strip spaces that the text had
    return model, tokenizer


def _try_chat_template(tokenizer: Any, source: str | Path) -> None:
    """Raises ModelError if the chat template cannot write a question down."""
    try:
        tokenizer.apply_chat_template(
            [{"role": "user", "content": "?"}], add_generation_prompt=True, tokenize=False
        )
    except Exception as error:  # the template is a program of its own, and may fail in any way
        raise ModelError(
            f"the chat template of {source} does not work: {_reason(error)}; mend its "
            "chat_template.jinja (or the one in tokenizer_config.json)"
        ) from error


def _reason(error: Exception) -> str:
    return one_line(str(error) or type(error).__name__, 300).rstrip(".")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the progress bars and reports of transformers off the screen."""
    shown, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _flush(folder: Path) -> None:
    """Makes every file below the folder, and the folder itself, durable."""
    for path in [*folder.rglob("*"), folder]:
        _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
