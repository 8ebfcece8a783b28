"""The zero-data start: the model writes its own seeds, beginning with the identity program. No
gradient here.

The caller plays the planned rows with whatever generates; a model too weak to fill the target ends the phase
by its budget, with a report that says why.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from azr.selfplay.game import SelfPlay
from azr.selfplay.outcomes import ProposeOutcome, RowOutcome
from azr.selfplay.rows import Fits, PromptRow
from azr.tasks import Role, Stream, Task, TaskType


class Seeding:
    """Rounds of proposals from the buffers as they grow: programs first, then induction tasks over them.

    Programs that abduction or deduction proposals yield enter both buffers, as seeds do.
    """

    def __init__(self, game: SelfPlay) -> None:
        self._game = game
        self._config = game.config
        self.target = self._config.batch_size * self._config.seed_factor
        self.round = 0
        self.tried = 0
        self.reasons: Counter[str] = Counter()
        game.start([])

    @property
    def done(self) -> bool:
        return not self._wanted() or self.round >= self._config.seed_rounds

    @property
    def report(self) -> str:
        """One line for people: what was reached, and what proposals failed by."""
        sizes = ", ".join(
            f"{kind.value} {len(self._game.buffers[kind])}/{self.target}" for kind in self._game.task_types
        )
        reasons = ", ".join(f"{reason} {count}" for reason, count in self.reasons.most_common(5))
        end = "target reached"
        if self._wanted():
            end = f"stopped after its budget of {self._config.seed_rounds} rounds"
            if self.done:
                end += "; the model is too weak to fill the buffers: start from shipped seeds, or raise selfplay.seed_rounds"
        return f"seeding: {sizes} from {self.tried} proposals in {self.round} rounds; {end}. Refused: {reasons or 'none'}"

    def _wanted(self) -> list[TaskType]:
        """Task types whose buffers are not full; induction waits for programs to write about."""
        short = [kind for kind in self._game.task_types if len(self._game.buffers[kind]) < self.target]
        programs = [kind for kind in short if kind is not TaskType.INDUCTION]
        return programs or short

    def plan_round(self, fits: Fits) -> list[PromptRow]:
        """The next round's rows (batch_size per task type), to be played with estimate off. Empty when done."""
        if self.done:
            return []
        self.round += 1
        rng = np.random.default_rng([self._game.seed, 2, self.round])
        rows: list[PromptRow] = []
        for kind in self._wanted():
            for index in range(self._config.batch_size):
                row_id = f"seed{self.round:05d}-{Stream(Role.PROPOSE, kind).name}-{index:05d}"
                rows.append(replace(self._game.propose_row(kind, row_id, rng, fits), estimate=False))
        return rows

    def accept_round(self, outcomes: Sequence[RowOutcome]) -> list[Task]:
        """Takes verified proposals into the buffers, up to the target; returns the new ones."""
        added: list[Task] = []
        for outcome in sorted(outcomes, key=lambda each: each.row_id):
            if not isinstance(outcome, ProposeOutcome):
                continue
            self.tried += 1
            if outcome.task is None:
                self.reasons[outcome.rejection.reason if outcome.rejection else "unknown"] += 1
                continue
            task = outcome.task.with_lineage(source="seeding")
            if len(self._game.buffers[task.task_type]) >= self.target:
                continue
            if reason := self._game.add_seed(task):
                self.reasons[reason] += 1
            else:
                added.append(task)
        return added
