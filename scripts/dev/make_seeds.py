"""Makes data/seeds and data/probes from scripts/dev/seed_programs: runs every program in the sandbox and
writes what came out.

    python scripts/dev/make_seeds.py             write the files
    python scripts/dev/make_seeds.py --check     make them again in memory and compare with the shipped ones, byte for byte

The seeds are 256 input/output records (abduction and deduction start from them) and 256 induction records;
the probes are frozen tasks of other programs, never trained on. Everything is refused that a run would drop:
duplicates, leaks between probes and seeds, values without a canonical text, outputs that differ between
processes.
"""

from __future__ import annotations

import _project  # noqa: F401

import argparse
import ast
import importlib
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
from azr.config.data import DataConfig  # noqa: E402
from azr.data.contamination import EvaluationItem, LeakIndex  # noqa: E402
from azr.data.duplicates import drop_duplicates  # noqa: E402
from azr.data.fingerprints import fingerprint_all  # noqa: E402
from azr.errors import AzrError, DataError  # noqa: E402
from azr.programs.source import collect_imports, parse_program, top_level_functions  # noqa: E402
from azr.sandbox import Job, Sandbox, SandboxConfig  # noqa: E402
from azr.system.files import file_hash, json_line, write_bytes_atomic, write_json_atomic  # noqa: E402
from azr.system.terminal import outlive_the_terminal  # noqa: E402
from azr.tasks import Lineage, Task, TaskType  # noqa: E402
from seed_programs import DIFFICULTIES, SeedProgram  # noqa: E402

SEED_FAMILIES = (
    "strings",
    "lists",
    "mappings",
    "numbers",
    "recursion",
    "machines",
    "formats",
    "grids",
    "techniques",
)
PROBE_FAMILIES = ("probe_text", "probe_data", "probe_math", "probe_worlds")
SEEDS = 256
PAIRS = 10
MAX_OUTPUT_CHARS = 400
"""The published executor cuts outputs here; ours are shorter."""
MIN_DISTINCT_OUTPUTS = 5
ALLOWED_MODULES = frozenset(
    {
        "bisect",
        "collections",
        "fractions",
        "functools",
        "heapq",
        "itertools",
        "math",
        "operator",
        "re",
        "statistics",
        "string",
    }
)
IDENTITY = SeedProgram(
    "def f(x):\n    return x",
    (
        '"Hello world"',
        "1",
        "dict(name='Ada', born=1815)",
        "(0.5, -1.25)",
        "'[[1, 0], [0, 1]]'",
        "31415926535897932384626433",
    ),
    "Give back whatever you are given.",
)
"""First record of both seed files."""


@dataclass(frozen=True)
class Verified:
    """A program that ran: ``outputs[i]`` is the canonical text of ``f(inputs[i])``."""

    family: str
    program: SeedProgram
    outputs: tuple[str, ...]


def load(families: Sequence[str]) -> list[tuple[str, SeedProgram]]:
    return [
        (family, item)
        for family in families
        for item in importlib.import_module(f"seed_programs.{family}").PROGRAMS
    ]


def verify(programs: Sequence[tuple[str, SeedProgram]]) -> list[Verified]:
    """Runs all programs on all their inputs: twice in each of two processes with different hash seeds.

    Raises:
        DataError: programs are not what seeds must be; the message lists all of them.
        SandboxError: programs cannot be confined on this machine.
    """
    faults: list[str] = []
    verified: list[Verified | None] = [None] * len(programs)
    jobs = [Job(item.code, item.inputs, verify=True) for _, item in programs]
    with Sandbox(SandboxConfig()) as sandbox:
        for index, result in sandbox.run_many(jobs):
            family, item = programs[index]
            outputs = tuple(call.value or "" for call in result.calls)
            problems = _faults(item, outputs) if result.ok else [result.reason]
            faults += [f"{family}, {item.message[:50]!r}: {problem}" for problem in problems]
            verified[index] = Verified(family, item, outputs)
    if faults:
        raise DataError("these programs cannot be seeds:\n  " + "\n  ".join(sorted(faults)))
    return [item for item in verified if item is not None]


