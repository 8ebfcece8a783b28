"""The shipped seeds and probes: counts, formats, distinctness, and that they are what
scripts/dev/make_seeds.py makes."""

from __future__ import annotations

import ast
import importlib.util
import json
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from azr.config.data import DataConfig
from azr.data.contamination import LeakIndex, evaluation_items
from azr.data.duplicates import drop_duplicates
from azr.data.fingerprints import fingerprint_all, make_fingerprint
from azr.data.schema import tasks_of
from azr.data.sources import shipped_hashes
from azr.errors import DataError
from azr.sandbox import values
from azr.system.files import file_hash, read_jsonl
from azr.tasks import Task, TaskType

ROOT = Path(__file__).resolve().parents[2]
SEED_IO = ROOT / "data/seeds/seed_io.jsonl"
SEED_INDUCTION = ROOT / "data/seeds/seed_induction.jsonl"
PROBES = ROOT / "data/probes/general.jsonl"


@pytest.fixture(scope="module")
def make_seeds() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_seeds", ROOT / "scripts/dev/make_seeds.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_seeds"] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


def records(path: Path) -> list[dict[str, Any]]:
    return list(read_jsonl(path, strict=True))


def seed_tasks() -> list[Task]:
    tasks: list[Task] = []
    for record in (*records(SEED_IO), *records(SEED_INDUCTION)):
        outcome = tasks_of(record)
        assert isinstance(outcome, list), outcome
        tasks += outcome
    return tasks


def test_input_output_seeds_have_the_published_fields() -> None:
    found = records(SEED_IO)
    assert len(found) == 256
    for record in found:
        assert set(record) == {
            "snippet",
            "original_snippet",
            "input",
            "output",
            "imports",
            "composite_functions",
        }
        assert record["snippet"] == record["original_snippet"]
        assert all(line in record["snippet"] for line in record["imports"])
        values.parse_arguments(record["input"])
        values.read(record["output"])
        assert len(record["output"]) < 400


def test_induction_seeds_have_ten_pairs_and_a_message() -> None:
    found = records(SEED_INDUCTION)
    assert len(found) == 256
    for number, record in enumerate(found):
        assert set(record) == {"snippet", "inputs", "outputs", "message", "imports"}
        assert len(record["inputs"]) == len(record["outputs"]) == (6 if number == 0 else 10)
        assert len(set(record["inputs"])) == len(record["inputs"])
        assert record["message"] and "def f" not in record["message"]
        for text, output in zip(record["inputs"], record["outputs"], strict=True):
            values.parse_arguments(text)
            values.read(output)


def test_the_first_record_is_the_identity() -> None:
    for path in (SEED_IO, SEED_INDUCTION):
        first = records(path)[0]
        argument = first["snippet"].split("(")[1].split(")")[0]
        assert first["snippet"] == f"def f({argument}):\n    return {argument}"
        assert first.get("input", first.get("inputs", [""])[0]) == '"Hello world"'


def test_programs_differ_in_more_than_names_and_constants() -> None:
    for path in (SEED_IO, SEED_INDUCTION):
        shapes = {make_fingerprint(record["snippet"]).shape for record in records(path)}
        assert len(shapes) == 256


def test_a_run_keeps_every_seed() -> None:
    tasks = seed_tasks()
    assert Counter(task.task_type for task in tasks) == {
        TaskType.ABDUCTION: 256,
        TaskType.DEDUCTION: 256,
        TaskType.INDUCTION: 256,
    }
    prints = fingerprint_all((task.program for task in tasks), workers=1)
    kept, dropped = drop_duplicates(tasks, prints, DataConfig())
    assert not dropped and len(kept) == 768
    index = LeakIndex(evaluation_items([PROBES]), DataConfig().contamination_similarity, workers=1)
    assert len(index) > 80
    assert not any(index.leaks([prints[task.program] for task in tasks]))


def test_probes_are_stratified_tasks() -> None:
    found = records(PROBES)
    strata = Counter((record["task_type"], record["difficulty"]) for record in found)
    assert len(found) >= 300
    assert set(strata) == {
        (kind, level)
        for kind in ("abduction", "deduction", "induction")
        for level in ("easy", "medium", "hard")
    }
    assert min(strata.values()) >= 20
    assert len({record["family"] for record in found}) >= 4
    tasks = [Task.from_json(record) for record in found]
    assert [task.task_id for task in tasks] == [record["task_id"] for record in found]
    assert len({task.task_id for task in tasks}) == len(tasks)
    assert {task.lineage.source for task in tasks} == {"probe"}
    for output in (output for task in tasks for output in task.outputs):
        values.read(output)


