"""Section ``budget``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BudgetConfig:
    def validate(self) -> None:
        return None
