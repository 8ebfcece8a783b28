"""Reads a run's summary from its directory, once or again and again.

Nothing here fails on a missing or damaged file: what cannot be read is absent, and the report says so.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import yaml

from azr.config.yaml_files import plain_yaml
from azr.data.frozen import probe_files_in
from azr.errors import DataError
from azr.report.metrics import MetricsReader, MetricsTable
from azr.report.summary import PoolCounts, RunStatus, RunSummary
from azr.run import metric_names as names
from azr.run.hand_over import read_hand_over
from azr.run.protocol import DriverBeat, Heartbeat, TrainRequest, read_driver_beat, read_heartbeat
from azr.run.records import (
    CampaignState,
    Incident,
    JudgeVerdict,
    State,
    from_json,
    last_sample,
    read_log,
)
from azr.run.rundir import RunDir, is_run, run_meant
from azr.run.start_record import TrainerStart, latest_start, read_start
from azr.system.files import read_json, text_of
from azr.system.folder_id import FolderId
from azr.system.locks import is_free
from azr.system.processes import ProcessId, boot_id
from azr.wording import counted

_Record = TypeVar("_Record")
FRESH_S = 60.0
"""A heartbeat younger than this is a sign of life; the trainer beats every few seconds."""
ELSEWHERE_S = 150.0
"""As long after the latest new heartbeat a run that works on another machine counts as running: a share may show files a minute
late."""

EARLY_FILES = frozenset({"control", "report.html", "transcripts.html"})
"""What a run directory may hold before anything ran in it."""
RECORDS = ("run.lock", "metrics.jsonl", "incidents.jsonl")
"""Of a run that is just beginning; and what can be shown of one without the rest, copied to another machine."""


def require_run(root: Path) -> None:
    """An empty directory passes: a run begins as one.

    Raises:
        DataError: ``root`` is not a directory, or holds other things than a run.
    """
    if not root.is_dir():
        raise DataError(f"{root} is not a directory; {run_meant(root)}")
    if (
        is_run(root)
        or any((root / name).exists() for name in RECORDS)
        or all(path.name in EARLY_FILES for path in root.iterdir())
    ):
        return
    runs = sorted(str(path) for path in root.iterdir() if path.is_dir() and is_run(path))
    remedy = f"it holds {', '.join(runs[:5])}: give one of them" if runs else "give one, such as runs/NAME"
    raise DataError(f"{root} is not a run directory; {remedy}")


class SummaryReader:
    """Reads one run again and again, the metrics incrementally.

    Raises:
        DataError: ``root`` is not a directory, or holds other things than a run.
    """

    def __init__(self, root: Path) -> None:
        require_run(root)
        self.run = RunDir(root)
        self._metrics = MetricsReader(self.run.metrics)
        self._started: tuple[Path | None, TrainerStart | None] = (None, None)
        self._beats: frozenset[Heartbeat | DriverBeat] | None = None
        self._beat_seen_s = -math.inf
        self._beat_unix_s = 0.0

    def read(self, now_unix_s: float | None = None) -> RunSummary:
        now = time.time() if now_unix_s is None else now_unix_s
        problems: list[str] = []
        state = _record(CampaignState, self.run.state, problems)
        heartbeat = read_heartbeat(self.run)
        config_text = text_of(self.run.config_record)
        table = self._metrics.poll()
        if state is not None and state.step and state.state not in (State.TRAIN, State.FAILED):
            # a crash undid the others, and the cycle ended without training them again
            table = table.through(state.step)
        problems += _gaps(self.run, table, state)
        verdicts = read_log(JudgeVerdict, self.run.verdicts)
        requests = list(self.run.in_cycles("request.json").values())
        status = _status(self.run.root, state, heartbeat, table, now)
        seen_s = self._seen_beating_s(heartbeat)
        gone = self._driver_is_gone(state)
        gone_or_closed = gone or self._is_closed(state)
        elsewhere = status is RunStatus.INTERRUPTED and not gone_or_closed and seen_s < ELSEWHERE_S
        ahead_s = self._beat_unix_s + seen_s - now if elsewhere else 0.0
        return RunSummary(
            root=self.run.root,
            status=RunStatus.RUNNING if elsewhere else status,
            now_unix_s=now + ahead_s,
            table=table,
            state=state,
            heartbeat=heartbeat,
            incidents=tuple(read_log(Incident, self.run.incidents)),
            verdicts=tuple(each for each in verdicts if each.verdict not in ("undecided", "healthy")),
            pool=_record(PoolCounts, self.run.pool_manifest, problems) or PoolCounts(None, 0),
            config=_yaml(config_text, self.run.config_record, problems),
            config_text=config_text,
            request=_record(TrainRequest, requests[-1], problems) if requests else None,
            machine=last_sample(self.run.supervision),
            start=self._read_start(),
            hand_over=read_hand_over(self.run),
            problems=tuple(problems),
            driver_gone=gone,
            elsewhere=elsewhere,
            ahead_s=ahead_s,
        )

    def _seen_beating_s(self, heartbeat: Heartbeat | None) -> float:
        """Seconds since a beat of trainer or driver replaced an earlier one, by this process's own clock, which no other
        machine's concerns; infinite before that."""
        beats = frozenset(filter(None, (heartbeat, read_driver_beat(self.run))))
        if self._beats is not None and (new := beats - self._beats):
            self._beat_seen_s, self._beat_unix_s = time.monotonic(), max(beat.unix_s for beat in new)
        self._beats = beats
        return time.monotonic() - self._beat_seen_s

    def _driver_is_gone(self, state: CampaignState | None) -> bool:
        """It was of this machine, and did not close the run. One in a container is not seen here, but still holds the lock."""
        driver = state.driver if state is not None else None
        ended = driver is not None and driver.boot_id == boot_id() and not driver.alive
        return ended and is_free(self.run.lock)

    def _is_closed(self, state: CampaignState | None) -> bool:
        """Its driver wrote down that it ended, whose last beats came just before, and none is at work on another machine."""
        beat = read_driver_beat(self.run)
        return (
            state is not None and state.driver is None and (beat is None or beat.driver.boot_id == boot_id())
        )

    def _read_start(self) -> TrainerStart | None:
        """Reads each start once."""
        latest = latest_start(self.run)
        if latest is not None and latest != self._started[0] and (found := read_start(latest)) is not None:
            self._started = (latest, found)
        return self._started[1]


