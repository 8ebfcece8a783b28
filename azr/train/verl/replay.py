"""verl's replay buffer with a deadline, a count of failures, a shorter poll, and rows in the order of the requests.

The published one polls every 2 s forever, silently drops the row of a failed agent loop, and hands
over the rows as they came in. Then no two runs add up their gradients in the same order, and in bfloat16 the
same step ends in other weights.
"""

from __future__ import annotations

import logging
import re
import time
from typing import Any

from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer

from azr.errors import EngineError

logger = logging.getLogger(__name__)

POLL_INTERVAL_S = 0.1
TELL_EVERY_S = 30.0


class DeadlineReplayBuffer(ReplayBuffer):
    """Waits for a batch's agent loops until ``deadline_s`` has passed."""

    def __init__(self, *, deadline_s: float, max_failed: float, **kwargs: Any) -> None:
        """
        Args:
            max_failed: share of a batch's rows that may fail, 0 to 1.
        """
        super().__init__(poll_interval=POLL_INTERVAL_S, **kwargs)
        self._deadline_s = deadline_s
        self._max_failed = max_failed
        self._started_s = self._told_s = 0.0
        self.failed_rows = 0
        """Rows of the latest batch whose agent loop raised."""
        self._asked = 0

    def sample(self, global_steps: int, partition_id: str, batch_size: int) -> tuple[Any, dict[str, Any]]:
        """verl's, within the deadline.

        Raises:
            EngineError: the batch is not complete at the deadline, or too many agent loops failed. The usual
                cause is an engine that died under them, so a restart is worth its while; the restart budget
                ends what fails again and again.
        """
        self._started_s, self._told_s, self._asked = time.monotonic(), 0.0, batch_size
        try:
            batch = super().sample(
                global_steps=global_steps, partition_id=partition_id, batch_size=batch_size
            )
        except EngineError:
            raise
        except RuntimeError as error:
            raise EngineError(  # verl's own words advise a setting that is none of ours
                f"no agent loop of step {global_steps} came back with a response; most likely the engine died, and the log says how"
            ) from error
        require_few_failures(self.failed_rows, batch_size, self._max_failed, global_steps)
        return batch

    def _select_prompt_uids(self, partition_id: str, sampleable_keys: set[str], batch_size: int) -> Any:
        selected, partition, steps = super()._select_prompt_uids(partition_id, sampleable_keys, batch_size)
        self.failed_rows = len(self.failure_keys[partition_id] & set(selected))
        return selected, partition, steps

    def _materialize_batch(
        self,
        partition_id: str,
        selected_prompt_uids: list[str],
        partition_snapshot: dict[str, dict[str, Any]],
    ) -> Any:
        in_order = {key: partition_snapshot[key] for key in sorted(partition_snapshot, key=row_place)}
        return super()._materialize_batch(partition_id, selected_prompt_uids, in_order)

    def _wait_for_next_poll(self, partition_id: str, last_debug_time: float) -> float:
        done = len(self.finished_keys[partition_id]) + len(self.failure_keys[partition_id])
        waited_s = time.monotonic() - self._started_s
        if waited_s > self._told_s + TELL_EVERY_S:
            self._told_s = waited_s
            logger.info("%d of %d rows are played after %.0f s", done, self._asked, waited_s)
        if waited_s > self._deadline_s:
            raise too_late(f"{self._asked - done} of {self._asked}", waited_s)
        return super()._wait_for_next_poll(partition_id, last_debug_time)


def too_late(missing: str, waited_s: float) -> EngineError:
    return EngineError(
        f"{missing} responses are still missing after {waited_s:.0f} s; the engine hangs, or it is slower than "
        "rollout.generation_timeout_s allows"
    )


def require_few_failures(failed: int, rows: int, max_failed: float, step: int) -> None:
    if failed > max_failed * rows:
        raise EngineError(
            f"{failed} of {rows} agent loops failed in step {step}, more than train.max_failed_rollouts={max_failed:.0%} allows; "
            "most likely the engine or the sandbox died, and the log has their errors"
        )


def row_place(key: str) -> list[int]:
    """Step, row, session and number of a trajectory, of its key ``s3trainr10_0_2``."""
    return [int(number) for number in re.findall(r"\d+", key)]
