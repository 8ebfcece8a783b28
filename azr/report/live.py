"""The live view in the terminal; plain lines where there is no terminal.

``LiveView`` reads the run directory alone, so the driver that runs the campaign and ``scripts/watch.py`` in
another terminal show the same.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.live import Live

from azr.config.report import ReportConfig
from azr.report.screen import of_this_attempt, place_words, plain_incident, plain_line, render
from azr.report.summary import RunStatus, RunSummary
from azr.report.summary_reader import SummaryReader
from azr.run.protocol import Phase

FRESH_S = 20.0
"""A heartbeat younger than this is of a trainer that lives."""


def _trainer_is_there(summary: RunSummary) -> bool:
    """It has started: it waits between cycles, or works at this attempt."""
    beat = summary.heartbeat
    if beat is None or summary.now_unix_s - beat.unix_s > FRESH_S:
        return False
    return beat.phase is Phase.IDLE or (beat.phase is not Phase.START and of_this_attempt(summary))


def plain_state(summary: RunSummary) -> str:
    """What the run is doing, in one line, for logs."""
    where = f", {summary.state_name} of cycle {summary.cycle}" if summary.state_name else ""
    trains = summary.status is RunStatus.RUNNING and not summary.paused and summary.state_name == "TRAIN"
    if trains and not summary.driver_gone and not _trainer_is_there(summary):
        where += " (starting trainer and engine: half a minute on the CPU, a few minutes on a card)"
    if told := place_words(summary):
        where += f", {told}"
    if summary.perhaps_elsewhere:
        where += " (no driver is running here; whether one is elsewhere, azr watch sees within a minute)"
    return f"{summary.name}: {'paused' if summary.paused else summary.status.value}{where}"


def wants_plain_text(console: Console, config: ReportConfig) -> bool:
    return not config.live or not console.is_terminal or bool(os.environ.get("NO_COLOR"))


class LiveView:
    """Shows a run in progress.

    with LiveView(run_dir, config.report) as view:
        while ...:
            view.update()          # cheap: redraws at most every ``refresh_s``
            view.say("checkpoint of step 40 saved")
    """

    def __init__(
        self, root: Path, config: ReportConfig, console: Console | None = None, *, past: bool = True
    ) -> None:
        """
        Args:
            past: plain lines begin with the incidents that there were before, and the latest start.

        Raises:
            DataError: ``root`` is not a directory.
        """
        self._reader = SummaryReader(root)
        self._config = config
        self._console = console or Console()
        self.plain = wants_plain_text(self._console, config)
        self._live: Live | None = None
        self._next_s = 0.0
        self._shown_step: tuple[int, int, int] | None = None
        before = None if past else self._reader.read()
        self._shown_incidents = len(before.incidents) if before else 0
        self._shown_state = ""
        self._shown_start = before.start if before else None
        self._shown_hand_over = before.hand_over if before else None

    def __enter__(self) -> LiveView:
        if not self.plain:
            self._live = Live(console=self._console, auto_refresh=False, transient=False)
            self._live.start()
        self.update(force=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._reader.run.root.is_dir():
            with contextlib.suppress(OSError):
                self.update(force=True)
        if self._live is not None:
            self._live.stop()
            self._live = None

    def update(self, *, force: bool = False) -> RunSummary | None:
        """Reads and shows what is new; returns what it read, or None when it is not yet time."""
        if not force and time.monotonic() < self._next_s:
            return None
        self._next_s = time.monotonic() + self._config.refresh_s
        summary = self._reader.read()
        if summary.start is not None and summary.start is not self._shown_start:
            self._shown_start = summary.start
            self._print(f"{summary.name}: trainer {summary.start.sentence}")
        if summary.hand_over is not None and summary.hand_over != self._shown_hand_over:
            self._shown_hand_over = summary.hand_over
            self._print(f"{summary.name}: {summary.hand_over.sentence}")
        if self._live is not None:
            self._live.update(render(summary, self._console.width), refresh=True)
        else:
            for line in self._new_lines(summary):
                self._print(line)
        return summary

    def say(self, text: str) -> None:
        """A line that stays, above the live screen; below plain lines on what came before it."""
        if self.plain:
            self.update(force=True)
        self._print(text)

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _new_lines(self, summary: RunSummary) -> Iterator[str]:
        state = f"{summary.status.value} {summary.paused} {summary.state_name} {summary.driver_gone} cycle {summary.cycle}"
        if state != self._shown_state:
            self._shown_state = state
            yield plain_state(summary)
        for index in range(self._shown_incidents, len(summary.incidents)):
            yield plain_incident(summary, index)
        self._shown_incidents = len(summary.incidents)
        if summary.table.trained:
            table = summary.table
            here = (int(table.cycles[-1]), int(table.attempts[-1]), summary.step)
            if here != self._shown_step:
                self._shown_step = here
                yield plain_line(summary)
