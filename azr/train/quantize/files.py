"""Safetensors files read and written a tensor at a time: a model of 14 GiB goes through a few hundred MiB.

The safetensors library reads so; what it writes it wants in memory whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import torch

from azr.files import set_mode
from azr.models.weight_files import Tensor

DTYPES = {
    "BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32, "I32": torch.int32, "I64": torch.int64,
}  # fmt: skip
_ORDER = ("I64", "I32", "F32", "BF16", "F16")
"""Large types first, so that every tensor is aligned to its size."""


def size_of(tensor: Tensor) -> int:
    """In bytes."""
    count = 1
    for length in tensor.shape:
        count *= length
    return count * DTYPES[tensor.dtype].itemsize


class SafetensorsWriter:
    """One file: its tensors are named in advance, and written in any order, whole or by rows.

    Under its name the file appears when all is written and on the disk; until then as ``.tmp`` beside it.
    """

    def __init__(self, path: Path, tensors: Mapping[str, Tensor]) -> None:
        self._path, self._tensors = path, tensors
        self._temporary = path.with_name(f".{path.name}.tmp")
        self._places: dict[str, int] = {}
        self._missing = {name: size_of(tensor) for name, tensor in tensors.items()}
        entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
        offset = 0
        for name in sorted(tensors, key=lambda name: (_ORDER.index(tensors[name].dtype), name)):
            end = offset + size_of(tensors[name])
            entries[name] = {
                "dtype": tensors[name].dtype,
                "shape": list(tensors[name].shape),
                "data_offsets": [offset, end],
            }
            self._places[name], offset = offset, end
        header = json.dumps(entries).encode()
        header += b" " * (-len(header) % 8)
        self._data = 8 + len(header)
        self._file = open(self._temporary, "wb")  # noqa: SIM115  (closed in __exit__)
        self._file.write(len(header).to_bytes(8, "little") + header)

    def write(self, name: str, piece: torch.Tensor, first_row: int = 0) -> None:
        """Puts ``piece`` where the tensor's row ``first_row`` is; no part may come twice."""
        tensor = self._tensors[name]
        assert piece.dtype == DTYPES[tensor.dtype] and piece.shape[1:] == tensor.shape[1:], name
        row = size_of(tensor) // tensor.shape[0]
        self._file.seek(self._data + self._places[name] + first_row * row)
        data = piece.detach().cpu().contiguous().view(torch.uint8).numpy()
        self._file.write(data.tobytes())
        self._missing[name] -= data.nbytes

    def __enter__(self) -> SafetensorsWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._file.close()
            self._temporary.unlink(missing_ok=True)
            return
        assert not any(self._missing.values()), [name for name, left in self._missing.items() if left]
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        set_mode(self._temporary)
        os.replace(self._temporary, self._path)
