"""One row of a step, played: prompt -> response -> parse -> sandbox -> outcome. The model is a callable, so
recorded answers replay. What an outcome is paid is decided in ``azr.selfplay.credit``.

Nothing here knows verl, Ray or vLLM; ``azr.train`` wraps these coroutines in agent loops, and tests run them
on transcripts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from azr.config.selfplay import SelfPlayConfig
from azr.parsing import Response, parse_proposal, parse_solution, split_response
from azr.prompts import solve_prompt
from azr.sandbox import Sandbox
from azr.selfplay.grading import Grade, grade
from azr.selfplay.guessing import solving_guesses
from azr.selfplay.intrinsic import program_terms
from azr.selfplay.options import prompt_options
from azr.selfplay.outcomes import Completion, ProposeOutcome, RowOutcome, SolveOutcome
from azr.selfplay.rewards import learnability
from azr.selfplay.rows import Fits, PromptRow
from azr.selfplay.selection import SELF_PLAY
from azr.selfplay.validation import GUESSABLE, Resembles, validate
from azr.tasks import Prompt, Rejection, Role, Stream, Task, TaskType

MAX_THOUGHT_CHARS = 4000
"""Longest thought kept with an accepted task."""

Generate = Callable[[Prompt, int], Awaitable[list[Completion]]]
"""``await generate(prompt, n)``: n independent samples at temperature 1."""


class Stopwatch:
    """Adds up the wall seconds a row waits for the engine and for the sandbox."""

    def __init__(self) -> None:
        self.seconds = {"generate": 0.0, "execute": 0.0}

    async def measure(self, what: str, work: Awaitable[Any]) -> Any:
        start = time.monotonic()
        try:
            return await work
        finally:
            self.seconds[what] += time.monotonic() - start


async def play(
    row: PromptRow,
    generate: Generate,
    sandbox: Sandbox,
    config: SelfPlayConfig,
    fits: Fits,
    resembles: Resembles | None = None,
) -> RowOutcome:
    """Plays a row of either role."""
    if row.stream.role is Role.SOLVE:
        return await play_solve(row, generate, sandbox, config)
    return await play_propose(row, generate, sandbox, config, fits, resembles)


async def play_solve(
    row: PromptRow, generate: Generate, sandbox: Sandbox, config: SelfPlayConfig
) -> SolveOutcome:
    """One solution of a task, graded. Without the think/answer format it is not executed.

    Raises:
        SandboxError: the sandbox itself failed.
    """
    if row.task is None:
        raise ValueError(f"row {row.row_id} of {row.stream.name} has no task to solve")
    watch = Stopwatch()
    [completion] = await watch.measure("generate", generate(row.prompt, 1))
    outcome = await read_and_grade(
        row.task,
        row.prompt,
        completion,
        row.row_id,
        sandbox,
        config,
        watch,
        skip_bad_format=config.format_reward,
    )
    return replace(outcome, seconds=watch.seconds)


async def play_propose(
    row: PromptRow,
    generate: Generate,
    sandbox: Sandbox,
    config: SelfPlayConfig,
    fits: Fits,
    resembles: Resembles | None = None,
) -> ProposeOutcome:
    """One proposal: read, verified, its difficulty estimated by n solutions.

    With ``row.fallback`` (same-step solving) the outcome also holds one solution for the solve stream: of the
    new task (the first difficulty sample, which is an ordinary sample of its prompt) or, if there is none, of
    the fallback's task.

    Args:
        resembles: what is kept out of training; a proposal like it is neither run nor sampled.

    Raises:
        SandboxError: the sandbox itself failed.
    """
    # Propose, and verify.
    watch = Stopwatch()
    [completion] = await watch.measure("generate", generate(row.prompt, 1))
    response = split_response(completion.text, row.prompt.response_prefix, strict=config.strict_format)
    task = await read_and_validate(row, response, sandbox, config, watch, resembles)
    guessable: bool | None = None
    if isinstance(task, Task) and row.guesses:
        hits = await watch.measure("execute", solving_guesses(task, row.guesses, sandbox, config))
        guessable = bool(hits)
        if hits and config.reject_guessable:
            task = Rejection(GUESSABLE, hits[0][:200])

    # Estimate. Without the format the reward is -1 whatever the difficulty: no samples are spent on it.
    difficulty_counts = response.format_ok or not config.format_reward or config.program_filter != "all"
    samples: tuple[SolveOutcome, ...] = ()
    too_long = False
    if isinstance(task, Task):
        prompt = solve_prompt(task, prompt_options(config))
        too_long = not fits(prompt)
        if row.estimate and difficulty_counts and not too_long:
            samples = await _estimate(task, prompt, row.row_id, generate, sandbox, config, watch)
    outcome = proposal_outcome(
        row, completion, response.format_ok, task, samples, config, is_too_long=too_long
    )

    # Solve, in the place of this row in the solve stream.
    solved: SolveOutcome | None = None
    if row.fallback is not None:
        first = samples[0] if samples and outcome.task else None
        solved = first or await play_solve(row.fallback, generate, sandbox, config)

    return replace(outcome, guessable=guessable, solved=solved, seconds=watch.seconds)


def proposal_outcome(
    row: PromptRow,
    completion: Completion,
    format_ok: bool,
    verified: Task | Rejection,
    samples: Sequence[SolveOutcome],
    config: SelfPlayConfig,
    *,
    is_too_long: bool = False,
) -> ProposeOutcome:
    """All that is known of a proposal, and whether its task may enter the buffer.

    Args:
        is_too_long: the task's solve prompt does not fit.
    """
    accuracy: float | None = None
    rejection = verified if isinstance(verified, Rejection) else None
    has_form = format_ok or not config.format_reward
    if is_too_long:
        rejection, accuracy = Rejection("solve_prompt_too_long"), 0.0
    elif samples:
        accuracy = sum(sample.score for sample in samples) / len(samples)
    if rejection is None and _filtered(config, has_form, accuracy):
        rejection = Rejection("filtered")

    terms: dict[str, float] = {}
    if has_form and isinstance(verified, Task):
        terms = program_terms(verified, row.references, config.intrinsic)
    accepted: Task | None = None
    if isinstance(verified, Task) and rejection is None:
        parents = tuple(reference.task_id for reference in row.references)
        accepted = verified.with_lineage(source=SELF_PLAY, accuracy=accuracy, parents=parents)
    return ProposeOutcome(
        stream=row.stream,
        row_id=row.row_id,
        prompt=row.prompt,
        completion=completion,
        format_ok=format_ok,
        task=accepted,
        rejection=rejection,
        accuracy=accuracy,
        learnability=None if accuracy is None else learnability(accuracy, config.learnability),
        terms=terms,
        samples=tuple(samples),
        wanted_samples=config.difficulty_samples if samples else 0,
    )


async def read_and_validate(
    row: PromptRow,
    response: Response,
    sandbox: Sandbox,
    config: SelfPlayConfig,
    watch: Stopwatch,
    resembles: Resembles | None = None,
) -> Task | Rejection:
    """The task that a propose row's response holds, verified by execution, or why there is none.

    Raises:
        SandboxError: the sandbox itself failed; says nothing about the proposal.
    """
    task_type = row.stream.task_type
    program = row.references[0] if task_type is TaskType.INDUCTION else None
    # Seeding reads the whole response, tags or not.
    answer = response.answer if row.estimate or response.answer else f"{response.thought}\n{response.answer}"
    if row.needed_inputs:  # what the curriculum asked for
        config = replace(config, num_inputs=row.needed_inputs)
    proposal = parse_proposal(
        task_type, answer, config, thought=response.thought[:MAX_THOUGHT_CHARS], program=program
    )
    if isinstance(proposal, Rejection):
        return proposal
    return await watch.measure("execute", validate(proposal, sandbox, config, row.composites, resembles))


def _filtered(config: SelfPlayConfig, has_form: bool, accuracy: float | None) -> bool:
    if not has_form and not config.buffer_bad_format:
        return True
    if accuracy is None or config.program_filter == "all":
        return False
    return accuracy >= 1 or (config.program_filter == "non_extremes" and accuracy <= 0)


async def _estimate(
    task: Task,
    prompt: Prompt,
    row_id: str,
    generate: Generate,
    sandbox: Sandbox,
    config: SelfPlayConfig,
    watch: Stopwatch,
) -> tuple[SolveOutcome, ...]:
    """The difficulty samples. They need not have the format; equal answers are executed once."""
    total = config.difficulty_samples
    first = (total + 1) // 2 if config.adaptive_samples else total
    grades: dict[str, asyncio.Future[Grade]] = {}
    samples: list[SolveOutcome] = []
    for count in (first, total - first):
        if not count or (samples and {sample.score for sample in samples} in ({0.0}, {1.0})):
            break  # nothing left, or (adaptive) the first half agrees
        completions = await watch.measure("generate", generate(prompt, count))
        judged = [
            read_and_grade(task, prompt, each, row_id, sandbox, config, grades=grades) for each in completions
        ]
        samples += await watch.measure("execute", asyncio.gather(*judged))
    return tuple(replace(sample, sample=True) for sample in samples)


async def read_and_grade(
    task: Task,
    prompt: Prompt,
    completion: Completion,
    row_id: str,
    sandbox: Sandbox,
    config: SelfPlayConfig,
    watch: Stopwatch | None = None,
    *,
    skip_bad_format: bool = False,
    grades: dict[str, asyncio.Future[Grade]] | None = None,
) -> SolveOutcome:
    """One answer, read and graded.

    Args:
        skip_bad_format: do not execute an answer without the think/answer format.
        grades: of equal answers to the same task, shared and added to.

    Raises:
        SandboxError: the sandbox itself failed.
    """
    response = split_response(completion.text, prompt.response_prefix, strict=config.strict_format)
    solution = parse_solution(task.task_type, response.answer)
    text = solution if isinstance(solution, str) else ""

    if isinstance(solution, Rejection):
        graded = Grade(0.0, solution.reason)
    elif skip_bad_format and not response.format_ok:
        graded = Grade(0.0, "bad_format")
    elif grades is not None:
        if text not in grades:
            grades[text] = asyncio.ensure_future(grade(task, text, sandbox, config))
        graded = await grades[text]
    else:
        work = grade(task, text, sandbox, config)
        graded = await (watch.measure("execute", work) if watch else work)

    # A program without a code block is malformed too.
    malformed = isinstance(solution, Rejection) and task.task_type is TaskType.INDUCTION
    return SolveOutcome(
        stream=Stream(Role.SOLVE, task.task_type),
        row_id=row_id,
        prompt=prompt,
        completion=completion,
        format_ok=response.format_ok and not malformed,
        task_id=task.task_id,
        solution=text,
        score=graded.score,
        reason=graded.reason,
    )
