"""An int4 model folder, created once from a plain or a GPTQ model and kept in the cache.

It is an ordinary compressed-tensors checkpoint (``pack-quantized``) that an engine can serve directly. It is
kept in the project's cache under the hash of the original model, not beside it: a hub snapshot belongs to the
hub, a shared folder may be read-only, and a model that was moved is found again.

It is written in files of about 1 GiB, each complete or absent. After a kill the next process continues after
the last complete file.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import filelock
import torch

from azr.config.paths import cache_dir
from azr.errors import BudgetError, ModelError
from azr.models.model_hash import hash_model
from azr.models.quantised import quantisation_of
from azr.models.weight_files import INDEX, Tensor, has_whole_files, read_json_file, require_whole_files
from azr.system import GIB
from azr.system.disks import free_gib
from azr.system.files import fsync_directory, remove_leftovers, write_json_atomic
from azr.system.locks import take_lock
from azr.train.quantize.architecture import Parts, empty_model, parts_of
from azr.train.quantize.files import safetensors_file, size_of
from azr.train.quantize.int4 import GROUP, PER_WORD
from azr.train.quantize.source import SourceModel

FORMAT = 1
"""Of the cache; another one is not looked at."""
PIECE_BYTES = 1 << 30
WAIT_S = 3600.0
"""For another process that makes the same folder."""
MARGIN_BYTES = 1 << 30
"""Of the disk, that stays free."""
WORDS, SCALES, SHAPE = "weight_packed", "weight_scale", "weight_shape"
_NOT_COPIED = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".onnx")


def int4_folder(folder: Path, device: str = "cpu", say: Callable[[str], None] = print) -> Path:
    """The int4 version of the model in ``folder``: the folder itself if it has the engine's layout already,
    otherwise one in the cache, created if necessary.

    Args:
        device: where scales are searched.

    Raises:
        ModelError: the model is damaged, of another architecture, or quantised in a way that is not read.
        BudgetError: the disk is too small.
    """
    if (ready := ready_int4_folder(folder)) is not None:
        return ready
    found, target = quantisation_of(folder), _place_of(folder)
    parts = parts_of(empty_model(folder), folder, found.group if found else GROUP)
    source = SourceModel.of(folder, parts, found)
    target.parent.mkdir(parents=True, exist_ok=True)
    with _alone(target, say):
        if not has_whole_files(target):  # another process may have made it meanwhile
            shutil.rmtree(target, ignore_errors=True)
            _write(source, parts, target, device, say)
    return target


def ready_int4_folder(folder: Path) -> Path | None:
    """The same where it is there already.

    Raises:
        ModelError: the model is quantised in a way that is not read.
    """
    found = quantisation_of(folder)
    if found is not None and found.layout == "pack-quantized":
        return folder
    target = _place_of(folder)
    return target if has_whole_files(target) else None


def _place_of(folder: Path) -> Path:
    content = hash_model(folder)
    return cache_dir() / "int4" / f"{content.files}-{content.tokenizer[:8]}-v{FORMAT}"


@dataclass
class _Piece:
    """What one file holds."""

    linears: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return sum(map(size_of, self.tensors.values()))


def _write(source: SourceModel, parts: Parts, target: Path, device: str, say: Callable[[str], None]) -> None:
    pieces = _pieces(source, parts)
    staging = target.with_name(f".{target.name}.partial")
    staging.mkdir(exist_ok=True)
    remove_leftovers(staging)
    names = [f"model-{number:05}-of-{len(pieces):05}.safetensors" for number in range(1, len(pieces) + 1)]
    absent = [piece for piece, name in zip(pieces, names, strict=True) if not (staging / name).exists()]
    needed = sum(piece.size for piece in absent) + MARGIN_BYTES
    if (free := free_gib(staging) * GIB) < needed:
        raise BudgetError(
            f"{staging.parent}: {free / 2**30:.1f} GiB free, but the int4 model needs {needed / 2**30:.1f} GiB including a margin; "
            "free some space, or set AZR_CACHE to a folder on another disk"
        )
    for number, (piece, name) in enumerate(zip(pieces, names, strict=True), 1):
        if (staging / name).exists():
            continue
        say(f"{source.folder}: quantising to int4 (done once), file {number} of {len(pieces)}")
        with safetensors_file(staging / name, piece.tensors) as writer:
            for linear in piece.linears:
                for row, words, scales in source.int4(linear, device):
                    writer.write(f"{linear}.{WORDS}", words, row)
                    writer.write(f"{linear}.{SCALES}", scales, row)
                writer.write(f"{linear}.{SHAPE}", torch.tensor(parts.linears[linear]))
            for other in piece.others:
                for row, rows in source.plain(other):
                    writer.write(other, rows, row)

    for extra in source.folder.iterdir():
        if extra.is_file() and extra.suffix not in _NOT_COPIED and extra.name not in ("config.json", INDEX):
            shutil.copyfile(extra, staging / extra.name)
    places = {name: file for piece, file in zip(pieces, names, strict=True) for name in piece.tensors}
    size = sum(piece.size for piece in pieces)
    write_json_atomic(staging / INDEX, {"metadata": {"total_size": size}, "weight_map": places})
    write_json_atomic(staging / "config.json", int4_config(source.folder, source.group))
    write_json_atomic(staging / "source.json", {"format": FORMAT, "made_from": str(source.folder)})
    require_whole_files(staging)
    os.replace(staging, target)
    fsync_directory(target.parent)


def _pieces(source: SourceModel, parts: Parts) -> list[_Piece]:
    pieces = [_Piece()]

    def piece_for(tensors: dict[str, Tensor]) -> _Piece:
        if pieces[-1].tensors and pieces[-1].size + sum(map(size_of, tensors.values())) > PIECE_BYTES:
            pieces.append(_Piece())
        pieces[-1].tensors |= tensors
        return pieces[-1]

    for name, (outputs, inputs) in parts.linears.items():
        piece_for(
            {
                f"{name}.{WORDS}": Tensor("I32", (outputs, inputs // PER_WORD)),
                f"{name}.{SCALES}": Tensor("BF16", (outputs, inputs // source.group)),
                f"{name}.{SHAPE}": Tensor("I64", (2,)),
            }
        ).linears.append(name)
    for name, shape in parts.others.items():
        piece_for({name: Tensor("BF16", shape)}).others.append(name)
    return pieces


def int4_config(folder: Path, group: int) -> dict[str, Any]:
    """``config.json`` of the int4 model, as compressed-tensors writes it."""
    values = read_json_file(folder / "config.json")
    values.pop("torch_dtype", None)
    weights = {
        "num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "group_size": group, "dynamic": False, "actorder": None,
    }  # fmt: skip
    scheme = {
        "targets": ["Linear"],
        "weights": weights,
        "input_activations": None,
        "output_activations": None,
    }
    return {
        **values,
        "dtype": "bfloat16",
        "quantization_config": {
            "quant_method": "compressed-tensors",
            "format": "pack-quantized",
            "quantization_status": "compressed",
            "config_groups": {"group_0": scheme},
            "ignore": ["lm_head"],
            "kv_cache_scheme": None,
        },
    }


@contextlib.contextmanager
def _alone(target: Path, say: Callable[[str], None]) -> Iterator[None]:
    """One process at a time makes a folder; a lock of one that was killed is free.

    Raises:
        ModelError: another process was at it for ``WAIT_S``.
    """
    path = target.with_name(f".{target.name}.lock")
    try:
        lock = take_lock(path, 0.0, say)
    except filelock.Timeout:
        say("another process is quantising the same model; waiting for it")
        try:
            lock = take_lock(path, WAIT_S, say)
        except filelock.Timeout:
            raise ModelError(
                f"another process still holds {path} after {WAIT_S / 60:.0f} minutes; end it and start again"
            ) from None
    try:
        yield
    finally:
        lock.release()
