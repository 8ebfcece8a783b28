#!/usr/bin/env python
"""Does a real model get better? Arms of one experiment side by side, one card each, trained and then
evaluated (docs/results.md).

    python scripts/dev/experiment.py OUT --model FOLDER --recipe 1_5b_16gb --arms full:1 full:2 form_only:1 shuffled:1 \
        --cards 0 1 2 3 --steps 100 --minutes 15 --suite cruxeval-i=FILE --suite humaneval --set
        rollout.max_sequences=256

An arm is NAME:SEED, an ordinary run OUT/runs/NAME-SEED of the one command; its card is the one at its place
in --cards. Further arms: --arm "chat: selfplay.frame=chat" makes chat:1 possible; its settings win over
--set, and those over the recipe. The steps end at --steps or after --minutes, whichever comes first. Then the
newest checkpoint is compared with the model that the arm started from. What travels is OUT/results.tar.xz
(metrics, scores, incidents, transcripts and the ends of logs), renewed whenever a part is finished. The same
command goes on where it was interrupted.
"""

from __future__ import annotations

import _project

import argparse
import contextlib
import io
import os
import shlex
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
from azr.system.files import write_bytes_atomic  # noqa: E402

ARMS: dict[str, tuple[str, ...]] = {
    "full": (),
    "form_only": ("train.control=format_only",),
    "shuffled": ("train.control=shuffled_rewards",),
    "proposer_frozen": ("train.control=proposer_frozen",),
    "solver_only": ("selfplay.train_propose=false",),
    "lora": ("model.lora_rank=32", "model.lora_alpha=64", "train.learning_rate=4.0e-5"),
}
"""What each arm changes of the game."""
END_GRACE_S = 240.0
"""Longest time for the last step, its checkpoint and the merge, after the time is up."""
TAIL_BYTES = 200_000
REFUSED = 2
"""Exit status of a run that does not begin."""


@dataclass(frozen=True)
class Arm:
    name: str
    seed: int
    card: str
    settings: tuple[str, ...]

    @property
    def run_name(self) -> str:
        return f"{self.name.replace('_', '-')}-{self.seed}"


def parse_arm(text: str, card: str, arms: Mapping[str, tuple[str, ...]]) -> Arm:
    """Raises:
    argparse.ArgumentTypeError: the name is unknown, or the seed is not a number.
    """
    name, _, seed = text.partition(":")
    if name not in arms or not seed.isdigit():
        raise argparse.ArgumentTypeError(
            f"{text!r} is not an arm; write NAME:SEED with a name of {', '.join(arms)}"
        )
    return Arm(name, int(seed), card, arms[name])


def training_command(arm: Arm, args: argparse.Namespace) -> list[str]:
    settings = [
        f"name={arm.run_name}",
        f"seed={arm.seed}",
        f"recipe={args.recipe}",
        f"runs_dir={args.out / 'runs'}",
        f"model.path={args.model}",
        "campaign.cycles=1",
        f"campaign.steps_per_cycle={args.steps}",
        f"campaign.hours={args.minutes / 60:.4f}",
    ]
    last = {item.partition("=")[0]: item for item in [*settings, *args.settings, *arm.settings]}
    return [sys.executable, "azr_single_gpu_pipeline.py", *last.values()]


def evaluation_command(arm: Arm, args: argparse.Namespace) -> list[str]:
    run = args.out / "runs" / arm.run_name
    suites = [part for suite in args.suites for part in ("--suite", suite)]
    models = [f"{run}@0", str(run)]
    return [
        sys.executable,
        "scripts/evaluate.py",
        *models,
        *suites,
        *args.evaluate,
        "--out",
        str(args.out / "evaluate" / arm.run_name),
    ]


stopping = threading.Event()
"""Set by Ctrl+C: every command is asked to stop, as after its limit."""


def call(command: Sequence[str], arm: Arm, log: Path, limit_s: float) -> int | None:
    """Runs one command on the arm's card with a temporary directory of its own; asks it to stop when the
    limit is over, and ends it when it does not. Returns its exit status; None where even SIGKILL left it
    waiting for the system."""
    with tempfile.TemporaryDirectory(prefix="azr-") as scratch, open(log, "ab") as out:
        out.write(f"+ CUDA_VISIBLE_DEVICES={arm.card} {shlex.join(command)}\n".encode())
        out.flush()
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": arm.card, "TMPDIR": scratch}
        child = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=out, stderr=out, start_new_session=True
        )
        end_s = time.monotonic() + limit_s
        while time.monotonic() < end_s and not stopping.is_set():
            with contextlib.suppress(subprocess.TimeoutExpired):
                return child.wait(min(1.0, max(0.0, end_s - time.monotonic())))
        for ask, wait_s in ((signal.SIGINT, END_GRACE_S), (signal.SIGKILL, 30.0)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, ask)
            with contextlib.suppress(subprocess.TimeoutExpired):
                return child.wait(wait_s)
        return None


