"""TRR++: task-relative advantages, whitened inside each of the six streams (equation 8 of the paper,
arXiv 2505.03335), or inside the responses to one task, as most recipes do. docs/algorithm.md has the maths.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

EPSILON = 1e-8


def task_relative_advantages(
    rewards: Sequence[float] | NDArray[np.float64],
    lengths: Sequence[int] | NDArray[np.int64],
    streams: Sequence[str],
    mode: str = "token",
    groups: Sequence[str | None] | None = None,
) -> NDArray[np.float64]:
    """One advantage per response, constant over its tokens.

    ``token``: mean and (Bessel-corrected) variance over all tokens of the stream, so long responses weigh more; what
    the published code does. ``sequence``: over its responses; the paper's formula. ``group``: responses of one task are
    compared with each other (group-relative), and those without company by ``token`` in their stream.

    A stream (or group) whose rewards are all equal has nothing to teach: exactly 0, not noise scaled up.

    Args:
        rewards: [N] scalar reward per response.
        lengths: [N] response tokens; a row of length 0 (padding) takes no part and gets 0.
        streams: [N] stream names.
        groups: [N] task of each response, or None; read by mode ``group`` only.

    Returns:
        [N] float64.

    Raises:
        ValueError: lengths of the arguments differ, or the mode is unknown.
    """
    reward_N = np.asarray(rewards, dtype=np.float64)
    length_N = np.asarray(lengths, dtype=np.int64)
    group_N = list(groups) if groups is not None else [None] * len(reward_N)
    if not len(reward_N) == len(length_N) == len(streams) == len(group_N):
        raise ValueError(
            f"{len(reward_N)} rewards, {len(length_N)} lengths, {len(streams)} streams, {len(group_N)} groups: all must agree"
        )
    if mode not in ("token", "sequence", "group"):
        raise ValueError(f"mode is {mode!r}; it is token, sequence or group")

    advantage_N = np.zeros(len(reward_N))
    members: dict[tuple[str, str | None], list[int]] = {}
    for row, stream in enumerate(streams):
        if length_N[row] > 0:
            members.setdefault((stream, group_N[row] if mode == "group" else None), []).append(row)

    alone: dict[str, list[int]] = {}
    for (stream, group), rows in members.items():
        if group is not None and len(rows) > 1:
            advantage_N[rows] = _whiten(reward_N[rows], np.ones(len(rows)))
        elif mode == "group":
            alone.setdefault(stream, []).extend(rows)
        else:
            advantage_N[rows] = _whiten(
                reward_N[rows], length_N[rows] if mode == "token" else np.ones(len(rows))
            )
    for rows in alone.values():
        advantage_N[rows] = _whiten(reward_N[rows], length_N[rows])
    return advantage_N


def rows_to_learn_from(advantages: NDArray[np.float64], multiple: int = 1) -> list[int]:
    """The rows with a nonzero advantage, in order, filled up with others if the number has to be a multiple;
    all rows if none has one."""
    order = np.argsort(advantages == 0, kind="stable")  # those with an advantage first
    count = int((advantages != 0).sum())
    whole = -(-count // multiple) * multiple
    if 0 < whole <= len(advantages):
        return sorted(int(row) for row in order[:whole])
    return list(range(len(advantages)))


def _whiten(reward_n: NDArray[np.float64], weight_n: NDArray[np.generic]) -> NDArray[np.float64]:
    """(r - mean) / std with integer weights; Bessel's correction counts weights (tokens or responses)."""
    weight_n = weight_n.astype(np.float64)
    total = weight_n.sum()
    if total <= 1 or reward_n.max() == reward_n.min():
        return np.zeros(len(reward_n))
    mean = (weight_n * reward_n).sum() / (total + EPSILON)
    variance = (weight_n * (reward_n - mean) ** 2).sum() / (total + EPSILON) * total / (total - 1)
    return (reward_n - mean) / np.sqrt(variance + EPSILON)
