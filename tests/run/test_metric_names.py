"""Writers, judges and report read metrics by the names that docs/metrics.md documents."""

from __future__ import annotations

import re
from pathlib import Path

from azr.run import metric_names as names
from azr.tasks import CORE_TASK_TYPES, STREAMS, TaskType

PAGE = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"


def _patterns() -> list[re.Pattern[str]]:
    found = []
    for name in re.findall(r"`([a-z_<>]+/[a-z_/<>]+)`", PAGE.read_text(encoding="utf-8")):
        pattern = re.escape(name).replace("<stream>", "(propose|solve)-[a-z]+").replace("<type>", "[a-z]+")
        found.append(re.compile(re.sub(r"<[a-z]+>", "[a-z_]+", pattern)))
    return found


def test_every_name_is_documented() -> None:
    patterns = _patterns()
    assert len(patterns) > 40
    wanted = [
        names.STEP_SECONDS,
        names.ACCEPTED,
        names.NOVELTY,
        names.ALL_SOLVED,
        names.NONE_SOLVED,
        names.ENTROPY,
        names.GRADIENT_NORM,
    ]
    wanted += [names.SANDBOX_WAIT]
    wanted += [
        names.LEARNING_RATE,
        names.MISMATCH,
        names.MISMATCH_NATS,
        names.PROBE_ALL,
        names.PROBE_COUNT,
        names.probe_format("all"),
    ]
    wanted += [
        f"{names.REJECTED_PREFIX}duplicate",
        f"memory/update{names.VRAM_SUFFIX}",
        f"memory/update{names.TRAINER_PEAK_SUFFIX}",
    ]
    wanted += [names.seconds(phase) for phase in (*names.PHASES, *names.PHASES_BETWEEN)]
    wanted += [
        name(stream.name) for stream in STREAMS for name in (names.reward, names.accuracy, names.format_ok)
    ]
    wanted += [
        name(task_type)
        for task_type in CORE_TASK_TYPES
        for name in (names.valid, names.buffer_size, names.probe_metric)
    ]
    missing = [name for name in wanted if not any(pattern.fullmatch(name) for pattern in patterns)]
    assert not missing


def test_a_name_is_made_of_stream_and_metric() -> None:
    assert names.valid(TaskType.DEDUCTION) == "propose-deduction/valid"
    assert names.reward(STREAMS[0].name) == "propose-abduction/reward_mean"
