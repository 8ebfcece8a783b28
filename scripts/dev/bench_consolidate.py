#!/usr/bin/env python3
"""Consolidates many programs with planted copies and leaks: prints time, recall and precision (docs/data.md
has a run).

    python scripts/dev/bench_consolidate.py [--programs 50000] [--behaviour 300] [--seed 1]

A generator writes distinct programs; some get one copy each (verbatim, renamed, edited), others copy an
evaluation item. The whole of ``azr.data.consolidate`` is timed, by phases, without executions: re-execution
is off, and the behavioural search gets no answers. Behavioural copies need executions, so a smaller set of
them goes through the sandbox afterwards, timed apart. Exit status 1 if a required figure is missed.
"""

from __future__ import annotations

import _project

import argparse
import json
import os
import re
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random

from azr.config.data import DataConfig, Reexecute
from azr.config.sandbox import SandboxConfig
from azr.data import build
from azr.data.behaviour import BehaviourStore, Outputs, drop_behavioural, sandbox_outputs
from azr.data.consolidate import consolidate
from azr.data.fingerprints import fingerprint_all
from azr.data.manifest import load_pool
from azr.run.rundir import RunDir
from azr.system.files import read_jsonl, write_jsonl_atomic
from azr.system.terminal import outlive_the_terminal
from azr.tasks import Lineage, Task, TaskType

MAX_SECONDS = 60
LEAST = {"exact": 0.99, "renamed": 0.99, "edited": 0.95}
LEAST_PRECISION = 0.99

HEAD = "def f(items, text, n):\n    total = n\n    table = {}\n"
TAILS = (
    "total, text",
    "items",
    "text + str(total)",
    "sorted(table.items()), total",
    "[total, len(items)]",
    "(items, text)",
    "total + len(text)",
)
NAMES = (
    "items",
    "text",
    "n",
    "total",
    "table",
    "stack",
    "out",
    "word",
    "best",
    "seen",
    "last",
    "x",
    "i",
    "ch",
    "key",
    "left",
    "right",
)
STATEMENTS = (
    r"items = [x {op} {c} for x in items]",
    r"items = [x for x in items if x % {c} != {d}]",
    r"items = sorted(items, key=lambda x: (x % {c}, x))",
    r"items = items[{d}:] + items[:{d}]",
    r"items.append(total {op} {c})",
    r"items = [left {op} right for left, right in zip(items, items[{d}:])]",
    r"items = list(dict.fromkeys(x // {c} for x in items))",
    r"items.insert({d}, len(text) {op} {c})",
    r"total = total {op} {c}",
    r"total += sum(x for x in items if x {cmp} {c})",
    r"total = (total * {c} + {d}) % {big}",
    r"total ^= len(text) << {d}",
    r"total = max(items, default={c}) {op} total",
    r"total -= text.count({letter})",
    r"total += sum(table.values()) {op} {c}",
    r"text = text.replace({letter}, {letter2})",
    r"text = text[::{step}] + str(total % {c})",
    r"text = text.upper() if total % {c} {cmp} {d} else text.lower()",
    r"text = text.strip({letter}) + {letter2} * (total % {c})",
    r"text = {letter}.join(reversed(text.split({letter2})))",
    r'text = "".join(chr((ord(ch) - 97 + {c}) % 26 + 97) if ch.islower() else ch for ch in text)',
    r"table = {{key: value {op} {c} for key, value in table.items() if value {cmp} {big}}}",
    r"table[len(text) % {c}] = total",
    r"for ch in text:\n    table[ch] = table.get(ch, {d}) + {c}",
    r"for i, x in enumerate(items):\n    if (x + i) % {c} == {d}:\n        total += x * {c}\n    else:\n        total -= i",
    r"for x in items:\n    key = x % {c}\n    table[key] = table.get(key, {d}) + x",
    r"stack = []\nfor x in items:\n    while stack and stack[-1] {cmp} x:\n        stack.pop()\n    stack.append(x {op} {c})\nitems = stack",  # noqa: E501
    r"while abs(total) > {big}:\n    total = total // {c} - {d}",
    r'out = []\nfor i in range(len(text)):\n    out.append(text[i].swapcase() if i % {c} == {d} else text[i])\ntext = "".join(out)',
    r"last = {d}\nfor x in items:\n    if x {cmp} last:\n        total += x - last\n    last = x",
    r"seen = set()\nbest = 0\nfor ch in text:\n    if ch in seen:\n        best += {c}\n    seen.add(ch)\ntotal += best",
    r'word = ""\nfor ch in text:\n    if ch == {letter}:\n        total += len(word) {op} {c}\n        word = ""\n    else:\n        word += ch',  # noqa: E501
    r"if len(items) {cmp} {c}:\n    items = items + [total % {big}]\nelse:\n    text = text + {letter}",
    r"if text.startswith({letter}):\n    total *= {c}",
    r"try:\n    total += int(text[{d}:{c}])\nexcept ValueError:\n    total -= {c}",
    r"left, right = 0, len(items) - 1\nwhile left < right:\n    total += {c} * (items[left] {cmp} items[right])\n    left, right = left + 1, right - 1",  # noqa: E501
)
LETTERS = tuple("abcdeimnorst ")