def read_summary(root: Path) -> RunSummary:
    """Raises:
    DataError: ``root`` is not a directory.
    """
    return SummaryReader(root).read()


def _status(
    root: Path, state: CampaignState | None, heartbeat: Heartbeat | None, table: MetricsTable, now: float
) -> RunStatus:
    if state is not None and state.state in (State.DONE, State.FAILED):
        return RunStatus.FINISHED if state.state is State.DONE else RunStatus.FAILED
    # the driver of a run directory that came from another machine is never alive here, and that of a copy works
    # elsewhere
    copied = state is not None and state.folder is not None and not state.folder.is_same(FolderId.of(root))
    driver = state.driver if state is not None else None
    # a heartbeat from the future is of a clock that was set
    beats = (
        heartbeat is not None
        and abs(now - heartbeat.unix_s) < FRESH_S
        and ProcessId.of(heartbeat.pid) is not None
    )
    if not copied and (beats or (driver is not None and driver.alive)):
        return RunStatus.RUNNING
    if not len(table) and state is None and heartbeat is None:
        return RunStatus.EMPTY
    return RunStatus.INTERRUPTED


def _record(cls: type[_Record], path: Path, problems: list[str]) -> _Record | None:
    if not path.exists():
        return None
    try:
        return from_json(cls, read_json(path), path)
    except (DataError, OSError) as error:
        problems.append(f"{error}")
        return None


def _yaml(text: str, path: Path, problems: list[str]) -> dict[str, Any]:
    try:
        value = plain_yaml(text)
    except yaml.YAMLError as error:
        problems.append(f"{path} is not valid YAML: {error}")
        return {}
    return value if isinstance(value, dict) else {}


def _gaps(run: RunDir, table: MetricsTable, state: CampaignState | None) -> Iterator[str]:
    """What the run's records lack, in sentences, since figures leave it out: steps that are in no metrics, shards that are
    gone, probe tasks that were never asked, and probe files that are gone or changed."""
    trained = max(table.last_step, state.step if state is not None else 0)
    if (missing := trained - table.trained) > 0:
        yield f"{run.metrics.name} lacks {missing} of the {trained} trained steps (damaged or removed), and all figures leave them out"

    accepted: Counter[int] = Counter()
    for cycle, count in zip(table.cycles.tolist(), table.column(names.ACCEPTED).tolist(), strict=True):
        accepted[cycle] += int(count) if count > 0 else 0
    for cycle, count in sorted(accepted.items()):
        if count and not run.shard(cycle).exists():
            shard = run.shard(cycle).relative_to(run.root)
            yield (
                f"{shard} is gone: {counted(count, 'task')} that cycle {cycle} accepted {'is' if count == 1 else 'are'} in no figure "
                "of proposed tasks; the pool keeps those that it had taken"
            )

    if table.has(names.PROBES_TOO_LONG):
        tasks = counted(int(table.last(names.PROBES_TOO_LONG) or 0), "frozen probe task")
        yield f"{tasks} did not fit rollout.max_prompt_tokens when the run began, and no accuracy counts them"

    try:
        probe_files_in(run.probes)
    except (DataError, OSError) as error:  # of a share that hangs: nobody's view ends by it
        yield f"{error}"
