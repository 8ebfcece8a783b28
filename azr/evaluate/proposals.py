"""A suite of requests for new tasks: what share of a model's proposals is valid.

They are the propose prompts of training, made by the game itself over fixed tasks with fixed seeds, so that
two checkpoints of a run get the same ones; a proposal is read and verified by the code of training. No
difficulty is estimated, and no composite functions are asked for.

The reference tasks of a run's model are those that the run started from (its consolidated seeds and extra files,
without what leaks probes). Each request has a generator of its own: where one does not fit a model's limit, only this
one is drawn again, as in training (other references, then fewer), and the others stay the same for every model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from azr.config.selfplay import SelfPlayConfig
from azr.data.guard import probe_tasks
from azr.errors import DataError, ModelError
from azr.evaluate.items import Item, Rating, Suite
from azr.parsing.response import split_response
from azr.run.rundir import RunDir
from azr.sandbox import Sandbox
from azr.selfplay.episode import Stopwatch, read_and_validate
from azr.selfplay.game import SelfPlay
from azr.selfplay.options import last_resorts
from azr.selfplay.rows import Fits, PromptRow
from azr.system.hashes import text_hash
from azr.tasks import Prompt, Rejection, Role, Stream, TaskType

REQUESTS_PER_TYPE = 100
SEED = 0
OTHER_REFERENCES = "other references"
FEWER_REFERENCES = "fewer references"


@dataclass(frozen=True, kw_only=True)
class ProposalSuite(Suite):
    """Propose prompts; an answer scores 1 when its task is verified, whatever its think and answer tags
    (reported as format)."""

    rows: dict[str, PromptRow]
    """By item id."""
    config: SelfPlayConfig

    async def judge(self, item: Item, text: str, sandbox: Sandbox) -> Rating:
        row = self.rows[item.item_id]
        response = split_response(text, row.prompt.response_prefix)
        task = await read_and_validate(row, response, sandbox, self.config, Stopwatch())
        if isinstance(task, Rejection):
            return Rating(0.0, task.reason, response.format_ok, "")
        return Rating(1.0, "valid", response.format_ok, task.code)


def run_proposals(run: RunDir, config: SelfPlayConfig, fits: Fits) -> ProposalSuite:
    """Requests whose references are the tasks that ``run`` started from.

    Raises:
        DataError: the run has no such tasks any more, or the file is malformed.
        ModelError: see ``proposal_suite``.
    """
    path = run.cycle_tasks(1)
    if not path.is_file():
        raise DataError(
            f"{path} does not exist, so the tasks that run {run.root.name} started from are unknown; "
            "give the reference tasks: --suite proposals=FILE.jsonl"
        )
    return proposal_suite([path], config, fits, source=f"tasks that run {run.root.name} started from")


def proposal_suite(
    paths: Sequence[Path], config: SelfPlayConfig, fits: Fits, *, source: str = ""
) -> ProposalSuite:
    """``REQUESTS_PER_TYPE`` requests for each task type of ``config``, with references drawn from the tasks
    of ``paths``.

    An item's id is ``TYPE/REFERENCES-NUMBER``, with a hash of the references shown: equal ids ask for the same thing.

    Args:
        fits: whether a prompt is within the model's limit.
        source: what the reference tasks are, in the plural, for people; default: the tasks of the files by name.

    Raises:
        DataError: a file is missing or malformed.
        ModelError: requests of a type do not fit, even without references.
    """
    tasks = []
    for path in paths:
        if not path.is_file():
            raise DataError(f"{path}: no tasks there; give a JSONL file of tasks to use as references")
        tasks += probe_tasks(path)

    game = SelfPlay(config, SEED)
    game.start(tasks)
    rows: dict[str, PromptRow] = {}
    items = []
    for kind in game.task_types:
        seen: Counter[str] = Counter()
        for index in range(REQUESTS_PER_TYPE):
            row, remedy = _request(game, kind, index, fits)
            shown = text_hash(" ".join(task.task_id for task in row.references), 12)
            seen[shown] += 1
            item_id = f"{kind.value}/{shown}-{seen[shown]}"
            rows[item_id] = replace(row, row_id=item_id)
            items.append(Item(item_id, kind.value, row.prompt, remedy=remedy))

    files = ", ".join(path.name for path in paths)
    drawn = {(task.program, task.inputs, task.outputs) for task in tasks}  # of two types, some
    note = f"references are drawn from the {len(drawn)} {source or f'tasks of {files}'}"
    return ProposalSuite(name="proposals", rows=rows, config=config, items=items, notes=(note,))


def _request(game: SelfPlay, kind: TaskType, index: int, fits: Fits) -> tuple[PromptRow, str]:
    """The request, and what was done about its length (see ``Item.remedy``)."""
    needed = game.curriculum.needed
    resorts = [
        prompt for stream, prompt in last_resorts(game.config, needed) if stream == Stream(Role.PROPOSE, kind)
    ]
    if not all(map(fits, resorts)):
        raise ModelError(
            f"no {kind.value} request in the frame {game.config.frame} fits the model's prompt limit, not even without references; "
            "raise --max-prompt-tokens, or use the frame that the model was trained with (--frame compact for the bundled tiny model)"
        )
    refused = 0

    def counted(prompt: Prompt) -> bool:
        nonlocal refused
        fitting = fits(prompt)
        refused += not fitting
        return fitting

    rng = np.random.default_rng([SEED, list(TaskType).index(kind), index])
    row = game.propose_row(kind, "", rng, counted)
    if not refused:
        return row, ""
    wanted = 1 if kind is TaskType.INDUCTION else min(game.config.references, len(game.buffers[kind]))
    return row, FEWER_REFERENCES if len(row.references) < wanted else OTHER_REFERENCES
