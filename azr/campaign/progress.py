"""A progress bar for terminals where the live screen is switched off (``report.live=false``)."""

from __future__ import annotations

import json
from types import TracebackType

from tqdm import tqdm

from azr.campaign.incidents import read_incidents, read_tail
from azr.campaign.state import CampaignState, State, read_state_file
from azr.errors import RunError
from azr.protocol import MetricsRecord, MetricsTail
from azr.report import names
from azr.rundir import RunDir
from azr.tasks import CORE_TASK_TYPES, Role, Stream


class BarProgress:
    """One tqdm bar over the steps of the cycle: rate, ETA, rewards, accuracy, tasks gained, memory."""

    def __init__(self, run: RunDir) -> None:
        self._run = run
        self._tail = MetricsTail(run.metrics)
        self._bar: tqdm | None = None
        self._cycle = 0
        self._shown_incidents = sum(1 for _ in read_incidents(run))
        self._gained = 0.0

    def __enter__(self) -> BarProgress:
        for _ in self._tail.new_records():
            pass
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.update()
        if self._bar is not None:
            self._bar.close()

    def update(self) -> None:
        try:
            state = read_state_file(self._run.state)
        except (RunError, FileNotFoundError):
            return
        for index, incident in enumerate(read_incidents(self._run)):
            if index >= self._shown_incidents:
                self._shown_incidents = index + 1
                self.say(f"{incident.get('time', '')} [{incident.get('kind')}] {incident.get('sentence')}")
        if state.state is State.TRAIN:
            self._show_steps(state)

    def say(self, text: str) -> None:
        tqdm.write(text)

    def _show_steps(self, state: CampaignState) -> None:
        if self._bar is None or self._cycle != state.cycle:
            if self._bar is not None:
                self._bar.close()
            self._cycle, self._gained = state.cycle, 0.0
            total = state.last_step - state.first_step + 1
            initial = max(0, state.trained_step - state.first_step + 1)
            self._bar = tqdm(total=total, initial=initial, desc=f"cycle {state.cycle}", unit="step")
        for record in self._tail.new_records():
            self._gained += record.values.get(names.ACCEPTED, 0.0)
            self._bar.set_postfix_str(postfix(record, self._gained, self._memory_gib()), refresh=False)
        self._bar.n = max(0, state.trained_step - state.first_step + 1)
        self._bar.refresh()

    def _memory_gib(self) -> float | None:
        """Memory of the trainer: of the card where there is one, else of the host; as sampled last."""
        try:
            sample = json.loads(read_tail(self._run.supervision, 1000)[-1])
            return sample["trainer_gib"] if sample["vram_gib"] is None else sample["vram_gib"]
        except (IndexError, ValueError, KeyError, TypeError):
            return None


def postfix(record: MetricsRecord, gained: float, memory_gib: float | None) -> str:
    """``reward 0.31 acc 0.42 +57 tasks 9.1 GiB``; what the step did not log is left out."""

    def mean(found: list[float]) -> float | None:
        return sum(found) / len(found) if found else None

    streams = [Stream(Role.SOLVE, task_type).name for task_type in CORE_TASK_TYPES]
    values = record.values
    shown = []
    for label, name in (("reward", names.reward), ("acc", names.accuracy)):
        value = mean([values[name(stream)] for stream in streams if name(stream) in values])
        if value is not None:
            shown.append(f"{label} {value:.2f}")
    if gained:
        shown.append(f"+{gained:.0f} tasks")
    if memory_gib is not None:
        shown.append(f"{memory_gib:.1f} GiB")
    return " ".join(shown)
