"""Programs that look different and compute the same: equal outputs on shared probe inputs (docs/data.md, "Behaviour").

Each signature (the types of a task's arguments, as ``int, list[str]``) has one fixed bank of argument lists, drawn from
a random generator that the signature's text seeds. So all programs of a signature get the same inputs, in every run and
on every machine, and what was found once stays valid. Programs run in the sandbox only.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from azr.config.sandbox import SandboxConfig
from azr.data.duplicates import Dropped, better_first
from azr.data.fingerprints import Fingerprint
from azr.data.manifest import python_minor
from azr.data.phases import with_lines
from azr.data.reasons import Reason
from azr.data.store import Store
from azr.sandbox import CallResult, Job, JobResult, Sandbox, Status
from azr.sandbox.values import canonical, parse_arguments
from azr.system.hashes import text_hash
from azr.tasks import Task, TaskType

BEHAVIOUR_FILE = "behaviour.jsonl"
"""``pool/behaviour.jsonl``: a cache of what programs gave; may be deleted."""
BANK_SIZE = 16
MIN_VALUES = 8
"""Inputs of the bank on which a program must return a value ..."""
MIN_DISTINCT = 4
"""... and different values among them, before equal outputs mean anything: two predicates agree by chance."""
OWN_PAIRS = 10
"""Inputs of a program's own tasks that another one is tried on."""
COMPARED = 4
"""Better programs of equal bank outputs that one is compared with."""
SAME = "same"
_ANY = "any"
"""Type of the elements of a mixed or empty container."""
_WORDS = (
    "", "a", "abc", "hello world", "Racecar", "aabbb", "x1y2", "The quick brown fox", "level", "zZ-9", "banana", "12345",
)  # fmt: skip
_INTEGERS = (0, 1, 2, 3, 4, 5, 7, 8, 10, 12, 15, 20, -1, -3, -8, 31)
_FLOATS = (0.0, 0.5, 1.0, 2.5, -1.25, 3.0, 10.75, -4.0)

Outputs = Callable[[Sequence[tuple[str, tuple[str, ...]]]], Iterator[tuple[int, tuple[str, ...]]]]
"""Runs (program, inputs) pairs; yields (index, one text an input: the value, ``!`` and an exception's name,
or empty: unknown)."""


def type_text(value: Any) -> str:
    """Type of a value with the types inside, as ``dict[str, list[int]]``; a mixed or empty container's are ``any``."""
    if isinstance(value, (list, set, frozenset)):
        return f"{type(value).__name__}[{_one({type_text(item) for item in value})}]"
    if isinstance(value, tuple):
        return f"tuple[{', '.join(type_text(item) for item in value)}]"
    if isinstance(value, dict):
        return f"dict[{_one({type_text(key) for key in value})}, {_one({type_text(item) for item in value.values()})}]"
    return type(value).__name__


def _one(kinds: set[str]) -> str:
    return kinds.pop() if len(kinds) == 1 else _ANY


def signature(task: Task) -> tuple[str, list[Any]] | None:
    """Text and example arguments of a task's first input; None for keyword arguments or what is not a literal."""
    try:
        positional, keywords = parse_arguments(task.inputs[0])
    except ValueError:
        return None
    if keywords or not positional:
        return None
    return (", ".join(type_text(value) for value in positional), positional)


def bank(text: str, example: Sequence[Any]) -> tuple[str, ...]:
    """The argument lists of a signature. ``example`` gives the shape; its values do not matter where the text
    is precise."""
    # values of these types are taken over from the example
    if any(word in text for word in (_ANY, "bytes", "complex")):
        return _draw_bank(text, example)
    if text not in _BANKS:
        if len(_BANKS) >= _BANKS_REMEMBERED:
            _BANKS.clear()
        _BANKS[text] = _draw_bank(text, example)
    return _BANKS[text]


_BANKS: dict[str, tuple[str, ...]] = {}
"""Of precise signatures: most programs of a pool share a few."""
_BANKS_REMEMBERED = 4096