def run_arm(arm: Arm, args: argparse.Namespace) -> None:
    began_s = time.monotonic()
    log = args.out / "logs" / f"{arm.run_name}.log"
    parts = [("trained", training_command(arm, args), args.minutes * 60 + END_GRACE_S)]
    if args.suites:
        parts.append(("evaluated", evaluation_command(arm, args), args.evaluate_minutes * 60))
    for done, command, limit_s in parts:
        if stopping.is_set():
            return
        status = call(command, arm, log, limit_s)
        print(
            f"{time.monotonic() - began_s:6.0f} s  {arm.run_name} on card {arm.card}: {done}, status {status}",
            flush=True,
        )
        collect(args.out)
        if status == REFUSED:  # what is there is of another model or of other settings
            print(
                f"{arm.run_name} is not evaluated: the start was refused, as the end of {log} says",
                flush=True,
            )
            return


_collecting = threading.Lock()


def collect(out: Path) -> None:
    """OUT/results.tar.xz: what is worth keeping of all arms so far. Weights and answers stay where they
    are."""
    with _collecting:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:xz", preset=6) as archive:
            for name, content in sorted(worth_keeping(out)):
                entry = tarfile.TarInfo(name)
                entry.size, entry.mtime = len(content), int(time.time())
                archive.addfile(entry, io.BytesIO(content))
        write_bytes_atomic(out / "results.tar.xz", packed.getvalue())


def worth_keeping(out: Path) -> Iterator[tuple[str, bytes]]:
    whole = (
        "metrics.jsonl",
        "incidents.jsonl",
        "verdicts.jsonl",
        "result.json",
        "summary.txt",
        "config.yaml",
        "manifest.json",
    )
    ends = (".log", "transcripts.jsonl", "shard.jsonl")
    for path in out.rglob("*"):
        inside = path.relative_to(out)
        if not path.is_file() or "checkpoints" in inside.parts:
            continue
        if path.name in whole:
            yield str(inside), path.read_bytes()
        elif path.name.endswith(ends):
            yield str(inside), path.read_bytes()[-TAIL_BYTES:]


def parse_arguments() -> argparse.Namespace:
    parser = _project.argument_parser(__doc__)
    parser.add_argument("out", type=Path, help="folder of runs, logs and results; its path should be short")
    parser.add_argument("--model", required=True, help="Hugging Face folder that every arm starts from")
    parser.add_argument("--recipe", required=True)
    parser.add_argument(
        "--arms", nargs="+", required=True, metavar="NAME:SEED", help=f"names: {', '.join(ARMS)}"
    )
    parser.add_argument(
        "--arm",
        action="append",
        default=[],
        dest="own_arms",
        metavar="'NAME: KEY=VALUE ...'",
        help="an arm of your own",
    )
    parser.add_argument("--cards", nargs="+", default=["0"], help="one card an arm, or several: 0,1")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=600.0, help="time for training, the start included")
    parser.add_argument("--evaluate-minutes", type=float, default=60.0)
    parser.add_argument(
        "--suite",
        action="append",
        default=[],
        dest="suites",
        help="as for scripts/evaluate.py; none: no evaluation",
    )
    parser.add_argument(
        "--evaluate",
        action="append",
        default=[],
        metavar="OPTION",
        help="a further option of scripts/evaluate.py: --evaluate=--max-sequences=512; may be given several times",
    )
    parser.add_argument(
        "--set",
        nargs="*",
        default=[],
        dest="settings",
        metavar="KEY=VALUE",
        help="further settings of every arm",
    )
    args = parser.parse_args()
    if len(args.arms) > len(args.cards):
        parser.error(f"{len(args.arms)} arms need as many --cards, which names {len(args.cards)}")
    try:
        own = {
            name.strip(): tuple(rest.split())
            for name, _, rest in (item.partition(":") for item in args.own_arms)
        }
        args.arms = [
            parse_arm(text, card, ARMS | own) for text, card in zip(args.arms, args.cards, strict=False)
        ]
    except argparse.ArgumentTypeError as error:
        parser.error(str(error))
    if len({arm.run_name for arm in args.arms}) < len(args.arms):
        parser.error("an arm is named twice with one seed; both would be one run")
    args.out = args.out.resolve()
    return args


def main() -> int:
    args = parse_arguments()
    (args.out / "logs").mkdir(parents=True, exist_ok=True)
    threads = [threading.Thread(target=run_arm, args=(arm, args)) for arm in args.arms]
    for thread in threads:
        thread.start()
    try:
        while any(thread.is_alive() for thread in threads):
            time.sleep(0.5)
    except KeyboardInterrupt:
        print("Stopping: every arm ends its step and saves. The same command goes on.", file=sys.stderr)
        stopping.set()
        for thread in threads:
            thread.join(END_GRACE_S + 60)
    collect(args.out)
    return 130 if stopping.is_set() else 0


if __name__ == "__main__":
    sys.exit(main())
