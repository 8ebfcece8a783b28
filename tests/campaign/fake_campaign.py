"""The real driver around the fake trainer: small data steps, simple judges, short deadlines; run in a forked
child."""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import time
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import fake_trainer

from azr.campaign import supervise
from azr.campaign.driver import run_campaign
from azr.campaign.parts import Advice, CampaignParts, Judgement
from azr.config import Config
from azr.config import load as config_load
from azr.config.campaign import CampaignConfig
from azr.errors import DataError
from azr.run.identity import RunIdentity
from azr.run.protocol import Heartbeat, TrainResult
from azr.run.records import CampaignState, from_json
from azr.run.rundir import RunDir
from azr.system.cards import used_vram_gib
from azr.system.files import append_jsonl, read_jsonl, write_json_atomic, write_jsonl_atomic

ROOT = Path(__file__).resolve().parents[2]
# imported and built once here, not again in each forked driver
used_vram_gib(), config_load.to_yaml(Config())
for record in (CampaignState, Heartbeat, RunIdentity, TrainResult):
    with suppress(DataError):
        from_json(record, {}, "nothing")


@dataclass(frozen=True)
class Report:
    sentence: str


class Quiet:
    def update(self) -> None: ...

    def say(self, text: str) -> None: ...


def fast_config(**changes) -> Config:
    campaign = CampaignConfig(
        cycles=2,
        steps_per_cycle=4,
        hours=0,
        poll_s=0.02,
        sample_s=1.0,
        heartbeat_timeout_s=20,
        start_timeout_s=30,
        first_step_timeout_s=30,
        min_timeout_s=20,
        orphan_grace_s=3,
        backoff_s=0,
        disk_margin_gib=0.01,
    )
    return Config(campaign=replace(campaign, **changes))


def consolidate(run: RunDir, cycle: int, config: Config) -> Report:
    pool = list(read_jsonl(run.pool_tasks, strict=True))
    write_jsonl_atomic(run.cycle_tasks(cycle), pool)
    append_jsonl(run.root / "data-steps.jsonl", [{"step": "consolidate", "cycle": cycle}])
    return Report(f"{len(pool)} tasks")


def merge(run: RunDir, cycle: int, config: Config) -> Report:
    """Union of pool and shard by task id; replaces the pool in one rename."""
    pool = {record["task_id"]: record for record in read_jsonl(run.pool_tasks, strict=True)}
    for record in read_jsonl(run.shard(cycle)):
        pool.setdefault(record["task_id"], record)
    write_jsonl_atomic(run.pool_tasks, pool.values())
    write_json_atomic(run.pool_manifest, {"tasks": len(pool)})
    append_jsonl(run.root / "data-steps.jsonl", [{"step": "merge", "cycle": cycle}])
    return Report(f"the pool has {len(pool)} tasks")


def judge(records, samples, config) -> Judgement:
    """NaN -> rollback; leak -> recycle; stagnate -> end of the cycle."""
    last = records[-1]
    if last.values.get("actor/grad_norm") is not None:
        return Judgement(
            Advice.ROLLBACK,
            "diverged",
            f"The update of step {last.step} was not finite.",
            onset_step=last.step,
        )
    if "leak" in last.values:
        return Judgement(Advice.RECYCLE, "leaking", "Host memory grows by 1 GiB a step.")
    if "stagnate" in last.values:
        return Judgement(Advice.END_CYCLE, "plateau", "Nothing was learnt.")
    return Judgement(Advice.CONTINUE, "learning", "")


def fake_parts(**changes) -> CampaignParts:
    parts = CampaignParts(
        consolidate=consolidate,
        merge=merge,
        judges=(judge,),
        progress=lambda run, config: nullcontext(Quiet()),
        loggers=lambda run, config, first_step: (),
        report=lambda run, config: "",
        trainer_command=(sys.executable, "-S", str(Path(__file__).with_name("fake_trainer.py"))),
        trainer_env={
            "PYTHONPATH": os.pathsep.join(
                [str(ROOT), *(path for path in sys.path if path.endswith("site-packages"))]
            ),
            "PYDANTIC_DISABLE_PLUGINS": "__all__",  # looking for some takes a third of the trainer's start
        },
    )
    return replace(parts, **changes)


def command_trainer(run: RunDir, **commands) -> None:
    run.root.mkdir(parents=True, exist_ok=True)
    (run.root / "fake.json").write_text(json.dumps(commands))


def hurry(run: RunDir) -> None:
    """The driver's clock runs ahead while the trainer hangs on command, and only then: limits may be long,
    and a busy machine meets none.

    For ``Driver(before=...)``.
    """
    skipped_s = 0.0

    def clock() -> float:
        nonlocal skipped_s
        hangs = run.root / "hangs"
        if hangs.exists() and Path("/proc", hangs.read_text() or "none").exists():
            skipped_s += 5.0
        return time.monotonic() + skipped_s

    supervise.MONOTONIC = clock


class Driver:
    """``run_campaign`` in a forked child, as if started from a shell of its own."""

    def __init__(
        self,
        run: RunDir,
        config: Config,
        parts: CampaignParts | None = None,
        *,
        die_at: int = 0,
        renames_only=False,
        before=None,
    ) -> None:
        sys.stdout.flush()
        self.run = run
        self.pid = os.fork()
        if self.pid == 0:
            gc.freeze()  # what other tests left in this process (Ray, torch) aborts when a fork collects it
            status = 70
            try:
                os.setsid()
                run.root.mkdir(parents=True, exist_ok=True)
                log = os.open(run.root / "driver.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
                os.dup2(log, 1)
                os.dup2(log, 2)
                sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
                if before is not None:
                    before()
                if die_at:
                    fake_trainer.die_at_change(die_at, renames_only=renames_only)
                status = run_campaign(config, run.root, parts or fake_parts())
            except BaseException:  # noqa: BLE001 - a forked child must not fall back into pytest
                import traceback

                traceback.print_exc()
                status = 71
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        self.status: int | None = None

    def poll(self) -> int | None:
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status

    def wait(self, limit_s: float = 180.0) -> int:
        end = time.monotonic() + limit_s
        while self.poll() is None:
            if time.monotonic() > end:
                self.kill()
                raise TimeoutError(
                    f"the driver did not end within {limit_s} s; see {self.run.root / 'driver.log'}"
                )
            time.sleep(0.005)
        assert self.status is not None
        return self.status

    def signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        while self.poll() is None:
            time.sleep(0.002)


def wait_for(condition, limit_s: float = 90.0) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {limit_s} s for {condition}")
        time.sleep(0.005)
