"""The codec of a run's JSON: what is written reads back the same, and what is no such record is refused with
a sentence."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azr.errors import DataError
from azr.run.protocol import Heartbeat, MetricsRecord, TrainRequest, TrainResult
from azr.run.records import (
    CampaignState,
    Incident,
    JudgeVerdict,
    MachineSample,
    from_json,
    last_sample,
    read_log,
)
from azr.system.files import append_jsonl

CLASSES = (
    CampaignState,
    Incident,
    JudgeVerdict,
    MachineSample,
    Heartbeat,
    MetricsRecord,
    TrainRequest,
    TrainResult,
)
text = st.text(st.characters(exclude_categories=()))
number = st.floats(allow_nan=False, allow_infinity=False)
SPECIAL: dict[Any, st.SearchStrategy[Any]] = {
    str: text,
    float: number,
    float | None: st.none() | number,
    dict[str, Any]: st.dictionaries(text, st.integers() | text),
    dict[str, float]: st.dictionaries(text, number),
    dict[str, list[float]]: st.dictionaries(text, st.lists(number)),
}


def any_of(cls: type) -> st.SearchStrategy[Any]:
    return st.builds(
        cls, **{name: SPECIAL[hint] for name, hint in get_type_hints(cls).items() if hint in SPECIAL}
    )


@given(st.one_of(list(map(any_of, CLASSES))))
def test_what_is_written_reads_back_the_same(record: Any) -> None:
    written = json.loads(json.dumps(asdict(record)))
    assert from_json(type(record), written | {"a field of a later version": 1}, "the file") == record


@pytest.mark.parametrize(
    ("cls", "value", "message"),
    [
        (TrainRequest, {"cycle": 1}, "request.json is not a TrainRequest: attempt: Field required"),
        (TrainRequest, [], "request.json is not a TrainRequest: Input should be a dictionary"),
        (Incident, {"kind": "crash", "cause": 5}, "cause: Input should be a valid string"),
        (CampaignState, {"state": "DANCE"}, "state: Input should be"),
        (Heartbeat, {"unix_s": float("nan")}, "unix_s: Input should be a finite number"),
    ],
)
def test_what_is_no_such_record_is_refused(cls: type, value: Any, message: str) -> None:
    with pytest.raises(DataError) as error:
        from_json(cls, value, "request.json")
    assert message in str(error.value)


def test_damaged_lines_of_a_log_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "supervision.jsonl"
    samples = [MachineSample(float(index), 1, 1, index, 2.0, 0.1, 9.0, 99.0, None, 5) for index in range(3)]
    append_jsonl(path, [asdict(samples[0]), {"unix_s": "yesterday"}, asdict(samples[1]), asdict(samples[2])])
    path.write_bytes(path.read_bytes() + b'{"unix_s": 4.0, "tra')
    assert list(read_log(MachineSample, path)) == samples
    assert last_sample(path) == samples[2] and last_sample(tmp_path / "missing") is None
