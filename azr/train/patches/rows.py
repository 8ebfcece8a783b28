"""Rows of a batch in verl, selected at once instead of one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from tensordict import TensorDict
from verl.utils import tensordict_utils

_theirs: Any = tensordict_utils.index_select_tensor_dict


def install_row_selection() -> None:
    tensordict_utils.index_select_tensor_dict = select_rows


def select_rows(batch: TensorDict | None, indices: torch.Tensor | Sequence[int]) -> Any:
    """verl's ``index_select_tensor_dict``: the rows ``indices`` of every column.

    verl takes each nested column apart, picks its rows by one scalar tensor after another, and puts them together
    again: 480 rows of ten columns take longer than a forward pass, twice in an update.
    """
    if batch is None:
        return _theirs(batch, indices)
    chosen = torch.as_tensor(indices)
    if torch.equal(chosen, torch.arange(len(batch))):
        return TensorDict(dict(batch.items()), batch_size=batch.batch_size)  # type: ignore[arg-type]
    jagged = {name: column for name, column in batch.items() if is_jagged(column)}
    others = batch.select(*(name for name in batch.keys() if name not in jagged))  # noqa: SIM118  (a TensorDict)
    selected = _theirs(others, chosen)
    for name, column in jagged.items():
        selected[name] = _rows(column, chosen)
    return selected


def is_jagged(column: Any) -> bool:
    """Nested ``[N, (n)]`` without holes."""
    if not (isinstance(column, torch.Tensor) and column.is_nested and column.layout == torch.jagged):
        return False
    jagged: Any = column
    return jagged.dim() == 2 and jagged.lengths() is None


def _rows(column: Any, chosen: torch.Tensor) -> torch.Tensor:
    lengths, places = places_of_rows(column.offsets().cpu().numpy(), chosen.numpy())
    values = column.values()
    ends = torch.from_numpy(lengths.cumsum())
    return torch.nested.nested_tensor_from_jagged(
        values[torch.from_numpy(places).to(values.device)],
        torch.cat([ends.new_zeros(1), ends]).to(values.device),
        min_seqlen=int(lengths.min()),
        max_seqlen=int(lengths.max()),
    )


def places_of_rows(offsets: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lengths of the rows ``chosen``, and where their values lie in the column, one row after the other.

    In numpy: a hundred thousand numbers are little work, and torch would wake all its threads for each operation. Where
    other programs hold some of the cores, waiting for the last of them takes a hundred times as long as the work.

    Args:
        offsets: int64 ``[rows + 1]``, where each row begins and ends.
    """
    lengths = np.diff(offsets)[chosen]
    return lengths, counted_on(offsets[:-1][chosen], lengths)


def counted_on(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """From each start on so many numbers, one row after the other: of 5, 9 and 2, 3 are 5, 6, 9, 10, 11. All int64."""
    before = lengths.cumsum() - lengths
    return np.arange(lengths.sum()) + np.repeat(starts - before, lengths)
