"""Times the driver-side work of one training step, by phase: everything but generation and the update.

    python scripts/dev/bench_selfplay.py                 # paper size: batch 64, 8 samples: 384 responses, 1,536 difficulty answers
    python scripts/dev/bench_selfplay.py --batch 8 --samples 4 --hangs 2

A scripted model proposes variations of the shipped seed programs and answers them right or wrong by turns, so
the real parser, sandbox, grader and buffer do a real step's work. All difficulty answers differ, so none is
saved by the cache.
"""

from __future__ import annotations

import _project

import asyncio
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil

from azr.config.sandbox import SandboxConfig
from azr.config.selfplay import SelfPlayConfig
from azr.sandbox import Sandbox
from azr.selfplay.advantage import task_relative_advantages
from azr.selfplay.buffer import TaskBuffer
from azr.selfplay.credit import assign_rewards
from azr.selfplay.episode import play
from azr.selfplay.game import SelfPlay
from azr.selfplay.outcomes import Completion, ProposeOutcome, SolveOutcome, outcome_from_json
from azr.selfplay.rows import PromptRow
from azr.selfplay.selection import choose_solve_tasks, draw_references
from azr.system.files import read_jsonl
from azr.system.terminal import outlive_the_terminal
from azr.tasks import Prompt, Role, Task, TaskType

SEEDS = Path(__file__).resolve().parents[2] / "data" / "seeds"
HANG = "def f(x, *rest):\n    while True:\n        pass"


def seed_tasks() -> list[Task]:
    tasks = [Task.from_json(record) for path in sorted(SEEDS.glob("*.jsonl")) for record in read_jsonl(path)]
    if not tasks:
        raise SystemExit(f"no seed tasks under {SEEDS}; run scripts/dev/make_seeds.py first")
    return tasks