def _draw_bank(text: str, example: Sequence[Any]) -> tuple[str, ...]:
    rng = Random(text)
    return tuple(", ".join(canonical(_draw(value, rng)) for value in example) for _ in range(BANK_SIZE))


def _draw(like: Any, rng: Random) -> Any:
    """A random value of the same type, small enough that no honest program takes long."""
    if isinstance(like, bool):
        return rng.random() < 0.5
    if isinstance(like, int):
        return rng.choice(_INTEGERS)
    if isinstance(like, float):
        return rng.choice(_FLOATS)
    if isinstance(like, str):
        return rng.choice(_WORDS)
    if isinstance(like, tuple):
        return tuple(_draw(item, rng) for item in like)
    if isinstance(like, (list, set, frozenset)):
        item = _least(like)
        drawn = [_draw(item, rng) for _ in range(rng.randrange(7))]
        return drawn if isinstance(like, list) else type(like)(drawn)
    if isinstance(like, dict):
        key = _least(like)
        value = _least(like.values())
        return {_draw(key, rng): _draw(value, rng) for _ in range(rng.randrange(5))}
    return like


def _least(values: Iterable[Any]) -> Any:
    """An element that depends on the container's content alone; sets have no first one. An empty container
    holds integers."""
    return min(values, key=canonical, default=0)


@dataclass(frozen=True)
class Behaviour:
    """What executions said of a program, or of two."""

    outputs: str
    """Hash of the program's bank outputs, or ``SAME``; empty where they say nothing."""


class BehaviourStore(Store[Behaviour]):
    kind = Behaviour


@dataclass(frozen=True)
class _Program:
    """What is known of a program through its tasks."""

    code: str
    canonical: str
    signature: str
    bank: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    """Its tasks' inputs and outputs, at most ``OWN_PAIRS``."""


def drop_behavioural(
    tasks: Iterable[Task],
    prints: dict[str, Fingerprint],
    store: BehaviourStore,
    outputs: Outputs,
    *,
    settled: Collection[str] = (),
) -> tuple[list[Task], list[Dropped]]:
    """Of the tasks of one type whose programs compute the same, those of the best program stay.

    Two programs compute the same when they agree on the bank of their signature, and each gives, on the
    inputs of the other's tasks, the outputs that those tasks record: random text rarely holds the markup that
    a parser treats specially, but the parser's own tasks do.

    Args:
        outputs: executes; ``sandbox_outputs`` in a run.
        settled: ids of tasks that were compared with each other before; signatures with no other tasks are passed over.
    """
    ordered = sorted(tasks, key=better_first)
    programs = _programs(ordered, prints)
    moving = {program.signature for task_id, program in programs.items() if task_id not in settled}
    active = {program.canonical: program for program in programs.values() if program.signature in moving}
    todo = {key: (program.code, program.bank) for key, program in active.items() if store.get(key) is None}
    _fill(store, todo, lambda key, texts: _summary(active[key].bank, texts), outputs)
    behaviour = {key: found.outputs if (found := store.get(key)) else "" for key in active}
    groups: dict[str, list[_Program]] = {}
    for canonical_, program in active.items():
        if behaviour[canonical_]:
            groups.setdefault(behaviour[canonical_], []).append(program)
    same = _confirmed(groups.values(), store, outputs)
    kept: list[Task] = []
    dropped: list[Dropped] = []
    leaders: dict[TaskType, dict[str, Task]] = {task_type: {} for task_type in TaskType}
    for task in ordered:
        program = programs.get(task.task_id)
        own = leaders[task.task_type]
        if program is None:
            kept.append(task)
            continue
        better = next((own[other] for other in same.get(program.canonical, ()) if other in own), None)
        if better is not None and program.canonical not in own:
            dropped.append(Dropped(task, Reason.BEHAVIOUR, better.task_id))
        else:
            own.setdefault(program.canonical, task)
            kept.append(task)
    return kept, dropped


