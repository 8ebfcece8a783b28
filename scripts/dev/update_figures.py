"""What ``update_probe.py`` measured, as figures and as a table: an update in a step against the same update alone."""

from __future__ import annotations

import _project  # noqa: F401

import os
import shutil
import statistics
import sys
from pathlib import Path
from typing import Any

from azr.system.files import read_jsonl
from update_probe import CALLS_FILE, PARTS, PARTS_FILE, REST, VARIABLE, Settings

FOLDER = "update_parts"
LEAST_STEPS = 4
"""One meets everything for the first time, one is warm, one is told, one says where the time goes."""


def command(run_root: Path, steps: int, sleep_s: float) -> tuple[list[str], dict[str, str]]:
    """What starts the explained trainer, and the variables that it needs."""
    folder = run_root / FOLDER
    shutil.rmtree(folder, ignore_errors=True)  # of an earlier measurement that was kept
    folder.mkdir(parents=True)
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), *filter(None, [os.environ.get("PYTHONPATH")])])
    variables = {VARIABLE: Settings(str(folder), steps, sleep_s).text(), "PYTHONPATH": path}
    return [sys.executable, str(here / "update_probe.py"), str(run_root)], variables


def read(run_root: Path, name: str) -> list[dict[str, Any]]:
    return list(read_jsonl(run_root / FOLDER / name))


def figures(run_root: Path) -> dict[str, Any]:
    """The update that is told, in the step and alone; its parts from the step after it, where the device was waited for
    between them; and what kernels or memory that are met for the first time cost.

    Returns:
        nothing where the run ended before its last step.
    """
    updates, calls = (read(run_root, name) for name in (PARTS_FILE, CALLS_FILE))
    if not updates or "alone_parts" not in updates[-1] or len(calls) < len(updates):
        return {}
    *_, told, last = updates
    in_step_s = [
        call["call"] + call["advantages to the queue"] - update["extra_s"]
        for call, update in zip(calls, updates, strict=True)
    ]
    tokens = [sum(update["tokens"]) for update in updates]
    step_s, alone_s = in_step_s[-2], told["alone_s"]
    parts = {
        "advantages to the queue": calls[-1]["advantages to the queue"],
        "call and answer (Ray)": calls[-1]["call"] - last["worker_s"] - last["extra_s"],
        **{name: last["parts"].get(name, 0.0) for name in PARTS},
    }
    return {
        "tokens": tokens[-2],
        "micro_batches": told["tokens"],
        "step_s": step_s,
        "alone_s": alone_s,
        "step_tokens_per_s": tokens[-2] / step_s,
        "alone_tokens_per_s": tokens[-2] / alone_s,
        "ratio": alone_s / step_s,
        "warm_tokens_per_s": statistics.median(
            n / s for n, s in zip(tokens[1:-1], in_step_s[1:-1], strict=True)
        ),
        "all_steps_s": in_step_s,
        "alone_after_release_s": told.get("alone_after_release_s"),
        "settled_s": in_step_s[-1],
        "parts": parts,
        "alone_settled_s": last["alone_settled_s"],
        "alone_parts": last["alone_parts"],
        "graphs": [update["graphs"] for update in updates],
        "allocator": [update.get("allocator") for update in updates],
        "peak_gib": [update.get("peak_gib") for update in updates],
        "waits": updates[0]["waits"],
    }


def table(found: dict[str, Any], waits: int = 12) -> str:
    rows = found["micro_batches"]
    lines = [
        f"update of {found['tokens']:,} tokens in {len(rows)} micro-batches ({min(rows):,} to {max(rows):,} tokens)",
        f"  in the step {found['step_s']:9.3f} s {found['step_tokens_per_s']:10,.0f} tokens/s",
        f"  alone       {found['alone_s']:9.3f} s {found['alone_tokens_per_s']:10,.0f} tokens/s",
        f"  so the step's update is {100 * found['ratio']:.1f} % as fast as alone",
    ]
    if found["alone_after_release_s"]:
        more_s = found["alone_after_release_s"] - found["alone_s"]
        lines.append(
            f"  alone, after its memory was given back: {found['alone_after_release_s']:.3f} s ({more_s:+.3f} s)"
        )
    seconds = ", ".join(f"{each:.3f}" for each in found["all_steps_s"])
    graphs = ", ".join(map(str, found["graphs"]))
    if all(found["peak_gib"]):
        peaks = ", ".join(f"{each:.2f}" for each in found["peak_gib"])
        maps = ", ".join(str(each["num_device_alloc"]) for each in found["allocator"])
        lines.append(f"  peak of the trainer: {peaks} GiB; memory asked of the card {maps} times")
    lines += [f"  updates of all steps: {seconds} s; graphs compiled until then: {graphs}", ""]
    header = f"the step after it, waited for the device between parts: {found['settled_s']:.3f} s"
    lines.append(f"{header:64}{'in the step':>12}{'alone':>9}{'more':>9}")
    alone = {**found["alone_parts"]}
    alone[REST] = found["alone_settled_s"] - sum(alone.values())
    for name, part_s in found["parts"].items():
        beside_s = alone.get(name, 0.0)
        lines.append(f"  {name:62}{part_s:12.3f}{beside_s:9.3f}{part_s - beside_s:9.3f}")
    lines += ["", "the host waits for a value of the device, in the first step:"]
    total = sum(found["waits"].values())
    for place, count in list(found["waits"].items())[:waits]:
        lines.append(f"  {count:6} times  {place}")
    lines.append(f"  {total:6} in all, {total / len(rows):.0f} a micro-batch")
    return "\n".join(lines)
