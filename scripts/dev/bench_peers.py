"""This trainer against others on equal work: TRL's GRPO (also with Liger's kernels), Unsloth, AgileRL.

    python scripts/dev/bench_peers.py --envs DIR --model build/random-1.5b --json FILE
    python scripts/dev/bench_peers.py --envs DIR --model build/random-3b --lora-rank 32 --leave-gib 0 16
    python scripts/dev/bench_peers.py --envs DIR --model build/random-tiny --rehearse --peers ours trl

The work: 60 prompts of 600 tokens, 8 responses of exactly 300 tokens to each, one optimizer step on all 480
sequences; the same weights and token ids, rewards drawn. Each peer runs in an environment of its own: ``DIR/trl``,
``DIR/unsloth``, ``DIR/agilerl`` is a virtual environment or a folder that ``pip install --target`` filled.

Each peer has a list of settings to try, of equal length, from the fastest to the smallest (``TRIES``); the first
one that fits is measured, and with ``--search`` the fastest of all. ``--set trl.micro=16 trl.share=0.5`` tries these
alone. Shares are of the memory that is left. Running out of memory is a result. Every ``--leave-gib`` holds a large
card's memory except so much (0: nothing is held).

Printed, and with ``--json`` kept: seconds by phase, tokens/s, the highest use of the card and of host memory, the
difference of engine and trainer log-probs at the first optimizer step, and a roofline. ``--baseline`` compares
with an earlier JSON, as ``bench_step.py`` does.
"""

from __future__ import annotations

import _project

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import bench_step
from azr.budget.shape import shape_of
from azr.errors import AzrError, ConfigError
from azr.system.files import write_text_atomic
from azr.system.hardware import Machine, detect, device_for
from azr.system.places import prepare_places
from azr.system.terminal import outlive_the_terminal
from peers import figures
from peers.attempt import try_ours, try_peer
from peers.common import Work
from peers.plan import PEERS, prompts, tries_of, work_of


def measure_peer(
    name: str, work: Work, leave_gib: float, bound: figures.Roofline | None, options: argparse.Namespace,
    machine: Machine, folder: Path,
) -> dict[str, Any]:  # fmt: skip
    """The first of its settings that fits (with ``--search`` the fastest), or why none did."""
    hold = f"{leave_gib:g} GiB left" if leave_gib else "whole card"
    mode = f"adapters of rank {work.lora_rank}" if work.lora_rank else "all weights"
    common = {"peer": name, "hold": hold, "recipe": f"{name}, {Path(options.model).name}, {mode}, {hold}"}
    if PEERS[name].adapters_only and not work.lora_rank:
        return {**common, "outcome": figures.DOES_NOT_APPLY, "failed": "it trains adapters only", "tries": []}
    environment = options.envs / PEERS[name].environment
    if not environment.is_dir():
        missing = f"there is no {environment}; make a virtual environment there, or fill it with pip install --target"
        return {**common, "outcome": figures.DOES_NOT_START, "failed": missing, "tries": []}
    room_gib = leave_gib or (machine.cards[0].total_gib if machine.cards else machine.ram_gib)
    tries: list[dict[str, Any]] = []
    best: dict[str, Any] | None = None
    for number, tried in enumerate(tries_of(name, work, room_gib, options), start=1):
        place = folder / f"{name}-{leave_gib:g}-{number}"
        place.mkdir(parents=True)
        if name == "ours":
            found = try_ours(tried, work, leave_gib, options, machine, place)
        else:
            found = try_peer(name, tried, work, room_gib, options, machine, place)
        text = found.pop("text")
        steps = found.pop("steps")
        if found["outcome"] == figures.RAN:
            found |= figures.figures(work, steps, bound)
        else:
            found["failed"] = figures.last_error(text)
        tries.append({"tried": tried, **found})
        print(f"{common['recipe']}, {json.dumps(tried)}: {json.dumps(found)}", flush=True)
        if "step_s" in found and (best is None or found["step_s"] < best["step_s"]):
            best = found
        if (best and not options.search) or found["outcome"] == figures.DOES_NOT_START:
            break
    kept = [{key: each.get(key) for key in ("tried", "outcome", "step_s", "failed")} for each in tries]
    return {**common, **(best or tries[-1]), "tries": kept}


def measured_card(options: argparse.Namespace, machine: Machine) -> tuple[float, float]:
    """(TFLOP/s of a bf16 product, GB/s of a copy), in a child process; zeros without a card."""
    if not machine.cards:
        return 0.0, 0.0
    code = (
        "import torch, time\n"
        "block = torch.empty(2**30, dtype=torch.uint8, device='cuda'); other = torch.empty_like(block)\n"
        "for turn in range(3):\n"
        "    torch.cuda.synchronize(); start = time.perf_counter()\n"
        "    for _ in range(20): other.copy_(block)\n"
        "    torch.cuda.synchronize(); seconds = time.perf_counter() - start\n"
        "print(20 * 2 * 2**30 / seconds / 1e9)\n"
    )
    try:
        answer = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=180, check=True
        )
        bandwidth = float(answer.stdout.splitlines()[-1])
    except (subprocess.SubprocessError, ValueError, IndexError) as error:
        raise ConfigError(
            f"the card's bandwidth, for the roofline, could not be measured: {error}"
        ) from error
    return options.peak_tflops or bench_step.matmul_peak_tflops(), bandwidth


