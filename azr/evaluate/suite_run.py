"""From suites to requests: how a model is asked, what the engine loads for it, and where its answers go."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from azr.errors import ModelError
from azr.evaluate import models
from azr.evaluate.answers import Answer, AnswerStore
from azr.evaluate.engine import Batch
from azr.evaluate.engine_requests import Decoding, EngineModel, EngineOptions, Request
from azr.evaluate.items import Item, Suite, folder_name, suite_fingerprint
from azr.evaluate.models import ModelSource
from azr.evaluate.tasks_suite import TaskSuite
from azr.run.asked_otherwise import READ_BY
from azr.run.checkpoints import require_sound
from azr.run.records import to_json
from azr.system.files import whole_folder
from azr.system.places import without_wildcards
from azr.system.scratch import scratch_folder
from azr.train.tokenizer_check import require_same_tokens

FORMAT = 1


@dataclass(frozen=True)
class SuiteRun:
    """One suite asked of one model: answers belong into ``store``."""

    source: ModelSource
    suite: Suite
    items: Sequence[Item]
    decoding: Decoding
    """Where an item does not say otherwise."""
    engine: EngineOptions
    store: AnswerStore
    trained_on: Collection[str] = ()
    """Items whose program a compared run trains on."""
    picked_on: Collection[str] = ()
    """Items by whose scores a compared checkpoint was picked as its run's best."""
    otherwise: str = ""
    """How it is asked that the first model is not (``_otherwise``)."""

    @property
    def batch(self) -> Batch:
        return Batch([_request(item, self.suite.style, self.decoding) for item in self.items], self.store)

    @property
    def settings(self) -> dict[str, Any]:
        """What decided the answers, and how fast they came."""
        return {**asdict(self.decoding), **asdict(self.engine)}

    def answered(self) -> set[str]:
        """The items that have all their answers."""
        found = self.store.read()
        return {
            item.item_id
            for item in self.items
            if all((item.item_id, sample) in found for sample in range(self.decoding.samples))
        }

    def answers(self) -> list[Answer]:
        """All of them.

        Raises:
            ModelError: no prompt fitted the context, so a score would say nothing.
        """
        found = self.store.read()
        answers = [
            found[item.item_id, sample] for item in self.items for sample in range(self.decoding.samples)
        ]
        if answers and all(answer.prompt_too_long for answer in answers):
            shortest = min(answer.n_tokens for answer in answers)
            raise ModelError(
                f"no prompt fits the limit of {self.decoding.max_prompt_tokens} tokens (the shortest has {shortest}); raise "
                "--max-prompt-tokens, or use the frame that the model was trained with (--frame compact for the bundled tiny model)"
            )
        return answers


def noting_differences(first: Sequence[SuiteRun], other: Sequence[SuiteRun]) -> list[SuiteRun]:
    """``other``, each with what is asked otherwise of its model than of the first one."""
    same = {(run.suite.name, run.suite.style): run for run in first}
    pairs = ((same.get((run.suite.name, run.suite.style)), run) for run in other)
    return [run if one is None else replace(run, otherwise=_otherwise(one, run)) for one, run in pairs]


def _otherwise(first: SuiteRun, other: SuiteRun) -> str:
    """What of the difference between two models may be that they are asked or read differently, as those of two runs are,
    or an exported one whose run has had other settings since; empty where there is nothing."""
    ours, theirs = _asking(first), _asking(other)
    told = [
        f"{what} {theirs[what]}, not {ours[what]}{_SAME.get(what, '')}"
        for what in theirs
        if theirs[what] != ours[what]
    ]
    if first.suite.style == "frame":
        prompts = {item.item_id: item.prompt for item in first.items}
        if any(prompts.get(item.item_id, item.prompt) != item.prompt for item in other.items):
            frames = other.source.selfplay.frame, first.source.selfplay.frame
            told += ["other prompts" if frames[0] == frames[1] else "the frame {}, not {}".format(*frames)]
    return f"not asked as {first.source.label} is: {'; '.join(told)}" if told else ""


_SAME = {
    "answers within": " tokens (--max-response-tokens gives all the same)",
    "number type": " (--dtype gives all the same)",
}
"""What can be the same for all models -> how."""