def statement(rng: Random) -> str:
    words = {
        "op": rng.choice("+-*"),
        "cmp": rng.choice(("<", ">", "<=", ">=")),
        "c": rng.randrange(2, 30),
        "d": rng.randrange(0, 5),
        "big": rng.randrange(50, 999),
        "step": rng.choice((1, 2, 3, -1, -2)),
        "letter": repr(rng.choice(LETTERS)),
        "letter2": repr(rng.choice(LETTERS)),
    }
    return rng.choice(STATEMENTS).replace("\\n", "\n").format(**words)


def program(rng: Random) -> str:
    body = [statement(rng) for _ in range(rng.randrange(6, 14))]
    return _source(body, rng.choice(TAILS))


def _source(body: list[str], tail: str) -> str:
    lines = "\n".join(body).split("\n")
    return HEAD + "".join(f"    {line}\n" for line in lines) + f"    return {tail}\n"


def verbatim(source: str, rng: Random) -> str:
    return source.replace("\n", "  \n", 1) if rng.random() < 0.5 else source


def renamed(source: str, rng: Random) -> str:
    fresh = rng.sample(
        [f"{first}_{second}" for first in ("my", "the", "cur", "tmp") for second in "abcdefgh"], len(NAMES)
    )
    table: dict[str, str] = dict(zip(NAMES, fresh, strict=True))
    text = re.sub(
        r"(?<![\w.'\"])(" + "|".join(NAMES) + r")(?![\w'\"(]|=lambda)",
        lambda match: table[match.group(1)],
        source,
    )
    return text.replace("\n", "\n    # computed step by step\n", 1)


def edited(source: str, rng: Random) -> str:
    """One small edit: a constant, an operator, a line more or a line less."""
    kind = rng.randrange(4)
    lines = source.split("\n")
    if kind == 0:
        numbers = list(re.finditer(r"(?<![\w\[:])\d+(?!\w)", source))
        match = rng.choice(numbers)
        return source[: match.start()] + str(int(match.group()) + 31) + source[match.end() :]
    if kind == 1:
        operators = list(re.finditer(r" ([+*]) ", source))
        if operators:
            match = rng.choice(operators)
            return source[: match.start()] + {"+": " * ", "*": " + "}[match.group(1)] + source[match.end() :]
    if kind == 2:
        lines.insert(3, f"    total = total + {rng.randrange(40, 99)}")
        return "\n".join(lines)
    single = [index for index in range(3, len(lines) - 2) if _stands_alone(lines, index)]
    if single:
        del lines[rng.choice(single)]
        return "\n".join(lines)
    return source.replace("total = n\n", "total = n + 41\n")


def _stands_alone(lines: list[str], index: int) -> bool:
    """A short statement at the function's own level, without a block before or after."""
    line, following = lines[index], lines[index + 1]
    return (
        re.match(r"    (items|total|text)\b.{0,40}$", line) is not None
        and following.startswith("    ")
        and following[4] != " "
    )


