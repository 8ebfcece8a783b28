"""One training step: plan, roll out, credit, update, sync, accept. ``azr/absolute_zero.py`` shows the same
algorithm on one page.

What verl, Ray and vLLM do stands behind ``StepBackend``; ``azr.train.verl.trainer`` is the one there is.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from azr.config import Config
from azr.errors import EngineError, TrainingError
from azr.run import metric_names as names
from azr.run.protocol import Phase
from azr.selfplay.advantage import indices_to_learn_from
from azr.selfplay.credit import Trajectory, credit
from azr.selfplay.game import SelfPlay
from azr.selfplay.outcomes import RowOutcome
from azr.selfplay.rows import PromptRow
from azr.tasks import Prompt, Task
from azr.train.entropy import entropy_coefficient

logger = logging.getLogger(__name__)


class StepBackend(Protocol):
    """Policy, engine and queue. A batch is whatever ``roll_out`` returns; only the backend looks inside."""

    def fits(self, prompt: Prompt) -> bool:
        """Whether a prompt is within ``rollout.max_prompt_tokens``."""
        ...

    def roll_out(self, rows: Sequence[PromptRow]) -> Any:
        """Runs the agent loops on the rows, and waits for them.

        Raises:
            EngineError: the deadline passed, or more than ``train.max_failed_rollouts`` of the rows failed.
        """
        ...

    def compute_old_log_probs(self, batch: Any) -> tuple[Any, dict[str, float]]:
        """Spreads the batch over the devices (with padding) and gives it the log-probs from before the
        update; how far those are from the engine's."""
        ...

    def trajectories(self, batch: Any) -> list[Trajectory]: ...
    def update(
        self, batch: Any, advantages: NDArray[np.float64], indices: Sequence[int], entropy_coefficient: float
    ) -> dict[str, float]:
        """One optimizer step (or one for each ``train.mini_batch_sequences``) on some of the batch's trajectories.

        Args:
            advantages: [N] of every trajectory, constant over its tokens.
            indices: of the trajectories to learn from.
        """
        ...

    def forget(self, batch: Any) -> None:
        """Takes the batch out of the queue."""
        ...

    def sleep_engine(self) -> None: ...
    def sync_engine(self) -> None:
        """Wakes the engine if it sleeps, and sends it the trainer's weights."""
        ...

    def engine_answers(self) -> list[float]:
        """Tokens and log-probs of a short greedy answer: they change as soon as the engine's weights do."""
        ...

    def remember_weights(self) -> None: ...
    def weights_moved(self) -> dict[str, float]:
        """``share`` of a sample of the weights that changed since ``remember_weights``, and the ``largest`` change."""
        ...

    def memory(self, phase: str) -> dict[str, float]: ...
    def release_memory(self) -> None: ...


class Clock:
    """Seconds of a step by phase; says which one begins."""

    is_first = False
    """In an attempt's first step the log has each part too: it is the one in which something hangs."""

    def __init__(self, begins: Callable[[Phase], None]) -> None:
        self._begins = begins
        self.seconds: dict[str, float] = defaultdict(float)

    def restart(self) -> None:
        self.seconds = defaultdict(float)

    @contextmanager
    def timed(self, name: str, phase: Phase) -> Iterator[None]:
        self._begins(phase)
        self.tell(f"{name} begins")
        started_s = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] += time.monotonic() - started_s
            self.tell(f"{name} took {self.seconds[name]:.1f} s")

    def tell(self, what: str) -> None:
        if self.is_first:
            logger.info("first step: %s", what)


@dataclass(frozen=True)
class StepResult:
    rows: list[PromptRow]
    outcomes: list[RowOutcome]
    accepted: list[Task]
    """New tasks, by now in the buffer."""
    values: dict[str, float]
    """Metrics (docs/metrics.md)."""


