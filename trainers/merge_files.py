"""`longspan merge`: merges checkpoint folders tensor by tensor, so that memory holds one at a time.

The merged checkpoint takes configuration and tokenizer from the base, the type of every tensor too.
It appears whole or not at all, with a record of what it was made from.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from longspan.harness.errors import ModelError, one_line
from longspan.trainers.local.checkpoint import find_checkpoint, resolve_directory, weights_hash
from longspan.trainers.merge import WEIGHT_FLOOR, sce

RECORD_FILE = "longspan_merge.json"
SHARD_BYTES = 4_000_000_000
INDEX_FILE = "model.safetensors.index.json"


def merge_command(
    models: Annotated[
        list[str], typer.Argument(help="Checkpoints that were trained from one base.")
    ],
    base: Annotated[str, typer.Option(help="Checkpoint that they started from.")],
    out: Annotated[Path, typer.Option(help="Folder of the merged checkpoint.")],
    density: Annotated[
        float,
        typer.Option(help="Share of elements to keep: those that vary most.", min=0, max=1),
    ] = 1.0,
    weight_floor: Annotated[
        float, typer.Option(help="Sum of mean squares below which all weigh alike.", min=0)
    ] = WEIGHT_FLOOR,
) -> None:
    """Merge checkpoints by SCE (select, calculate, erase)."""
    record = merge_checkpoints(models, base, out, density, weight_floor)
    print(f"merged {len(models)} checkpoints into {out} (weights {record['weights']})")


def merge_checkpoints(
    models: Sequence[str],
    base: str,
    out: Path,
    density: float = 1.0,
    weight_floor: float = WEIGHT_FLOOR,
) -> dict[str, Any]:
    """Writes the merged checkpoint and returns its record.

    Raises:
        ModelError: a checkpoint is missing or unreadable, they do not fit each other, or the
            folder exists.
    """
    if out.exists():
        raise ModelError(f"{out} exists already; choose another folder or remove it")
    folders = [resolve_directory(find_checkpoint(name)) for name in (base, *models)]
    stores = [_Store(folder) for folder in folders]
    for store in stores[1:]:
        _require_same(stores[0], store)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.parent / f".{out.name}.{uuid.uuid4().hex[:8]}.partial"
    partial.mkdir()
    try:
        _copy_rest(folders[0], partial)
        merged = _merged(stores, density, weight_floor)
        _write_shards(merged, partial)
        record = {
            "method": "sce",
            "density": density,
            "weight_floor": weight_floor,
            "base": _about(base, folders[0]),
            "models": [
                _about(name, folder) for name, folder in zip(models, folders[1:], strict=True)
            ],
            "weights": weights_hash(partial),
        }
        (partial / RECORD_FILE).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        partial.rename(out)
    except SafetensorError as error:
        raise ModelError(f"cannot merge into {out}: {one_line(str(error), 200)}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return record


class _Store:
    """The tensors of a checkpoint, read one at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.places: dict[str, Path] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        try:
            for file in sorted(folder.glob("*.safetensors")):
                with safe_open(file, "pt") as tensors:
                    for name in tensors.keys():  # noqa: SIM118 (not a mapping)
                        self.places[name] = file
                        self.shapes[name] = tuple(tensors.get_slice(name).get_shape())
        except (OSError, SafetensorError) as error:
            raise ModelError(
                f"cannot read the weights in {folder}: {one_line(str(error), 200)}; copy or "
                "download them again"
            ) from error
        if not self.places:
            raise ModelError(f"no safetensors in {folder}; give a Hugging Face checkpoint folder")

    def __getitem__(self, name: str) -> Tensor:
        with safe_open(self.places[name], "pt") as tensors:
            found: Tensor = tensors.get_tensor(name)
        return found


def _merged(
    stores: Sequence[_Store], density: float, weight_floor: float
) -> Iterator[tuple[str, Tensor]]:
    for name in sorted(stores[0].places):
        base = stores[0][name]
        if not base.is_floating_point():  # an index or a mask: nothing that was trained
            yield name, base
            continue
        models = [store[name] for store in stores[1:]]
        yield name, sce(base, models, density, weight_floor).contiguous()


def _require_same(base: _Store, other: _Store) -> None:
    """Raises ModelError unless two checkpoints have the same tensors."""
    odd = sorted(base.places.keys() ^ other.places.keys())
    if odd:
        place = base if odd[0] in base.places else other
        raise ModelError(
            f"{other.folder} does not fit the base {base.folder}: only {place.folder.name} has "
            f"{odd[0]} ({len(odd)} such tensors); merge checkpoints of one architecture"
        )
    for name, shape in base.shapes.items():
        if other.shapes[name] != shape:
            raise ModelError(
                f"{other.folder} does not fit the base: {name} is {other.shapes[name]}, there "
                f"{shape}; merge checkpoints of one architecture and vocabulary"
            )


def _write_shards(tensors: Iterator[tuple[str, Tensor]], folder: Path) -> None:
    """Writes tensors into files of bounded size, with an index where there are several."""
    shards: list[dict[str, int]] = []
    waiting: dict[str, Tensor] = {}

    def flush() -> None:
        save_file(waiting, folder / _shard_name(len(shards)), metadata={"format": "pt"})
        shards.append({name: _num_bytes(tensor) for name, tensor in waiting.items()})
        waiting.clear()

    for name, tensor in tensors:
        if waiting and sum(map(_num_bytes, waiting.values())) + _num_bytes(tensor) > SHARD_BYTES:
            flush()
        waiting[name] = tensor
    flush()
    if len(shards) == 1:
        (folder / _shard_name(0)).rename(folder / "model.safetensors")
        return
    places = {name: _shard_name(i) for i, shard in enumerate(shards) for name in shard}
    total = sum(size for shard in shards for size in shard.values())
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))}
    (folder / INDEX_FILE).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")


def _shard_name(number: int) -> str:
    return f"model-{number + 1:05d}.safetensors"


def _num_bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _copy_rest(base: Path, folder: Path) -> None:
    """Copies what is no weight: configuration and tokenizer."""
    for path in sorted(base.iterdir()):
        is_weights = path.suffix in (".safetensors", ".bin", ".pt", ".pth", ".gguf")
        if path.is_file() and not is_weights and path.name not in (INDEX_FILE, RECORD_FILE):
            shutil.copyfile(path, folder / path.name)


def _about(name: str, folder: Path) -> Mapping[str, str]:
    path = Path(name)
    stage = path.parent.name if path.name == "checkpoint" else path.name
    return {"name": stage, "weights": weights_hash(folder)}