def embedded(source: str, rng: Random) -> str:
    """The program as a helper of a larger one."""
    more = "".join(f"    {line}\n" for line in statement(rng).split("\n"))
    return (
        source.replace("def f(", "def helper(")
        + f"\ndef f(items, text, n):\n    total = n\n    table = {{}}\n{more}    return helper(items, text, total)\n"
    )


def behavioural(source: str, rng: Random) -> str:
    """Computes the same in other words."""
    body = source.split("\n", 1)[1]
    body = body.replace(
        "    total = n\n",
        "    total, unused = n, [n] * 3\n    for _ in range(2):\n        unused = [value + 1 for value in unused]\n",
    )
    return "def f(items, text, n):\n    items = [value for value in list(items)]\n" + re.sub(
        r"return (.*)", r"outcome = (\1)\n    return outcome", body
    )


def record(source: str, index: int, group: int) -> dict[str, object]:
    rng = Random(index)
    text = "".join(rng.choice(LETTERS) for _ in range(8))
    argument = f"{[rng.randrange(50) for _ in range(5)]}, {text!r}, {rng.randrange(9)}"
    return {
        "task_type": "deduction",
        "snippet": source,
        "input": argument,
        "output": "0",
        "lineage": {"model": f"group {group}"},
    }


def main() -> int:
    parser = _project.argument_parser(__doc__)
    parser.add_argument("--programs", type=int, default=50_000)
    parser.add_argument(
        "--behaviour", type=int, default=300, help="behavioural copies run through the sandbox; 0: none"
    )
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    rng = Random(args.seed)
    copies, leaks = args.programs // 20, args.programs // 50
    makers = {"exact": verbatim, "renamed": renamed, "edited": edited}
    leak_makers = (verbatim, renamed, edited, embedded)
    originals = [program(rng) for _ in range(args.programs - 3 * copies - leaks)]
    evaluation = [program(rng) for _ in range(max(leaks // 2, 1))]
    kind_of: dict[int, str] = {}
    records = [record(source, index, index) for index, source in enumerate(originals)]
    for number, (kind, maker) in enumerate(makers.items()):
        for group in range(number * copies, (number + 1) * copies):
            kind_of[group] = kind
            copy = record(maker(originals[group], rng), group if kind != "edited" else -group - 1, group)
            records.append(copy)
    for index in range(leaks):
        records.append(record(leak_makers[index % 4](evaluation[index % len(evaluation)], rng), index, -1))
    rng.shuffle(records)
    with tempfile.TemporaryDirectory() as folder:
        return bench(Path(folder), records, evaluation, originals, kind_of, args)


def bench(
    folder: Path,
    records: list[dict[str, object]],
    evaluation: list[str],
    originals: list[str],
    kind_of: dict[int, str],
    args: argparse.Namespace,
) -> int:
    write_jsonl_atomic(folder / "mine.jsonl", records)
    write_jsonl_atomic(folder / "evaluation.jsonl", ({"code": source} for source in evaluation))
    config = DataConfig(
        seeds="none",
        extra_files=[str(folder / "mine.jsonl")],
        probe_files=[],
        evaluation_files=[str(folder / "evaluation.jsonl")],
        reexecute=Reexecute.NEVER,
    )
    build.sandbox_outputs = unanswered
    run = RunDir(folder / "run")
    started, cpu = time.perf_counter(), _cpu_s()
    report = consolidate(run, 1, config)
    seconds, cpu = time.perf_counter() - started, _cpu_s() - cpu
    again = consolidate(run, 1, config)
    print(f"{len(records)} programs, {len(originals)} of them distinct; {len(evaluation)} evaluation items")
    load = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    print(
        f"consolidated in {seconds:.1f} s ({cpu:.1f} s of CPU, {load}); required: {MAX_SECONDS} s", flush=True
    )
    show_phases(report.phases, seconds)
    print(f"counts: {report.tasks} kept, {json.dumps(report.new.left_out)}")
    stayed = Counter(int(task.lineage.model.split()[1]) for task in load_pool(run))
    ok = seconds <= MAX_SECONDS and again.manifest_hash == report.manifest_hash
    print(f"second run gives the same manifest hash: {again.manifest_hash == report.manifest_hash}")
    for kind, least in LEAST.items():
        groups = [group for group, planted in kind_of.items() if planted == kind]
        recall = sum(stayed[group] == 1 for group in groups) / len(groups)
        ok &= recall >= least
        print(f"recall {kind:<10}{recall:8.2%}   required: {least:.0%}")
    dropped = [
        item for item in read_jsonl(run.pool / "rejected.jsonl") if not item["reason"].startswith("leaked")
    ]
    false = sum(stayed[group] == 0 for group in range(len(originals)))
    leaked_out = sum(task.lineage.model == "group -1" for task in load_pool(run))
    precision = 1 - false / max(len(dropped) + false, 1)
    ok &= precision >= LEAST_PRECISION and not leaked_out
    print(
        f"precision        {precision:8.2%}   required: {LEAST_PRECISION:.0%} ({false} distinct programs lost)"
    )
    print(f"leaked items in the pool: {leaked_out} of {args.programs // 50}   required: 0")
    if args.behaviour:
        ok &= bench_behaviour(folder, originals, args)
    print("all required figures reached" if ok else "A REQUIRED FIGURE WAS MISSED")
    return int(not ok)


def show_phases(phases: dict[str, float], seconds: float) -> None:
    """What the time went into."""
    for name, taken in (phases | {"the rest": seconds - sum(phases.values())}).items():
        note = {
            "re-execution": "switched off: does not count",
            "behaviour": "counts; all but its executions",
        }.get(name, "counts")
        print(f"    {name:<24}{taken:7.1f} s   {note}")


def unanswered(config: SandboxConfig) -> Outputs:
    """In place of the sandbox: every program is asked, none answers. What is left of the behavioural search
    is not execution."""
    return lambda pairs: ((index, ("",) * len(inputs)) for index, (_, inputs) in enumerate(pairs))


def _cpu_s() -> float:
    """CPU seconds of this process and of its children that ended."""
    return time.process_time() + sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])


def bench_behaviour(folder: Path, originals: list[str], args: argparse.Namespace) -> bool:
    """Behavioural copies among as many distinct programs, executed."""
    rng = Random(args.seed)
    sources = originals[: args.behaviour]
    pairs = [(source, f"group {index}") for index, source in enumerate(sources)]
    pairs += [(behavioural(source, rng), group) for source, group in pairs]
    outputs = sandbox_outputs(SandboxConfig())
    inputs = [str(record(source, int(group.split()[1]), 0)["input"]) for source, group in pairs]
    values = {
        index: texts[0]
        for index, texts in outputs(
            [(source, (text,)) for (source, _), text in zip(pairs, inputs, strict=True)]
        )
    }
    tasks = [
        Task(
            task_type=TaskType.DEDUCTION,
            code=source,
            inputs=(inputs[index],),
            outputs=(values[index],),
            lineage=Lineage(model=group),
        )
        for index, (source, group) in enumerate(pairs)
        if values[index] and not values[index].startswith("!")
    ]
    prints = fingerprint_all(task.program for task in tasks)
    started = time.perf_counter()
    kept, dropped = drop_behavioural(tasks, prints, BehaviourStore(folder / "behaviour.jsonl"), outputs)
    seconds = time.perf_counter() - started
    planted = [group for group, count in Counter(task.lineage.model for task in tasks).items() if count == 2]
    stayed = Counter(task.lineage.model for task in kept)
    recall = sum(stayed[group] == 1 for group in planted) / max(len(planted), 1)
    false = sum(stayed[item.task.lineage.model] == 0 for item in dropped)
    print(f"behavioural copies: {len(planted)} planted, recall {recall:.1%}, {false} distinct programs lost")
    print(f"                    {len(tasks)} programs executed in {seconds:.1f} s")
    return false == 0


if __name__ == "__main__":
    outlive_the_terminal()
    sys.exit(main())