def train_step(
    step: int,
    backend: StepBackend,
    game: SelfPlay,
    config: Config,
    clock: Clock,
    lineage: dict[str, Any],
    *,
    entropy: float | None = None,
    check_learning: bool = False,
) -> StepResult:
    """One step of the algorithm: six streams played, one update, new weights in the engine.

    Args:
        lineage: of tasks that are accepted: run, cycle, attempt, model.
        entropy: token entropy of the step before, in nats.
        check_learning: see that the update moves weights and that the engine follows, as after every start.

    Raises:
        TrainingError: the run does not train (weights do not move, the engine does not follow).
        EngineError: the engine fails, or computes something else than the trainer.
    """
    started_s = time.monotonic()

    # Plan: all streams' prompts, drawn from the task buffer.
    with clock.timed("plan", Phase.GENERATE):
        rows = game.plan_step(step, backend.fits)

    # Roll out: propose, verify, estimate and solve, side by side; then the engine makes room for the update.
    with clock.timed("generate", Phase.GENERATE):
        answers_before = backend.engine_answers() if check_learning else []
        clock.tell(f"the engine answers; {len(rows)} rows are played")
        batch = backend.roll_out(rows)
        clock.tell("all rows are played; the engine is put to sleep")
        memory = backend.memory("rollout")
        backend.sleep_engine()
    memory |= backend.memory("asleep")

    # Credit: rewards, and the advantages that follow from them.
    with clock.timed("old_log_prob", Phase.UPDATE):
        batch, log_prob_metrics = backend.compute_old_log_probs(batch)
    credited = credit(
        backend.trajectories(batch), game, step, config.rollout.max_response_tokens, config.train.control
    )
    is_wanted = ~credited.is_leak
    if config.train.drop_zero_advantages:
        is_wanted &= credited.advantages != 0
    multiple = config.train.mini_batch_sequences or config.train.gpus
    learned_indices = indices_to_learn_from(is_wanted, multiple)
    if config.train.drop_zero_advantages:
        credited.metrics["train/dropped_rows"] = float(len(credited.advantages) - len(learned_indices))

    # Update: one optimizer step on the whole batch.
    with clock.timed("update", Phase.UPDATE):
        if check_learning:
            backend.remember_weights()
        bonus = entropy_coefficient(config.train, entropy)
        update_metrics = backend.update(batch, credited.advantages, learned_indices, bonus)
        has_taught = bool(credited.advantages.any()) or config.train.entropy_coefficient > 0
        moved = check_learning and require_moved_weights(backend.weights_moved(), has_taught)
    memory |= backend.memory("update")
    backend.release_memory()

    # Sync: the engine generates with the new weights from now on.
    with clock.timed("sync", Phase.SYNC):
        backend.sync_engine()
    if moved:
        require_changed_engine(answers_before, backend.engine_answers())

    # Accept: new tasks enter the buffer, solved ones their statistics.
    accepted = game.accept(step, credited.outcomes, lineage)
    backend.forget(batch)
    clock.seconds["step"] = time.monotonic() - started_s
    values = game.metrics() | credited.metrics | update_metrics | log_prob_metrics | memory
    require_matching_engine(values, config.train.max_logprob_mismatch)
    return StepResult(rows, credited.outcomes, accepted, values)


def require_moved_weights(moved: dict[str, float], has_taught: bool) -> bool:
    """Whether the first update moved weights; it need not if the batch had nothing to teach.

    Raises:
        TrainingError: it had something to teach, and no weight moved.
    """
    told = "first update: %.2f %% of the sampled weights moved, at most by %.3g"
    logger.info(told, 100 * moved["share"], moved["largest"])
    if moved["share"] == 0 and has_taught:
        raise TrainingError(
            "the first update moved no weight: the learning rate vanishes in the weights' precision. Use "
            "train.master_dtype=float32, or train.optimizer=adamw_8bit with its stochastic rounding, or a higher rate"
        )
    return moved["share"] > 0


def require_changed_engine(before: list[float], after: list[float]) -> None:
    """
    Args:
        before: token ids, then their log-probs. Where these are all 0, the model is certain of its answer, and no small
            update can be seen in it.

    Raises:
        TrainingError: the answers are the same.
    """
    if before == after and any(before[len(before) // 2 :]):
        raise TrainingError(
            "the engine answers exactly as before the first update: weights do not reach it. On WSL2 CUDA IPC may not work; "
            "run scripts/doctor.py"
        )


def require_matching_engine(values: dict[str, float], limit: float) -> None:
    mismatch = values.get(names.MISMATCH)
    if mismatch is not None and mismatch > limit:
        raise EngineError(
            f"engine and trainer disagree: token probabilities differ by {mismatch:.4f} on average, above "
            f"train.max_logprob_mismatch={limit}; the engine does not run the trained weights"
        )
