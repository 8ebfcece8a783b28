"""A time-compressed weekend: the real command, a fault every few minutes, until the campaign is done; then
the books are checked.

    python scripts/dev/soak_campaign.py --every 180 --seed 1 name=soak campaign.cycles=4 campaign.steps_per_cycle=40
    python scripts/dev/soak_campaign.py --every 180 --seed 1 name=soak campaign.cycles=100 campaign.steps_per_cycle=8 campaign.hours=1

Overrides go to ``azr_single_gpu_pipeline.py``; deadlines are shortened unless given. Faults: kill -9 of the
driver, the trainer, the training loop or the engine, a frozen loop, a power cut (everything at once), a
damaged checkpoint, SIGTERM, pause and resume, a checkpoint on request. Only processes of this run are touched
(they carry its marker in their environment). After a fault that ends the driver the same command is started
again. Exit status 0: done by itself, and everything adds up.
"""

from __future__ import annotations

import _project

import contextlib
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from azr.campaign.control import Control, request_control, withdraw_control
from azr.campaign.incidents import read_incidents
from azr.campaign.state import CampaignState, State, load_state
from azr.config.load import load_config
from azr.config.paths import runs_folder
from azr.run.checkpoints import checkpoint_problems, list_checkpoints
from azr.run.protocol import read_heartbeat, read_metrics
from azr.run.rundir import RunDir
from azr.system.files import read_jsonl
from azr.system.processes import ProcessId, processes_with_marker
from azr.system.terminal import outlive_the_terminal

PIPELINE = Path(__file__).resolve().parents[2] / "azr_single_gpu_pipeline.py"
SHORT_DEADLINES = (
    "campaign.heartbeat_timeout_s=60",
    "campaign.min_timeout_s=180",
    "campaign.backoff_s=2",
    "campaign.sample_s=10",
    "campaign.max_restarts=1000",
    "campaign.max_restarts_without_progress=20",
    "campaign.hours=0",
)
RESTART_AFTER_S = 3.0


