"""Ids that Ray draws while its classes are declared, drawn by the operating system instead. Takes effect on import, in the
warm interpreter, before anything that declares a class for Ray."""

from __future__ import annotations

import os
from typing import Any

import ray.actor

_theirs: Any = vars(ray.actor)["ActorClassID"]


class SystemDrawnClassID:
    """Takes the place of ``ActorClassID``, of which Ray asks this one thing.

    Ray's own generator takes its seed in the process that first draws from it. Drawn from before a fork, it gives all
    children the same "random" ids: two agent workers named their calls alike, and an engine that got both of one
    name at a time died of Ray's check ``erased == 1``.
    """

    @staticmethod
    def from_random() -> Any:
        return _theirs(os.urandom(_theirs.size()))


setattr(ray.actor, "ActorClassID", SystemDrawnClassID)  # noqa: B010
