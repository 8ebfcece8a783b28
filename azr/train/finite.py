"""Weights are looked at before anything is computed with them."""

from __future__ import annotations

from pathlib import Path

import torch

from azr.errors import ModelError


def is_finite(tensor: torch.Tensor) -> bool:
    # NaN and infinity survive a sum, which needs no second tensor
    return bool(tensor.detach().sum(dtype=torch.float32).isfinite())


def require_finite(place: Path | str, name: str, tensor: torch.Tensor) -> None:
    """
    Raises:
        ModelError: the weight ``name`` of the model in ``place`` is NaN or infinite.
    """
    if not is_finite(tensor):
        raise ModelError(
            f"{place}: {name} holds NaN or infinity, so every answer would be nothing. The file is damaged, or the model was saved after "
            "its training had diverged: take an earlier checkpoint, or fetch the model again"
        )
