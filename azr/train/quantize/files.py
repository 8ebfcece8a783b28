"""Safetensors files read and written a tensor at a time: a model of 14 GiB goes through a few hundred MiB.

The safetensors library reads so; what it writes it wants in memory whole.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import torch

from azr.models.weight_files import Tensor
from azr.system.files import whole_file

DTYPES = {
    "BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32, "I32": torch.int32, "I64": torch.int64,
}  # fmt: skip
_ORDER = ("I64", "I32", "F32", "BF16", "F16")
"""Large types first, so that every tensor is aligned to its size."""


def size_of(tensor: Tensor) -> int:
    """In bytes."""
    return math.prod(tensor.shape) * DTYPES[tensor.dtype].itemsize


class SafetensorsWriter:
    """Puts tensors that were named in advance into a file, in any order, whole or by rows."""

    def __init__(self, file: IO[bytes], tensors: Mapping[str, Tensor]) -> None:
        self._file, self._tensors = file, tensors
        self._places: dict[str, int] = {}
        self.missing = {name: size_of(tensor) for name, tensor in tensors.items()}
        """Bytes of each tensor that were not written yet."""
        entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
        offset = 0
        for name in sorted(tensors, key=lambda name: (_ORDER.index(tensors[name].dtype), name)):
            end = offset + size_of(tensors[name])
            about = {"dtype": tensors[name].dtype, "shape": list(tensors[name].shape)}
            entries[name] = {**about, "data_offsets": [offset, end]}
            self._places[name], offset = offset, end
        header = json.dumps(entries).encode()
        header += b" " * (-len(header) % 8)
        self._data = 8 + len(header)
        file.write(len(header).to_bytes(8, "little") + header)

    def write(self, name: str, piece: torch.Tensor, first_row: int = 0) -> None:
        """Puts ``piece`` where the tensor's row ``first_row`` is; no part may come twice."""
        tensor = self._tensors[name]
        assert piece.dtype == DTYPES[tensor.dtype] and piece.shape[1:] == tensor.shape[1:], name
        row = size_of(tensor) // tensor.shape[0]
        self._file.seek(self._data + self._places[name] + first_row * row)
        data = piece.detach().cpu().contiguous().view(torch.uint8).numpy()
        self._file.write(data.tobytes())
        self.missing[name] -= data.nbytes


@contextmanager
def safetensors_file(path: Path, tensors: Mapping[str, Tensor]) -> Iterator[SafetensorsWriter]:
    """The file appears under its name when all of its tensors are written and on the disk."""
    with whole_file(path) as file:
        writer = SafetensorsWriter(file, tensors)
        yield writer
        assert not any(writer.missing.values()), [name for name, left in writer.missing.items() if left]
