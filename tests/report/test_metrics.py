from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from azr.report.metrics import MetricsReader, read_metrics_table
from azr.run.protocol import MetricsRecord, effective_metrics


def _line(step: int, attempt: int = 1, **values: float) -> str:
    return (
        json.dumps({"step": step, "cycle": 1, "attempt": attempt, "unix_s": 1.0 * step, "values": values})
        + "\n"
    )


def test_a_resume_drops_every_later_step_of_the_dead_attempt(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(
        "".join(_line(step, x=step) for step in range(1, 16)) + _line(11, 2, x=110) + _line(12, 2, x=120)
    )
    table = read_metrics_table(path)
    assert table.steps.tolist() == [*range(1, 11), 11, 12]
    assert table.column("x").tolist()[-2:] == [110, 120]
    assert table.undone == 5


def test_poll_reads_only_whole_lines_and_what_is_new(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    reader = MetricsReader(path)
    assert len(reader.poll()) == 0
    path.write_text(_line(1, x=1) + _line(2, x=2)[:20])
    assert reader.poll().steps.tolist() == [1]
    path.write_text(_line(1, x=1) + _line(2, x=2))
    assert reader.poll().column("x").tolist() == [1, 2]


def test_a_file_that_was_truncated_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    reader = MetricsReader(path)
    path.write_text("".join(_line(step) for step in range(1, 9)))
    assert len(reader.poll()) == 8
    path.write_text(_line(1))
    assert reader.poll().steps.tolist() == [1]


def test_damaged_lines_and_missing_values_do_not_stop_it(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    nan = '{"step": 3, "cycle": 1, "attempt": 1, "unix_s": 3, "values": {"x": NaN}}\n'
    path.write_text(
        '{"step": tru\n[1]\n\xff\n' + _line(1, x=1) + '{"values": {"x": 2}}\n' + _line(2, y=5) + nan
    )
    table = read_metrics_table(path)
    assert table.steps.tolist() == [1, 2, 3]
    assert table.last("x") == 1 and table.last("y") == 5 and table.last("z") is None
    assert math.isnan(table.column("x")[2])


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 12), st.integers(1, 4)), max_size=40))
def test_it_agrees_with_the_protocol(rows: list[tuple[int, int]]) -> None:
    import tempfile

    records = [
        MetricsRecord(step, 1, attempt, 1.0 * index, {"x": float(index)})
        for index, (step, attempt) in enumerate(rows)
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "metrics.jsonl"
        path.write_text("".join(_line(r.step, r.attempt, **r.values) for r in records))
        table = read_metrics_table(path)
    expected = effective_metrics(records)
    assert table.steps.tolist() == [record.step for record in expected]
    assert np.array_equal(table.column("x"), [record.values["x"] for record in expected])
