"""One try of one peer: a process, watched, and what it printed."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bench_step
from azr.errors import AzrError
from azr.run import metric_names as names
from azr.run.protocol import read_metrics
from azr.run.rundir import RunDir
from azr.system.hardware import Machine
from azr.system.processes import MARKER_VARIABLE, memory_gib, processes_with_marker
from peers import figures
from peers.common import VARIABLE, Order, Work
from peers.plan import OUR_STREAMS, PEERS, our_recipe

SCRIPTS = Path(__file__).resolve().parents[1]


def try_ours(
    tried: dict[str, Any],
    work: Work,
    leave_gib: float,
    options: argparse.Namespace,
    machine: Machine,
    folder: Path,
) -> dict[str, Any]:
    recipe = our_recipe(options, work) + tried.get("plus", "")
    own = bench_step.Options(
        override=[
            f"rollout.fixed_group={work.group}",
            "selfplay.train_propose=false",
            f"selfplay.batch_size={work.groups // len(OUR_STREAMS)}",
            "train.mini_batch_sequences=0",
        ],
        model=str(options.model),
        prompt=work.prompt_tokens,
        response=work.response_tokens,
        leave_gib=leave_gib,
        steps=work.steps,
        timeout_s=options.timeout_s,
        peak_tflops=options.peak_tflops,
    )
    found = bench_step.run_recipe(recipe, own, machine, folder)
    run = RunDir(folder / recipe)
    steps = [_our_step(record.step, record.values) for record in read_metrics(run) if record.step > 0]
    log = Path(found["log"]).read_text(encoding="utf-8", errors="replace") if "log" in found else ""
    text = f"{log}\n{found.get('failed', '')}"
    trained = steps[0]["sequences"] if steps else work.sequences
    if trained != work.sequences:
        raise AzrError(f"ours trained {trained} of {work.sequences} sequences: the work is not equal")
    return {
        "settings": {"recipe": recipe},
        "outcome": figures.outcome_of(text, 0, len(steps), work.steps),
        "text": found.get("failed", ""),
        "steps": steps,
        "gpu_peak_gib": max(found.get("gpu_peak_gib", {}).values(), default=0.0),
        "gpu_peak_gib_by_phase": found.get("gpu_peak_gib", {}),
        "host_peak_gib": found.get("host_peak_gib", 0.0),
        "wall_s": found.get("wall_s", 0.0),
    }


def _our_step(step: int, values: dict[str, float]) -> dict[str, Any]:
    def seconds(name: str) -> float:
        return values.get(names.seconds(name), 0.0)

    parts = {
        "generate": seconds("generate"), "log_probs": seconds("old_log_prob"),
        "update": seconds("update"), "sync": seconds("sync"),
    }  # fmt: skip
    total = values[names.STEP_SECONDS]
    return {
        "step": step,
        "seconds": {**parts, "other": max(0.0, total - sum(parts.values()))},
        "total_s": round(total, 3),
        "mismatch": values.get(names.MISMATCH_NATS),
        "sequences": round(values.get(names.ROWS, 0.0)),
    }


def try_peer(
    name: str, tried: dict[str, Any], work: Work, room_gib: float, options: argparse.Namespace, machine: Machine,
    folder: Path,
) -> dict[str, Any]:  # fmt: skip
    peer = PEERS[name]
    settings = {**tried, **dict(peer.settings), "scratch": str(folder / "scratch")}
    if machine.cards:
        settings = of_the_whole_card(settings, room_gib, machine.cards[0].total_gib)
    order = Order(work, str(Path(options.model).resolve()), str(options.prompts), settings, options.rehearse)
    environment = {
        **peer_environment(options.envs / peer.environment),
        VARIABLE: order.to_text(),
        MARKER_VARIABLE: f"bench-peers/{os.getpid()}/{name}",
        "HF_HUB_OFFLINE": "1",
        "PYTHONUNBUFFERED": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    log = folder / f"{name}.log"
    started = time.perf_counter()
    command = [interpreter(options.envs / peer.environment), "-m", f"peers.{peer.module}"]
    with open(log, "wb") as output, _watched(environment[MARKER_VARIABLE]) as peaks:
        child = subprocess.Popen(
            command,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=SCRIPTS,
        )
        try:
            status: int | None = child.wait(timeout=options.timeout_s)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            bench_step.end_all(child, environment[MARKER_VARIABLE])
    text = log.read_text(encoding="utf-8", errors="replace")
    steps = figures.step_lines(text)
    used = figures.settings_line(text) or settings
    return {
        "settings": {key: value for key, value in used.items() if key != "scratch"},
        "outcome": figures.outcome_of(text, status, len(steps), work.steps),
        "text": text,
        "steps": steps,
        **peaks,
        "wall_s": round(time.perf_counter() - started, 1),
    }


def of_the_whole_card(settings: dict[str, Any], room_gib: float, total_gib: float) -> dict[str, Any]:
    """Engines count their share from the whole card; a try's is of the memory that is left."""
    if "share" not in settings:
        return settings
    return {**settings, "share": round(float(settings["share"]) * room_gib / total_gib, 4)}


def interpreter(environment: Path) -> str:
    own = environment / "bin" / "python"
    return str(own) if own.exists() else sys.executable


def peer_environment(environment: Path) -> dict[str, str]:
    """A folder of packages goes before everything else, for this process alone."""
    found = dict(os.environ)
    if not (environment / "bin" / "python").exists():
        found["PYTHONPATH"] = os.pathsep.join(filter(None, (str(environment), found.get("PYTHONPATH", ""))))
    return found


@contextlib.contextmanager
def _watched(marker: str) -> Iterator[dict[str, float]]:
    """The highest use of the card beyond what was used before, and of host memory, around a block."""
    peaks = {"gpu_peak_gib": 0.0, "host_peak_gib": 0.0}
    before, done = bench_step.gpu_used_gib(), threading.Event()

    def look() -> None:
        for turn in itertools.count():
            if done.wait(bench_step.SAMPLE_S):
                return
            used = round(bench_step.gpu_used_gib() - before, 2)
            peaks["gpu_peak_gib"] = max(peaks["gpu_peak_gib"], used)
            if turn % 40 == 0:
                host = round(memory_gib(processes_with_marker(marker)), 2)
                peaks["host_peak_gib"] = max(peaks["host_peak_gib"], host)

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield peaks
    finally:
        done.set()
        watcher.join(timeout=10)