@dataclass
class Soak:
    run: RunDir
    command: list[str]
    dice: random.Random
    driver: subprocess.Popen[bytes] | None = None
    starts: int = 0

    def start(self) -> None:
        self.starts += 1
        log = self.run.root.with_name(f"{self.run.root.name}.driver-{self.starts:03d}.log")
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "wb") as file:
            self.driver = subprocess.Popen(
                self.command,
                stdout=file,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def state(self) -> CampaignState | None:
        return load_state(self.run)[0]

    def ours(self) -> list[ProcessId]:
        state = self.state()
        return processes_with_marker(f"{state.run_id}/") if state is not None and state.run_id else []

    def kill(self, processes: list[ProcessId], number: int = signal.SIGKILL) -> str:
        for process in processes:
            if process.alive:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, number)
        return ", ".join(f"{process.pid} {process.name}" for process in processes) or "nobody"

    def driver_id(self) -> list[ProcessId]:
        found = ProcessId.of(self.driver.pid) if self.driver is not None else None
        return [found] if found else []

    def loop_id(self) -> list[ProcessId]:
        beat = read_heartbeat(self.run)
        return [process for process in self.ours() if beat is not None and process.pid == beat.pid]

    def trainer_id(self) -> list[ProcessId]:
        """The driver's child, from which everything else descends; none while only an earlier driver's is there."""
        driver = self.driver.pid if self.driver else -1
        return [process for process in self.ours() if _parent(process.pid) == driver]

    # The faults; each says what it did.

    def kill_driver(self) -> str:
        return f"kill -9 of the driver: {self.kill(self.driver_id())}"

    def kill_trainer(self) -> str:
        return f"kill -9 of the trainer: {self.kill(self.trainer_id())}"

    def kill_loop(self) -> str:
        return f"kill -9 of the training loop: {self.kill(self.loop_id())}"

    def kill_engine(self) -> str:
        engines = [
            process
            for process in self.ours()
            if "EngineCor" in process.name or "vllm" in process.name.lower()
        ]
        return f"kill -9 of the engine: {self.kill(engines)}"

    def freeze_loop(self) -> str:
        return f"SIGSTOP of the training loop: {self.kill(self.loop_id(), signal.SIGSTOP)}"

    def power_cut(self) -> str:
        return f"power cut: {self.kill([*self.driver_id(), *self.ours()])}"

    def damage_checkpoint(self) -> str:
        self.power_cut()
        checkpoints = list_checkpoints(self.run)
        if not checkpoints:
            return "power cut (no checkpoint to damage yet)"
        files = [path for path in checkpoints[-1].path.rglob("*") if path.is_file() and path.stat().st_size]
        file = self.dice.choice(files)
        with open(file, "r+b") as handle:
            handle.truncate(file.stat().st_size // 2)
        return f"power cut, and {file.relative_to(self.run.root)} cut to half"

    def terminate_driver(self) -> str:
        return f"SIGTERM to the driver: {self.kill(self.driver_id(), signal.SIGTERM)}"

    def pause(self) -> str:
        request_control(self.run, Control.PAUSE)
        time.sleep(self.dice.uniform(5, 40))
        withdraw_control(self.run, Control.PAUSE)
        return "pause, and resume"

    def checkpoint(self) -> str:
        request_control(self.run, Control.CHECKPOINT)
        return "checkpoint on request"

    @property
    def faults(self) -> list[tuple[Callable[[], str], int]]:
        """(fault, weight)."""
        return [
            (self.kill_driver, 3),
            (self.kill_trainer, 2),
            (self.kill_loop, 2),
            (self.kill_engine, 2),
            (self.freeze_loop, 1),
            (self.power_cut, 2),
            (self.damage_checkpoint, 1),
            (self.terminate_driver, 1),
            (self.pause, 1),
            (self.checkpoint, 1),
        ]


def main() -> int:
    parser = _project.argument_parser(__doc__)
    parser.add_argument("--every", type=float, default=180.0, help="mean seconds between faults")
    parser.add_argument("--limit-minutes", type=float, default=240.0, help="give up after this long")
    parser.add_argument("--seed", type=int, default=1)
    options, overrides = parser.parse_known_args()
    given = {item.partition("=")[0] for item in overrides}
    overrides = [*(item for item in SHORT_DEADLINES if item.partition("=")[0] not in given), *overrides]
    config = load_config(overrides).config
    run = RunDir(runs_folder(config) / config.name)
    soak = Soak(run, [sys.executable, str(PIPELINE), *overrides], random.Random(options.seed))
    began_s = time.monotonic()
    injected: list[str] = []
    try:
        finished = run_with_faults(soak, options.every, options.limit_minutes * 60, injected)
    finally:
        soak.power_cut()
        if soak.driver is not None:
            soak.driver.wait()
    minutes = (time.monotonic() - began_s) / 60
    steps = None if config.campaign.hours else config.campaign.cycles * config.campaign.steps_per_cycle
    problems = check(run, steps, finished)
    tell(run, injected, minutes, soak.starts, problems)
    return 1 if problems else 0


def run_with_faults(soak: Soak, every_s: float, limit_s: float, injected: list[str]) -> bool:
    """Until the driver ends by itself with the campaign done; False when the time is up or it failed."""
    began_s = time.monotonic()
    soak.start()
    next_s = began_s + soak.dice.uniform(0.5, 1.5) * every_s
    while time.monotonic() - began_s < limit_s:
        time.sleep(1.0)
        assert soak.driver is not None
        if soak.driver.poll() is not None:
            state = soak.state()
            if state is not None and state.state in (State.DONE, State.FAILED):
                return state.state is State.DONE
            time.sleep(RESTART_AFTER_S)
            soak.start()
        if time.monotonic() >= next_s:
            faults = soak.faults
            fault = soak.dice.choices([item[0] for item in faults], [item[1] for item in faults])[0]
            line = f"{(time.monotonic() - began_s) / 60:6.1f} min  {fault()}"
            injected.append(line)
            print(line, flush=True)
            next_s = time.monotonic() + soak.dice.uniform(0.5, 1.5) * every_s
    return False


def check(run: RunDir, expected_steps: int | None, finished: bool) -> list[str]:
    """What does not add up, a sentence each.

    Args:
        expected_steps: steps of the whole campaign; None where a time budget ends it.
    """
    problems = [] if finished else ["The campaign did not finish by itself."]
    state, repairs = load_state(run)
    if state is None:
        return [*problems, "There is no state."]
    problems += repairs
    if left := processes_with_marker(f"{state.run_id}/"):
        problems.append(f"Processes are left: {left}")
    # what a crash undid stays in the file where the time was up before it was trained again
    steps = [record.step for record in read_metrics(run) if 0 < record.step <= state.step]
    expected = list(
        range(1, (state.step if expected_steps is None or state.flat_cycles else expected_steps) + 1)
    )
    if steps != expected:
        missing = sorted(set(expected) - set(steps))
        problems.append(
            f"metrics.jsonl lacks steps {missing}"
            if missing
            else f"metrics.jsonl has steps out of order: {steps}"
        )
    checkpoints = list_checkpoints(run)
    if not checkpoints or checkpoints[-1].step != state.step or checkpoint_problems(checkpoints[-1].path):
        problems.append("The newest checkpoint is not the last step, or is damaged.")
    ids = [record["task_id"] for record in read_jsonl(run.pool_tasks)]
    if len(ids) != len(set(ids)) or not ids:
        problems.append(f"The pool has {len(ids)} tasks, {len(set(ids))} of them different.")
    return problems


def tell(run: RunDir, injected: list[str], minutes: float, starts: int, problems: list[str]) -> None:
    print(f"\n{minutes:.1f} min, {len(injected)} faults, {starts} starts of the driver")
    print("\nThe incident log:")
    for incident in read_incidents(run):
        print(f"  {incident.time}  [{incident.kind}] {incident.sentence}")
    print(
        "\nMemory at the middle and the end of each attempt that had at least 10 samples, GiB (driver, trainer):"
    )
    attempts: dict[tuple[int, int], list[dict[str, float]]] = {}
    for sample in read_jsonl(run.supervision):
        attempts.setdefault((sample["cycle"], sample["attempt"]), []).append(sample)
    for (cycle, attempt), samples in attempts.items():
        if len(samples) >= 10:
            half = len(samples) // 2
            line = f"  cycle {cycle}, attempt {attempt}:"
            for name in ("driver_gib", "trainer_gib"):
                middle, end = (
                    statistics.median(item[name] for item in part)
                    for part in (samples[half : half + 5], samples[-5:])
                )
                line += f"  {middle:.3f} -> {end:.3f}"
            print(line)
    print("\n" + ("Everything adds up." if not problems else "Problems:\n  " + "\n  ".join(problems)))
    print(
        json.dumps(
            {"minutes": round(minutes, 1), "faults": len(injected), "starts": starts, "problems": problems}
        )
    )


def _parent(pid: int) -> int:
    try:
        return int(
            Path(f"/proc/{pid}/stat")
            .read_text(encoding="utf-8", errors="replace")
            .rpartition(")")[2]
            .split()[1]
        )
    except (OSError, IndexError, ValueError):
        return -1


if __name__ == "__main__":
    outlive_the_terminal()
    sys.exit(main())
