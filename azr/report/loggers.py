"""Sends each metrics record to TensorBoard files or Weights & Biases, under the names of docs/metrics.md.

``metrics.jsonl`` stays the source of truth. TensorBoard files are written by TensorBoard's own record writer,
which needs neither torch nor tensorflow. Its event writer has a thread, which dies with a traceback on the
user's screen when the disk is full.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import secrets
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from azr.config.report import ReportConfig
from azr.errors import ConfigError
from azr.run.protocol import read_metrics
from azr.run.rundir import RunDir
from azr.system.files import write_text_atomic

WANDB_ID = "wandb_id"


class Logger(Protocol):
    """Takes the records of one process, in order; steps may go back after a resume."""

    def log(self, step: int, values: Mapping[str, float], unix_s: float) -> None: ...

    def close(self) -> None: ...


class TensorBoardLogger:
    """Event files under ``<run>/tensorboard``; open them with ``tensorboard --logdir <run>/tensorboard``."""

    def __init__(self, directory: Path, first_step: int = 0) -> None:
        self._event_pb2 = importlib.import_module("tensorboard.compat.proto.event_pb2")
        self._summary_pb2 = importlib.import_module("tensorboard.compat.proto.summary_pb2")
        records = importlib.import_module("tensorboard.summary.writer.record_writer")
        directory.mkdir(parents=True, exist_ok=True)
        # TensorBoard reads the files of a folder in the order of their names, also where the clock was set back since
        earlier = (path.name.split(".")[3] for path in directory.glob("events.out.tfevents.*.*"))
        began_s = max([int(time.time()), *(int(second) + 1 for second in earlier if second.isdecimal())])
        name = f"events.out.tfevents.{began_s:010d}.{socket.gethostname()}.{os.getpid()}.{time.time_ns()}"
        self._records = records.RecordWriter((directory / name).open("wb"))
        self._write(self._event_pb2.Event(wall_time=time.time(), file_version="brain.Event:2"))
        if first_step > 0:
            # Tells TensorBoard to drop what an earlier attempt wrote at or after this step.
            restart = self._event_pb2.Event(step=first_step)
            restart.session_log.status = self._event_pb2.SessionLog.START
            self._write(restart)

    def log(self, step: int, values: Mapping[str, float], unix_s: float) -> None:
        kind = self._summary_pb2.Summary
        summary = kind(value=[kind.Value(tag=name, simple_value=value) for name, value in values.items()])
        self._write(self._event_pb2.Event(step=step, wall_time=unix_s, summary=summary))

    def close(self) -> None:
        with contextlib.suppress(OSError):  # what could not be written was told when it was logged
            self._records.close()

    def _write(self, event: Any) -> None:
        self._records.write(event.SerializeToString())
        self._records.flush()


def wandb_id(run_dir: Path) -> str:
    """What W&B knows the run by, made once and kept in the run's folder. Not its name alone: another machine has a
    ``default`` too, one that is begun anew would go on in the old one's curves, and not every name is allowed.

    A copy under another name has another id.
    """
    allowed = re.sub(r"[^A-Za-z0-9_.-]+", "-", run_dir.name)[:64]
    file = run_dir / WANDB_ID
    kept = file.read_text(encoding="utf-8").strip() if file.is_file() else ""
    if kept.rpartition("-")[0] == allowed:
        return kept
    write_text_atomic(file, f"{allowed}-{secrets.token_hex(4)}")
    return wandb_id(run_dir)


class WandbLogger:
    """One W&B run for each run here: a resumed one continues in the same place.

    W&B ignores a step that is not above its last one, so what was trained again after a crash or a rollback would be
    missing, and what was undone stand in its place. It counts the lines of metrics.jsonl instead, and ``step`` is an
    axis: both are there, the valid one last.
    """

    def __init__(self, config: ReportConfig, run_dir: Path, run_config: Mapping[str, Any]) -> None:
        self._lines = len(read_metrics(RunDir(run_dir)))
        try:
            wandb = importlib.import_module("wandb")
        except ImportError as error:
            raise ConfigError(
                "report.loggers contains wandb, but the package is not installed: pip install wandb"
            ) from error
        self._wandb = wandb
        try:
            wandb.setup(wandb.Settings(silent=True))  # else it asks for a key on the live screen, and waits
            self._run = wandb.init(
                project=config.wandb_project,
                name=run_dir.name,
                id=wandb_id(run_dir),
                resume="allow",
                dir=str(run_dir),
                mode=config.wandb_mode,
                config=dict(run_config),
            )
            self._run.define_metric("*", step_metric="step")
        except Exception as error:  # no key, no network, a name that it does not allow: each its own class
            remedy = "`wandb login`, or report.wandb_mode=offline and `wandb sync` later"
            why = " ".join(str(error).split()).rstrip(".")
            raise ConfigError(f"report.loggers: wandb does not start ({why}); {remedy}") from error

    def log(self, step: int, values: Mapping[str, float], unix_s: float) -> None:
        self._run.log({**values, "step": step, "unix_s": unix_s}, step=self._lines)
        self._lines += 1

    def close(self) -> None:
        # where its service process was killed, each error is of another class; log has told it
        with contextlib.suppress(Exception):
            self._run.finish()
            self._wandb.teardown()  # ends the service process that init started


def make_loggers(
    config: ReportConfig, run_dir: Path, *, first_step: int = 0, run_config: Mapping[str, Any] | None = None
) -> list[Logger]:
    """The loggers that the configuration names. Each gets every record; the caller closes them.

    Args:
        first_step: first step of this attempt; a resume passes it so that undone steps vanish from TensorBoard.
        run_config: the resolved configuration, shown by Weights & Biases.

    Raises:
        ConfigError: a logger does not start, for want of its package, a key or the network.
    """
    loggers: list[Logger] = []
    for name in config.loggers:
        if name == "tensorboard":
            loggers.append(TensorBoardLogger(run_dir / "tensorboard", first_step))
        else:
            loggers.append(WandbLogger(config, run_dir, run_config or {}))
    return loggers
