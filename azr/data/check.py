"""Checks that the configured data files exist, can be opened, and hold what they should, before anything is started."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from azr.config.data import DataConfig
from azr.config.load import read_config
from azr.config.paths import WORDS, find
from azr.data.account import BY_PROGRAMS, Account
from azr.data.build import row_tasks
from azr.data.contamination import evaluation_items
from azr.data.guard import configured_probes, require_probes
from azr.data.manifest import SourceEntry
from azr.data.readers import read_rows
from azr.data.reasons import COPIES_AND_CAPS, Reason
from azr.data.schema import Refused
from azr.data.sources import (
    TaskSource,
    configured_files,
    other_run_sources,
    refuse_missing,
    seed_sources,
    unread_files,
    user_sources,
)
from azr.errors import AzrError, DataError
from azr.run.rundir import RunDir
from azr.wording import counted

_SHOWN_FILES = 5


def require_readable(config: DataConfig, run: RunDir) -> None:
    """Reads every file that ``config`` names; nothing is executed.

    A run that has begun needs its evaluation files only: what its own sources held is in its pool. What its latest start
    did not name is new, and has to be there.

    Raises:
        DataError: a path does not exist or holds no data file, a file is damaged, or what is named gives not
            one task (or, of evaluation files, not one program). All missing paths are named at once, and so
            are all that give nothing.
    """
    begun = run.pool_manifest.is_file() or run.cycle_tasks(1).is_file()  # either may have been removed
    evaluation, missing = configured_files(config.evaluation_files, "data.evaluation_files")
    sources, lacking = user_sources(config.extra_files)
    if begun:
        missing += _lacking_now(config, run)
    else:
        missing += lacking
        probes, lacking = configured_probes(config)
        missing += lacking
        others, lacking = other_run_sources(config.other_runs, run.root)
        missing += lacking
        sources = [*seed_sources(config), *sources, *others]
    refuse_missing(missing)
    if not begun:
        require_probes(probes)
    empty = [file for file in evaluation if not evaluation_items([file])]
    nothing = [f"data.evaluation_files: {file} holds no program that a task could resemble" for file in empty]
    for named in dict.fromkeys(source.named for source in sources if source.named):
        nothing += _without_a_task(named, [source for source in sources if source.named == named], config)
    if nothing:
        raise DataError(
            "; ".join(nothing) + "; correct it (docs/howto/own_tasks.md), or remove it from the configuration"
        )


def _lacking_now(config: DataConfig, run: RunDir) -> list[str]:
    """A sentence for each source that the latest start of a run did not name, and that is not there."""
    try:
        before = read_config(run.config_record).data
    except AzrError:
        return []
    _, files = user_sources(name for name in config.extra_files if name not in before.extra_files)
    runs = (name for name in config.other_runs if name not in before.other_runs)
    _, others = other_run_sources(runs, run.root)
    _, seeds = configured_files([config.seeds], "data.seeds")
    known = config.seeds == before.seeds or config.seeds in WORDS["data.seeds"]
    return [*files, *others, *(() if known else seeds)]


def _without_a_task(named: str, sources: Sequence[TaskSource], config: DataConfig) -> list[str]:
    """A sentence if no row of the sources holds a task. All rows are read, so that a damaged file shows now."""
    rows, holds, first, reasons = 0, False, "", Counter[str]()
    for source in sources:
        for row in read_rows(source.file):
            rows += 1
            outcome = None if holds else row_tasks(row, source, config)
            if isinstance(outcome, Refused):
                reasons[outcome.reason.value] += 1
                first = first or f"{source.name}, {row.place}: {outcome.detail}"
            else:
                holds = True
    if holds:
        return []
    if not rows:
        return [f"{named} is empty"]
    counts = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    return [f"{named} yields no tasks from {counted(rows, 'row')} ({counts}); {first}"]


def useless_sources(sources: Iterable[TaskSource], entries: Sequence[SourceEntry]) -> list[str]:
    """A sentence for each configured path of which not one task held when it was run and compared.

    Args:
        sources: none of them judged.
        entries: theirs, in the same order.
    """
    useless = []
    by_name: dict[str, list[SourceEntry]] = {}
    for source, entry in zip(sources, entries, strict=True):
        if source.named:
            by_name.setdefault(source.named, []).append(entry)
    for named, group in by_name.items():
        account = Account.of(group)
        if not account.taken and not account.known and not COPIES_AND_CAPS & set(account.left_out):
            leaked = f"; {BY_PROGRAMS}" if Reason.LEAKED.value in account.left_out else ""
            useless.append(f"{named} yields no usable task: {account.sentence}{leaked}")
    return useless


def passed_over(names: Iterable[str]) -> list[str]:
    """A line for each configured folder that holds files which are not read."""
    lines = []
    for name in names:
        if files := [file.name for file in unread_files(find(name))]:
            more = ["..."] if len(files) > _SHOWN_FILES else []
            shown = ", ".join(files[:_SHOWN_FILES] + more)
            lines.append(f"{name}: {counted(len(files), 'other file')} in it were not read ({shown})")
    return lines