def _faults(item: SeedProgram, outputs: Sequence[str]) -> list[str]:
    faults = []
    tree = parse_program(item.code)
    if [node.name for node in tree.body if isinstance(node, ast.FunctionDef)] != ["f"] or len(
        top_level_functions(tree)
    ) != 1:
        faults.append("it must define one function, f, at the top level")
    if any(
        not isinstance(node, (ast.Import, ast.ImportFrom, ast.ClassDef, ast.FunctionDef))
        for node in tree.body
    ):
        faults.append("only imports, classes and f may stand at the top level")
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        faults += [
            f"module {name} is not one of {', '.join(sorted(ALLOWED_MODULES))}"
            for name in names
            if name not in ALLOWED_MODULES
        ]
    if len(set(item.inputs)) != len(item.inputs):
        faults.append("an input is there twice")
    if item is not IDENTITY and len(item.inputs) != PAIRS:
        faults.append(f"{len(item.inputs)} inputs; it needs {PAIRS}")
    if len(set(outputs)) < MIN_DISTINCT_OUTPUTS:
        faults.append(f"only {len(set(outputs))} different outputs")
    for text, output in zip(item.inputs, outputs, strict=True):
        if len(output) >= MAX_OUTPUT_CHARS or output == "None":
            faults.append(
                f"f({text}) gives {output[:60]} ({len(output)} characters); it must be a value of less than {MAX_OUTPUT_CHARS}"
            )
    lines = [line.strip() for line in item.code.splitlines()]
    if not item.message or any(line in item.message for line in lines if len(line) >= 12):
        faults.append("the message is empty or holds a line of the code")
    return faults


def io_record(item: Verified) -> dict[str, Any]:
    """An abduction/deduction seed in the published format; without a task type it stands for
    both."""
    code = item.program.code
    return {
        "snippet": code,
        "original_snippet": code,
        "input": item.program.inputs[0],
        "output": item.outputs[0],
        "imports": list(collect_imports(parse_program(code))),
        "composite_functions": [],
    }


def induction_record(item: Verified) -> dict[str, Any]:
    """An induction seed in the published format."""
    return {
        "snippet": item.program.code,
        "inputs": list(item.program.inputs),
        "outputs": list(item.outputs),
        "message": item.program.message,
        "imports": list(collect_imports(parse_program(item.program.code))),
    }


def probe_tasks(item: Verified) -> list[Task]:
    """Two abduction and two deduction tasks on four different inputs, and one of induction.

    The four are those of middling size: neither the empty list, which anybody gets right, nor the most
        tedious case.
    """
    code, pairs = item.program.code, list(zip(item.program.inputs, item.outputs, strict=True))
    induction = Task(
        task_type=TaskType.INDUCTION,
        code=code,
        inputs=item.program.inputs,
        outputs=item.outputs,
        imports=collect_imports(parse_program(code)),
        message=item.program.message,
        lineage=Lineage(source="probe"),
    )
    by_size = sorted(pairs, key=lambda pair: len(pair[0]) + len(pair[1]))
    first = (len(by_size) - 4) // 2
    kinds = (TaskType.ABDUCTION, TaskType.DEDUCTION, TaskType.DEDUCTION, TaskType.ABDUCTION)
    single = [
        replace(induction, task_type=kind, inputs=(given,), outputs=(gold,), message="")
        for kind, (given, gold) in zip(kinds, by_size[first : first + 4], strict=True)
    ]
    return [*single, induction]


def probe_records(items: Sequence[Verified]) -> list[dict[str, Any]]:
    """Task records with ``family`` and ``difficulty``, in the order of their ids: a mixture wherever one cuts
    it."""
    records = [
        task.to_json() | {"family": item.family.removeprefix("probe_"), "difficulty": item.program.difficulty}
        for item in items
        for task in probe_tasks(item)
    ]
    return sorted(records, key=lambda record: record["task_id"])


def check_distinct(seeds: Sequence[Verified], probes: Sequence[Verified]) -> None:
    """No program twice (whatever its names and constants), and none that a run would drop as a copy or as a
    leak.

    Raises:
        DataError: some are; the message names them.
    """
    faults = []
    shapes: dict[str, Verified] = {}
    names = {item.program.code: _name(item) for item in (*seeds, *probes)}
    prints = fingerprint_all(names, workers=1)
    for item in (*seeds, *probes):
        other = shapes.setdefault(prints[item.program.code].shape, item)
        if other is not item:
            faults.append(f"{_name(item)} is {_name(other)} but for names and constants")
    everything = [
        Task(task_type=TaskType.INDUCTION, code=code, inputs=("0",), outputs=("0",)) for code in names
    ]
    faults += [
        f"{names[item.task.code]} resembles another one"
        for item in drop_duplicates(everything, prints, DataConfig())[1]
    ]
    index = LeakIndex(
        [EvaluationItem(_name(item), item.program.code) for item in probes],
        DataConfig().contamination_similarity,
        workers=1,
    )
    leaks = index.leaks([prints[item.program.code] for item in seeds])
    faults += [
        f"{_name(item)} resembles the probe {leak}" for item, leak in zip(seeds, leaks, strict=True) if leak
    ]
    faults += [
        f"{_name(item)} has no difficulty" for item in probes if item.program.difficulty not in DIFFICULTIES
    ]
    if faults:
        raise DataError("seeds and probes are not distinct:\n  " + "\n  ".join(faults))


