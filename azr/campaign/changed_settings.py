"""What a resumed run does otherwise than before, in words: its figures before and after are not of one experiment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from azr.config import Config, flat, to_container
from azr.config.load import read_config
from azr.errors import AzrError
from azr.report.versions import collect_versions, read_versions
from azr.rundir import RunDir

MEANINGLESS = ("name", "runs_dir", "recipe", "campaign.", "monitor.", "budget.", "report.")
"""Beginnings of keys that say how long, where, and under whose eyes a run trains, not what it does; ``recipe`` never
changes."""


@dataclass(frozen=True)
class Changed:
    figures: str = ""
    """``KEY BEFORE -> NOW`` of what changes what the run does."""
    hours: bool = False
    """``campaign.hours`` is another one."""


def changed_settings(run: RunDir, config: Config) -> Changed:
    """What differs from the latest start; nothing for a first start."""
    records = run.records(run.config.name)
    earlier = next(filter(None, map(_read, records)), None)
    if earlier is None:
        return Changed("not known, because no earlier config.yaml can be read" if records else "")
    before, now = flat(to_container(earlier)), flat(to_container(config))
    changed = [
        key for key in now if key in before and before[key] != now[key] and not key.startswith(MEANINGLESS)
    ]
    figures = ", ".join(
        [*(f"{key} {before[key]} -> {now[key]}" for key in changed), *_changed_versions(run, config)]
    )
    return Changed(figures, earlier.campaign.hours != config.campaign.hours)


def _changed_versions(run: RunDir, config: Config) -> list[str]:
    """What the run is made with now and was not: an updated project, other packages, prompts that were edited."""
    before, now = read_versions(run.root), collect_versions(config.selfplay.frame)
    return [
        f"{name} {before[name]} -> {now[name]}"
        for name in now
        if name != "system" and name in before and before[name] != now[name]
    ]


def _read(path: Path) -> Config | None:
    try:
        return read_config(path)
    except AzrError:
        return None
