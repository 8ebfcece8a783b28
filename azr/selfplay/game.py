"""The state of self-play in the trainer process: buffers, the rows of each step, and what their outcomes change.

A step is ``plan_step`` -> the rows are played elsewhere (``azr.selfplay.episode``) -> ``accept``. Every draw
comes from a generator seeded by (seed, step), so a restored buffer alone continues the same stream: there is
no hidden random state.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from azr.config.sandbox import Limits
from azr.config.selfplay import SelfPlayConfig
from azr.prompts import propose_prompt, solve_prompt
from azr.run import metric_names as names
from azr.selfplay.buffer import TaskBuffer
from azr.selfplay.composite import choose_composites
from azr.selfplay.curriculum import InputCurriculum
from azr.selfplay.guessing import typical_inputs
from azr.selfplay.identity import identity_task
from azr.selfplay.metrics import step_metrics
from azr.selfplay.options import draw_example, induction_options, prompt_options
from azr.selfplay.outcomes import ProposeOutcome, RowOutcome, SolveOutcome
from azr.selfplay.repetition import WINDOW, own_program
from azr.selfplay.rows import Fits, PromptRow
from azr.selfplay.saving import load_buffers, save_buffers
from azr.selfplay.selection import choose_solve_tasks, draw_references, seed_kinds
from azr.selfplay.type_counts import TypeCounts
from azr.selfplay.validation import Resembles
from azr.tasks import Prompt, Role, Stream, Task, TaskType

DUPLICATES = ("duplicate", "duplicate_renamed", "duplicate_puzzle")
_PROMPT_TRIES = 8
"""Draws of references per prompt before fewer are shown."""


class SelfPlay:
    """Single owner of all self-play state; not thread-safe."""

    def __init__(
        self, config: SelfPlayConfig, seed: int, seed_offset: int = 0, *, timeout_s: float = Limits().cpu_s
    ) -> None:
        """
        Args:
            timeout_s: what the sandbox allows per call; the propose prompt says it.
        """
        config.validate()
        self.config = config
        self.seed = seed
        self.seed_offset = seed_offset
        """Shifts what is drawn, without being part of the saved state: so that a retry after a rollback takes
        another path."""
        self.task_types = tuple(TaskType(name) for name in config.task_types)
        self.buffers = {kind: TaskBuffer(config.buffer_capacity, config.mastered_visits) for kind in TaskType}
        self.type_counts = TypeCounts()
        self.totals: Counter[str] = Counter()
        """Over the whole run: accepted, and ``DUPLICATES``."""
        self.curriculum = InputCurriculum(config)
        self._options = prompt_options(config, timeout_s)
        self._metrics: dict[str, float] = {}
        self._plan_metrics: dict[str, float] = defaultdict(float)

    # -- tasks in --------------------------------------------------------------------------------------------

    def start(self, tasks: Sequence[Task], first_step: int = 1) -> int:
        """Adds the pool's tasks as if they had come in the step before ``first_step``; returns how many are new.

        A task already held is passed over, so this also tops up a restored buffer. A buffer left empty gets
        the identity task.
        """
        added = sum(not self.add_seed(task, first_step - 1) for task in tasks)
        for kind in self.task_types:
            if not len(self.buffers[kind]):
                self._add(identity_task(kind), first_step - 1)
        return added

    def drop_leaks(self, resembles: Resembles, known: Collection[str] = ()) -> int:
        """Takes tasks out of the buffers whose program resembles a probe or evaluation item; returns how many.

        Args:
            known: programs that resemble none.
        """
        records = [record for buffer in self.buffers.values() for record in buffer]
        programs = {record.task.program for record in records} - set(known)
        leaks = {program for program in programs if resembles(program)}
        return sum(buffer.drop(leaks) for buffer in self.buffers.values()) if leaks else 0

    def add_seed(self, task: Task, step: int = 0) -> str:
        """Adds a task from outside self-play; those of shared sources enter both abduction and deduction.

        Returns '' when at least one buffer took it, else the reason.
        """
        reasons = [
            self._add(replace(task, task_type=kind), step)
            for kind in seed_kinds(task)
            if kind in self.task_types or kind is task.task_type
        ]
        return "" if "" in reasons else reasons[0]

    def _add(self, task: Task, step: int) -> str:
        reason = self.buffers[task.task_type].add(task, step)
        if not reason:
            kind = "error" if task.task_type is TaskType.ERROR else "output"
            for text in task.inputs:
                self.type_counts.add("input", text)
            for text in task.outputs:
                self.type_counts.add(kind, text)
        return reason

    # -- a step's rows ---------------------------------------------------------------------------------------

    def plan_step(self, step: int, fits: Fits) -> list[PromptRow]:
        """The rows of a step: batch_size for each stream, each task type proposing, then solving;
        ``solve_group_size`` solve rows in a row have the same task.

        With same-step solving, solve rows come inside the propose rows (``fallback``): a row whose proposal is accepted
        solves that, and otherwise the fallback, so each solve stream still gets batch_size responses.

        Args:
            fits: whether a prompt is within the length limit; what is not is redrawn and counted, and in the end
                replaced by a prompt that ``azr.selfplay.options`` has seen to fit.
        """
        rng = np.random.default_rng([self.seed + self.seed_offset, 1, step])
        self._plan_metrics = defaultdict(float, {"plan/dropped_propose_prompts": 0.0})
        proposes = self.config.train_propose and step > self.config.solve_only_steps
        rows: list[PromptRow] = []
        for kind in self.task_types:
            solve_rows = self._plan_solve(kind, step, rng, fits)
            if not proposes:
                rows += solve_rows
            elif self.config.solves_same_step:
                rows += self._plan_propose(kind, step, rng, fits, solve_rows)
            else:
                rows += [*self._plan_propose(kind, step, rng, fits, None), *solve_rows]
        return rows

    def _plan_propose(
        self,
        kind: TaskType,
        step: int,
        rng: np.random.Generator,
        fits: Fits,
        fallbacks: Sequence[PromptRow] | None,
    ) -> list[PromptRow]:
        stream = Stream(Role.PROPOSE, kind)
        guesses = self.guesses() if kind is TaskType.ABDUCTION else ()
        rows = []
        for index in range(self.config.batch_size):
            row = self.propose_row(kind, _row_id(step, stream, index), rng, fits)
            composites: tuple[str, ...] = ()
            if kind is not TaskType.INDUCTION:
                composites = choose_composites(row.references, self.config, step, rng)
            if composites and fits(prompt := propose_prompt(kind, row.references, self._options, composites)):
                row = replace(row, prompt=prompt, composites=composites)
            rows.append(replace(row, guesses=guesses, fallback=fallbacks[index] if fallbacks else None))
        return rows

    def propose_row(self, kind: TaskType, row_id: str, rng: np.random.Generator, fits: Fits) -> PromptRow:
        """A request for a new task, with references drawn from the buffers."""
        if kind is TaskType.INDUCTION:
            references, prompt = self._draw_program(rng, fits)
        else:
            references, prompt = self._draw_references(kind, rng, fits)
        return PromptRow(
            stream=Stream(Role.PROPOSE, kind),
            prompt=prompt,
            row_id=row_id,
            references=tuple(references),
            needed_inputs=self.curriculum.needed,
        )

    def _draw_references(
        self, kind: TaskType, rng: np.random.Generator, fits: Fits
    ) -> tuple[list[Task], Prompt]:
        """References and prompt of a new program; prompts that are too long are redrawn, then get fewer
        references, and finally none."""
        for count in range(self.config.references, 0, -1):
            for _ in range(_PROMPT_TRIES):
                references = draw_references(self.buffers[kind], count, self.config.reference_weighting, rng)
                prompt = propose_prompt(kind, references, self._options)
                if fits(prompt):
                    return references, prompt
                self._plan_metrics["plan/dropped_propose_prompts"] += 1
        return [], propose_prompt(kind, [], self._options)

    def _draw_program(self, rng: np.random.Generator, fits: Fits) -> tuple[list[Task], Prompt]:
        """One program, uniformly from the abduction and deduction buffers together, and its
        prompt, for ``curriculum.needed`` inputs."""
        sources = [self.buffers[TaskType.ABDUCTION], self.buffers[TaskType.DEDUCTION]]
        total = sum(len(source) for source in sources)
        for _ in range(_PROMPT_TRIES * 4 if total else 0):
            source = sources[0] if rng.integers(total) < len(sources[0]) else sources[1]
            references = [record.task for record in source.draw(1, rng)]
            prompt = self._induction_prompt(references, rng)
            if fits(prompt):
                return references, prompt
            self._plan_metrics["plan/dropped_propose_prompts"] += 1
        identity = [identity_task(TaskType.DEDUCTION)]
        return identity, self._induction_prompt(identity, rng)

    def _induction_prompt(self, references: list[Task], rng: np.random.Generator) -> Prompt:
        example = draw_example(self.config, rng)
        options = induction_options(self._options, self.config, self.curriculum.needed, example)
        return propose_prompt(TaskType.INDUCTION, references, options)

    def _plan_solve(self, kind: TaskType, step: int, rng: np.random.Generator, fits: Fits) -> list[PromptRow]:
        stream = Stream(Role.SOLVE, kind)
        prompts: dict[str, Prompt] = {}

        def task_fits(task: Task) -> bool:
            if task.task_id not in prompts:
                prompt = solve_prompt(task, self._options)
                if not fits(prompt):
                    return False
                prompts[task.task_id] = prompt
            return True

        strategy = self.config.solve_selection
        if self.config.solves_same_step and strategy in ("max_new", "half_new"):
            strategy = "uniform_total"  # the new tasks are this step's own; these rows only fill up
        answers = self.config.solve_group_size
        count = self.config.batch_size // answers
        selection = choose_solve_tasks(
            self.buffers[kind], count, strategy, step, rng, task_fits, self.config.seed_share
        )
        self._plan_metrics["plan/seed_solve_rows"] += selection.seeds * answers
        self._plan_metrics["plan/dropped_solve_prompts"] += selection.dropped
        self._plan_metrics["plan/repeated_solve_rows"] += selection.repeated * answers

        tasks = selection.tasks
        if not tasks:
            identity = identity_task(kind)
            prompts[identity.task_id] = solve_prompt(identity, self._options)
            tasks = [identity] * count
        return [
            PromptRow(
                stream=stream, prompt=prompts[task.task_id], row_id=_row_id(step, stream, index), task=task
            )
            for index, task in enumerate(task for task in tasks for _ in range(answers))
        ]

    # -- a step's outcomes -----------------------------------------------------------------------------------

    def holds(self, task: Task) -> bool:
        """Whether a proposal of this task is a copy of what a buffer holds."""
        buffer = self.buffers[task.task_type]
        return buffer.holds(task) or (self.config.duplicate_reward is not None and buffer.holds_puzzle(task))

    def latest_programs(self) -> list[str]:
        """Of the tasks whose program was proposed or given with them, the latest ``repetition.WINDOW``."""
        records = [
            record for kind in TaskType if kind is not TaskType.INDUCTION for record in self.buffers[kind]
        ]
        latest = sorted(records, key=lambda record: record.step)[-WINDOW:]
        return [own_program(record.task) for record in latest]

    def guesses(self) -> tuple[str, ...]:
        """The most frequent inputs of the latest ``repetition.WINDOW`` abduction tasks, ``selfplay.guesses`` of each number
        of arguments."""
        latest = list(self.buffers[TaskType.ABDUCTION])[-WINDOW:]
        return typical_inputs((record.task.inputs[0] for record in latest), self.config.guesses)

    def accept(
        self,
        step: int,
        outcomes: Sequence[RowOutcome],
        lineage: Mapping[str, Any] | None = None,
    ) -> list[Task]:
        """Takes over a step's outcomes: adds new tasks to the buffers, updates the statistics of solved ones,
        sets ``metrics()``.

        The result does not depend on the order of ``outcomes``.

        Args:
            outcomes: with their rewards (``azr.selfplay.credit``), for the metrics.
            lineage: further fields for the new tasks' lineage: run, cycle, attempt, model.

        Returns:
            The newly accepted tasks, without duplicates: what the trainer appends to the cycle's shard.
        """
        ordered = sorted(outcomes, key=lambda outcome: outcome.row_id)
        values = step_metrics(ordered)
        self._record_uses(ordered)

        accepted: list[Task] = []
        refused: Counter[str] = Counter()
        for outcome in ordered:
            if not isinstance(outcome, ProposeOutcome):
                continue
            if outcome.rejection is not None:
                refused[outcome.rejection.reason] += 1
            if outcome.task is None:
                continue

            task = outcome.task.with_lineage(step=step, **(lineage or {}))
            buffer = self.buffers[task.task_type]
            is_puzzle = self.holds(task) and not buffer.holds(task)
            if reason := "duplicate_puzzle" if is_puzzle else self._add(task, step):
                refused[reason] += 1
                self.totals[reason] += 1
                continue

            accepted.append(task)
            self.totals["accepted"] += 1
            if outcome.samples and outcome.accuracy is not None:
                buffer.record_use(task.task_id, outcome.accuracy)

        values[names.ACCEPTED] = float(len(accepted))
        if valid := values.get(names.VALID, 0.0):
            values[names.NOVELTY] = len(accepted) / valid
        values["data/duplicates"] = float(sum(refused[reason] for reason in DUPLICATES))
        values |= {names.rejected(reason): float(count) for reason, count in refused.items()}
        for kind in self.task_types:
            count = sum(task.task_type is kind for task in accepted)
            values[f"{Stream(Role.PROPOSE, kind).name}/accepted"] = float(count)

        self._metrics = values
        if (share := values.get(names.valid(TaskType.INDUCTION))) is not None:
            self.curriculum.note(share)
        return accepted

    def _record_uses(self, outcomes: Sequence[RowOutcome]) -> None:
        scores: dict[tuple[TaskType, str], list[float]] = {}
        for outcome in outcomes:
            solved = outcome if isinstance(outcome, SolveOutcome) else outcome.solved
            if solved is not None and not solved.sample:
                scores.setdefault((solved.stream.task_type, solved.task_id), []).append(solved.score)
        for (kind, task_id), values in scores.items():
            self.buffers[kind].record_use(task_id, sum(values) / len(values))

    def metrics(self) -> dict[str, float]:
        """Numbers of the last accepted step, of the plan, and of the buffers (docs/metrics.md)."""
        values = {**self._metrics, **self._plan_metrics, **self.type_counts.metrics()}
        for kind in self.task_types:
            buffer = self.buffers[kind]
            values[names.buffer_size(kind)] = float(len(buffer))
            values[f"buffer/{kind.value}/mastered"] = float(buffer.mastered_count)
            values[f"buffer/{kind.value}/evicted_mastered"] = float(buffer.evicted_mastered)
            values[f"buffer/{kind.value}/evicted_old"] = float(buffer.evicted_old)
        if TaskType.INDUCTION in self.task_types:
            values["propose-induction/needed_inputs"] = float(self.curriculum.needed)
        values["data/accepted_total"] = float(self.totals["accepted"])
        return values

    # -- saving ----------------------------------------------------------------------------------------------

    def save(self, directory: Path) -> str:
        """Writes buffers and state; returns the content hash."""
        state = {
            "seed": self.seed,
            "totals": dict(self.totals),
            "types": self.type_counts.to_json(),
            "curriculum": self.curriculum.to_json(),
        }
        return save_buffers(directory, state, self.buffers)

    def load(self, directory: Path) -> str:
        """Restores what ``save`` wrote; returns its content hash.

        Raises:
            CheckpointError: a file is missing, or differs from what was saved.
            ConfigError: it was saved with another seed.
        """
        state, content = load_buffers(directory, self.seed, self.buffers)
        self.totals = Counter(state["totals"])
        self.type_counts = TypeCounts.from_json(state["types"])
        self.curriculum.restore(state["curriculum"])
        return content


def _row_id(step: int, stream: Stream, index: int) -> str:
    return f"{step:07d}-{stream.name}-{index:05d}"
