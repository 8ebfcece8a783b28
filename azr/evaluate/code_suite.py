"""Suites that ask for a program and run tests on it: HumanEval, MBPP, their extended versions, LiveCodeBench.
How prompts are made and answers are read in each style.

* ``native``, chat: EvalPlus's prompt for instruct models (evalplus 0.3.1, ``provider/utility.py``): the
  problem in a code block, and a reply that has begun already. The program is read as there (``sanitize``):
  what is in the block, without example calls.
* ``native``, plain: the model continues a text.
* ``frame``: the problem as a task inside the run's frame. Strictly, the program is the last code block of the
  answer, and without the think and answer tags it is wrong; leniently, it may stand anywhere.

The limit is 3 s of CPU time where the harnesses have about as much of wall clock: a verdict does not depend
on how busy the machine is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from azr.evaluate.checks import PASSED, Check
from azr.evaluate.extraction import defines, needed_parts, program_in
from azr.evaluate.items import Asking, Habits, Item, Rating, Suite
from azr.parsing import fenced_blocks, split_response
from azr.sandbox import Sandbox
from azr.tasks import Prompt

CHAT_TASK = "Please provide a self-contained Python script that solves the following problem in a markdown code block:"
CHAT_REPLY = "Below is a Python script with a self-contained function that solves the problem and passes corresponding tests:"
CHAT_STOPS = ("\n```\n", "\nif __name__", "\ndef main(", "\nprint(")
"""Of EvalPlus."""


@dataclass(frozen=True)
class Problem:
    problem_id: str
    entry: str
    """Name of the function or class to write; '' when a whole program is wanted."""
    check: Check
    chat: Prompt
    """For a model that is spoken to through its chat template."""
    plain: str
    """What a model without chat continues."""
    frame_text: str
    """The problem as a task for the frame."""
    context: str = ""
    """What a continuation of ``plain`` belongs to; '' where it is a program of its own."""
    plain_as_is: bool = False
    """A continuation is judged byte for byte, with all that the model wrote around the function."""
    preamble: str = ""
    """Imports and helper functions that an answer inside the frame may rely on."""
    helpers: str = ""
    """Functions of the problem's text that its tests call beside the answer: they stand before a native one too."""
    reference: str = ""
    """The program that a user's file gives as right; '' for the suites' authors' own."""


def evalplus_prompt(text: str) -> Prompt:
    """A problem as EvalPlus gives it to instruct models, with the reply begun."""
    return Prompt(
        (("user", f"{CHAT_TASK}\n```\n{text.strip()}\n```\n"),),
        raw=False,
        response_prefix=f"{CHAT_REPLY}\n```python\n",
    )


@dataclass(frozen=True, kw_only=True)
class CodeSuite(Suite):
    chat: bool
    problems: dict[str, Problem]

    async def judge(self, item: Item, text: str, sandbox: Sandbox) -> Rating:
        problem = self.problems[item.item_id]
        if self.style == "frame":
            return await _judge_framed(problem, item, text, sandbox)
        if self.chat:
            code = needed_parts(program_in(item.prompt.response_prefix + text, problem.entry), problem.entry)
            code = f"{problem.helpers}\n{code}" if code.strip() and problem.helpers else code
        else:
            code = problem.context + text
            code = code if problem.plain_as_is else needed_parts(code, problem.entry)
        score, reason = await problem.check.run(code, sandbox) if code.strip() else NO_PROGRAM
        return Rating(score, reason, True, code)


NO_PROGRAM = (0.0, "no_code_block")


async def _judge_framed(problem: Problem, item: Item, text: str, sandbox: Sandbox) -> Rating:
    response = split_response(text, item.prompt.response_prefix)
    codes = [block.text for block in fenced_blocks(response.answer) if block.is_code]
    strict = codes[-1] if codes else ""
    found = [program_in(part, problem.entry) for part in (response.answer, text)]
    found = [program for program in found if program.strip()] or [""]
    anywhere = next((program for program in found if defines(program, problem.entry)), found[0])

    async def run(program: str) -> tuple[float, str]:
        if program.strip():
            return await problem.check.run(f"{problem.preamble}\n{program}", sandbox)
        return NO_PROGRAM

    lenient, lenient_reason = await run(needed_parts(anywhere, problem.entry))
    if not response.format_ok:
        return Rating(0.0, "bad_format", False, anywhere, lenient, lenient_reason)
    score, reason = await run(strict)
    lenient_reason = PASSED if score else lenient_reason
    return Rating(score, reason, True, strict or anywhere, max(score, lenient), lenient_reason)


def of_whole_programs(suite: CodeSuite) -> CodeSuite:
    """The same for answers that are programs of their own, which run as they are."""
    problems = suite.problems.items()
    whole = {name: replace(problem, context="", plain_as_is=True) for name, problem in problems}
    return replace(suite, chat=False, problems=whole)


def code_suite(
    name: str,
    problems: Sequence[Problem],
    asking: Asking,
    habits: Habits,
    left_out: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> CodeSuite:
    """
    Raises:
        DataError: two problems have one id, or there are none.
    """
    items = [
        asking.item(each.problem_id, name, each.frame_text, each.chat, each.plain, habits)
        for each in problems
    ]
    return CodeSuite(
        name=name,
        style=asking.style,
        chat=asking.speaker.chat,
        problems={problem.problem_id: problem for problem in problems},
        items=items,
        left_out=left_out,
        notes=notes,
    )
