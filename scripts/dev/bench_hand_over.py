"""From the last step of a cycle to the first of the next, with the real driver, data steps and report, and a trainer that
has no model: it saves a checkpoint of so many GiB and waits for the next cycle.

    python scripts/dev/bench_hand_over.py [--gib 2.8] [--tasks 500] [--cycles 3] [--folder FOLDER] [--json FILE]

Prints the parts of each hand-over (``azr/run/hand_over.py``). Saving is here only what ``publish_checkpoint`` does after the
files are written. The run lies in a new folder in ``--folder`` and is deleted afterwards.
"""

from __future__ import annotations

import _project

import contextlib
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from azr.campaign.driver import run_campaign
from azr.campaign.parts import default_parts
from azr.config import Config
from azr.config.load import load_config
from azr.run.checkpoint_store import publish_checkpoint, staging_dir
from azr.run.hand_over import HandOverPart, read_hand_over
from azr.run.protocol import Ending, Phase, current_request
from azr.run.rundir import RunDir
from azr.run.trainer_link import DriverWatch, TrainerLink
from azr.system import GIB
from azr.system.files import append_jsonl, write_text_atomic
from azr.system.terminal import outlive_the_terminal
from azr.tasks import Lineage, Task, TaskType

GIB_VARIABLE, TASKS_VARIABLE = "AZR_BENCH_GIB", "AZR_BENCH_TASKS"
PARTS = {"model.pt": 0.34, "optim.pt": 0.66}
"""Shares of a checkpoint's bytes: float32 weights, and the optimizer's two states."""


def train(run: RunDir) -> int:
    """In the place of ``python -m azr.train``."""
    request = current_request(run)
    with DriverWatch(run, request):
        while request is not None:
            with TrainerLink(run, request) as link:
                link.mark_taking_over(HandOverPart.TRAINER)
                for step in range(request.resume_step + 1, request.last_step + 1):
                    link.phase(Phase.GENERATE)
                    append_jsonl(run.shard(request.cycle), [task.to_json() for task in tasks_of(step)])
                    link.step_done(step, {"data/accepted": 1.0})
                    if step == request.resume_step + 1:
                        link.mark_taking_over(HandOverPart.FIRST_STEP)
                save(link, request.last_step)
                link.finish(Ending.FINISHED, "trained all steps")
                request = link.next_request()
    return 0


def save(link: TrainerLink, step: int) -> None:
    link.phase(Phase.SAVE)
    staging = staging_dir(link.run, step)
    (staging / "actor").mkdir()
    block = os.urandom(2**24)
    for name, share in PARTS.items():
        with open(staging / "actor" / name, "wb") as file:
            for _ in range(max(1, round(float(os.environ[GIB_VARIABLE]) * share * GIB / len(block)))):
                file.write(block)
    link.mark_handing_over(HandOverPart.BEGIN)
    publish_checkpoint(link.run, step, staging, {"cycle": link.request.cycle})
    link.saved(step)
    link.mark_handing_over(HandOverPart.SAVE)


def tasks_of(step: int) -> list[Task]:
    """Different programs, a step's share of ``--tasks``."""
    made = []
    for number in range(int(os.environ[TASKS_VARIABLE])):
        a, b, c = step * 7919 + number, number % 97 + 2, number % 13 + 1
        lines = [f"    total = total * {b + k} + x[{k} % len(x)] % {a + k}" for k in range(c)]
        code = "\n".join(["def f(x):", f"    total = {a}", *lines, "    return [total, len(x)]"])
        x = [number, step, 5]
        total = a
        for k in range(c):
            total = total * (b + k) + x[k % 3] % (a + k)
        made.append(
            Task(
                task_type=TaskType.DEDUCTION,
                code=code,
                inputs=(repr(x),),
                outputs=(repr([total, 3]),),
                lineage=Lineage(source="selfplay", cycle=step, step=step),
            )
        )
    return made


def configuration(cycles: int) -> Config:
    return load_config(
        [
            "recipe=cpu_tiny",
            f"campaign.cycles={cycles}",
            "campaign.steps_per_cycle=1",
            "campaign.keep_last=1",
            "campaign.hours=0",
            "train.probe_every_steps=0",
            "train.verdict_samples=0",
        ]
    ).config


def main() -> int:
    parser = _project.argument_parser(__doc__)
    parser.add_argument("--gib", type=float, default=2.8, help="of a checkpoint")
    parser.add_argument("--tasks", type=int, default=500, help="that a cycle accepts")
    parser.add_argument("--cycles", type=int, default=3)
    parser.add_argument(
        "--folder", type=Path, help="where the run is made (else the system's temporary folder)"
    )
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    os.environ |= {GIB_VARIABLE: str(options.gib), TASKS_VARIABLE: str(options.tasks)}
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="azr-bench-", dir=options.folder) as root:
        run = RunDir(Path(root) / "run")
        parts = default_parts()

        def report(run: RunDir, config: Config) -> str:
            told = read_hand_over(run)
            if told is not None and told.cycle > len(found):
                found.append({"total": told.total_s} | {each.name: each.seconds for each in told.shares})
            return parts.report(run, config)

        measured = {
            name: getattr(parts, name) for name in ("consolidate", "merge", "judges", "progress", "loggers")
        }
        command = (sys.executable, __file__, "--train")
        status = run_campaign(
            configuration(options.cycles),
            run.root,
            type(parts)(**measured, report=report, trainer_command=command),
        )
        if status:
            return status
    names = list(dict.fromkeys(name for each in found for name in each))
    for name in names:
        seconds = [each.get(name, 0.0) for each in found]
        print(f"{name:26}{statistics.median(seconds):8.2f} s   ({', '.join(f'{s:.2f}' for s in seconds)})")
    if options.json:
        write_text_atomic(
            options.json, json.dumps({"gib": options.gib, "hand_overs": found}, indent=1) + "\n"
        )
    return 0


if __name__ == "__main__":
    outlive_the_terminal()
    if sys.argv[1:2] == ["--train"]:
        with contextlib.suppress(KeyboardInterrupt):
            sys.exit(train(RunDir(Path(sys.argv[2]))))
    sys.exit(main())
