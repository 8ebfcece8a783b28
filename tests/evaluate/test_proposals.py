"""The suite of proposals: the same requests for everybody, judged by the code of training."""

from __future__ import annotations

from pathlib import Path

import pytest

from azr.config.sandbox import SandboxConfig
from azr.config.selfplay import SelfPlayConfig
from azr.errors import DataError
from azr.evaluate.answers import Answer
from azr.evaluate.proposals import REQUESTS_PER_TYPE, proposal_suite
from azr.evaluate.scoring import judge_all, score
from azr.evaluate.suites import build_suite, evenly, fingerprint
from azr.sandbox import Sandbox

SEEDS = Path(__file__).resolve().parents[2] / "data" / "seeds" / "azr_tiny.jsonl"
COMPACT = SelfPlayConfig(frame="compact", references=2)


def test_requests_are_the_same_each_time_and_follow_the_frame() -> None:
    suite = build_suite(f"proposals={SEEDS}", COMPACT)
    assert [item.kind for item in suite.items] == [kind for kind in COMPACT.task_types for _ in range(REQUESTS_PER_TYPE)]
    assert fingerprint(suite) == fingerprint(proposal_suite([SEEDS], COMPACT))
    assert fingerprint(suite) != fingerprint(build_suite("proposals", COMPACT))


def test_a_proposal_counts_when_it_is_verified() -> None:
    suite = proposal_suite([SEEDS], COMPACT)
    items = [item for item in suite.items if item.kind == "deduction"][:3]
    good = "```python\ndef f(x):\n    return x + 1\n```\n```input\n3\n```"
    texts = [f"</think><answer>\n{good}\n</answer>", f"<answer>\n{good.replace('x + 1', 'x / 0')}\n</answer>", "I cannot"]
    with Sandbox(SandboxConfig()) as sandbox:
        judged = judge_all(
            suite, items, [Answer(item.item_id, 0, text) for item, text in zip(items, texts, strict=True)], sandbox, progress=False
        )
    by_id = {each.answer.item_id: each.verdict for each in judged}
    assert [by_id[item.item_id].score for item in items] == [1.0, 0.0, 0.0]
    assert [by_id[item.item_id].reason for item in items] == ["valid", "exception", "no_answer"]
    assert score(suite, "model", items, judged).estimates["pass@1"].value == pytest.approx(1 / 3)


def test_evenly_spaced_requests_cover_the_types() -> None:
    assert {item.kind for item in evenly(proposal_suite([SEEDS], COMPACT).items, 6)} == set(COMPACT.task_types)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.jsonl"):
        proposal_suite([tmp_path / "none.jsonl"], COMPACT)
