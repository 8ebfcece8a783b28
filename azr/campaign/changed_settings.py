"""What a resumed run does otherwise than before, in words: its figures before and after are not of one experiment."""

from __future__ import annotations

from dataclasses import dataclass

from azr.config import Config, flat, to_container
from azr.config.load import read_config
from azr.errors import AzrError
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
    """What differs from the latest start; nothing for a first start, or where that cannot be read."""
    if not run.config.is_file():
        return Changed()
    try:
        earlier = read_config(run.config)
    except AzrError:
        return Changed()
    before, now = flat(to_container(earlier)), flat(to_container(config))
    changed = [
        key for key in now if key in before and before[key] != now[key] and not key.startswith(MEANINGLESS)
    ]
    figures = ", ".join(f"{key} {before[key]} -> {now[key]}" for key in changed)
    return Changed(figures, earlier.campaign.hours != config.campaign.hours)
