#!/usr/bin/env python
"""How often does the default run without a card end in a verdict? Whole runs over seeds, and controls with
shuffled rewards.

    python scripts/dev/verdict_study.py --parallel 16 --cores 4                  # ten seeds and five shuffled ones
    # two seeds of a shorter run, no control; other settings need a folder of their own
    python scripts/dev/verdict_study.py campaign.cycles=1 --seeds 1 2 --shuffled --out runs/short

Each run is ``python azr_single_gpu_pipeline.py name=verdict-CONTROL-SEED seed=SEED train.control=CONTROL``,
in OUT/runs, on cores and with a temporary folder of its own. One that fails or takes too long is recorded, and
the others go on. The same command goes on where it was interrupted: what has a verdict is not run again, what was
begun is continued. Writes OUT/result.json and OUT/table.md.
"""

from __future__ import annotations

import _project

import argparse
import contextlib
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
from azr.errors import AzrError  # noqa: E402
from azr.report.summary import RunStatus  # noqa: E402
from azr.report.summary_reader import read_summary  # noqa: E402
from azr.report.verdict import deciding_change, deciding_probes, verdict_change, verdict_files  # noqa: E402
from azr.system.files import read_json, write_json_atomic, write_text_atomic  # noqa: E402

PIPELINE = ROOT / "azr_single_gpu_pipeline.py"
NONE, SHUFFLED = "none", "shuffled_rewards"
STOP_GRACE_S = 300.0
"""After each of the two interrupts that a run gets before it is killed."""


@dataclass(frozen=True)
class Job:
    control: str
    seed: int

    @property
    def name(self) -> str:
        return f"verdict-{self.control.replace('_', '-')}-{self.seed}"


@dataclass(frozen=True)
class Outcome:
    """How one run ended. Shares, not points."""

    control: str
    seed: int
    ended: str
    """``finished``, ``failed`` or ``limit``."""
    seconds: float
    word: str = ""
    before: float | None = None
    after: float | None = None
    interval: tuple[float, float] | None = None
    p: float | None = None
    tasks: float | None = None
    steps: int = 0
    beside: dict[str, dict[str, Any]] | None = None
    """The same of the probes that do not decide."""
    note: str = ""


def main(argv: Sequence[str] | None = None) -> int:
    args = _arguments(argv)
    jobs = [*(Job(NONE, seed) for seed in args.seeds), *(Job(SHUFFLED, seed) for seed in args.shuffled)]
    args.out.mkdir(parents=True, exist_ok=True)
    kept = args.out / "overrides.json"
    before = read_json(kept) if kept.exists() else args.overrides
    if before != args.overrides:  # else those verdicts would count for these settings
        wanted = f"not {args.overrides}; name another --out"
        print(f"{args.out} is of runs with {before}, {wanted}", file=sys.stderr)
        return 2
    cores = sorted(os.sched_getaffinity(0))
    if args.cores * args.parallel > len(cores):
        print(
            f"{args.parallel} x {args.cores} cores are wanted, {len(cores)} are here; give fewer",
            file=sys.stderr,
        )
        return 2
    write_json_atomic(kept, args.overrides)
    slots: queue.Queue[list[int]] = queue.Queue()
    for slot in range(args.parallel):
        slots.put(cores[slot * args.cores : (slot + 1) * args.cores])
    stop = threading.Event()

    def work(job: Job) -> None:
        record = args.out / f"{job.name}.json"
        if stop.is_set() or (record.exists() and read_json(record)["ended"] == "finished"):
            return
        own = slots.get()
        try:
            outcome = run_one(job, own, args, stop)
            if not stop.is_set():
                write_json_atomic(record, asdict(outcome))
                print(f"{job.name}: {_row(asdict(outcome))}", flush=True)
        finally:
            slots.put(own)

    with ThreadPoolExecutor(args.parallel) as pool:
        pending = [pool.submit(work, job) for job in jobs]
        try:
            for each in pending:
                each.result()
        except KeyboardInterrupt:
            stop.set()
            print("Interrupted; ending the runs. The same command goes on.", file=sys.stderr)
    return report(jobs, args.out)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = _project.argument_parser(__doc__)
    parser.add_argument("--seeds", type=int, nargs="*", default=list(range(1, 11)))
    parser.add_argument(
        "--shuffled",
        type=int,
        nargs="*",
        default=list(range(1, 6)),
        help="seeds of the control with shuffled rewards",
    )
    parser.add_argument("--parallel", type=int, default=1, help="runs at a time")
    parser.add_argument("--cores", type=int, default=2, help="cores of each run")
    parser.add_argument("--limit-s", type=float, default=5400.0, help="after this long a run is ended")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "verdict-study")
    parser.add_argument("--runs-dir", type=Path, help="where the runs lie (OUT/runs)")
    parser.add_argument(
        "overrides",
        nargs="*",
        help="settings of all runs, as for the pipeline; before --seeds and --shuffled",
    )
    args = parser.parse_intermixed_args(argv)
    args.out = args.out.resolve()  # the runs start in another folder
    args.runs_dir = (args.runs_dir or args.out / "runs").resolve()
    return args


