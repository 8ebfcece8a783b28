"""What the report tells its reader to do next: what the records say against the run, then what to do with a finished
one. Pure; commands and keys stand between backquotes.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import numpy as np

from azr.commands import command
from azr.report.summary import RunStatus, RunSummary, lookup
from azr.report.tasks import TaskStats
from azr.report.text import duration, number, percent, shown_path
from azr.run import metric_names as names
from azr.run.records import SHRINKING
from azr.run.rundir import RunDir
from azr.tasks import TaskType
from azr.wording import counted

LOW_VALID = 0.2
HIGH_EXTREMES = 0.8
LOW_NOVELTY = 0.1
HIGH_REPETITION = 0.1
"""Of the latest programs, those that a new one resembles: 1 % at first and 20 % at the end of the one run that is known to
have drifted (docs/results.md); 2 to 6 % in six steps of a default run with the bundled model."""
HIGH_GUESSABLE = 0.5
"""Abduction tasks that a typical input solves: from a fifth to nearly nine tenths of them in the one run that is known to
have decayed into guessing."""
SHORT_TOKENS, SHORT_SHARE, FIRST_STEPS = 64.0, 0.25, 5
"""Of answers to input and output tasks: the two runs of 1.5B with less than 50 for inputs lost 9 and 15 points there, and
those below a quarter of the first steps' are a thought of one sentence (docs/results.md). No proof: the run of 0.5B that
gained ends with 41 and 34."""
HIGH_WAIT = 0.35
"""Share of the generation phase that a response waits for the sandbox."""
TAIL = 20
"""Latest steps that a mean is over."""
FEW_STEPS = 100
LATEST_TASKS = 500
FEW_TASKS = 50


def advice(summary: RunSummary, stats: TaskStats, *, is_unclear: bool) -> list[str]:
    """The next steps, the most urgent first.

    Args:
        is_unclear: the comparison that decides the verdict shows no clear change.
    """
    if summary.status is RunStatus.EMPTY:
        return ["Start a run: `python azr_single_gpu_pipeline.py`"]
    return [
        *_to_go_on(summary),
        *_of_evidence(summary, is_unclear),
        *_of_proposals(summary),
        *_of_difficulty(stats),
        *_of_the_machine(summary),
        *_of_a_finished_run(summary),
    ]


def _to_go_on(summary: RunSummary) -> Iterator[str]:
    if summary.perhaps_elsewhere:
        yield (
            "No driver is running on this machine. If none is on another, run the same command again; it resumes from the last "
            "checkpoint."
        )
    elif summary.status is RunStatus.INTERRUPTED or (
        summary.status is RunStatus.RUNNING and summary.driver_gone
    ):
        yield "No driver is running. Run the same command again; it resumes from the last checkpoint."
    if summary.status is RunStatus.FAILED:
        yield "Read the last incident and the end of its trainer.log, then run the same command again; it resumes where it failed."
    yield from (f"{item.cause} {item.action}" for item in summary.faults if item.kind == SHRINKING)


def _of_evidence(summary: RunSummary, is_unclear: bool) -> Iterator[str]:
    table = summary.table
    if is_unclear and 0 < table.trained < FEW_STEPS:
        steps = counted(table.trained, "step")
        yield f"Only {steps} so far. Published runs improve over hundreds; this one shows that everything works."
    if len(table) and not table.has(names.PROBE_ALL):
        yield "No probe score was logged. Without frozen probes nobody can say whether the model learned."


def _of_proposals(summary: RunSummary) -> Iterator[str]:
    table = summary.table
    for kind in TaskType:
        if table.last(names.buffer_size(kind)) == 1:  # the identity task, where none was given
            yield (
                f"All rows of solve-{kind.value} ask one and the same task: its buffer has no other. Give {kind.value} tasks "
                "(`data.extra_files`), or leave the type out (`selfplay.task_types`)."
            )
        valid = table.tail_mean(names.valid(kind), TAIL)
        if valid is not None and valid < LOW_VALID:
            yield (
                f"Only {percent(valid, 0)} of the {kind.value} proposals have been valid lately. Look at the rejection reasons; a "
                "larger or instruction-tuned model, or the frame that fits it (`selfplay.frame`), helps most."
            )
    novelty = table.tail_mean(names.NOVELTY, TAIL)
    if novelty is not None and novelty < LOW_NOVELTY:
        remedy = "Add seeds (`data.extra_files`) or more references (`selfplay.references`)."
        yield f"Only {percent(novelty, 0)} of the valid proposals are new. {remedy}"
    before, now = table.head_mean(names.REPETITION, TAIL), table.tail_mean(names.REPETITION, TAIL)
    if before is not None and now is not None and now > max(HIGH_REPETITION, 2 * before):
        yield (
            f"A new program resembles {percent(now, 0)} of the latest ones, and {percent(before, 0)} in the first steps: the tasks drift "
            "into one kind of exercise. Read them in the transcripts. A lower `train.learning_rate` was not seen to do so, and "
            "`selfplay.repetition_penalty=2` is meant against it."
        )
    before, now = table.head_mean(names.GUESSABLE, TAIL), table.tail_mean(names.GUESSABLE, TAIL)
    refused = lookup(summary.config, "selfplay.reject_guessable")  # then they are proposed, and do not get in
    if not refused and before is not None and now is not None and now > max(HIGH_GUESSABLE, 2 * before):
        yield (
            f"The usual inputs solve {percent(now, 0)} of the new abduction tasks, and {percent(before, 0)} in the first steps: "
            "the solver can guess instead of working backwards. `selfplay.reject_guessable=true` is meant against it."
        )
    for kind, what in ((TaskType.ABDUCTION, "input"), (TaskType.DEDUCTION, "output")):
        tokens = names.response_tokens(f"solve-{kind.value}")
        before, now = table.head_mean(tokens, FIRST_STEPS), table.tail_mean(tokens, TAIL)
        if before is not None and now is not None and now < min(SHORT_TOKENS, SHORT_SHARE * before):
            on = lookup(summary.config, "selfplay.short_wrong_tokens")
            yield (
                f"Answers to {what} tasks have {now:.0f} tokens now and had {before:.0f} in the first steps: the thoughts may be lost. "
                "Read some in the transcripts, and evaluate: a run of 1.5B that found inputs and outputs worse had lost them so, one of "
                "0.5B whose answers were as short gained."
                + ("" if on else " `selfplay.short_wrong_tokens=120` is meant against it, and not tried yet.")
            )


def _of_difficulty(stats: TaskStats) -> Iterator[str]:
    known = stats.accuracies[np.isfinite(stats.accuracies)][-LATEST_TASKS:]
    extremes = float(((known <= 0) | (known >= 1)).mean()) if len(known) >= FEW_TASKS else 0.0
    if extremes > HIGH_EXTREMES:
        tasks = f"{percent(extremes, 0)} of the latest tasks are always or never solved"
        yield f"{tasks}, so most proposals teach nothing about difficulty."


def _of_the_machine(summary: RunSummary) -> Iterator[str]:
    table = summary.table
    mismatch = table.tail_mean(names.MISMATCH, TAIL)
    if mismatch is not None and mismatch > summary.mismatch_limit:
        size = f"{number(mismatch)} on token probabilities (red line {summary.mismatch_limit:g})"
        yield f"Engine and trainer disagree by {size}; see docs/troubleshooting.md."
    wait, generate = (table.tail_mean(name, TAIL) for name in (names.SANDBOX_WAIT, names.seconds("generate")))
    if wait is not None and generate and wait > HIGH_WAIT * generate:
        yield (
            f"A response waits {duration(wait)} for its programs, out of {duration(generate)} of generation: more sandbox processes "
            "(`sandbox.workers`) would help if there are cores to spare."
        )


def _of_a_finished_run(summary: RunSummary) -> Iterator[str]:
    table = summary.table
    if summary.status is not RunStatus.FINISHED or not table.trained:
        return
    root = shown_path(summary.root)
    model, tasks = (shlex.quote(f"{summary.name}-{what}") for what in ("model", "tasks"))
    which, option = ("best", "") if table.has(names.PROBE_ALL) else ("latest", " --step latest")
    suite = "humaneval" if RunDir(summary.root).lacks_probes else "probes"
    measure = f"`{command('evaluate')} {root}@0 {root}@{which} --suite {suite}`"
    yield f"Measure the {which} checkpoint against the start: {measure}"
    yield f"Take the model home: `{command('export')} {root}{option} --out {model}`"
    yield f"Take the tasks home: `{command('export')} {root} --out {tasks} --tasks`"
    others = ("campaign.hours", "campaign.max_flat_cycles")
    limit = next((key for key in others if key in summary.sentence), "campaign.cycles")
    yield f"To continue, raise `{limit}` and run the same command again."
