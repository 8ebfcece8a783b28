#!/usr/bin/env python
"""What kind of answers a model gave to input tasks, from what `azr evaluate` keeps of each item.

    python scripts/dev/abduction_answers.py cruxeval.jsonl OUT/evaluate/cot-4@86/cruxeval-i OUT/evaluate/cot-4@0/cruxeval-i

For each folder: answers that repeat the task's output as the input, and of the others the share that is right; and answers
that stand in the thought before them, letter by letter but for blanks and the kind of quotes.
"""

from __future__ import annotations

import _project

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from azr.sandbox.values import canonical_text


@dataclass(frozen=True)
class Kinds:
    items: int
    copies: int
    """Answers whose value is the output."""
    others_right: float
    """Of all other answers, 0 to 1; read leniently where the suite has such a reading."""
    named: int
    """Answers that the thought names."""


def kinds(folder: Path, outputs: Mapping[str, str]) -> Kinds:
    """
    Args:
        outputs: of each item's program, by the item's id.
    """
    verdicts = {line["id"]: line for line in _lines(folder / "verdicts.jsonl")}
    copies, named, others = 0, 0, []
    for line in _lines(folder / "answers.jsonl"):
        verdict = verdicts[line["item_id"]]
        answer = verdict["answer"] or ""
        thought, closed, _ = line["completion"].partition("</think>")
        named += bool(closed and answer) and _plain(answer) in _plain(thought)
        if _value(answer) == _value(outputs[line["item_id"]]):
            copies += 1
        else:
            others.append(_score(verdict))
    return Kinds(len(verdicts), copies, sum(others) / max(1, len(others)), named)


def _lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _score(verdict: Mapping) -> float:
    return verdict["score"] if verdict["lenient"] is None else verdict["lenient"]


def _plain(text: str) -> str:
    return "".join(text.replace('"', "'").split())


def _value(text: str) -> str | None:
    """The value in one spelling; None for what is no literal."""
    try:
        return canonical_text(text)
    except ValueError:
        return None


def main() -> int:
    parser = _project.argument_parser(__doc__)
    parser.add_argument("items", type=Path, help="the suite's file, for the outputs")
    parser.add_argument("folders", type=Path, nargs="+", help="a model's answers to an input suite")
    options = parser.parse_args()
    outputs = {row["id"]: row["output"] for row in _lines(options.items)}
    for folder in options.folders:
        found = kinds(folder, outputs)
        print(
            f"{folder}: {found.copies} of {found.items} answers repeat the output; of the others {found.others_right:.1%} are right; "
            f"{found.named} stand in the thought"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