def measure(options: argparse.Namespace) -> int:
    from hold_gpu_memory import held

    prepare_places()
    machine = detect()
    device_for(machine, "auto", 1).take()
    if not machine.cards and not options.rehearse:
        raise ConfigError(f"no card: {machine.why_no_card}; --rehearse runs everything small without one")
    work = work_of(options)
    for name in options.peers:
        tries_of(name, work, 0.0, options)  # a slip shall not wait for its turn
    if options.keep and options.keep.is_dir() and any(options.keep.iterdir()):
        raise ConfigError(f"--keep {options.keep} is not empty; name a new folder")
    options.peak_tflops, bandwidth = measured_card(options, machine)
    shape = shape_of(str(options.model))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
    report: dict[str, Any] = {}
    results: list[dict[str, Any]] = []
    bounds: dict[str, figures.Roofline] = {}
    with contextlib.ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="azr-peers-")))
        folder.mkdir(parents=True, exist_ok=True)
        options.prompts = (folder / "prompts.json").resolve()
        write_text_atomic(options.prompts, json.dumps(prompts(work)))
        for leave_gib in options.leave_gib if machine.cards else [0.0]:
            bound = None
            if shape is not None and machine.cards and bandwidth and options.peak_tflops:
                room = leave_gib or machine.cards[0].total_gib
                bound = figures.roofline(shape, work, room, bandwidth, options.peak_tflops)
                bounds[f"{leave_gib:g} GiB left" if leave_gib else "whole card"] = bound
            with held(leave_gib) if leave_gib else contextlib.nullcontext("the whole card") as card:
                print(card, flush=True)
                for name in options.peers:
                    results.append(measure_peer(name, work, leave_gib, bound, options, machine, folder))
                    report = report_of(results, bounds, bandwidth, work, options, machine)
                    if options.json:  # after each: what was measured outlives the next one
                        write_text_atomic(options.json, json.dumps(report, indent=1) + "\n")
    print("\n" + figures.table(results, bounds))
    for sentence in figures.comparisons(results):
        print(sentence)
    problems = []
    if options.baseline:
        baseline = json.loads(options.baseline.read_text(encoding="utf-8"))
        problems = bench_step.regressions(report, baseline, options.tolerance)
    for problem in problems:
        print(f"PROBLEM: {problem}")
    return 1 if problems else 0


def report_of(
    results: list[dict[str, Any]], bounds: dict[str, figures.Roofline], bandwidth_gb_s: float, work: Work,
    options: argparse.Namespace, machine: Machine,
) -> dict[str, Any]:  # fmt: skip
    shape = shape_of(str(options.model))
    return {
        "machine": machine.name,
        "peak_tflops": round(options.peak_tflops, 1),
        "bandwidth_gb_s": round(bandwidth_gb_s, 1),
        "model": Path(options.model).name,
        "parameters": shape.parameters if shape else 0,
        "work": asdict(work),
        "rehearsal": options.rehearse,
        "roofline": {hold: asdict(bound) for hold, bound in bounds.items()},
        "results": results,
    }


def main() -> int:
    parser = _project.argument_parser(__doc__)
    parser.add_argument(
        "--envs", type=Path, required=True, metavar="DIR", help="a folder or venv for each peer"
    )
    parser.add_argument("--model", type=Path, required=True, help="folder of the weights")
    parser.add_argument("--peers", nargs="+", choices=sorted(PEERS), default=list(PEERS))
    parser.add_argument("--lora-rank", type=int, default=0, help="adapters on a frozen base; 0: all weights")
    parser.add_argument(
        "--leave-gib", type=float, nargs="+", default=[0.0], metavar="GIB", help="one or more holds"
    )
    parser.add_argument("--groups", type=int, default=0, help="prompts in a step (60), each with 8 responses")
    parser.add_argument("--steps", type=int, default=3, help="the first warms up")
    parser.add_argument("--recipe", help="ours, NAME or NAME+KEY=VALUE+...; default: by the model's size")
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="PEER.KEY=VALUE", help="try these settings alone"
    )
    parser.add_argument("--search", action="store_true", help="measure all tries and keep the fastest")
    parser.add_argument(
        "--rehearse", action="store_true", help="without a card: tiny work, everything else the same"
    )
    parser.add_argument("--timeout-s", type=float, default=600.0, help="for each try")
    parser.add_argument("--peak-tflops", type=float, default=0.0, help="0: measure it")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--baseline", type=Path)
    parser.add_argument("--tolerance", type=float, default=0.15)
    parser.add_argument("--keep", type=Path, help="folder for logs and run directories (default: temporary)")
    options = parser.parse_args()
    options.envs = options.envs.resolve()
    try:
        return measure(options)
    except AzrError as error:
        print(f"bench_peers: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    outlive_the_terminal()
    sys.exit(main())
