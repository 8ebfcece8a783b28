"""A trainer without a model: speaks the whole protocol, and crashes, hangs, leaks, goes NaN ... on command.

    python fake_trainer.py RUN_DIR

``RUN_DIR/fake.json`` commands it: ``{"step_s", "save_every", "tasks", "accuracy", "faults": [{"kind", "cycle", "attempt",
"step"}]}``. A fault without cycle or attempt strikes in each. ``RUN_DIR/kill-trainer-at`` holds a number n:
the process is killed by SIGKILL at its n-th change of the file system (the file is removed first).
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

from azr.run import trainer_link
from azr.run.checkpoint_store import publish_checkpoint, staging_dir
from azr.run.checkpoints import latest_verified_checkpoint
from azr.run.hand_over import HandOverPart
from azr.run.protocol import Ending, Phase, current_request
from azr.run.rundir import RunDir
from azr.run.trainer_link import DriverWatch, TrainerLink
from azr.system.files import append_jsonl, read_jsonl, write_json_atomic

trainer_link.LOOK_INTERVAL_S = 0.01

CHANGES = ("replace", "fsync", "link", "unlink", "mkdir", "rmdir")


def die_at_change(number: int, *, renames_only: bool = False) -> None:
    """SIGKILL at the n-th change of the file system by this process: odd n before it, even n after it.

    Args:
        renames_only: count renames alone and die after the n-th; each is a state that the next start may
            find.
    """
    done = 0

    def wrap(name: str) -> None:
        real = getattr(os, name)

        def counted(*args, **kwargs):
            nonlocal done
            done += 1
            if done == number and number % 2 and not renames_only:
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                return real(*args, **kwargs)
            finally:
                if done == number:
                    os.kill(os.getpid(), signal.SIGKILL)

        setattr(os, name, counted)

    for name in ("replace",) if renames_only else CHANGES:
        wrap(name)


class FakeTrainer:
    def __init__(self, run: RunDir) -> None:
        self.run = run
        self.commands = (
            json.loads((run.root / "fake.json").read_text()) if (run.root / "fake.json").exists() else {}
        )
        self.request = current_request(run)
        self.buffer: list[str] = []
        self.finished = False

    def fault(self, step: int) -> str:
        for fault in self.commands.get("faults", []):
            wanted = (
                fault.get("cycle", self.request.cycle),
                fault.get("attempt", self.request.attempt),
                fault["step"],
            )
            if wanted == (self.request.cycle, self.request.attempt, step):
                return fault["kind"]
        return ""

    def main(self) -> int:
        if self.fault(0) == "crash":
            raise RuntimeError("CUDA out of memory (pretended)")
        if self.fault(0) == "import":
            from os import no_such_name  # type: ignore[attr-defined]  # noqa: F401
        if self.fault(0) == "odd":
            raise KeyError("odd (pretended)")
        with DriverWatch(self.run, self.request, interval_s=0.02, limit_s=20):
            while True:
                with TrainerLink(self.run, self.request, beat_interval_s=0.05) as link:
                    status = self.train(link)
                    request = link.next_request() if self.finished else None
                if request is None:
                    return status
                assert request.resume_step == self.request.last_step
                self.request, self.finished = request, False

    def train(self, link: TrainerLink) -> int:
        if not self.request.process:
            self.restore()
        if self.fault(0) == "hang":
            self.hang()
        if self.fault(0) == "hopeless":
            link.finish(Ending.FAILED, "model.path does not exist (pretended)", retry=False)
            return 1
        if self.fault(0) == "bus":  # a worker met a full /dev/shm; the trainer knows that it died
            print("(WorkerDict pid=49) Fatal Python error: Bus error", flush=True)
            link.finish(
                Ending.FAILED,
                "a process of the trainer died or raised: ActorDiedError: The actor died unexpectedly",
            )
            return 1
        if self.fault(0) == "finish_at_once":
            link.finish(Ending.FINISHED, "nothing to do (pretended)")
            return 0
        asked = link.asked()
        link.mark_taking_over(HandOverPart.TRAINER)
        for step in range(self.request.resume_step + 1, self.request.last_step + 1):
            if asked.stop:
                break
            self.step(link, step)
            if step == self.request.first_step:
                link.mark_taking_over(HandOverPart.FIRST_STEP)
            if step == self.request.last_step:
                link.mark_handing_over(HandOverPart.BEGIN)
            asked = link.asked()
            listens = self.fault(step) != "ignore_stop" and "ignore_stop" not in self.commands
            due = step % self.commands.get("save_every", 2) == 0 or step == self.request.last_step
            if due or asked.checkpoint or (asked.stop and listens):
                self.save(link, step)
                if step == self.request.last_step:
                    link.mark_handing_over(HandOverPart.SAVE)
            if not listens:
                asked = type(asked)(False, False)
            if self.fault(step) == "exit_zero":
                return 0
        if link.saved_step == self.request.last_step:
            link.finish(Ending.FINISHED, "trained all steps")
            self.finished = True
        else:
            link.finish(Ending.STOPPED, asked.reason or "stopped")
        return 0

    def hangs(self) -> None:
        (self.run.root / "hangs").write_text(str(os.getpid()))

    def hang(self) -> None:
        self.hangs()
        time.sleep(3600)

    def step(self, link: TrainerLink, step: int) -> None:
        kind = self.fault(step)
        link.phase(Phase.GENERATE)
        if kind == "crash":
            raise RuntimeError("ray.exceptions.ActorDiedError (pretended)")
        if kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == "hang":
            self.hang()
        if kind == "freeze":
            self.hangs()
            os.kill(os.getpid(), signal.SIGSTOP)
        # as a vLLM engine core: own session, holds on
        if kind in ("orphan", "orphan_crash"):
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"], start_new_session=True)
            if kind == "orphan_crash":
                time.sleep(0.2)
                os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(self.commands.get("step_s", 0.01))
        tasks = [f"s{step}.{index}" for index in range(self.commands.get("tasks", 1))] + [
            f"s{step}.a{self.request.attempt}"
        ]
        lineage = {"cycle": self.request.cycle, "attempt": self.request.attempt, "step": step}
        link.require_folder()
        append_jsonl(
            self.run.shard(self.request.cycle), [{"task_id": task, "lineage": lineage} for task in tasks]
        )
        self.buffer += tasks
        values = {
            "reward": 0.5,
            "probe/all/accuracy": self.commands.get("accuracy", step / 100),
            "rate": self.request.learning_rate_scale,
            "data/accepted": float(len(tasks)),
        }
        if kind == "nan":
            values["actor/grad_norm"] = float("nan")
        if kind == "leak":
            values["leak"] = 1.0
        if kind == "stagnate":
            values["stagnate"] = 1.0
        link.step_done(step + (3 if kind == "skip_steps" else 0), values)

    def save(self, link: TrainerLink, step: int) -> None:
        kind = self.fault(step)
        link.phase(Phase.SAVE)
        link.require_folder()
        staging = staging_dir(self.run, step)
        (staging / "model").mkdir()
        (staging / "model" / "weights.bin").write_bytes(
            bytes(step % 256 for _ in range(self.commands.get("weights_bytes", 1000)))
        )
        time.sleep(self.commands.get("save_s", 0.0))
        if kind == "half_checkpoint":
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == "hang_in_save":
            self.hang()
        if kind == "disk_full":  # as with a full disk, the write itself fails
            before = resource.getrlimit(resource.RLIMIT_FSIZE)
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (500, before[1]))
            try:
                (staging / "optimizer.bin").write_bytes(b"x" * 10_000)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, before)  # the log is a file, too
        write_json_atomic(staging / "buffer.json", self.buffer)
        info = {"cycle": self.request.cycle, "attempt": self.request.attempt}
        publish_checkpoint(self.run, step, staging, info)
        link.saved(step)
        link.phase(Phase.IDLE)

    def restore(self) -> None:
        if not self.request.resume_step:
            return
        checkpoint = latest_verified_checkpoint(self.run, at_most_step=self.request.resume_step)
        assert checkpoint is not None and checkpoint.step == self.request.resume_step, checkpoint
        self.buffer = json.loads((checkpoint.path / "buffer.json").read_text())


def shard_ids(run: RunDir, cycle: int) -> list[str]:
    return [record["task_id"] for record in read_jsonl(run.shard(cycle))]


if __name__ == "__main__":
    run_dir = RunDir(Path(sys.argv[1]))
    order = run_dir.root / "kill-trainer-at"
    if order.exists():
        at = int(order.read_text())
        order.unlink()
        die_at_change(at)
    sys.exit(FakeTrainer(run_dir).main())