def _programs(ordered: Sequence[Task], prints: dict[str, Fingerprint]) -> dict[str, _Program]:
    """Task id -> program, for tasks that can be compared; tasks of renamed-equal programs share one."""
    first: dict[tuple[str, str], _Program] = {}
    pairs: dict[tuple[str, str], dict[str, str]] = {}
    where: dict[str, tuple[str, str]] = {}
    for task in ordered:
        found = signature(task) if task.task_type is not TaskType.ERROR else None
        if found is None:
            continue
        text, example = found
        key = (prints[task.program].canonical, text)
        if key not in first:
            content = text_hash(repr((python_minor(), *key)))
            first[key] = _Program(task.program, content, text, bank(text, example), ())
        pairs.setdefault(key, {}).update(zip(task.inputs, task.outputs, strict=True))
        where[task.task_id] = key
    own = {key: tuple(sorted(known.items())[:OWN_PAIRS]) for key, known in pairs.items()}
    full = {key: replace(program, pairs=own[key]) for key, program in first.items()}
    return {task_id: full[key] for task_id, key in where.items()}


def _confirmed(
    groups: Iterable[list[_Program]], store: BehaviourStore, outputs: Outputs
) -> dict[str, list[str]]:
    """Program -> better programs that compute the same on each other's inputs too. Each is compared with the
    best few of its group."""
    todo: dict[str, tuple[str, tuple[str, ...]]] = {}
    expected: dict[str, tuple[str, ...]] = {}
    wanted: list[tuple[str, str, tuple[str, str]]] = []
    for group in groups:
        for index, program in enumerate(group):
            for better in group[: min(index, COMPARED)]:
                keys = []
                for runs, gives in ((program, better), (better, program)):
                    key = text_hash(repr((runs.canonical, gives.canonical, gives.pairs)))
                    expected[key] = tuple(output for _, output in gives.pairs)
                    if store.get(key) is None:
                        todo[key] = (runs.code, tuple(text for text, _ in gives.pairs))
                    keys.append(key)
                wanted.append((program.canonical, better.canonical, (keys[0], keys[1])))
    _fill(store, todo, lambda key, texts: SAME if tuple(texts) == expected[key] else "", outputs)
    same: dict[str, list[str]] = {}
    for worse, better, pair in wanted:
        if all(store.get(key) == Behaviour(SAME) for key in pair):
            same.setdefault(worse, []).append(better)
    return same


def _fill(
    store: BehaviourStore,
    todo: dict[str, tuple[str, tuple[str, ...]]],
    summary: Callable[[str, tuple[str, ...]], str],
    outputs: Outputs,
) -> None:
    keys = list(todo)
    for index, texts in with_lines(outputs(list(todo.values())), "behaviour", len(todo)) if todo else ():
        store.add(keys[index], Behaviour(summary(keys[index], texts)))
    store.save()


def _summary(inputs: Sequence[str], texts: Sequence[str]) -> str:
    """Hash of the outputs, with the inputs they belong to; empty where too few values came back or too few differ."""
    values = [text for text in texts if text and not text.startswith("!")]
    if "" in texts or len(texts) < len(inputs) or len(values) < MIN_VALUES or len(set(values)) < MIN_DISTINCT:
        return ""
    return text_hash(repr((tuple(inputs), tuple(texts))))


def sandbox_outputs(config: SandboxConfig) -> Outputs:
    def run(pairs: Sequence[tuple[str, tuple[str, ...]]]) -> Iterator[tuple[int, tuple[str, ...]]]:
        jobs = (Job(code=code, inputs=inputs, verify=False) for code, inputs in pairs)
        with Sandbox(config) as sandbox:
            for index, result in sandbox.run_many(jobs):
                yield index, _texts(result)

    return run


def _texts(result: JobResult) -> tuple[str, ...]:
    def shown(call: CallResult) -> str:
        if call.status is Status.OK:
            return call.value or ""
        return f"!{call.exception}" if call.status is Status.ERROR else ""

    return tuple(map(shown, result.calls))