class ScriptedModel:
    """Knows the row it is asked about; answers in the right format, right or wrong by turns, never twice
    alike."""

    def __init__(self, row: PromptRow, number: int, programs: Sequence[Task], hang: bool) -> None:
        self.row, self.number, self.programs, self.hang = row, number, programs, hang
        self.proposal: Task | None = None

    async def __call__(self, prompt: Prompt, n: int) -> list[Completion]:
        await asyncio.sleep(0)
        if prompt is self.row.prompt and self.row.stream.role is Role.PROPOSE:
            return [self._complete(self._propose())]
        task = self.row.task or self.proposal
        assert task is not None
        return [self._complete(self._solve(task, place)) for place in range(n)]

    def _complete(self, answer: str) -> Completion:
        text = f"some thought of usual length {'x ' * 300}</think>\n<answer>\n{answer}\n</answer>"
        return Completion(text, n_tokens=len(text) // 3, finished=True)

    def _propose(self) -> str:
        source = self.programs[self.number % len(self.programs)]
        if self.row.stream.task_type is TaskType.INDUCTION:
            source = self.row.references[0]
        unique = f"\n\n_VARIANT = {self.number}"
        code = HANG if self.hang else source.code + unique
        if self.row.stream.task_type is TaskType.INDUCTION:
            self.proposal = replace_type(
                source, TaskType.INDUCTION, (source.input,) * 10, (source.output,) * 10
            )
            inputs = "\n".join(f"```input\n{source.input}\n```" for _ in range(10))
            return f"{inputs}\n```message\nfind the program, number {self.number}\n```"
        self.proposal = replace_type(source, self.row.stream.task_type, source.inputs, source.outputs, code)
        return f"```python\n{code}\n```\n```input\n{source.input}\n```"

    def _solve(self, task: Task, place: int) -> str:
        right = (self.number + place) % 2 == 0
        if task.task_type is TaskType.ABDUCTION:
            return (
                f"```input\n{task.input}\n```"
                if right and place < 2
                else f"```input\n{task.input}  # {place}\n```"
            )
        if task.task_type is TaskType.DEDUCTION:
            return f"```output\n{task.output}\n```" if right else f"```output\n[{place}]\n```"
        code = task.code if right else f"def f(*arguments):\n    return {place}"
        return f"```python\n{code}\n# answer {place}\n```"


def replace_type(
    source: Task, kind: TaskType, inputs: tuple[str, ...], outputs: tuple[str, ...], code: str | None = None
) -> Task:
    return Task(
        task_type=kind,
        code=code or source.code,
        inputs=inputs,
        outputs=outputs,
        imports=source.imports,
        message="find the program",
    )


async def play_rows(
    rows: list[PromptRow], programs: Sequence[Task], sandbox: Sandbox, config: SelfPlayConfig, hangs: int
):
    proposing = [row.row_id for row in rows if row.stream.name == "propose-deduction"]
    hanging = set(proposing[:hangs])
    calls = [
        play(
            row,
            ScriptedModel(row, number, programs, row.row_id in hanging),
            sandbox,
            config,
            lambda prompt: True,
        )
        for number, row in enumerate(rows)
    ]
    return await asyncio.gather(*calls)


def filler(count: int) -> list[Task]:
    """Distinct small programs to fill buffers with."""
    code = (
        "def f(x):\n    total = 0\n    for i in range(x):\n        total += i * {0}\n"
        "        if total % 7 == {1}:\n            total -= {2}\n    return total"
    )
    programs = [
        Task(
            task_type=TaskType.DEDUCTION,
            code=code.format(n % 997, n % 7, n),
            inputs=(str(n % 50),),
            outputs=("0",),
        )
        for n in range(count)
    ]
    inductions = [
        replace_type(task, TaskType.INDUCTION, (task.input,) * 10, ("0",) * 10) for task in programs
    ]
    return [*[task.with_lineage(source="seed") for task in programs], *inductions]


def measure(config: SelfPlayConfig, sandbox: Sandbox, buffer_size: int, hangs: int) -> dict[str, float]:
    game = SelfPlay(config, seed=0)
    tasks = seed_tasks()
    game.start(tasks)
    if buffer_size:
        game.start(filler(buffer_size))
    programs = [task for task in tasks if task.task_type is not TaskType.INDUCTION]
    seconds: dict[str, float] = {}

    def lap(name: str, start: float) -> float:
        now = time.perf_counter()
        seconds[name] = now - start
        return now

    start = time.perf_counter()
    rows = [
        PromptRow.from_json(json.loads(json.dumps(row.to_json())))
        for row in game.plan_step(1, lambda prompt: True)
    ]
    proposing = [row for row in rows if row.stream.role is Role.PROPOSE]
    solving = [row for row in rows if row.stream.role is Role.SOLVE]
    start = lap("plan and prompts", start)
    asyncio.run(
        play_rows([replace(row, estimate=False) for row in proposing], programs, sandbox, config, hangs)
    )
    start = lap("parse and validate proposals", start)
    outcomes = list(asyncio.run(play_rows(proposing, programs, sandbox, config, hangs)))
    start = lap("the same with difficulty answers", start)
    outcomes += asyncio.run(play_rows(solving, programs, sandbox, config, 0))
    start = lap("grade solutions", start)
    travelled = [outcome_from_json(json.loads(json.dumps(outcome.to_json()))) for outcome in outcomes]
    rewarded = assign_rewards(travelled, game, 10_000)
    accepted = game.accept(1, rewarded)
    start = lap("accept into the buffer", start)
    task_relative_advantages(
        [outcome.reward or 0.0 for outcome in rewarded],
        [outcome.completion.n_tokens for outcome in rewarded],
        [outcome.stream.name for outcome in rewarded],
    )
    start = lap("advantages", start)
    with tempfile.TemporaryDirectory() as folder:
        game.save(Path(folder))
        lap("save (at checkpoints only)", start)
    proposals = [outcome for outcome in outcomes if isinstance(outcome, ProposeOutcome)]
    solutions = [outcome for outcome in outcomes if isinstance(outcome, SolveOutcome)]
    seconds["difficulty answers"] = (
        seconds["the same with difficulty answers"] - seconds["parse and validate proposals"]
    )
    counted = (
        "plan and prompts",
        "the same with difficulty answers",
        "grade solutions",
        "accept into the buffer",
        "advantages",
    )
    seconds["step"] = sum(seconds[name] for name in counted)
    print(
        f"buffers {[len(game.buffers[kind]) for kind in game.task_types]}, {len(outcomes)} responses, "
        f"{sum(len(outcome.samples) for outcome in proposals)} difficulty answers, "
        f"{sum(outcome.valid for outcome in proposals)} valid proposals, {len(accepted)} accepted, "
        f"{sum(outcome.score > 0 for outcome in solutions)} of {len(solutions)} solved, {hangs} hangs"
    )
    return seconds


def measure_large_buffer(size: int) -> str:
    """Memory and draws of one buffer, without the sandbox."""
    tasks = [task for task in filler(size) if task.task_type is not TaskType.INDUCTION]
    before = psutil.Process().memory_info().rss
    buffer = TaskBuffer(size)
    start = time.perf_counter()
    for number, task in enumerate(tasks):
        buffer.add(task, number // 64)
    added_us = (time.perf_counter() - start) / size * 1e6
    memory_mib = (psutil.Process().memory_info().rss - before) / 2**20
    rng = np.random.default_rng(0)
    start = time.perf_counter()
    for _ in range(100):
        choose_solve_tasks(buffer, 64, "max_new", size // 64, rng, lambda task: True)
        draw_references(buffer, 6, "uniform", rng)
    drawn_ms = (time.perf_counter() - start) / 100 * 1e3
    costs = f"adding one {added_us:.0f} us, a stream's draws {drawn_ms:.2f} ms"
    return f"{len(buffer)} tasks in one buffer: {memory_mib:.0f} MiB beside the tasks, {costs}"


def main() -> None:
    parser = _project.argument_parser(__doc__)
    parser.add_argument("--batch", type=int, default=64, help="tasks per stream")
    parser.add_argument("--samples", type=int, default=8, help="difficulty answers per valid proposal")
    parser.add_argument(
        "--hangs", type=int, default=4, help="proposals that never end, in the second measurement"
    )
    parser.add_argument("--buffer", type=int, default=16384, help="tasks per buffer in the third measurement")
    parser.add_argument(
        "--workers", type=int, default=None, help="sandbox processes; default: what the machine has"
    )
    arguments = parser.parse_args()
    config = SelfPlayConfig(
        batch_size=arguments.batch,
        difficulty_samples=arguments.samples,
        buffer_capacity=max(16384, arguments.batch),
    )
    with Sandbox(SandboxConfig(workers=arguments.workers)) as sandbox:
        plain = measure(config, sandbox, 0, 0)
        hanging = measure(config, sandbox, 0, arguments.hangs)
        large = measure(config, sandbox, arguments.buffer, 0)
    names = [
        "plan and prompts", "parse and validate proposals", "difficulty answers", "grade solutions", "accept into the buffer",
        "advantages", "step", "save (at checkpoints only)",
    ]  # fmt: skip
    print(
        f"\n{'seconds':<32}{'seed buffer':>14}{f'{arguments.hangs} hangs':>14}{f'{arguments.buffer} tasks':>14}"
    )
    for name in names:
        print(f"{name:<32}{plain[name]:>14.2f}{hanging[name]:>14.2f}{large[name]:>14.2f}")
    if arguments.hangs:
        added = (
            hanging["parse and validate proposals"] - plain["parse and validate proposals"]
        ) / arguments.hangs
        print(f"each hanging proposal adds {added:.2f} s")
    print(measure_large_buffer(100_000))


if __name__ == "__main__":
    outlive_the_terminal()
    main()
