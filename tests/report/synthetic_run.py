"""Writes a SYNTHETIC run directory: invented numbers in the real formats, for tests and for looking at the
report's layout.

python tests/report/synthetic_run.py /tmp/synthetic-demo --steps 240
"""

# ruff: noqa: E501
from __future__ import annotations

import argparse
import json
import math
import random
from pathlib import Path
from typing import Any

from azr.run import metric_names as names
from azr.run.rundir import RunDir
from azr.system.files import write_json_atomic, write_jsonl_atomic, write_text_atomic
from azr.tasks import CORE_TASK_TYPES, STREAMS, Lineage, Role, Task, TaskType

START = 1_795_000_000.0
PROGRAMS = (
    "def f(text, k):\n    out = []\n    for i, c in enumerate(text):\n        if i % k == 0:\n            out.append(c.upper())\n    return ''.join(out)",
    "def f(numbers):\n    total = 0\n    seen = set()\n    for n in numbers:\n        if n not in seen:\n            total += n * n\n        seen.add(n)\n    return total",
    "def f(n):\n    steps = 0\n    while n != 1 and steps < 50:\n        n = n // 2 if n % 2 == 0 else 3 * n + 1\n        steps += 1\n    return steps",
)
INPUTS = ("'reasoner', 2", "[3, 1, 3, 4]", "27")
OUTPUTS = ("'RAOE'", "26", "50")
HOSTILE = "</script><script>document.title='pwned'</script><img src=x onerror=\"document.title='pwned'\">"


def metrics_record(
    rng: random.Random, step: int, steps: int, cycle: int, unix_s: float, batch: int = 8
) -> dict[str, Any]:
    progress = step / max(steps, 240)
    learn = 1 - math.exp(-3 * progress)
    values: dict[str, float] = {}
    for index, stream in enumerate(STREAMS):
        if stream.role is Role.PROPOSE:
            valid = min(1.0, max(0.0, 0.55 + 0.3 * learn - 0.06 * index + rng.gauss(0, 0.08)))
            values[names.valid(stream.task_type)] = valid
            values[names.reward(stream.name)] = 0.45 * valid - (1 - valid) + rng.gauss(0, 0.05)
            values[names.accuracy(stream.name)] = min(1.0, max(0.0, 0.5 + rng.gauss(0, 0.07)))
        else:
            right = min(1.0, max(0.0, 0.42 + 0.1 * learn - 0.03 * index + rng.gauss(0, 0.09)))
            values[names.accuracy(stream.name)] = right
            values[names.reward(stream.name)] = 1.5 * right - 0.5
        values[names.format_ok(stream.name)] = min(1.0, 0.8 + 0.18 * learn + rng.gauss(0, 0.01))
    phases = {
        "generate": 9.5,
        "plan": 0.1,
        "update": 4.0 + progress,
        "sync": 0.6,
        "save": 3.0 if step % 10 == 0 else 0.0,
    }
    phases["validate"] = 6.0 if step % 20 == 0 or step == 1 else 0.0
    for phase, seconds in phases.items():
        values[names.seconds(phase)] = max(0.0, seconds * rng.uniform(0.9, 1.15))
    values[names.STEP_SECONDS] = sum(values[names.seconds(phase)] for phase in phases) + 0.4
    accepted = sum(rng.random() < 0.7 for _ in range(3 * batch))
    values[names.ACCEPTED] = accepted
    values[names.NOVELTY] = max(0.3, 0.97 - 0.3 * progress + rng.gauss(0, 0.03))
    for reason, rate in (
        ("no_code_block", 0.3),
        ("syntax_error", 0.2),
        ("duplicate", 0.15 + 0.3 * progress),
        ("nondeterministic", 0.05),
    ):
        values[f"data/rejected/{reason}"] = sum(rng.random() < rate for _ in range(batch))
    for task_type in CORE_TASK_TYPES:
        values[names.buffer_size(task_type)] = 256 + step * batch * 0.7
    if step % 20 == 0 or step == 1:
        for index, task_type in enumerate(CORE_TASK_TYPES):
            values[names.probe_metric(task_type)] = (
                round(200 * (0.3 + 0.16 * learn - 0.03 * index + rng.gauss(0, 0.012))) / 200
            )
        values[names.PROBE_ALL] = (
            sum(values[names.probe_metric(task_type)] for task_type in CORE_TASK_TYPES) / 3
        )
        values[names.PROBE_COUNT] = 600
        values[names.probe_format("all")] = min(1.0, 0.8 + 0.18 * learn)
    values[names.SANDBOX_WAIT] = 1.2
    values[names.ENTROPY] = 0.8 - 0.25 * learn + rng.gauss(0, 0.02)
    values[names.GRADIENT_NORM] = abs(0.4 + rng.gauss(0, 0.1)) * (5 if rng.random() < 0.01 else 1)
    values[names.MISMATCH] = abs(0.002 + rng.gauss(0, 0.0004))
    values["memory/rollout_device_used_gib"] = 12.4 + rng.gauss(0, 0.05)
    values["memory/asleep_device_used_gib"] = 5.1 + rng.gauss(0, 0.05)
    values["memory/update_device_used_gib"] = 11.2 + rng.gauss(0, 0.2)
    for extra in range(100):  # as many names as a real step logs, about 165
        values[f"synthetic/extra_{extra:02d}"] = extra + rng.random()
    return {
        "step": step,
        "cycle": cycle,
        "attempt": 1,
        "unix_s": unix_s,
        "values": {k: round(v, 6) for k, v in values.items()},
    }


