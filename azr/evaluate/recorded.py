"""Answers from a file that others wrote (``--answers``), judged without a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from azr.config.paths import absent
from azr.config.selfplay import SelfPlayConfig
from azr.errors import ConfigError, DataError
from azr.evaluate import models
from azr.evaluate.answers import Answer
from azr.evaluate.code_suite import CodeSuite, of_whole_programs
from azr.evaluate.doubts import doubts_of_answers, doubts_of_references
from azr.evaluate.items import Item, Speaker, evenly, folder_name
from azr.evaluate.options import Options
from azr.evaluate.results import write_scores
from azr.evaluate.scoring import Scores, judge_all, score
from azr.evaluate.suite_records import placed_records, shown_fields
from azr.evaluate.suites import build_suite, sandbox_config, styles_of
from azr.sandbox import Sandbox

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
    notes: tuple[str, ...] = ()
    """For the table: items that have more answers than others."""
    fewest: tuple[str, int] = ("", 1)
    """An item that has no more answers than any other, and their number."""


def judge_recorded(spec: str, options: Options, say: Callable[[str], None]) -> Scores:
    """Recorded answers to one suite, judged, with their verdicts and scores on the disk.

    Raises:
        ConfigError: they cannot be read as the options say.
        DataError: the file is none of such answers.
    """
    assert options.answers is not None
    config = SelfPlayConfig(frame=options.frame) if options.frame else SelfPlayConfig()
    # answers come without their prompts: native ones are read as continuations of plain text, as the
    # reference harness has them
    if len(options.styles) > 1:
        raise ConfigError("--answers reads answers in one style; give --style once")
    [style] = options.styles or styles_of(spec)[:1]
    speaker = Speaker(chat=options.native_form == "chat", asked=False)
    suite = build_suite(spec, config, style=style, speaker=speaker)
    items = evenly(suite.items, options.limit)
    for sentence in suite.left_out:
        say(f"{suite.name}: left out {sentence}")
    unasked = {item.item_id for item in suite.items} - {item.item_id for item in items}
    recorded = recorded_answers(options.answers, items, partial=options.partial, left_out=unasked)
    item_id, fewest = recorded.fewest
    if (most := max(options.ks)) > max(fewest, 1):
        raise ConfigError(
            f"--k {most} is the share of items of which one of {most} answers is right; {options.answers} has only {fewest} of {item_id!r}"
        )
    if recorded.whole_programs:
        if not isinstance(suite, CodeSuite) or style == "frame" or options.native_form == "chat":
            raise ConfigError(
                f"{options.answers}: its answers are whole programs (field 'solution'), which run as they are, without "
                "--style frame or --native-form chat; replies that are to be read belong into the field 'completion'"
            )
        suite = of_whole_programs(suite)
        say(f"{options.answers}: whole programs (field 'solution'), judged as they are")
    answers = recorded.answers
    with Sandbox(sandbox_config()) as sandbox:
        judged = judge_all(suite, items, answers.values(), sandbox)
        doubts = [*recorded.notes, *doubts_of_references(suite, items, sandbox)]
    if empty := [
        each.item_id for each in answers.values() if not each.completion.strip() and not each.prompt_too_long
    ]:
        doubts.append(f"{len(empty)} of {len(answers)} answers are empty, the first is that to {empty[0]!r}")
    scores = score(suite, options.answers.stem, items, judged, options.ks)
    scores = scores if recorded.ends else replace(scores, cut=None)
    if style == "native" and options.native_form != "chat":
        doubts += doubts_of_answers(suite, judged)
    folder = (options.out or Path("evaluations")) / models.slug(options.answers.stem) / folder_name(suite)
    return write_scores(folder, {"recorded": str(options.answers)}, scores, doubts, judged, say)


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
        raise DataError(f"{absent(path)}; --answers needs a JSONL file with id and completion")
    called = [*(item.item_id for item in items), *sorted(left_out)]
    answers: dict[tuple[str, int], Answer] = {}
    counts: Counter[str] = Counter()
    forms: dict[str, str] = {}
    # GSM8K's questions have no numbers: ours are those of its lines, from 1, and other tools count from 0
    ended = {item_id: item_id.rpartition("/")[2] for item_id in called if not item_id.startswith("gsm8k/")}
    times = Counter(ended.values())
    names = {
        number: item_id for item_id, number in ended.items() if number.isdecimal() and times[number] == 1
    }
    names |= {item_id.casefold(): item_id for item_id in called}
    rows = list(placed_records(path))
    numbered = all(type(record.get("sample")) is int for _, record in rows)
    ends = all(type(record.get("finished")) is bool for _, record in rows)

    for place, record in rows:
        text = _answer_in(record, place, forms)
        item_id = _item_of(record, place, called, names)
        if item_id in left_out:
            continue
        sample = record["sample"] if numbered else counts[item_id]
        counts[item_id] += 1
        known = {name: record[name] for name, kind in ENDS.items() if type(record.get(name)) is kind}
        answers[item_id, sample] = Answer(item_id, sample, text, **known)

    if not counts:
        raise DataError(f"{path} holds no answers")
    missing = [item.item_id for item in items if item.item_id not in counts]
    if missing and not partial:
        raise DataError(
            f"{path} has no answer to {len(missing)} of {len(items)} items, the first is {missing[0]!r}; --partial judges the rest"
        )
    samples = Counter(item_id for item_id, _ in answers)
    (item_id, most), (other_id, fewest) = (
        order(samples.items(), key=lambda each: each[1]) for order in (max, min)
    )
    note = f"{path} holds {most} answers to {item_id!r} and {fewest} to {other_id!r}; each item counts once, by its share of right ones"
    return Recorded(answers, PROGRAM in forms, ends, (note,) if most > fewest else (), (other_id, fewest))


def _item_of(record: dict[str, Any], place: str, known: Sequence[str], names: Mapping[str, str]) -> str:
    """
    Args:
        names: what the items may be called besides, where none is called so: ``Mbpp/11`` and ``11`` for ``mbpp/11``.

    Raises:
        DataError: no field names an item of the suite, or two name different ones: a row's own number is often called id.
    """
    named = [str(record[key]) for key in ID_FIELDS if key in record]
    found = set(known).intersection(named) or {
        names[each.casefold()] for each in named if each.casefold() in names
    }
    if len(found) > 1:
        raise DataError(
            f"{place}: two fields name different items of the suite, {' and '.join(map(repr, sorted(found)))}"
        )
    if not found:
        told = " or ".join(map(repr, named)) or "''"
        raise DataError(
            f"{place}: the suite has no item {told} (fields id, task_id or item_id); its items are called {known[0]!r} to {known[-1]!r}"
        )
    return found.pop()


def _answer_in(record: dict[str, Any], place: str, forms: dict[str, str]) -> str:
    """
    Args:
        forms: field -> the first place where it held an answer; added to.
    """
    field = PROGRAM if "completion" not in record and PROGRAM in record else "completion"
    if not isinstance(record.get(field), str):
        several = isinstance(record.get(field), list)
        wrong = (
            "a list; write a line for each answer"
            if several
            else "not text"
            if field in record
            else "missing"
        )
        raise DataError(
            f"{place}: field {field!r} is {wrong}; an answer is in 'completion', or, if it is a whole program, in {PROGRAM!r}. "
            f"{shown_fields(record)}. docs/evaluate.md shows how other tools' files become such"
        )
    forms.setdefault(field, place)
    if len(forms) > 1:
        first, second = forms
        raise DataError(
            f"{forms[second]}: the answer is in {second!r}, but at {forms[first]} in {first!r}. A continuation of the prompt and a whole "
            "program are judged differently; give each kind a file of its own"
        )
    return record[field]
