"""Where int4 weights come from: plain weights that are quantised here, or a GPTQ checkpoint, whose values are
taken over unchanged."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from azr.errors import ModelError
from azr.models.quantised import Quantised
from azr.models.weight_files import INDEX, WEIGHTS, read_json_file, require_whole_files
from azr.train.finite import require_finite
from azr.train.quantize.architecture import Parts
from azr.train.quantize.int4 import GROUP, quantise

ROWS_BYTES = 64 << 20
"""Of a tensor, in memory at once."""
_ZEROS = (0x77777777, -0x77777778)
"""Of eight symmetric zero points: as ``gptq`` stores them, one too low, and as ``gptq_v2`` does (0x88888888)."""


@dataclass(frozen=True)
class SourceModel:
    folder: Path
    files: dict[str, Path]
    """Of each tensor."""
    group: int
    gptq: bool

    @staticmethod
    def of(folder: Path, parts: Parts, found: Quantised | None) -> SourceModel:
        """
        Raises:
            ModelError: tensors are missing, of another shape than the architecture's, or not known to it.
        """
        tensors = require_whole_files(folder)
        places = dict.fromkeys(tensors, WEIGHTS)
        if (folder / INDEX).is_file():
            places = read_json_file(folder / INDEX)["weight_map"]
        files = {name: folder / place for name, place in places.items()}
        source = SourceModel(folder, files, found.group if found else GROUP, found is not None)
        wanted: dict[str, tuple[int, ...]] = dict(parts.others)
        for name, (outputs, inputs) in parts.linears.items():
            if not source.gptq:
                wanted[f"{name}.weight"] = (outputs, inputs)
                continue
            groups = inputs // source.group
            wanted[f"{name}.qweight"] = (inputs // 8, outputs)
            wanted[f"{name}.scales"] = (groups, outputs)
            wanted[f"{name}.qzeros"] = (groups, outputs // 8)
        for name, shape in wanted.items():
            if name not in tensors:
                raise ModelError(
                    f"{folder} has no {name}, which its architecture needs; the weights are incomplete or of another model"
                )
            if tensors[name].shape != shape:
                raise ModelError(
                    f"{folder}: {name} has the shape {list(tensors[name].shape)}, and config.json asks for {list(shape)}; "
                    "configuration and weights are of different models"
                )
        for name in tensors.keys() - wanted.keys() - parts.skipped:
            source._require_needless(name, parts)
        return source

    def _require_needless(self, name: str, parts: Parts) -> None:
        module, _, kind = name.rpartition(".")
        if "rotary_emb" in name or (self.gptq and kind == "g_idx" and module in parts.linears):
            return
        if self.gptq and kind == "bias" and module in parts.linears and not self._read(name).any():
            return  # GPTQ's writers give one to every layer
        raise ModelError(
            f"{self.folder} holds {name}, for which its architecture has no place; the model would not be the one that was saved"
        )

    def int4(self, name: str, device: str) -> Iterator[tuple[int, torch.Tensor, torch.Tensor]]:
        """The linear layer ``name``, some rows at a time: first row, words and scales.

        Raises:
            ModelError: a weight that is NaN or infinite, zeros alone, or of another kind of quantisation than
                config.json says.
        """
        if self.gptq:
            yield 0, *self._gptq(name)
            return
        weight = f"{name}.weight"
        empty = True
        for row, rows in self._rows(weight):
            empty = empty and not rows.any()
            words, scales = quantise(rows.to(device), self.group)
            yield row, words, scales
        if empty:
            raise ModelError(
                f"{self.folder}: {weight} holds nothing but zeros. Its download was not finished; fetch it again"
            )

    def plain(self, name: str) -> Iterator[tuple[int, torch.Tensor]]:
        """A tensor in bfloat16, some rows at a time."""
        for row, rows in self._rows(name):
            yield row, rows.to(torch.bfloat16)

    def _gptq(self, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        """GPTQ packs down the inputs, and its tensors stand the other way; the words are the same."""
        words, zeros, scales = (self._read(f"{name}.{kind}") for kind in ("qweight", "qzeros", "scales"))
        if not any(bool((zeros == value).all()) for value in _ZEROS):
            raise ModelError(
                f"{self.folder}: {name}.qzeros says that the weights are not symmetric, and config.json that they are; "
                "use another checkpoint, or the original model"
            )
        index = f"{name}.g_idx"
        if index in self.files:
            order = self._read(index)
            if not torch.equal(order, torch.arange(len(order)) // self.group):
                raise ModelError(
                    f"{self.folder}: {index} reorders the inputs, and config.json says desc_act=false; "
                    "use another checkpoint, or the original model"
                )
        require_finite(self.folder, f"{name}.scales", scales)
        return words.t().contiguous(), scales.t().to(torch.bfloat16).contiguous()

    def _rows(self, name: str) -> Iterator[tuple[int, torch.Tensor]]:
        with safe_open(self.files[name], framework="pt") as file:
            view: Any = file.get_slice(name)
            shape = view.get_shape()
            step = max(1, ROWS_BYTES // (4 * math.prod(shape[1:])))
            for row in range(0, shape[0], step):
                rows = view[row : row + step]
                require_finite(self.folder, name, rows)
                yield row, rows

    def _read(self, name: str) -> torch.Tensor:
        with safe_open(self.files[name], framework="pt") as file:
            return file.get_tensor(name)