@pytest.mark.parametrize("limit", [30, 60, 120, 200])
def test_any_stride_through_the_probes_meets_all_strata(limit: int) -> None:
    chosen = records(PROBES)[:: 430 // limit][:limit]
    strata = Counter((record["task_type"], record["difficulty"]) for record in chosen)
    assert len({kind for kind, _ in strata}) == 3 and len({level for _, level in strata}) == 3


def test_the_manifest_names_the_shipped_files() -> None:
    hashes = shipped_hashes()
    assert hashes["seed_io.jsonl"] == file_hash(SEED_IO)
    assert hashes["seed_induction.jsonl"] == file_hash(SEED_INDUCTION)


def test_a_sample_gives_the_shipped_outputs_again(make_seeds: ModuleType) -> None:
    by_code = {record["snippet"]: record for record in records(SEED_INDUCTION)}
    sample = make_seeds.load(make_seeds.SEED_FAMILIES)[::12]
    for item in make_seeds.verify(sample):
        assert make_seeds.induction_record(item) == by_code[item.program.code]


def test_what_cannot_be_a_seed_is_refused(make_seeds: ModuleType) -> None:
    from seed_programs import program

    bad = {
        "gave": program("hash order", "def f(x):\n    return {x, 'a', 'b'}.pop()", "'c'"),
        "characters": program("too long", "def f(x):\n    return [x] * 500", "1"),
        "module json is not": program("imports", "import json\n\ndef f(x):\n    return x", "1"),
        "has no attribute": program("fails", "def f(x):\n    return x.missing", "1"),
        "one function": program(
            "two functions", "def f(x):\n    return g(x)\n\n\ndef g(x):\n    return x", "1"
        ),
        "top level": program("a global", "LIMIT = 3\n\n\ndef f(x):\n    return x % LIMIT", "1"),
        "line of the code": program("just return x * x + 1 of it", "def f(x):\n    return x * x + 1", "2"),
        "twice": program("the same input", "def f(x):\n    return x", "1\n1"),
        "9 inputs; it needs 10": program("too few", "def f(x):\n    return x", "\n".join(map(str, range(9)))),
        "only 2 different outputs": program(
            "nearly constant", "def f(x):\n    return x > 3", "\n".join(map(str, range(10)))
        ),
        "no canonical text": program("a function", "def f(x):\n    return lambda: x", "1"),
    }
    with pytest.raises(DataError) as caught:
        make_seeds.verify([("test", item) for item in bad.values()])
    lines = str(caught.value).splitlines()
    for fault, item in bad.items():
        assert any(item.message in line and fault in line for line in lines), (fault, lines)


def test_copies_and_leaks_are_refused(make_seeds: ModuleType) -> None:
    from seed_programs import SeedProgram

    def verified(code: str, family: str) -> Any:
        return make_seeds.Verified(family, SeedProgram(code, ("1",), code, "easy"), ("1",))

    original = "def f(items):\n    total = 0\n    for item in items:\n        if item > 3:\n            total += item * 2\n    return total"
    renamed = original.replace("total", "summed").replace("3", "9")
    edited = original.replace("total += item * 2", "total += item * 2 - 1")
    with pytest.raises(DataError, match="names and constants"):
        make_seeds.check_distinct([verified(original, "a"), verified(renamed, "b")], [])
    with pytest.raises(DataError, match="resembles the probe"):
        make_seeds.check_distinct([verified(original, "a")], [verified(edited, "probe")])


def test_a_changed_byte_is_found(make_seeds: ModuleType) -> None:
    shipped = {path: path.read_bytes() for path in (SEED_IO, SEED_INDUCTION, PROBES)}
    assert make_seeds.differences(shipped) == []
    lines = shipped[SEED_IO].splitlines(keepends=True)
    lines[7] = lines[7].replace(b"def f", b"def  f")
    assert make_seeds.differences({**shipped, SEED_IO: b"".join(lines)}) == [
        "data/seeds/seed_io.jsonl differs from line 8 on"
    ]


@pytest.mark.parametrize(
    "path", sorted((ROOT / "scripts/dev/seed_programs").glob("[a-z]*.py")), ids=lambda p: p.stem
)
def test_the_programs_are_still_python(path: Path) -> None:
    """They stand in strings, where nobody sees that a tool wrapped their lines like prose."""
    texts = [node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)]
    programs = [text for text in texts if isinstance(text, str) and "\ndef f(" in f"\n{text}"]
    assert programs
    for program in programs:
        ast.parse(program)


@pytest.mark.slow
def test_the_shipped_files_are_what_the_script_makes(make_seeds: ModuleType) -> None:
    files = make_seeds.make()
    assert make_seeds.differences(files) == []
    assert {json.loads(line)["task_type"] for line in files[PROBES].splitlines()} == {
        "abduction",
        "deduction",
        "induction",
    }
