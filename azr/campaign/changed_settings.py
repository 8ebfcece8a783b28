"""What a resumed run does otherwise than before, in words: its figures before and after are not of one experiment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from azr.campaign.context import Context
from azr.campaign.control import read_requests
from azr.campaign.incidents import read_incidents
from azr.campaign.state import load_state
from azr.config import Config, flat, to_container
from azr.config.load import read_config
from azr.errors import AzrError
from azr.report.versions import collect_versions, read_versions
from azr.run.asked_otherwise import ASKED_BY
from azr.run.rundir import RunDir

MEANINGLESS = ("name", "runs_dir", "recipe", "campaign.", "monitor.", "budget.", "report.", "selfplay.frame")
"""Beginnings of keys that say how long, where, and under whose eyes a run trains, not what it does; ``recipe`` never
changes, and of the frame only the folder that its files are in."""
_OTHERWISE = tuple(f"{key} " for key in ASKED_BY)


@dataclass(frozen=True)
class Changed:
    figures: tuple[str, ...] = ()
    """``KEY BEFORE -> NOW`` of each thing that changes what the run does."""
    hours: bool = False
    """``campaign.hours`` is another one."""

    @property
    def otherwise(self) -> str:
        """Those of ``figures`` after which scores are not comparable with earlier ones."""
        return ", ".join(change for change in self.figures if change.startswith(_OTHERWISE))


def changed_settings(run: RunDir, config: Config, versions: Mapping[str, str]) -> Changed:
    """What differs from the latest start; nothing for a first start.

    Args:
        versions: what is there now.
    """
    records = run.records(run.config.name)
    earlier = next(filter(None, map(_read, records)), None)
    if earlier is None:
        return Changed(("not known, because no earlier config.yaml can be read",) if records else ())
    before, now = flat(to_container(earlier)), flat(to_container(config))
    recorded = read_versions(run.root)
    unknown = (
        () if recorded else ("prompts and project not known, because no attempt's versions.json is left",)
    )
    figures = [*_differing(before, now, but=MEANINGLESS), *changed_versions(recorded, versions).figures]
    return Changed((*figures, *unknown), earlier.campaign.hours != config.campaign.hours)


def budget_by_control(run: RunDir, config: Config) -> str:
    """For whoever is shown ``campaign.hours``: what the run goes by, where `azr control` has set another budget; else empty."""
    state, _ = load_state(run)
    hours = read_requests(run).hours
    if hours is None and state is not None and not changed_settings(run, config, {}).hours:
        hours = state.hours
    if hours is None or hours == config.campaign.hours:
        return ""
    budget = f"{hours:g} h" if hours else "without a limit"
    return f"The time budget of {run.root.name} is {budget}, set with `azr control`, not campaign.hours={config.campaign.hours:g}."


def changed_versions(before: Mapping[str, str], now: Mapping[str, str]) -> Changed:
    """An updated project, other packages, prompts that were edited."""
    return Changed(tuple(_differing(before, now, but=("system",))))


def tell_changes(ctx: Context, changed: Changed) -> None:
    """At a start: as an incident, unless the latest start, which trained nothing, told the same."""
    given_h, step = ctx.state.hours, ctx.state.step
    if changed.hours and given_h is not None:
        ctx.save(hours=None)
        replaced = f"replaces the time budget that `azr control` had set, {given_h:g} h."
        ctx.incident("budget", f"campaign.hours={ctx.hours:g} {replaced}")
    if changed.figures and step:
        since = f"Changed since the latest start: {', '.join(changed.figures)}."
        hold = f"They hold from step {step + 1} on."
        keys = {change.split()[0] for change in changed.figures}
        if keys & {"data.seeds", "data.extra_files", "data.other_runs"}:
            hold += " Files of tasks are read when a cycle begins."
        if keys & {"data.probe_files", "selfplay.task_types"}:
            hold += " The probes stay those that the run began with."
        told = [item for item in read_incidents(ctx.run) if item.kind == "settings"][-1:]
        if told and (told[0].cause, told[0].step) == (since, step):
            ctx.say(f"{since} {hold}")
        else:
            ctx.incident("settings", since, hold, asked_otherwise=changed.otherwise)


def tell_update(ctx: Context) -> None:
    """``git pull`` while the run goes on: this driver stays as it began, and so does a trainer that waits, but not the next."""
    if ctx.waiting is not None:
        return
    before, ctx.versions = ctx.versions, collect_versions(ctx.config.selfplay.frame)
    changed = changed_versions(before, ctx.versions)
    if ctx.state.step and changed.figures:
        hold = f"The trainer that starts now uses them, from step {ctx.state.step + 1} on."
        cause = f"Changed while the run went on: {', '.join(changed.figures)}."
        ctx.incident("settings", cause, hold, asked_otherwise=changed.otherwise)


def _differing(before: Mapping[str, object], now: Mapping[str, object], but: tuple[str, ...]) -> list[str]:
    """``KEY BEFORE -> NOW`` of what is in both, except of keys that begin with one of ``but``."""
    both = [key for key in now if key in before and not key.startswith(but)]
    return [f"{key} {before[key]} -> {now[key]}" for key in both if before[key] != now[key]]


def _read(path: Path) -> Config | None:
    try:
        return read_config(path)
    except AzrError:
        return None