def synthetic_task(rng: random.Random, task_type: TaskType, step: int, cycle: int, attempt: int = 1) -> Task:
    which = rng.randrange(len(PROGRAMS))
    lineage = Lineage(
        source="selfplay",
        run="synthetic",
        cycle=cycle,
        attempt=attempt,
        step=step,
        model=f"synthetic@{step}",
        accuracy=rng.choice([0, 1, 2, 3, 4, 5, 6, 7, 8]) / 8,
    )
    code = PROGRAMS[which].replace("def f", f"# synthetic {step}-{rng.randrange(10**6)}\ndef f")
    if task_type is TaskType.INDUCTION:
        return Task(
            task_type=task_type,
            code=code,
            inputs=(INPUTS[which],) * 4,
            outputs=(OUTPUTS[which],) * 4,
            message="What does f do?",
            lineage=lineage,
        )
    return Task(
        task_type=task_type, code=code, inputs=(INPUTS[which],), outputs=(OUTPUTS[which],), lineage=lineage
    )


def transcript(rng: random.Random, task: Task, stream: str, step: int, cycle: int) -> dict[str, Any]:
    """As ``azr.selfplay.transcripts`` writes them."""
    right, propose = rng.random() < 0.5, stream.startswith("propose")
    record: dict[str, Any] = {
        "step": step,
        "stream": stream,
        "row_id": f"s{step}r{rng.randrange(99)}",
        "prompt": f"Task for {stream}:\n{task.code}",
        "response": f"<think>synthetic thought {HOSTILE if rng.random() < 0.2 else ''}</think>\n<answer>\n```output\n{task.outputs[0]}\n```\n</answer>",
        "n_tokens": 40,
        "format_ok": True,
    }
    if propose:
        rejection = None if right else rng.choice(["no_code_block", "syntax_error", "duplicate"])
        return record | {
            "reward": 0.5 if right else -1.0,
            "accuracy": 0.5 if right else None,
            "rejection": rejection,
            "task_id": task.task_id,
            "samples": [],
        }
    return record | {
        "reward": 1.0 if right else -0.5,
        "score": float(right),
        "reason": "right" if right else "wrong_value",
        "solution": task.outputs[0],
    }


def probe_transcripts(steps: int) -> list[dict[str, Any]]:
    """The same frozen task, answered wrongly early and rightly late."""
    common = {
        "stream": "solve-deduction",
        "row_id": "probe0",
        "prompt": "What does f('ab') return?\n\ndef f(s):\n    return s[::-1]",
        "format_ok": True,
    }
    early = common | {
        "step": 1,
        "response": "<think>?</think><answer>'ab'</answer>",
        "reward": -0.5,
        "score": 0.0,
        "reason": "wrong_value",
    }
    late = common | {
        "step": steps,
        "response": "<think>reverse</think><answer>'ba'</answer>",
        "reward": 1.0,
        "score": 1.0,
        "reason": "right",
    }
    return [early, late]


