"""Section ``data``: where tasks come from, what is kept of them, and which files must never leak into
training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated

from annotated_types import Ge, Le, MinLen

from azr.config.limits import NonNegativeInt, PositiveInt, Section


class Reexecute(str, Enum):
    """Which tasks are run again in the sandbox before they enter the pool."""

    NEVER = "never"
    ONCE = "once"
    ALWAYS = "always"


@dataclass(frozen=True)
class DataConfig(Section, place="data"):
    seeds: Annotated[str, MinLen(1)] = "shipped"
    """Initial tasks: ``shipped`` (data/seeds), ``identity`` (zero-data start from the identity function
    alone), ``none``, or a path."""
    extra_files: list[Annotated[str, MinLen(1)]] = field(default_factory=list)
    """Your own tasks: JSONL, JSON, CSV or parquet files, compressed or not, folders of them, or of Hugging
    Face ``datasets.save_to_disk``."""
    other_runs: list[Annotated[str, MinLen(1)]] = field(default_factory=list)
    """Run directories whose tasks (pool and shards) join this run's."""
    probe_files: list[Annotated[str, MinLen(1)]] = field(default_factory=lambda: ["shipped"])
    """Frozen probe tasks, copied read-only into the run at its start, kept out of its training. ``shipped`` is
    data/probes/general.jsonl."""
    evaluation_files: list[Annotated[str, MinLen(1)]] = field(default_factory=list)
    """Additional files (as in ``extra_files``) that no task may resemble. Their hashes are checked around
    each cycle."""
    reexecute: Reexecute = Reexecute.ONCE
    """``once``: each task before it enters the pool, with the verdict cached; ``always``: at each
    consolidation; ``never``."""
    trust_shipped_seeds: bool = True
    """Skip re-execution of shipped seeds whose file hash is the one in data/seeds/manifest.json: saves a
    minute at the first start."""
    max_code_chars: PositiveInt = 8000
    """Longest program; a longer one is rejected as ``too_large``."""
    max_value_chars: PositiveInt = 4000
    """Longest single input, output or message text; a longer one is rejected as ``too_large``."""
    near_duplicates: bool = True
    """Drop edited copies: candidates by MinHash/LSH over canonical code, verified by token edit
    similarity."""
    near_similarity: Annotated[float, Ge(0.3), Le(1)] = 0.9
    """Token edit similarity (0 to 1, of alpha-renamed code) from which two programs count as the same; lower
    drops more."""
    near_min_tokens: PositiveInt = 40
    """Shorter programs are only compared exactly and after renaming: in short ones a single token is a new
    idea."""
    behavioural_duplicates: bool = True
    """Drop programs that give the same outputs as a kept one on shared probe inputs; 16 executions per
    program, once."""
    contamination_similarity: Annotated[float, Ge(0.3), Le(1)] = 0.6
    """Token edit similarity to an evaluation item from which a task counts as leaked; lower rejects more."""
    max_inputs_per_program: NonNegativeInt = 8
    """Tasks of one type kept for one (renamed-equal) program with different inputs; 0 = no limit."""
    max_per_shape: NonNegativeInt = 64
    """Tasks of one type kept whose programs differ only in names and constants; 0 = no limit."""
    max_tasks: PositiveInt = 65536
    """Size of the pool; above it the least useful tasks are evicted (mastered, then old ones), shipped and
    user seeds last."""
    backups_kept: NonNegativeInt = 3
    """Former versions of the pool kept under pool/backups."""
    workers: NonNegativeInt = 0
    """Processes that fingerprint programs; 0 = one per core, and none for a small pool."""

    def contradictions(self) -> Iterator[str]:
        if self.contamination_similarity > self.near_similarity:
            yield (
                f"data.contamination_similarity is {self.contamination_similarity}, above data.near_similarity {self.near_similarity}; "
                "leaks are judged more strictly than duplicates, so it must be lower"
            )
        if self.seeds == "none" and not self.extra_files and not self.other_runs:
            yield "data.seeds is none and there are no data.extra_files or data.other_runs; a run needs tasks to start from"
