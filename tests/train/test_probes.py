"""Which probe tasks an evaluation answers, and what it reports."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from azr.config.load import load_config
from azr.errors import DataError
from azr.evaluate.tasks_suite import probe_suite
from azr.selfplay.outcomes import Completion, SolveOutcome
from azr.system.files import file_hash, write_json_atomic, write_jsonl_atomic
from azr.tasks import Task, TaskType
from azr.train.probes import (
    change_since_first,
    first_probe_rows,
    first_scores,
    probe_metrics,
    probe_rows,
    probes_too_long,
    verdict_metrics,
    verdict_rows,
    verdict_scores,
)

PROBES = Path(__file__).resolve().parents[2] / "data" / "probes"
CONFIG = load_config(["recipe=cpu_tiny"]).config.selfplay


def strata(rows: list) -> Counter[tuple[str, str]]:
    return Counter((row.row_id.split("/")[1], row.task.task_type.value) for row in rows)


@pytest.mark.parametrize("limit", [18, 120, 198])
def test_every_file_and_type_has_an_equal_share(limit: int, tmp_path: Path) -> None:
    for name in ("azr_tiny_heldout", "azr_tiny_train_families"):
        (tmp_path / f"{name}.jsonl").write_bytes((PROBES / f"{name}.jsonl").read_bytes())
    rows = probe_rows(tmp_path, limit, CONFIG, lambda _: True)
    assert set(strata(rows).values()) == {limit // 6}
    assert len({row.row_id for row in rows}) == limit
    assert rows == probe_rows(tmp_path, limit, CONFIG, lambda _: True)


def test_families_are_spread_too(tmp_path: Path) -> None:
    (tmp_path / "general.jsonl").write_bytes((PROBES / "general.jsonl").read_bytes())
    rows = probe_rows(tmp_path, 120, CONFIG, lambda _: True)
    half = [row for row in rows if int(row.row_id.split("/")[2]) < 215]
    assert 50 <= len(half) <= 70


def test_small_strata_give_their_rest_to_the_others(tmp_path: Path) -> None:
    def tasks(kind: TaskType, count: int) -> list[dict]:
        return [numbered(kind, n).to_json() for n in range(count)]

    write_jsonl_atomic(
        tmp_path / "few.jsonl", [*tasks(TaskType.ABDUCTION, 3), *tasks(TaskType.DEDUCTION, 50)]
    )
    rows = probe_rows(tmp_path, 20, CONFIG, lambda _: True)
    assert strata(rows) == {("few", "abduction"): 3, ("few", "deduction"): 17}
    assert probe_rows(tmp_path, 20, CONFIG, lambda _: False) == []
    assert probes_too_long(tmp_path, CONFIG, lambda _: True) == 0
    fitting = {row.prompt.text for row in rows}
    everything = probes_too_long(tmp_path, CONFIG, lambda _: False)
    assert probes_too_long(tmp_path, CONFIG, lambda prompt: prompt.text in fitting) == everything - 20 > 0


def test_metrics_by_type_and_by_file(tmp_path: Path) -> None:
    for name in ("azr_tiny_heldout", "azr_tiny_train_families"):
        (tmp_path / f"{name}.jsonl").write_bytes((PROBES / f"{name}.jsonl").read_bytes())
    rows = probe_rows(tmp_path, 12, CONFIG, lambda _: True)
    outcomes = [
        outcome(row, right="heldout" not in row.row_id and row.task.task_type is TaskType.DEDUCTION)
        for row in rows
    ]
    values = probe_metrics(outcomes)
    assert values["probe/tasks"] == 12
    assert values["probe/all/accuracy"] == pytest.approx(2 / 12)
    assert values["probe/deduction/accuracy"] == 0.5
    assert values["probe/azr_tiny_train_families/accuracy"] == pytest.approx(2 / 6)
    assert values["probe/azr_tiny_heldout/accuracy"] == 0
    one_file = probe_metrics([item for item in outcomes if "heldout" in item.row_id])
    assert not any("azr_tiny" in name for name in one_file)


def test_a_frozen_probe_that_was_edited_is_not_asked(tmp_path: Path) -> None:
    """By hand, in the middle of a cycle: the next trainer, and evaluations, asked it as if it were the old one."""
    probes = tmp_path / "probes"
    probes.mkdir()
    lines = (PROBES / "general.jsonl").read_bytes().splitlines(keepends=True)
    (probes / "general.jsonl").write_bytes(b"".join(lines))
    write_json_atomic(
        probes / "hashes.json",
        {"probes": {"general.jsonl": file_hash(probes / "general.jsonl")}, "evaluation": {}},
    )
    (probes / "general.jsonl").write_bytes(b"".join(lines[1:]))
    with pytest.raises(DataError, match=r"general\.jsonl was changed .* copy the original back"):
        first_probe_rows(probes, tmp_path / "first.json", 12, CONFIG, lambda _: True)


def test_a_run_asks_the_tasks_of_its_first_evaluation_to_its_end(tmp_path: Path) -> None:
    """Whatever ``train.probe_tasks`` is after a resume, and whatever files come to lie beside the frozen ones."""
    probes, kept = tmp_path / "probes", tmp_path / "first.json"
    probes.mkdir()
    (probes / "general.jsonl").write_bytes((PROBES / "general.jsonl").read_bytes())
    write_json_atomic(
        probes / "hashes.json",
        {"probes": {"general.jsonl": file_hash(probes / "general.jsonl")}, "evaluation": {}},
    )
    first = first_probe_rows(probes, kept, 12, CONFIG, lambda _: True)
    assert len(first) == 12
    change_since_first(kept, [outcome(row, right=True) for row in first])
    for name in ("general (conflicted copy).jsonl", "mine.jsonl"):
        (probes / name).write_bytes((PROBES / "azr_tiny_heldout.jsonl").read_bytes())
    (probes / "._general.jsonl").write_bytes(b"\0\x05\x16\x07")  # what macOS puts beside every file
    for limit in (4, 12, 60):
        assert first_probe_rows(probes, kept, limit, CONFIG, lambda _: True) == first
    assert first_probe_rows(probes, kept, 0, CONFIG, lambda _: True) == []
    assert {row.row_id.split("/")[1] for row in verdict_rows(probes, 1, CONFIG, lambda _: True)} == {
        "general"
    }
    assert {item.item_id.split("/")[0] for item in probe_suite(probes, CONFIG).items} == {"general"}


@pytest.mark.parametrize(
    "content", ["", "\0" * 50, "{}", '{"scores": 3}', '{"scores": {"a": "x"}}', "9" * 5000]
)
def test_damaged_first_scores_do_not_end_a_run(tmp_path: Path, content: str) -> None:
    """They would end every attempt at the same step."""
    (tmp_path / "general.jsonl").write_bytes((PROBES / "general.jsonl").read_bytes())
    kept = tmp_path / "first.json"
    kept.write_text(content)
    rows = first_probe_rows(tmp_path, kept, 12, CONFIG, lambda _: True)
    assert len(rows) == 12 and first_scores(kept) is None
    assert change_since_first(kept, [outcome(row, right=True) for row in rows]) == {}
    assert len(first_scores(kept) or {}) == 12


def test_the_change_is_paired_by_task(tmp_path: Path) -> None:
    (tmp_path / "general.jsonl").write_bytes((PROBES / "general.jsonl").read_bytes())
    rows = probe_rows(tmp_path, 12, CONFIG, lambda _: True)
    kept = tmp_path / "first.json"
    first = [outcome(row, right=number < 3) for number, row in enumerate(rows)]
    assert change_since_first(kept, first) == {}
    unchanged = change_since_first(kept, first)
    assert unchanged["probe/all/change"] == 0 and unchanged["probe/all/change_error"] > 0, (
        "no change is not a certainty"
    )

    later = [outcome(row, right=number in (1, 2, 3, 4, 5)) for number, row in enumerate(rows)]
    found = change_since_first(kept, later[::-1])
    changes = [-1, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0, +1, -1]  # the last two are the correction
    assert found["probe/all/change"] == pytest.approx(2 / 12)
    assert found["probe/all/change_error"] == pytest.approx(statistics.stdev(changes) / 14**0.5)
    assert change_since_first(kept, later[:6]) != {}, "fewer of the same tasks still pair"
    others = [outcome(replace(row, row_id=row.row_id + "0"), right=True) for row in rows]
    assert change_since_first(kept, others) == {}, "other tasks cannot be paired"


def test_the_verdict_asks_every_task_and_pairs_it(tmp_path: Path) -> None:
    for name in ("azr_tiny_heldout", "azr_tiny_train_families"):
        (tmp_path / f"{name}.jsonl").write_bytes((PROBES / f"{name}.jsonl").read_bytes())
    rows = list(verdict_rows(tmp_path, 2, CONFIG, lambda _: True))
    assert len(rows) == len({row.row_id for row in rows}) == 2 * (400 + 200)

    def scores(right) -> dict[str, float]:
        return verdict_scores([outcome(row, right=right(*row.row_id.split("/")[1:])) for row in rows])

    first = scores(lambda file, number, sample: sample == "0" and int(number) < 100)
    assert len(first) == 600 and set(first.values()) == {0.0, 0.5}
    before = verdict_metrics(first, None)
    assert (
        before["verdict/azr_tiny_heldout/accuracy"] == pytest.approx(0.25)
        and before["verdict/all/tasks"] == 600
    )
    assert not any("change" in name for name in before)

    def later(file: str, number: str, sample: str) -> bool:
        """The second answers to 50 tasks of the one file became right."""
        return int(number) < (100 if sample == "0" else 50 if "train" in file else 0)

    after = verdict_metrics(scores(later), first)
    assert after["verdict/azr_tiny_train_families/change"] == pytest.approx(50 * 0.5 / 400)
    changes = [0.5] * 50 + [0.0] * 350 + [1.0, -1.0]
    assert after["verdict/azr_tiny_train_families/change_error"] == pytest.approx(
        statistics.stdev(changes) / 402**0.5
    )
    assert (
        after["verdict/azr_tiny_heldout/change"] == 0 and after["verdict/azr_tiny_heldout/change_error"] > 0
    )
    assert after["verdict/all/change"] == pytest.approx(25 / 600)
    fewer = dict(list(first.items())[1:])
    assert "verdict/all/change" not in verdict_metrics(first, fewer), (
        "a task without a first answer cannot be paired"
    )


def numbered(kind: TaskType, number: int) -> Task:
    code = f"def f(x):\n    return x + {number}"
    return Task(task_type=kind, code=code, inputs=(str(number),), outputs=(str(2 * number),))


def outcome(row, *, right: bool) -> SolveOutcome:
    completion = Completion("", 0, True)
    values = {
        "task_id": "",
        "solution": "",
        "score": float(right),
        "reason": "correct",
        "reward": 1.0,
        "format_ok": True,
    }
    return SolveOutcome(
        stream=row.stream, row_id=row.row_id, prompt=row.prompt, completion=completion, **values
    )