def write_synthetic_run(
    root: Path,
    *,
    steps: int = 120,
    steps_per_cycle: int = 60,
    seed: int = 0,
    finished: bool = True,
    undone: bool = True,
    tasks_per_step: int = 3,
) -> RunDir:
    """A run of ``steps`` steps in cycles of ``steps_per_cycle``, with a crash that undid three steps."""
    rng = random.Random(seed)
    run = RunDir(root)
    root.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    unix_s = START
    accepted = {names.ACCEPTED: tasks_per_step}  # as many as the shards hold
    cycles = max(1, math.ceil(steps / steps_per_cycle))
    trained_again = range(0)
    for step in range(1, steps + 1):
        cycle = (step - 1) // steps_per_cycle + 1
        record = metrics_record(rng, step, steps, cycle, unix_s)
        record["values"] |= accepted
        unix_s += record["values"][names.STEP_SECONDS]
        record["unix_s"] = round(unix_s, 3)
        lines.append(json.dumps(record) + "\n")
        if undone and step == steps // 2 and step > 5:
            trained_again = range(step - 2, step + 1)
            for again in trained_again:
                record = replace_attempt(metrics_record(rng, again, steps, cycle, unix_s + 60))
                record["values"] |= accepted
                lines.append(json.dumps(record) + "\n")
                unix_s += 75
    write_text_atomic(run.metrics, "".join(lines))
    for cycle in range(1, cycles + 1):
        first, last = (cycle - 1) * steps_per_cycle + 1, min(cycle * steps_per_cycle, steps)
        write_json_atomic(
            run.request(cycle),
            {"cycle": cycle, "attempt": 1, "first_step": first, "last_step": cycle * steps_per_cycle},
        )
        shard, transcripts = [], []
        for step in range(first, last + 1):
            for _ in range(tasks_per_step):
                attempt = 2 if step in trained_again else 1
                task = synthetic_task(rng, rng.choice(CORE_TASK_TYPES), step, cycle, attempt)
                shard.append(task.to_json())
            if step % max(1, steps // 60) == 0:
                stream = rng.choice(STREAMS)
                transcripts.append(
                    transcript(
                        rng, synthetic_task(rng, stream.task_type, step, cycle), stream.name, step, cycle
                    )
                )
        write_jsonl_atomic(run.shard(cycle), shard)
        if cycle == 1 and steps > 1:
            transcripts += probe_transcripts(steps)
        write_jsonl_atomic(run.transcripts(cycle), transcripts)
    samples = range(0, int(unix_s - START), 60)
    write_jsonl_atomic(
        run.supervision,
        (
            {
                "unix_s": START + s,
                "cycle": 1,
                "attempt": 1,
                "step": 1,
                "trainer_gib": 6 + s / 9000,
                "driver_gib": 0.2,
                "host_available_gib": 20 - s / 9000,
                "disk_free_gib": 180.0,
                "vram_gib": 12.4,
                "processes": 20,
            }
            for s in samples
        ),
    )
    incidents = [
        {
            "unix_s": START + 900,
            "kind": "crash",
            "cause": "The trainer was killed by SIGKILL: host memory ran out.",
            "action": "Restarted from the checkpoint of step 50.",
            "cycle": 1,
            "attempt": 1,
            "step": min(53, steps),
        },
        {
            "unix_s": START + 2000,
            "kind": "recycle",
            "cause": "Host memory grew by 0.4 GiB in 50 steps.",
            "action": "Planned restart at a checkpoint.",
            "cycle": cycles,
            "attempt": 1,
            "step": max(1, steps - 20),
        },
    ]
    write_jsonl_atomic(run.incidents, incidents if steps > 20 else [])
    state = {
        "format": 1,
        "state": "DONE" if finished else "TRAIN",
        "sentence": "SYNTHETIC run: invented numbers.",
        "cycle": cycles,
        "attempt": 1,
        "attempt_open": not finished,
        "step": steps,
        "driver": None,
    }
    write_json_atomic(run.state, state)
    write_text_atomic(
        run.config,
        f"# SYNTHETIC\ncampaign:\n  cycles: {cycles}\n  steps_per_cycle: {steps_per_cycle}\nmodel:\n  path: synthetic\nseed: {seed}\n",
    )
    return run


def replace_attempt(record: dict[str, Any]) -> dict[str, Any]:
    return {**record, "attempt": 2}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--steps-per-cycle", type=int, default=80)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--unfinished", action="store_true")
    arguments = parser.parse_args()
    write_synthetic_run(
        arguments.root,
        steps=arguments.steps,
        steps_per_cycle=arguments.steps_per_cycle,
        seed=arguments.seed,
        finished=not arguments.unfinished,
    )


if __name__ == "__main__":
    main()
