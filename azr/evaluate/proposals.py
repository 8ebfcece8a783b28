"""A suite of requests for new tasks: what share of a model's proposals is valid.

They are the propose prompts of training, planned by the game itself over fixed tasks and a fixed seed, so that two models or two
checkpoints get the same ones; a proposal is read and verified by the code of training. No difficulty is estimated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from azr.config.selfplay import SelfPlayConfig
from azr.errors import DataError
from azr.evaluate.suites import Item, Verdict
from azr.files import read_jsonl
from azr.parsing.response import split_response
from azr.sandbox import Sandbox
from azr.selfplay.episode import Stopwatch, read_and_validate
from azr.selfplay.game import SelfPlay
from azr.selfplay.rows import PromptRow
from azr.tasks import Rejection, Role, Task

REQUESTS_PER_TYPE = 100
SEED = 0


@dataclass(frozen=True)
class ProposalSuite:
    """Propose prompts; an answer scores 1 when its task is verified, whatever its think and answer tags (reported as format)."""

    name: str
    rows: dict[str, PromptRow]
    """By item id."""
    config: SelfPlayConfig
    items: Sequence[Item]
    left_out: Sequence[str] = field(default_factory=tuple)

    async def judge(self, item: Item, text: str, sandbox: Sandbox) -> Verdict:
        row = self.rows[item.item_id]
        response = split_response(text, row.prompt.response_prefix)
        task = await read_and_validate(row, response, sandbox, self.config, Stopwatch())
        if isinstance(task, Rejection):
            return Verdict(0.0, task.reason, response.format_ok, "")
        return Verdict(1.0, "valid", response.format_ok, task.code)


def proposal_suite(paths: Sequence[Path], config: SelfPlayConfig) -> ProposalSuite:
    """``REQUESTS_PER_TYPE`` requests for each task type of ``config``, with references drawn from the tasks of ``paths``.

    Raises:
        DataError: a file is missing or malformed.
    """
    tasks = []
    for path in paths:
        if not path.is_file():
            raise DataError(f"{path}: no tasks there; give a JSONL file of tasks to refer to")
        tasks += [Task.from_json(record) for record in read_jsonl(path, strict=True)]
    plain = replace(
        config, batch_size=REQUESTS_PER_TYPE, train_propose=True, solve_only_steps=0, composite_start_step=0, solve_timing="next_step"
    )
    game = SelfPlay(plain, SEED)
    game.start(tasks)
    planned = game.plan_step(1, lambda prompt: True)
    rows = {f"{row.stream.task_type.value}/{row.row_id}": row for row in planned if row.stream.role is Role.PROPOSE}
    items = [Item(item_id, row.stream.task_type.value, row.prompt) for item_id, row in rows.items()]
    return ProposalSuite("proposals", rows, config, items)
