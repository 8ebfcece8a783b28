"""What all states of a running campaign share: the run, the state on disk, time, messages."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from azr.campaign.control import Control, read_requests, withdraw_control
from azr.campaign.driver_beats import other_driver
from azr.campaign.incidents import Incident, record_incident
from azr.campaign.parts import CampaignParts, Progress
from azr.campaign.signals import StopSignals
from azr.campaign.state import CampaignState, recorded_state, save_state
from azr.campaign.trainer_process import WaitingTrainer
from azr.config import Config
from azr.config.campaign import CampaignConfig
from azr.errors import RunMovedError
from azr.run.rundir import RunDir
from azr.system.folder_id import FolderId
from azr.system.processes import ProcessId

MONOTONIC: Callable[[], float] = time.monotonic


class Context:
    """Owns ``state``: the one place that writes it."""

    def __init__(
        self,
        run: RunDir,
        config: Config,
        parts: CampaignParts,
        state: CampaignState,
        signals: StopSignals,
        progress: Progress,
        versions: dict[str, str],
    ) -> None:
        self.run, self.config, self.parts, self.state = run, config, parts, state
        self.campaign: CampaignConfig = config.campaign
        self.signals = signals
        self.verdicts: dict[int, str] = {}
        """Latest verdict of each judge; a verdict is written down when it changes."""
        self.versions = versions
        """What the latest trainer was started with; before the first, what the driver was."""
        self.waiting: WaitingTrainer | None = None
        """Between two cycles: the trainer of the last one (``azr.campaign.between_cycles``)."""
        self.predecessors: frozenset[ProcessId] = frozenset()
        """Drivers whose run this one took over."""
        self._progress: Progress | None = progress
        self._ticked_s = MONOTONIC()

    def require_folder(self) -> None:
        """
        Raises:
            RunMovedError: the folder was renamed, moved or removed, so what is written now would lie in another one; or this
                machine slept, and the run's driver is, or was meanwhile, another machine's.
        """
        if (other := other_driver(self.run, but=self.predecessors)) or self._was_driven_by_another():
            which = f" (process {other.pid}, elsewhere or in a container)" if other else ""
            raise RunMovedError(
                f"another driver took {self.run.root} over while this one slept or was stopped{which}, so this one ends, and its trainer "
                "with it. To go on here, end the run there first"
            )
        root, folder = self.run.root, self.state.folder
        if folder is None or self.run.lock.exists() or (root.is_dir() and folder.is_same(FolderId.of(root))):
            return
        now = folder.find_in(root.parent)
        raise RunMovedError(
            f"{root} was renamed, moved or removed while the run went on, or its disk went away, so its trainer was ended. "
            + (
                f"It is {now} now: name={now.name} resumes"
                if now
                else "Once its disk is back, the same command resumes (in another folder, the name= that it has now)"
            )
            + " from the last checkpoint"
        )

    def _was_driven_by_another(self) -> bool:
        """Its beats may be gone, because it has ended, or old, where it was killed; the state still tells. One that is older than
        our own, a sync client or a backup has put back."""
        state, own = recorded_state(self.run), self.state
        return state is not None and state.driver != own.driver and state.updated_unix_s > own.updated_unix_s

    def save(self, **changes: Any) -> None:
        """Changes the state and makes it durable.

        Raises:
            RunMovedError: the folder was renamed, moved or removed.
        """
        self.require_folder()
        self.tick()
        self.state = save_state(self.run, replace(self.state, **changes))

    def note(self, **changes: Any) -> None:
        """Changes the state; it becomes durable with the next ``save``. For what may be lost (measured durations)."""
        self.state = replace(self.state, **changes)

    def tick(self) -> None:
        """Counts the time since the last tick as used, by the monotonic clock; a paused campaign uses none."""
        now_s = MONOTONIC()
        if not self.state.paused:
            self.note(active_s=self.state.active_s + now_s - self._ticked_s)
        self._ticked_s = now_s

    @property
    def hours(self) -> float:
        """The time budget; 0 = none."""
        return self.campaign.hours if self.state.hours is None else self.state.hours

    @property
    def budget_is_used_up(self) -> str:
        """The sentence for it."""
        if self.state.hours is None:
            return f"The time budget of {self.hours:g} h is used up. Raise campaign.hours to continue."
        return (
            f"The time budget of {self.hours:g} h, set with `azr control`, is used up. To continue: "
            f"`azr control {self.run.root} budget HOURS`, or another campaign.hours than before."
        )

    def budget_left_s(self) -> float:
        self.tick()
        return self.hours * 3600 - self.state.active_s if self.hours else float("inf")

    def incident(
        self, kind: str, cause: str, action: str = "", *, asked_otherwise: str = "", **details: Any
    ) -> None:
        place = (self.state.cycle, self.state.attempt, self.state.trained_step)
        incident = Incident(kind, cause, action, *place, details, asked_otherwise=asked_otherwise)
        record_incident(self.run, incident)
        self.show()

    def say(self, text: str) -> None:
        """Tells the user; a terminal that went away (closed window, broken pipe) is not a reason to stop."""
        if self._progress is not None:
            try:
                self._progress.say(text)
            except OSError:
                self._progress = None

    def show(self) -> None:
        if self._progress is not None:
            try:
                self._progress.update()
            except OSError:
                self._progress = None

    def take_budget_request(self) -> None:
        hours = read_requests(self.run).hours
        if hours is not None:
            self.save(hours=hours)
            withdraw_control(self.run, Control.BUDGET)
            left = "no limit" if not hours else f"{max(0.0, self.budget_left_s()) / 3600:.2f} h of it left"
            self.incident("budget", f"The time budget was set to {hours:g} h.", f"There is {left}.")

    def stop_asked(self) -> str:
        """Who asked to stop, or empty."""
        if self.signals.asked:
            return self.signals.asked
        return "scripts/control.py stop" if read_requests(self.run).stop else ""

    def wait(self, seconds: float) -> bool:
        """Sleeps in small pieces; returns True as soon as somebody asks to stop.

        Raises:
            RunMovedError: the run is somebody else's by now.
        """
        end_s = MONOTONIC() + seconds
        while True:
            self.require_folder()  # a laptop sleeps in a pause, too
            left_s = end_s - MONOTONIC()
            if self.stop_asked() or left_s <= 0:
                return bool(self.stop_asked())
            self.show()
            time.sleep(min(self.campaign.poll_s, left_s))
