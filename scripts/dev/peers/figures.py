"""What ``bench_peers.py`` reads, computes and prints: no process, no card."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from azr.budget.shape import ModelShape
from peers.common import PHASES, SETTINGS, STEP, Work

RAN = "ran"
OUT_OF_MEMORY = "out of memory"
DOES_NOT_START = "does not start"
DOES_NOT_APPLY = "does not apply"
TIMED_OUT = "timed out"
FAILED = "failed"

_MEMORY_WORDS = (
    "out of memory",
    "outofmemoryerror",
    "no available memory for the cache blocks",
    "is less than desired gpu memory utilization",
    "larger than the available kv cache memory",
    "oom-kill",
)
_IMPORT_WORDS = ("importerror", "modulenotfounderror", "no module named", "notimplementederror: unsloth")


def step_lines(output: str) -> list[dict[str, Any]]:
    """The steps that a peer printed; other lines, also torn ones, are passed over."""
    return _records(output, STEP)


def settings_line(output: str) -> dict[str, Any]:
    found = _records(output, SETTINGS)
    return found[-1] if found else {}


def _records(output: str, prefix: str) -> list[dict[str, Any]]:
    found = []
    for line in output.splitlines():
        if line.startswith(prefix):
            try:
                record = json.loads(line[len(prefix) :])
            except ValueError:
                continue
            if isinstance(record, dict):
                found.append(record)
    return found


def outcome_of(output: str, status: int | None, finished: int, wanted: int) -> str:
    """How a try ended: memory that ran out is a result, like any other.

    Args:
        status: the exit status; None: its time was over.
        finished: steps it printed.
    """
    if finished >= wanted:
        return RAN
    text = output.lower()
    if any(words in text for words in _MEMORY_WORDS):
        return OUT_OF_MEMORY
    if status is None:
        return TIMED_OUT
    if not finished and any(words in text for words in _IMPORT_WORDS):
        return DOES_NOT_START
    return FAILED


def last_error(output: str, length: int = 300) -> str:
    """The line that says what was wrong: the last with an exception's name, else the last one."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [
        line
        for line in lines
        if line.partition(":")[0].endswith(("Error", "Exception", "Exit")) or "out of memory" in line.lower()
    ]
    return (errors or lines or [""])[-1][:length]


@dataclass(frozen=True)
class Roofline:
    """What no trainer of this shape can beat on this card."""

    generate_s: float
    update_s: float
    at_once: int
    """Sequences whose KV cache fits beside one copy of the weights."""


def roofline(
    shape: ModelShape, work: Work, memory_gib: float, bandwidth_gb_s: float, peak_tflops: float
) -> Roofline:
    """Decoding reads all weights and the KV cache for each token (bytes over bandwidth; or its arithmetic, if
    that takes longer), a prompt is computed once for its group, and the update is 6 operations per parameter
    and token (4 with adapters, whose base needs no gradients).

    Args:
        bandwidth_gb_s: measured, as ``peak_tflops``.
    """
    weights = 2.0 * shape.parameters
    length = work.prompt_tokens + work.response_tokens
    sequence_bytes = length * shape.kv_bytes_per_token()
    at_once = int(max(1, min(work.sequences, (memory_gib * 2**30 - weights) // sequence_bytes)))
    read_tokens = work.prompt_tokens + work.response_tokens / 2
    # each wave of sequences reads the weights once a token; every sequence reads its own cache
    waves = work.sequences / at_once
    decode_bytes = work.response_tokens * (
        waves * weights + work.sequences * read_tokens * shape.kv_bytes_per_token()
    )
    decode_operations = 2.0 * shape.parameters * work.generated_tokens
    prefill_operations = 2.0 * shape.parameters * work.groups * work.prompt_tokens
    operations_s = 1.0 / (peak_tflops * 1e12)
    generate_s = max(decode_bytes / (bandwidth_gb_s * 1e9), decode_operations * operations_s)
    passes = 4.0 if work.lora_rank else 6.0
    return Roofline(
        generate_s=round(generate_s + prefill_operations * operations_s, 3),
        update_s=round(passes * shape.parameters * work.trained_tokens * operations_s, 3),
        at_once=at_once,
    )


def figures(work: Work, steps: Sequence[dict[str, Any]], bound: Roofline | None) -> dict[str, Any]:
    """Medians over the steps after the first, which warms up."""
    timed = list(steps[1:]) or list(steps)
    seconds = {
        phase: round(statistics.median(step["seconds"].get(phase, 0.0) for step in timed), 3)
        for phase in PHASES
    }
    step_s = statistics.median(step["total_s"] for step in timed)
    update_s = seconds["update"] + seconds["log_probs"]
    found: dict[str, Any] = {
        "steps": len(steps),
        "step_s": round(step_s, 3),
        "first_step_s": steps[0]["total_s"],
        "seconds": seconds,
        "generated_tokens_per_s": _rate(work.generated_tokens, seconds["generate"]),
        "update_tokens_per_s": _rate(work.trained_tokens, update_s),
        "tokens_per_s": _rate(work.trained_tokens, step_s),
        "mismatch_nats": steps[0].get("mismatch"),
    }
    if bound is not None:
        found["share_of_roofline"] = {
            "generate": _share(bound.generate_s, seconds["generate"]),
            "update": _share(bound.update_s, update_s),
        }
    return found


def _rate(tokens: int, seconds: float) -> int:
    return round(tokens / seconds) if seconds else 0


def _share(bound_s: float, seconds: float) -> float:
    return round(bound_s / seconds, 3) if seconds else 0.0


def table(results: Sequence[dict[str, Any]], bounds: dict[str, Roofline]) -> str:
    """One line a peer and hold; a peer that did not run says why."""
    head = [
        "",
        "s a step",
        "generate",
        "log-probs",
        "update",
        "sync",
        "other",
        "tokens/s",
        "GiB",
        "host",
        "nats apart",
    ]
    rows = [head]
    notes = []
    for result in results:
        if "failed" in result:
            rows.append([result["recipe"], result["outcome"], *[""] * (len(head) - 2)])
            notes.append(f"{result['recipe']}: {result['outcome']}: {result['failed']}")
            continue
        mismatch = result["mismatch_nats"]
        rows.append(
            [
                result["recipe"],
                f"{result['step_s']:.1f}",
                *(f"{result['seconds'][phase]:.1f}" for phase in PHASES),
                f"{result['tokens_per_s']:,}",
                f"{result['gpu_peak_gib']:.1f}",
                f"{result['host_peak_gib']:.1f}",
                "?" if mismatch is None else f"{mismatch:.4f}",
            ]
        )
    for name, bound in bounds.items():
        total = bound.generate_s + bound.update_s
        rows.append(
            [f"roofline, {name}", f"{total:.1f}", f"{bound.generate_s:.1f}", "", f"{bound.update_s:.1f}"]
            + [""] * (len(head) - 5)
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([*lines, *notes])


def comparisons(results: Sequence[dict[str, Any]]) -> list[str]:
    """Ours against the fastest peer that ran, one sentence for each hold."""
    found = []
    for hold in dict.fromkeys(result["hold"] for result in results):
        ran = {r["peer"]: r["step_s"] for r in results if r["hold"] == hold and "failed" not in r}
        ours, others = ran.pop("ours", None), ran
        if ours is None:
            continue
        if not others:
            found.append(f"{hold}: ours {ours:.1f} s a step; no peer ran")
            continue
        best = min(others, key=lambda peer: others[peer])
        found.append(
            f"{hold}: ours {ours:.1f} s a step, the best peer ({best}) {others[best]:.1f} s: {others[best] / ours:.2f} times as fast"
        )
    return found