def run_one(job: Job, cores: Sequence[int], args: argparse.Namespace, stop: threading.Event) -> Outcome:
    """Starts or continues one run and waits for it; never raises for what the run does."""
    started_s = time.monotonic()
    scratch = tempfile.mkdtemp(prefix="vs-", dir="/tmp")  # short: Ray's sockets lie in it
    log = args.out / f"{job.name}.log"
    settings = [
        "recipe=cpu_tiny",
        f"name={job.name}",
        f"runs_dir={args.runs_dir}",
        f"seed={job.seed}",
        f"train.control={job.control}",
        "report.live=false",
        "report.loggers=[]",
    ]
    command = [
        "taskset",
        "-c",
        ",".join(map(str, cores)),
        sys.executable,
        str(PIPELINE),
        *settings,
        *args.overrides,
    ]
    try:
        with open(log, "ab") as output:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=os.environ | {"TMPDIR": scratch},
                start_new_session=True,
            )
            in_time = _wait(process, started_s + args.limit_s, stop)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    seconds = time.monotonic() - started_s
    try:
        outcome = _read(job, args.runs_dir / job.name, seconds)
    except AzrError as error:
        outcome = Outcome(job.control, job.seed, "failed", seconds, note=str(error))
    if outcome.ended == "finished":  # perhaps while it was being stopped
        return outcome
    if not in_time:
        return replace(outcome, ended="limit", note=f"ended after {args.limit_s:.0f} s; {_last_line(log)}")
    return replace(outcome, note=f"status {process.returncode}; {outcome.note} {_last_line(log)}")


def _wait(process: subprocess.Popen[bytes], limit_s: float, stop: threading.Event) -> bool:
    """False where the run had to be ended: twice as a user would (save, then at once), at last by force."""
    while process.poll() is None and time.monotonic() < limit_s and not stop.is_set():
        time.sleep(0.5)
    if process.poll() is not None:
        return True
    for sign in (signal.SIGINT, signal.SIGINT, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_GRACE_S)
            break
    return False


def _read(job: Job, root: Path, seconds: float) -> Outcome:
    summary = read_summary(root)
    change = deciding_change(summary)
    ended = "finished" if summary.status is RunStatus.FINISHED and change is not None else "failed"
    if change is None:
        return Outcome(job.control, job.seed, ended, seconds, steps=summary.step, note=summary.sentence)
    beside = {}
    for probes in [*(file for file, _ in verdict_files(summary)), "all"]:
        other = verdict_change(summary, probes)
        if other is not None and probes != deciding_probes(summary):
            beside[probes] = {
                "before": other.first,
                "after": other.last,
                "interval": other.interval,
                "p": other.p,
                "word": other.word,
            }
    return Outcome(
        control=job.control,
        seed=job.seed,
        ended=ended,
        seconds=seconds,
        word=change.word,
        before=change.first,
        after=change.last,
        interval=change.interval,
        p=change.p,
        tasks=change.count,
        steps=summary.step,
        beside=beside,
        note="" if ended == "finished" else summary.sentence,
    )


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return lines[-1][:300] if lines else "no output"


def report(jobs: Sequence[Job], out: Path) -> int:
    """Writes result.json and table.md of what there is. Returns 0 when every run has a verdict."""
    records = [read_json(path) for job in jobs if (path := out / f"{job.name}.json").exists()]
    write_json_atomic(out / "result.json", {"runs": records, "missing": len(jobs) - len(records)})
    lines = [
        "| control | seed | verdict | before | after | change, points (99 %) | p | steps | minutes |",
        "|" + "---|" * 9,
    ]
    lines += [f"| {record['control']} | {record['seed']} | {_row(record)} |" for record in records]
    for control in (NONE, SHUFFLED):
        words = [record["word"] or record["ended"] for record in records if record["control"] == control]
        if words:
            counts = ", ".join(f"{words.count(word)} {word}" for word in sorted(set(words)))
            lines += ["", f"{control}: {counts}, of {len(words)}."]
    write_text_atomic(out / "table.md", "\n".join(lines) + "\n")
    print("\n".join(lines))
    return 0 if len(records) == len(jobs) and all(record["ended"] == "finished" for record in records) else 1


def _row(record: dict[str, Any]) -> str:
    minutes = f"{record['seconds'] / 60:.1f}"
    if record["before"] is None or record["interval"] is None:
        return " | ".join(
            [record["ended"], "", "", record["note"].replace("|", "/"), "", str(record["steps"]), minutes]
        )
    low, high = (100 * bound for bound in record["interval"])
    change = f"{100 * (record['after'] - record['before']):+.1f} ({low:+.1f} to {high:+.1f})"
    p = "" if record["p"] is None else f"{record['p']:.2g}"
    word = record["word"] if record["ended"] == "finished" else f"{record['ended']}: {record['word']}"
    return " | ".join(
        [word, f"{record['before']:.1%}", f"{record['after']:.1%}", change, p, str(record["steps"]), minutes]
    )


if __name__ == "__main__":
    sys.exit(main())
