"""How an attempt of the trainer ended, and why it was asked to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from azr.campaign.faults import Fault
from azr.campaign.parts import Judgement


class StopReason(IntEnum):
    """Why the driver asked a trainer to stop; of several the smallest decides."""

    USER = 0
    DISK = 1
    BUDGET = 2
    STAGNATION = 3
    PAUSE = 4
    RECYCLE = 5


class EndKind(IntEnum):
    FINISHED = 0
    """Trained and saved the cycle's last step."""
    STOPPED = 1
    """Ended as asked; ``stop`` says why it was asked."""
    CRASHED = 2
    """Ended without being asked."""
    HUNG = 3
    """Made no progress and was ended."""
    UNHEALTHY = 4
    """Ended by us without saving, because its steps are not to be kept."""
    HOPELESS = 5
    """Says itself that starting again cannot help."""


@dataclass(frozen=True)
class AttemptEnd:
    kind: EndKind
    sentence: str
    stop: StopReason | None = None
    judgement: Judgement | None = None
    trusted: bool = True
    """False: what it saved is not to be used, because it did not begin where it should have."""
    fault: Fault | None = None
    """What ended it, if that was before it finished a step."""
