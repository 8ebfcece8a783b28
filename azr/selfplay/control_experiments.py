"""Control experiments: runs that must gain nothing, or less, if the claim that self-play learns is to hold.

``proposer_frozen``: tasks are proposed and accepted as ever, but only solve streams are learned from.
``shuffled_rewards``: every stream keeps its rewards, but not who earned them, so an optimizer step has its usual size
and no meaning. ``format_only``: both roles are paid for the think/answer format and nothing else, whatever a proposal
or an answer is worth. (Solving alone, without any proposals, is ``selfplay.train_propose=false``.)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import get_args

import numpy as np

from azr.config.train import Control
from azr.tasks import Role, Stream

GOOD_FORM, BAD_FORM = 1.0, -1.0
"""Rewards of ``format_only``."""


def controlled_rewards(
    control: str,
    rewards: Sequence[float],
    streams: Sequence[str],
    formats: Sequence[bool],
    seed: int,
    step: int,
) -> list[float]:
    """The rewards an arm learns from, in the same order. Equal rewards in a stream give advantage 0: that is
    how a stream is frozen.

    Args:
        formats: whether each response has the think/answer format.

    Raises:
        ValueError: the control is unknown, or the lengths differ.
    """
    if control not in get_args(Control):
        raise ValueError(f"control is {control!r}; it is one of {get_args(Control)}")
    if not len(rewards) == len(streams) == len(formats):
        raise ValueError(
            f"{len(rewards)} rewards, {len(streams)} streams, {len(formats)} formats: all must agree"
        )

    if control == "none":
        return list(rewards)
    if control == "format_only":
        return [GOOD_FORM if good else BAD_FORM for good in formats]
    if control == "proposer_frozen":
        return [
            0.0 if Stream.from_name(stream).role is Role.PROPOSE else reward
            for reward, stream in zip(rewards, streams, strict=True)
        ]

    rng = np.random.default_rng([seed, 7, step])
    members: dict[str, list[int]] = defaultdict(list)
    for row, stream in enumerate(streams):
        members[stream].append(row)
    found = list(rewards)
    for _, rows in sorted(members.items()):
        for row, source in zip(rows, rng.permutation(rows), strict=True):
            found[row] = rewards[int(source)]
    return found
