"""Are the files of a model folder what they seem? Headers are read, weights are not.

What a download leaves behind when it breaks off, what git leaves where Git LFS is not installed, and formats
that cannot be trained from: each is one sentence with what to do.
"""

from __future__ import annotations

import codecs
import json
import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from azr.errors import ModelError
from azr.models.field_types import require_field_types
from azr.models.other_formats import adapter_beside, adapter_in, other_format

LFS_POINTER = b"version https://git-lfs"
MAX_HEADER_BYTES = 100_000_000
"""What the safetensors library accepts."""
COMPARED_BYTES = 1 << 24
"""Read at once where two tensors are compared."""
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
TEXT_FILES = ("tokenizer.model", "spiece.model", "merges.txt", "chat_template.jinja")
JSON_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer_config.json",
    "tokenizer.json",
    "vocab.json",
)
"""Each is a mapping, where it is there."""
MARKS = {
    codecs.BOM_UTF8: "UTF-8 with a byte-order mark",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
"""How Windows' editors save texts that transformers then cannot read."""


@dataclass(frozen=True)
class Tensor:
    dtype: str
    shape: tuple[int, ...]


def read_json_file(path: Path) -> dict[str, Any]:
    """
    Raises:
        ModelError: the file is a pointer, no JSON, no mapping, in another encoding, or cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from error
    _refuse_pointer(path, content[: len(LFS_POINTER)])
    _refuse_mark(path, content)
    try:
        value = json.loads(content.decode("utf-8"))
    except ValueError as error:
        raise ModelError(
            f"{path} is not valid JSON ({error}); correct that place if you edited it, else fetch the file again"
        ) from error
    if not isinstance(value, dict):
        raise ModelError(f"{path} does not hold a mapping; it is not the file that its name says")
    return value


def require_whole_files(folder: Path) -> dict[str, Tensor]:
    """Every weight file is there, is what it seems, and is as long as its header says; the settings and the
    tokenizer's files can be read.

    Returns:
        The tensors by name.

    Raises:
        ModelError: weights are missing, incomplete or in a format that is not read here, or a field of config.json has a
            wrong type.
    """
    for name in JSON_FILES:
        if (folder / name).is_file():
            values = read_json_file(folder / name)
            if name in ("config.json", "generation_config.json"):
                require_field_types(folder / name, values)
    for name in TEXT_FILES:
        if (folder / name).is_file():
            beginning = _beginning(folder / name, len(LFS_POINTER))
            _refuse_pointer(folder / name, beginning)
            _refuse_mark(folder / name, beginning)
    for weights, read in ((INDEX, lambda: _sharded(folder)), (WEIGHTS, lambda: _header(folder / WEIGHTS))):
        if (folder / weights).is_file():
            if problem := adapter_beside(folder, weights):
                raise ModelError(problem)
            if weights == WEIGHTS and (other := _second_file(folder)):
                raise ModelError(
                    f"{folder} holds {other} beside {WEIGHTS}: the engine would load both, the trainer only {WEIGHTS}. "
                    f"Move {other} to another folder, or put it in the place of {WEIGHTS} if it is the model that you mean"
                )
            return read()
    raise ModelError(_no_weights(folder))


def _second_file(folder: Path) -> str:
    """Further weights in a folder without an index, of which the engine reads all: an old save, a second download."""
    names = (path.name for path in sorted(folder.glob("*.safetensors")))
    return next((name for name in names if name != WEIGHTS and not name.startswith(".")), "")


def has_whole_files(folder: Path) -> bool:
    try:
        return folder.is_dir() and bool(require_whole_files(folder))
    except ModelError:
        return False


def _no_weights(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    if WEIGHTS in names or INDEX in names:
        name = WEIGHTS if WEIGHTS in names else INDEX
        return f"{folder / name} is a link to a file that is not there; the download was interrupted, fetch the model again"
    if adapter := adapter_in(folder, names):
        return adapter
    safetensors = [name for name in names if name.endswith(".safetensors")]
    if any("-of-" in name for name in safetensors):
        return f"{folder} holds pieces of the weights but no {INDEX}, which says what is in which; fetch the model again"
    if safetensors and "params.json" not in names:
        return f"{folder} holds {safetensors[0]}, but weights are expected as {WEIGHTS} or {INDEX}; rename it if it is the whole model"
    if other := other_format(names):
        return f"{folder} has no {WEIGHTS}, only {other}"
    return f"{folder} holds no weights ({WEIGHTS}, or {INDEX} with its pieces); it is not a complete model folder"


def _sharded(folder: Path) -> dict[str, Tensor]:
    index = read_json_file(folder / INDEX)
    places = index.get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise ModelError(f"{folder / INDEX} has no weight_map; fetch that file again")
    if not isinstance(index.get("metadata"), dict):
        raise ModelError(
            f'{folder / INDEX} has no "metadata", without which transformers does not read it; add "metadata": {{}}'
        )
    shards = sorted(set(places.values()))
    if path := next((name for name in shards if "/" in name), ""):
        raise ModelError(
            f"{folder / INDEX} names {path}, and the engine reads only pieces that lie beside it, by their plain names; move them "
            "there and correct weight_map"
        )
    # transformers would load this, the engine the pieces
    if WEIGHTS not in shards and (folder / WEIGHTS).exists():
        raise ModelError(
            f"{folder} holds weights twice: {WEIGHTS}, and the pieces that {INDEX} names, which need not be the same model. "
            f"Keep one: move away {WEIGHTS}, or {INDEX} with its pieces"
        )
    missing = [name for name in shards if not (folder / name).is_file()]
    if missing:
        raise ModelError(
            f"{folder}: {len(missing)} of the {len(shards)} weight files that {INDEX} names are missing ({missing[0]}); "
            "the download was interrupted, fetch the model again"
        )
    tensors: dict[str, Tensor] = {}
    for shard in shards:
        tensors |= _header(folder / shard)
    absent = [name for name in places if name not in tensors]
    if absent:
        raise ModelError(
            f"{folder}: {absent[0]} is not in the file that {INDEX} names for it; index and weights are of different models"
        )
    return tensors


def same_content(folder: Path, one: str, other: str) -> bool:
    """Are two tensors of a folder whose files are whole equal, byte for byte?"""
    ends = [_place(folder, name) for name in (one, other)]
    (path, start, length), (other_path, other_start, other_length) = ends
    if length != other_length:
        return False
    with path.open("rb") as file, other_path.open("rb") as other_file:
        file.seek(start)
        other_file.seek(other_start)
        for done in range(0, length, COMPARED_BYTES):
            size = min(COMPARED_BYTES, length - done)
            if file.read(size) != other_file.read(size):
                return False
    return True


def _place(folder: Path, name: str) -> tuple[Path, int, int]:
    """The file that holds a tensor, where in it the tensor begins, and its length in bytes."""
    index = folder / INDEX
    path = folder / (read_json_file(index)["weight_map"][name] if index.is_file() else WEIGHTS)
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        start, end = json.loads(file.read(length))[name]["data_offsets"]
    return path, 8 + length + start, end - start


def mapping_trouble(file: IO[bytes]) -> str:
    """Why safetensors cannot read a file that lies on this disk, in words that follow its name; empty where it can.

    Args:
        file: open, and not empty.
    """
    try:
        mmap.mmap(file.fileno(), 1, access=mmap.ACCESS_READ).close()
    except OSError as error:
        return f"cannot be mapped into memory ({error.strerror}), as on some shares (VirtualBox, FUSE)"
    return ""


def _header(path: Path) -> dict[str, Tensor]:
    """The tensors that a safetensors file says it holds."""
    size = path.stat().st_size
    beginning = _beginning(path, 8 + len(LFS_POINTER))
    _refuse_pointer(path, beginning)
    length = int.from_bytes(beginning[:8], "little")
    if len(beginning) < 8 or not 2 <= length <= MAX_HEADER_BYTES:
        raise ModelError(f"{path} is not a safetensors file ({size} bytes); fetch it again")
    if 8 + length > size:
        raise ModelError(f"{path} ends inside its header ({size} bytes); fetch it again")
    with path.open("rb") as file:
        file.seek(8)
        content = file.read(length)
        if trouble := mapping_trouble(file):
            raise ModelError(
                f"{path} {trouble}, and is not read otherwise; copy the model to a disk of this machine"
            )
    try:
        header = json.loads(content)
        entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
        tensors = {
            name: Tensor(str(entry["dtype"]), tuple(map(int, entry["shape"])))
            for name, entry in entries.items()
        }
        end = max((int(entry["data_offsets"][1]) for entry in entries.values()), default=0)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise ModelError(f"{path} has a damaged header ({type(error).__name__}); fetch it again") from error
    if size != 8 + length + end:
        raise ModelError(
            f"{path} has {size} bytes, and its header describes {8 + length + end}; the download was interrupted, fetch it again"
        )
    return tensors


def _beginning(path: Path, length: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(length)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from error


def _refuse_pointer(path: Path, beginning: bytes) -> None:
    if beginning.startswith(LFS_POINTER):
        raise ModelError(
            f"{path} is a Git LFS pointer, not the file itself; install Git LFS and run `git lfs pull` in that folder, "
            "or fetch the model with `hf download`"
        )


def _refuse_mark(path: Path, beginning: bytes) -> None:
    """Raises: ModelError: the text is saved in another way than transformers, or the engine, reads it."""
    encoding = next((words for mark, words in MARKS.items() if beginning.startswith(mark)), "")
    if encoding:
        raise ModelError(
            f"{path} is saved as {encoding}, which transformers does not read; save it as plain UTF-8"
        )