def _name(item: Verified) -> str:
    return f"{item.family} ({item.program.message[:40]!r})"


def make() -> dict[Path, bytes]:
    """The shipped data files, by path.

    Raises:
        DataError: see ``verify`` and ``check_distinct``; or there are not exactly 256 seeds.
    """
    verified = verify([("identity", IDENTITY), *load(SEED_FAMILIES), *load(PROBE_FAMILIES)])
    seeds = [item for item in verified if item.family not in PROBE_FAMILIES]
    probes = [item for item in verified if item.family in PROBE_FAMILIES]
    if len(seeds) != SEEDS:
        raise DataError(
            f"scripts/dev/seed_programs holds {len(seeds) - 1} seed programs beside the identity; it must hold {SEEDS - 1}"
        )
    check_distinct(seeds, probes)
    files = {
        PROJECT / "data/seeds/seed_io.jsonl": [io_record(item) for item in seeds],
        PROJECT / "data/seeds/seed_induction.jsonl": [induction_record(item) for item in seeds],
        PROJECT / "data/probes/general.jsonl": probe_records(probes),
    }
    return {path: "".join(map(json_line, records)).encode() for path, records in files.items()}


def write(files: dict[Path, bytes]) -> None:
    for path, data in files.items():
        write_bytes_atomic(path, data)
    for folder in {path.parent for path in files}:
        write_json_atomic(
            folder / "manifest.json", manifest([path for path in files if path.parent == folder])
        )


def manifest(files: Sequence[Path]) -> dict[str, Any]:
    """Hashes and numbers of rows of one folder's files; a run trusts seeds whose hash stands here
    (data.trust_shipped_seeds)."""
    return {
        "made_by": "scripts/dev/make_seeds.py",
        "files": {
            file.name: {"hash": file_hash(file), "rows": file.read_bytes().count(b"\n")}
            for file in sorted(files)
        },
    }


def differences(files: dict[Path, bytes]) -> list[str]:
    """What of the shipped files is not what ``files`` says, as sentences."""
    found = []
    for path, data in files.items():
        shipped = path.read_bytes() if path.is_file() else b""
        if shipped != data:
            old, new = shipped.splitlines(), data.splitlines()
            line = next(
                (i for i, (a, b) in enumerate(zip(old, new, strict=False), 1) if a != b),
                min(len(old), len(new)) + 1,
            )
            found.append(f"{path.relative_to(PROJECT)} differs from line {line} on")
    for folder in sorted({path.parent for path in files}):
        recorded = folder / "manifest.json"
        mine = [path for path in files if path.parent == folder and path.is_file()]
        if not recorded.is_file() or json.loads(recorded.read_text()) != manifest(mine):
            found.append(f"{recorded.relative_to(PROJECT)} does not fit the files")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Makes data/seeds and data/probes from scripts/dev/seed_programs."
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing; exit 1 if the shipped files are not what would be written",
    )
    arguments = parser.parse_args()
    try:
        files = make()
        if not arguments.check:
            write(files)
        found = differences(files)
    except AzrError as error:
        print(error, file=sys.stderr)
        return 1
    for sentence in found:
        print(sentence + "; run scripts/dev/make_seeds.py", file=sys.stderr)
    for path, data in files.items():
        records = [json.loads(line) for line in data.splitlines()]
        kinds = Counter(record.get("task_type", "seed") for record in records)
        print(
            f"{path.relative_to(PROJECT)}: {len(records)} records ({', '.join(f'{kind} {count}' for kind, count in sorted(kinds.items()))})"
        )
    return 1 if found else 0


if __name__ == "__main__":
    outlive_the_terminal()
    raise SystemExit(main())
