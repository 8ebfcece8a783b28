"""TRR++: task-relative advantages, whitened inside each of the six streams (equation 8 of the paper,
arXiv 2505.03335), or inside the responses to one task, as most recipes do. docs/algorithm.md has the maths.
"""

from __future__ import annotations

from collections import Counter, defaultdict
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

    # Who is compared with whom: (stream, None) is all of a stream, or in mode group what of it has no company.
    real = [row for row, length in enumerate(length_N) if length > 0]
    answers = Counter((streams[row], group_N[row]) for row in real)
    members: dict[tuple[str, str | None], list[int]] = defaultdict(list)
    for row in real:
        stream, group = streams[row], group_N[row]
        is_group = mode == "group" and group is not None and answers[stream, group] > 1
        members[stream, group if is_group else None].append(row)

    advantage_N = np.zeros(len(reward_N))
    for (_, group), rows in members.items():
        by_response = group is not None or mode == "sequence"
        weight_n = np.ones(len(rows)) if by_response else length_N[rows]
        advantage_N[rows] = _whiten(reward_N[rows], weight_n)
    return advantage_N


def indices_to_learn_from(is_wanted: NDArray[np.bool_], multiple: int) -> list[int]:
    """Those that are wanted, in order, filled up with others if the number has to be a multiple; all if none is."""
    order = np.argsort(~is_wanted, kind="stable")  # those that are wanted first
    whole = -(-int(is_wanted.sum()) // multiple) * multiple
    if 0 < whole <= len(is_wanted):
        return sorted(int(row) for row in order[:whole])
    return list(range(len(is_wanted)))


def _whiten(reward_n: NDArray[np.float64], weight_n: NDArray[np.generic]) -> NDArray[np.float64]:
    """(r - mean) / std with integer weights; Bessel's correction counts weights (tokens or responses)."""
    weight_n = weight_n.astype(np.float64)
    total = weight_n.sum()
    if total <= 1 or reward_n.max() == reward_n.min():
        return np.zeros(len(reward_n))
    mean = (weight_n * reward_n).sum() / (total + EPSILON)
    variance = (weight_n * (reward_n - mean) ** 2).sum() / (total + EPSILON) * total / (total - 1)
    return (reward_n - mean) / np.sqrt(variance + EPSILON)
