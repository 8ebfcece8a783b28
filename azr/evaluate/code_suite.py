"""Suites that ask for a program and run tests on it: HumanEval and its kind. How they are asked and read in each style.

* ``native``, chat: EvalPlus's prompt for instruct models (evalplus 0.3.1, ``provider/utility.py``): the problem in a code block, and a
  reply that has begun already. The program is read as there (``sanitize``): what stands in the block, without example calls.
* ``native``, plain: the model continues a text.
* ``frame``: the problem as a task inside the run's frame. Strictly, the program is the last code block of the answer, and without the
  think and answer tags it is wrong; leniently, it may stand anywhere.

The limit is 3 s of CPU time where the harnesses have about as much of wall clock: a verdict does not depend on how busy the machine is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from azr.config.sandbox import Limits
from azr.config.selfplay import SelfPlayConfig
from azr.errors import DataError
from azr.evaluate.extraction import needed_parts, program_in
from azr.evaluate.suites import Item, Speaker, Verdict
from azr.parsing import fenced_blocks, split_response
from azr.prompts import load_frame
from azr.sandbox import Job, Profile, Sandbox, Status
from azr.tasks import Prompt

LIMITS = Limits(cpu_s=3.0, wall_s=10.0, memory_mib=2048)
RESPONSE_TOKENS = 768
"""Of a native answer, as in EvalPlus."""
CHAT_TASK = "Please provide a self-contained Python script that solves the following problem in a markdown code block:"
CHAT_REPLY = "Below is a Python script with a self-contained function that solves the problem and passes corresponding tests:"
CHAT_STOPS = ("\n```\n", "\nif __name__", "\ndef main(", "\nprint(")


@dataclass(frozen=True)
class Problem:
    problem_id: str
    text: str
    """The problem as its authors state it."""
    entry: str
    """Name of the function to write."""
    check: str
    """Source that stands after the program and raises when it is wrong."""
    preamble: str
    """Imports and helper functions that an answer inside the frame may rely on."""
    frame_text: str
    """The problem as a task for the frame."""
    plain_prompt: str
    """What a model without chat continues."""
    continues: bool
    """The continuation belongs to ``text`` and has no meaning without it."""


@dataclass(frozen=True)
class CodeSuite:
    name: str
    style: str
    chat: bool
    problems: dict[str, Problem]
    items: Sequence[Item]
    left_out: Sequence[str] = ()
    notes: Sequence[str] = ()

    async def judge(self, item: Item, text: str, sandbox: Sandbox) -> Verdict:
        problem = self.problems[item.item_id]
        if self.style == "frame":
            return await self._judge_framed(problem, item, text, sandbox)
        if self.chat:
            code = needed_parts(program_in(item.prompt.response_prefix + text, problem.entry), problem.entry)
        else:
            code = problem.text + text if problem.continues else text
        score, reason = await _run(problem, code, sandbox)
        return Verdict(score, reason, True, code)

    async def _judge_framed(self, problem: Problem, item: Item, text: str, sandbox: Sandbox) -> Verdict:
        response = split_response(text, item.prompt.response_prefix)
        codes = [block.text for block in fenced_blocks(response.answer) if block.is_code]
        strict = codes[-1] if codes else ""
        anywhere = program_in(response.answer, problem.entry) or program_in(text, problem.entry)
        lenient, lenient_reason = await _run(problem, f"{problem.preamble}\n{needed_parts(anywhere, problem.entry)}", sandbox, anywhere)
        if not response.format_ok:
            return Verdict(0.0, "bad_format", False, anywhere, lenient, lenient_reason)
        score, reason = await _run(problem, f"{problem.preamble}\n{strict}", sandbox, strict)
        return Verdict(score, reason, True, strict or anywhere, max(score, lenient), lenient_reason)


async def _run(problem: Problem, code: str, sandbox: Sandbox, answer: str = "-") -> tuple[float, str]:
    if not answer.strip():
        return 0.0, "no_code_block"
    job = Job(code=f"{code}\n{problem.check}", entry="", profile=Profile.EVALUATE, limits=LIMITS)
    result = await sandbox.run(job)
    if result.ok:
        return 1.0, "passed"
    call = result.calls[0]
    if call.status is Status.ERROR and call.exception == "AssertionError":
        return 0.0, "wrong"
    return 0.0, {Status.TIMEOUT: "timeout", Status.ERROR: "failed"}.get(call.status, call.status.value)


def code_suite(
    name: str, problems: Sequence[Problem], config: SelfPlayConfig, style: str, speaker: Speaker, plain_stops: Sequence[str]
) -> CodeSuite:
    """
    Raises:
        DataError: two problems have one id, or there are none.
    """
    by_id = {problem.problem_id: problem for problem in problems}
    if len(by_id) < len(problems) or not problems:
        raise DataError(f"suite {name}: " + ("two problems have one id; ids must be unique" if problems else "no problems"))
    items = [_item(name, problem, config, style, speaker, plain_stops) for problem in problems]
    return CodeSuite(name, style, speaker.chat, by_id, items)


def _item(name: str, problem: Problem, config: SelfPlayConfig, style: str, speaker: Speaker, plain_stops: Sequence[str]) -> Item:
    if style == "frame":
        return Item(problem.problem_id, name, load_frame(config.frame).wrap(problem.frame_text))
    if speaker.chat:
        prompt = Prompt((("user", f"{CHAT_TASK}\n```\n{problem.text.strip()}\n```\n"),), False, f"{CHAT_REPLY}\n```python\n")
        item = Item(problem.problem_id, name, prompt, CHAT_STOPS)
    else:
        item = Item(problem.problem_id, name, Prompt((("user", problem.plain_prompt),), raw=True), plain_stops)
    return replace(item, limits=speaker.limits(RESPONSE_TOKENS))
