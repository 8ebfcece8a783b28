"""docs/metrics.md names every metric and every reason that self-play produces."""

import re
from dataclasses import fields
from pathlib import Path

from selfplay_helpers import proposal_text, respond

from azr import parsing
from azr.config.selfplay import IntrinsicConfig, SelfPlayConfig
from azr.selfplay import validation
from azr.selfplay.credit import assign_rewards
from azr.selfplay.episode import play
from azr.selfplay.game import SelfPlay
from azr.selfplay.grading import GRADE_REASONS
from azr.tasks import STREAMS

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "metrics.md").read_text()
REASONS = {**parsing.REASONS, **validation.REASONS}


def pattern(name: str) -> str:
    for stream in STREAMS:
        name = name.replace(stream.name, "<stream>")
    name = re.sub(r"^buffer/[a-z]+/", "buffer/<type>/", name)
    name = re.sub(r"^types/[a-z]+/", "types/<kind>/", name)
    name = re.sub(r"/rejected/\w+$", "/rejected/<reason>", name)
    return re.sub(r"/verdict/\w+$", "/verdict/<verdict>", name)


async def test_every_metric_is_documented(sandbox, script, anything_fits):
    terms = [field.name for field in fields(IntrinsicConfig) if hasattr(IntrinsicConfig, f"{field.name}_max")]
    intrinsic = IntrinsicConfig(**dict.fromkeys(terms, 0.1))
    config = SelfPlayConfig(batch_size=1, difficulty_samples=2, train_on_samples=True, intrinsic=intrinsic)
    game = SelfPlay(config, 0)
    game.start([])
    rows = game.plan_step(1, anything_fits)
    texts = {
        "propose-abduction": [
            respond(proposal_text("def f(x):\n    return x * 3", "5")),
            respond("```input\n5\n```"),
            respond("no"),
        ],
        "propose-deduction": ["nothing"],
    }
    outcomes = [
        await play(row, script(*texts.get(row.stream.name, ["nothing"])), sandbox, config, anything_fits)
        for row in rows
    ]
    game.accept(1, assign_rewards(outcomes, game, 1000))
    missing = {pattern(name) for name in game.metrics() if f"`{pattern(name)}`" not in DOCUMENT}
    assert not missing
    assert game.metrics()["propose-abduction/accuracy"] == 0.5
    assert {f"propose-abduction/{term}" for term in terms} <= game.metrics().keys() and "diversity" in terms


def test_every_reason_is_documented_and_explained():
    assert all(f"`{reason}`" in DOCUMENT and meaning for reason, meaning in REASONS.items())
    assert all(f"`{reason}`" in DOCUMENT for reason in GRADE_REASONS)
    package = Path(parsing.__file__).parents[1]
    source = "".join(
        path.read_text() for folder in ("parsing", "selfplay") for path in (package / folder).glob("*.py")
    )
    used = set(re.findall(r"(?:Rejection|SourceError)\(\s*\"(\w+)\"", source))
    assert used <= set(REASONS), used - set(REASONS)
