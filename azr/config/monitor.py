"""Section ``monitor``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MonitorConfig:
    def validate(self) -> None:
        return None
