"""A SYNTHETIC run as long and as wide as a real one of 20,000 steps: 165 metrics, 17 accepted tasks and 18
transcripts a step.

python tests/report/long_run.py FOLDER [--steps 20000]        then: time python scripts/report.py FOLDER
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

from synthetic_run import synthetic_task, transcript, write_synthetic_run

from azr.run.rundir import RunDir
from azr.tasks import CORE_TASK_TYPES, STREAMS

STEPS, STEPS_PER_CYCLE = 20_000, 1000
TASKS_A_STEP, TRANSCRIPTS_A_STEP = 17, 18
MARK = "123456789"


def write_long_run(root: Path, steps: int = STEPS) -> RunDir:
    """Tasks and transcripts repeat a few hundred texts with other steps, so that it is written in seconds."""
    run = write_synthetic_run(
        root, steps=steps, steps_per_cycle=STEPS_PER_CYCLE, tasks_per_step=0, undone=False
    )
    rng = random.Random(1)
    tasks = [
        json.dumps(synthetic_task(rng, task_type, int(MARK), 1).to_json())
        for task_type in CORE_TASK_TYPES
        for _ in range(100)
    ]
    answers = []
    for stream in STREAMS:
        for _ in range(50):
            answers.append(
                json.dumps(
                    transcript(rng, synthetic_task(rng, stream.task_type, 1, 1), stream.name, int(MARK), 1)
                )
            )
    for first in range(1, steps + 1, STEPS_PER_CYCLE):
        cycle = first // STEPS_PER_CYCLE + 1
        for path, texts, count in (
            (run.shard(cycle), tasks, TASKS_A_STEP),
            (run.transcripts(cycle), answers, TRANSCRIPTS_A_STEP),
        ):
            with open(path, "a", encoding="utf-8") as file:
                for step in range(first, min(first + STEPS_PER_CYCLE, steps + 1)):
                    file.writelines(
                        text.replace(MARK, str(step)) + "\n" for text in rng.choices(texts, k=count)
                    )
    return run


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", type=Path)
    parser.add_argument("--steps", type=int, default=STEPS)
    arguments = parser.parse_args()
    write_long_run(arguments.root, arguments.steps)


if __name__ == "__main__":
    main()
