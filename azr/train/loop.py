"""One attempt at a cycle: restore, seed, train step after step, evaluate, save, and say how it ended."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from azr.config import Config
from azr.errors import CheckpointError
from azr.run import metric_names as names
from azr.run.checkpoint_store import publish_checkpoint, staging_dir
from azr.run.checkpoints import Checkpoint
from azr.run.hand_over import HandOverPart
from azr.run.protocol import Ending, Phase
from azr.run.start_record import StartPart
from azr.run.trainer_link import TrainerLink
from azr.selfplay.credit import base_reward
from azr.selfplay.game import SelfPlay
from azr.selfplay.outcomes import RowOutcome, SolveOutcome
from azr.selfplay.rows import PromptRow
from azr.selfplay.seeding import Seeding
from azr.selfplay.transcripts import transcript, transcripts
from azr.selfplay.validation import Resembles
from azr.system.files import append_jsonl, read_json, read_jsonl, write_json_atomic
from azr.tasks import Task
from azr.train.probes import (
    change_since_first,
    first_probe_rows,
    first_scores,
    probe_metrics,
    probes_too_long,
    verdict_metrics,
    verdict_rows,
    verdict_scores,
)
from azr.train.step import Clock, StepBackend, train_step

logger = logging.getLogger(__name__)

STATE_FILE = "trainer_state.json"


ASKED_AT_ONCE = 1200
"""Answers: two to each shipped probe task."""


class TrainingBackend(StepBackend, Protocol):
    """What an attempt needs from trainer and engine beyond what a step needs."""

    global_steps: int
    """The step that is trained."""
    restored: Checkpoint | None
    """Checkpoint that the weights were restored from."""

    def save_weights(self, folder: Path) -> None:
        """Weights, optimizer, scheduler and generators, as ``restored`` brings them back."""
        ...

    def optimizer_steps(self) -> int: ...
    def play(self, rows: Sequence[PromptRow], *, greedy: bool = False) -> list[RowOutcome]:
        """Plays rows without learning from them.

        Raises:
            EngineError: as ``roll_out``.
        """
        ...


class Attempt:
    """
    Args:
        resembles: what the run's proposals may not resemble; tasks of a restored buffer that do leave it.
    """

    def __init__(
        self,
        backend: TrainingBackend,
        config: Config,
        link: TrainerLink,
        resembles: Resembles | None = None,
    ) -> None:
        self.backend, self.config, self.link = backend, config, link
        self.run = link.run
        self.game = SelfPlay(
            config.selfplay, config.seed, link.request.seed_offset, timeout_s=config.sandbox.limits.cpu_s
        )
        self.clock = Clock(link.phase)
        self._entropy: float | None = None
        """Token entropy of the last update; saved, because the next entropy bonus follows from it."""
        self._restore(resembles)

    def _restore(self, resembles: Resembles | None) -> None:
        """Buffer and counters as they were saved with the weights, and what consolidation brought for this cycle.

        Raises:
            CheckpointError: what was restored differs from what was saved.
        """
        request, checkpoint = self.link.request, self.backend.restored
        if checkpoint is not None:
            state = read_json(checkpoint.path / STATE_FILE)
            if self.game.load(checkpoint.path / "selfplay") != state["buffer_hash"]:
                raise CheckpointError(
                    f"{checkpoint.path}: the restored buffer differs from the saved one; resume from an earlier step"
                )
            if state["optimizer_steps"] != self.backend.optimizer_steps():
                raise CheckpointError(
                    f"{checkpoint.path}: the optimizer's state is not the saved one; resume from an earlier step"
                )
            self._entropy = state.get("entropy")
        path = self.run.cycle_tasks(request.cycle)
        tasks = [Task.from_json(record) for record in read_jsonl(path)]
        # of a version that accepted them, or from before an evaluation file was added
        if resembles and (dropped := self.game.drop_leaks(resembles, known={task.program for task in tasks})):
            logger.warning("%d tasks that resemble a probe or evaluation item left the buffer", dropped)
        # tasks that are already there are passed over
        logger.info("%d new tasks from %s", self.game.start(tasks, request.first_step), path)

    def train(self) -> bool:
        """Trains ``resume_step + 1 .. last_step`` and leaves a checkpoint and a result.

        Returns:
            False when it was stopped before ``last_step``.

        Raises:
            TrainingError: the run does not train (weights do not move, engine does not follow).
            EngineError: the engine fails, or computes something else than the trainer.
        """
        request, train = self.link.request, self.config.train
        first = request.resume_step + 1
        if request.resume_step == 0:
            if self.config.data.seeds == "identity":
                self._seed()
            self.link.mark(StartPart.SEEDS)
            self._evaluate_start()
        self.link.mark(StartPart.PROBES)
        self.link.mark_taking_over(HandOverPart.TRAINER)

        for step in range(first, request.last_step + 1):
            self.backend.global_steps = step
            last = step == request.last_step

            # Train.
            saving_s = self.clock.seconds.get("save", 0.0)  # of the step before
            values = self._step(step, check_learning=step == first)
            asked = self.link.asked()
            ends = last or asked.stop

            # Evaluate.
            if train.probe_every_steps and (last or step % train.probe_every_steps == 0):
                with self.clock.timed("validate", Phase.VALIDATE):
                    values |= self._evaluate_probes(step)
            if last and train.verdict_samples:
                with self.clock.timed("validate", Phase.VALIDATE):
                    values |= self._measure_for_verdict(before=False)

            # Tell the driver.
            values |= {names.seconds(name): seconds for name, seconds in self.clock.seconds.items()}
            if saving_s:  # a step's metrics are written before it is saved
                values[names.seconds("save")] = saving_s
            self.link.step_done(step, values)
            if step == first:
                inside = {phase: self.clock.seconds.get(phase, 0.0) for phase in names.PHASES}
                self.link.mark(StartPart.FIRST_STEP, inside)
                self.link.mark_taking_over(HandOverPart.FIRST_STEP)
            if ends:
                self.link.mark_handing_over(HandOverPart.BEGIN)

            # Save.
            due = step % train.save_every_steps == 0 or step in train.early_saves
            if ends or asked.checkpoint or due:
                self._save(step, goes_on=not ends)
            if ends:
                self.link.mark_handing_over(HandOverPart.SAVE)
            if asked.stop:
                self.link.finish(Ending.STOPPED, asked.reason or "stop was requested")
                return False

        self.link.finish(Ending.FINISHED, f"trained steps {first} to {request.last_step}")
        return True

    def _step(self, step: int, *, check_learning: bool) -> dict[str, float]:
        self.clock.restart()
        self.clock.is_first = check_learning
        found = train_step(
            step,
            self.backend,
            self.game,
            self.config,
            self.clock,
            lineage=self._lineage() | {"model": f"{self.config.model.path}@{step - 1}"},
            entropy=self._entropy,
            check_learning=check_learning,
        )
        self._entropy = found.values.get(names.ENTROPY, self._entropy)

        cycle = self.link.request.cycle
        self.link.require_folder()
        append_jsonl(self.run.shard(cycle), [task.to_json() for task in found.accepted])
        kept = transcripts(step, found.rows, found.outcomes, self.config.selfplay, self.config.seed)
        append_jsonl(self.run.transcripts(cycle), kept)
        return found.values | {names.OPTIMIZER_STEPS: float(self.backend.optimizer_steps())}

    def _lineage(self) -> dict[str, Any]:
        request = self.link.request
        return {"run": self.run.root.name, "cycle": request.cycle, "attempt": request.attempt}

    # ---------------------------------------------------------------- before the first step

    def _seed(self) -> None:
        """The zero-data start: the model writes its own seeds from the identity program, without a gradient."""
        seeding = Seeding(self.game)
        while not seeding.done:
            self.link.phase(Phase.GENERATE)
            accepted = seeding.accept_round(self.backend.play(seeding.plan_round(self.backend.fits)))
            records = [task.with_lineage(**self._lineage()).to_json() for task in accepted]
            append_jsonl(self.run.shard(self.link.request.cycle), records)
            logger.info(seeding.report)

    def _evaluate_start(self) -> None:
        if not (self.config.train.probe_every_steps or self.config.train.verdict_samples):
            return
        self.link.phase(Phase.VALIDATE)
        initial = self._evaluate_probes(0) if self.config.train.probe_every_steps else {}
        left_out = probes_too_long(self.run.probes, self.config.selfplay, self.backend.fits)
        told = {names.PROBES_TOO_LONG: float(left_out)} if left_out else {}
        self.link.step_done(0, initial | self._measure_for_verdict(before=True) | told)

    # ---------------------------------------------------------------- evaluation

    def _solve(self, rows: Iterable[PromptRow], *, greedy: bool) -> Iterator[SolveOutcome]:
        """In parts, each of which is a phase of its own to the driver: no limit of time, and no memory, depends on how many
        there are."""
        waiting = iter(rows)
        while part := list(islice(waiting, ASKED_AT_ONCE)):
            self.link.phase(Phase.VALIDATE)
            played = self.backend.play(part, greedy=greedy)
            yield from (outcome for outcome in played if isinstance(outcome, SolveOutcome))

    def _evaluate_probes(self, step: int) -> dict[str, float]:
        """Greedy accuracy on the frozen probe tasks; the same tasks every time."""
        config, kept = self.config, self.run.first_probe_scores
        limit, fits = config.train.probe_tasks, self.backend.fits
        rows = first_probe_rows(self.run.probes, kept, limit, config.selfplay, fits)
        if not rows:
            return {}
        solved = list(self._solve(rows, greedy=True))
        self._keep_probe_answers(step, solved, rows)
        return probe_metrics(solved) | change_since_first(kept, solved)

    def _measure_for_verdict(self, *, before: bool) -> dict[str, float]:
        """Every frozen probe task, ``train.verdict_samples`` answers each at temperature 1: what the report's
        verdict compares."""
        rows = verdict_rows(
            self.run.probes, self.config.train.verdict_samples, self.config.selfplay, self.backend.fits
        )
        kept = self.run.first_verdict_scores
        first = None if before else first_scores(kept)
        if first:  # a longer prompt limit lets in tasks that cannot be compared
            rows = (row for row in rows if row.row_id.rsplit("/", 1)[0] in first)
        scores = verdict_scores(self._solve(rows, greedy=False))
        if not scores:
            return {}
        if before:
            write_json_atomic(kept, {"samples": self.config.train.verdict_samples, "scores": scores})
        return verdict_metrics(scores, first)

    def _keep_probe_answers(
        self, step: int, outcomes: Sequence[SolveOutcome], rows: Sequence[PromptRow]
    ) -> None:
        """The answers to the same few probe tasks at every evaluation, so that before and after can be compared."""
        prompts = {row.row_id: row.prompt.text for row in rows}
        kept: list[dict[str, Any]] = []
        ordered = sorted(outcomes, key=lambda outcome: outcome.row_id)
        for kind in sorted({outcome.stream.task_type for outcome in outcomes}):
            own = [outcome for outcome in ordered if outcome.stream.task_type is kind]
            chosen = own[: self.config.selfplay.transcripts_per_stream]
            rewarded = [
                replace(outcome, reward=base_reward(outcome, self.config.selfplay)) for outcome in chosen
            ]
            kept += [transcript(step, outcome, prompts[outcome.row_id]) for outcome in rewarded]
        append_jsonl(self.run.transcripts(self.link.request.cycle), kept)

    # ---------------------------------------------------------------- saving

    def _save(self, step: int, *, goes_on: bool) -> None:
        """Writes a checkpoint while the engine sleeps: weights are copied on the card on their way to the
        disk, and a small card has no room for that beside an engine that is awake (seen: 16.0 of 16 GiB)."""
        with self.clock.timed("save", Phase.SAVE):
            self.backend.sleep_engine()
            self._publish(step)
        self.link.saved(step)
        if goes_on and self.config.rollout.sleep:
            with self.clock.timed("save", Phase.SYNC):
                self.backend.sync_engine()

    def _publish(self, step: int) -> None:
        self.link.require_folder()
        staging = staging_dir(self.run, step)
        self.backend.save_weights(staging / "actor")
        state = {
            "step": step,
            "cycle": self.link.request.cycle,
            "attempt": self.link.request.attempt,
            "optimizer_steps": self.backend.optimizer_steps(),
            "buffer_hash": self.game.save(staging / "selfplay"),
            "entropy": self._entropy,
            "model": self.config.model.path,
            "base_format": self.config.model.base_format,
        }
        write_json_atomic(staging / STATE_FILE, state)
        publish_checkpoint(self.run, step, staging, info=state)
