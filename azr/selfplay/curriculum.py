"""How many inputs an induction task needs, growing with success (``selfplay.induction_inputs_start``)."""

from __future__ import annotations

from typing import Any

from azr.config.selfplay import SelfPlayConfig


class InputCurriculum:
    """Part of the saved self-play state: a restored run continues with the number and the window that it had."""

    def __init__(self, config: SelfPlayConfig) -> None:
        self._config = config
        self.needed = config.induction_inputs_start or config.num_inputs
        self._valid: list[float] = []
        """Share of valid proposals in the latest steps, since ``needed`` last grew."""

    def note(self, valid: float) -> None:
        """Takes a step's share of valid induction proposals into account."""
        config = self._config
        if not config.induction_inputs_start:
            return
        self._valid = [*self._valid, valid][-config.induction_inputs_window :]
        full = len(self._valid) == config.induction_inputs_window
        reached = sum(self._valid) / len(self._valid) >= config.induction_inputs_threshold
        if full and reached and self.needed < config.num_inputs:
            self.needed += 1
            self._valid = []

    def to_json(self) -> dict[str, Any]:
        return {"needed": self.needed, "valid": self._valid}

    def restore(self, record: dict[str, Any]) -> None:
        """Goes on from a saved state. A changed configuration's limits apply."""
        if least := self._config.induction_inputs_start:
            self.needed = min(max(int(record["needed"]), least), self._config.num_inputs)
            self._valid = [float(value) for value in record["valid"]]