def _asking(run: SuiteRun) -> dict[str, str]:
    tokens = max(
        _request(item, run.suite.style, run.decoding).decoding.max_response_tokens for item in run.items
    )
    asked = {"answers within": str(tokens), "number type": run.engine.dtype}
    if run.suite.style == "frame":
        config = run.suite.config if isinstance(run.suite, TaskSuite) else run.source.selfplay
        asked |= {f"selfplay.{key}": str(getattr(config, key)) for key in READ_BY}
    if isinstance(run.suite, TaskSuite):  # other suites bring limits of their own
        limits = to_json(run.source.sandbox.limits)
        asked |= {f"sandbox.limits.{name}": str(limit) for name, limit in limits.items()}
    return asked


def shared_answers(runs: Sequence[SuiteRun]) -> tuple[list[SuiteRun], list[str]]:
    """What an unfinished evaluation can compare: of each suite the styles in which every model has given answers,
    and of its items those that every model has answered in all of these.

    Returns:
        the suites that are left, with these items, and a sentence on each suite.

    Raises:
        ModelError: nothing is left.
    """
    kept: list[SuiteRun] = []
    told: list[str] = []
    for name in dict.fromkeys(run.suite.name for run in runs):
        own = [(run, run.answered()) for run in runs if run.suite.name == name]
        lacking = {run.suite.style for run, answered in own if not answered}
        compared = [(run, answered) for run, answered in own if run.suite.style not in lacking]
        shared = set.intersection(*(answered for _, answered in compared)) if compared else set()
        without = f"; not yet in every model's answers: {', '.join(sorted(lacking))}" if lacking else ""
        told.append(
            f"{name}: {len(shared)} of {len(own[0][0].items)} tasks, those answered by all so far{without}"
        )
        if shared:
            kept += [
                replace(run, items=[item for item in run.items if item.item_id in shared])
                for run, _ in compared
            ]
    if not kept:
        raise ModelError("--partial: no task of these suites has been answered by every model yet")
    return kept, told


@contextlib.contextmanager
def open_suite_run(
    source: ModelSource,
    suite: Suite,
    items: Sequence[Item],
    decoding: Decoding,
    engine: EngineOptions,
    out: Path,
    *,
    restart: bool,
) -> Iterator[SuiteRun]:
    """The folder of a model's answers to a suite under ``out``, for this evaluation alone.

    Raises:
        RunError: another evaluation writes there, or the answers there belong to other settings.
    """
    # greedy and sampled answers lie side by side, so that asking once more in another way needs no other folder
    name = folder_name(suite) + (f"-t{decoding.temperature:g}" if decoding.temperature else "")
    store = AnswerStore(out / models.slug(source.label) / name)
    request = {
        "model": source.identity,
        "suite": suite_fingerprint(suite),
        "format": FORMAT,
        **asdict(decoding),
        "dtype": engine.dtype,
    }
    request["samples"] = 0  # more samples of the same items extend what is there
    folder = source.folder
    earlier = (lambda: models.earlier_identity(folder)) if folder else None
    with store.opened(request, restart=restart, earlier_model=earlier):
        yield SuiteRun(source, suite, items, decoding, engine, store)


@contextlib.contextmanager
def engine_model(source: ModelSource) -> Iterator[EngineModel]:
    """What the engine loads. Of a checkpoint it reads the weights where they are; plain configuration and
    tokenizer are written into a temporary folder, which is this evaluation's own. Over an int4 base it is served as
    it was trained: that base, and the checkpoint's adapters in that folder."""
    if source.folder is not None:
        require_same_tokens(source.folder, trust_remote_code=source.trust_remote_code)
        yield EngineModel(source.label, without_wildcards(source.folder.resolve()))
        return
    from azr.evaluate.adapters import write_adapters
    from azr.evaluate.weights import WEIGHT_FILES, base_of, write_configuration

    assert source.checkpoint is not None
    with scratch_folder("model") as scratch:
        target = scratch / models.slug(source.label)
        if source.checkpoint.info.get("base_format") == "int4":
            require_sound(source.checkpoint.path, only=WEIGHT_FILES)
            base = base_of(source.checkpoint)
            require_same_tokens(base, trust_remote_code=source.trust_remote_code)
            with whole_folder(target) as staging:
                write_adapters(source.checkpoint, staging, str(base))
            yield EngineModel(source.label, without_wildcards(base.resolve()), adapters=target)
            return
        write_configuration(source.checkpoint, target, trust_remote_code=source.trust_remote_code)
        yield EngineModel(source.label, target, source.checkpoint.path.resolve())


def _request(item: Item, style: str, decoding: Decoding) -> Request:
    decoding = replace(decoding, **item.limits)
    return Request(item.item_id, item.prompt, decoding, tuple(item.stop), begin_token=style != "frame")
