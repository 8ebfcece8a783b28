"""Answers from a file that others wrote (``--answers``), judged without a model."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from azr.errors import DataError
from azr.evaluate.answers import Answer
from azr.evaluate.items import Item
from azr.evaluate.suite_records import placed_records, shown_fields

ID_FIELDS = ("id", "task_id", "item_id")
"""The last is what our own answers.jsonl says, so that its answers can be judged again without the model."""
ENDS = {"n_tokens": int, "finished": bool, "prompt_too_long": bool}
"""Fields of our own answers that others' do not have, and their types."""
PROGRAM = "solution"
"""The field in which EvalPlus's samples have a whole program instead of a continuation of the prompt."""


@dataclass(frozen=True)
class Recorded:
    answers: dict[tuple[str, int], Answer]
    whole_programs: bool = False
    """Each is a program of its own (``PROGRAM``), not a continuation or a reply."""
    ends: bool = False
    """Each says whether the length limit ended it, as our own answers.jsonl does."""


def recorded_answers(
    path: Path, items: Sequence[Item], *, partial: bool = False, left_out: Collection[str] = ()
) -> Recorded:
    """Answers from a file of rows (JSON Lines, packed or not): an item's id under any of ``ID_FIELDS``, and
    ``completion`` or ``solution``; several rows of an id are its samples, in order. Our own answers.jsonl also says which
    sample a row is, where the last one of a number counts, and how the answer ended.

    Args:
        partial: items without an answer are left out by the caller instead of being an error.
        left_out: items of the suite that are not asked (``--limit``), whose answers are passed over.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist; --answers needs a JSONL file with id and completion")
    asked, ends = {item.item_id for item in items}, True
    answers: dict[tuple[str, int], Answer] = {}
    counts: dict[str, int] = {}
    forms: dict[str, str] = {}

    for place, record in placed_records(path):
        text = _answer_in(record, place, forms)
        item_id = str(next((record[key] for key in ID_FIELDS if key in record), ""))
        if item_id in left_out:
            continue
        if item_id not in asked:
            raise DataError(f"{place}: the suite has no item {item_id!r} (fields id, task_id or item_id)")
        sample = record.get("sample")
        sample = sample if type(sample) is int else counts.get(item_id, 0)
        counts[item_id] = counts.get(item_id, 0) + 1
        ends &= type(record.get("finished")) is bool
        known = {name: record[name] for name, kind in ENDS.items() if type(record.get(name)) is kind}
        answers[item_id, sample] = Answer(item_id, sample, text, **known)

    if not counts:
        raise DataError(f"{path} holds no answers")
    missing = [item.item_id for item in items if item.item_id not in counts]
    if missing and not partial:
        raise DataError(
            f"{path} has no answer to {len(missing)} of {len(items)} items, the first is {missing[0]!r}; --partial judges the rest"
        )
    return Recorded(answers, PROGRAM in forms, ends)


def _answer_in(record: dict[str, Any], place: str, forms: dict[str, str]) -> str:
    """
    Args:
        forms: field -> the first place where it held an answer; added to.
    """
    field = PROGRAM if "completion" not in record and PROGRAM in record else "completion"
    if not isinstance(record.get(field), str):
        raise DataError(
            f"{place}: field {field!r} is {'not text' if field in record else 'missing'}; an answer is in 'completion', or, if it is a "
            f"whole program, in {PROGRAM!r}. {shown_fields(record)}"
        )
    forms.setdefault(field, place)
    if len(forms) > 1:
        first, second = forms
        raise DataError(
            f"{forms[second]}: the answer is in {second!r}, but at {forms[first]} in {first!r}. A continuation of the prompt and a whole "
            "program are judged differently; give each kind a file of its own"
        )
    return record[field]
