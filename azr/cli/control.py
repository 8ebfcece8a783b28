"""Sends a request to a running campaign from another terminal. Safe at any time.

    azr control RUN stop          save at the next step boundary, exit; the same start command resumes it later
    azr control RUN checkpoint    save at the next step boundary, continue
    azr control RUN pause         save, end the trainer, free the card; wait
    azr control RUN resume        continue after a pause
    azr control RUN budget 72     time budget of the whole campaign, in hours (0 = none)
    azr control RUN status        where it stands

RUN is a run directory (runs/default).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from azr.campaign.control import (
    Control,
    driver_is_running,
    recorded_driver,
    request_control,
    stopping_driver,
    suspended_driver,
    withdraw_control,
)
from azr.campaign.sentences import budget_of, describe_state
from azr.campaign.state import load_state
from azr.cli import command_parser
from azr.cli.numbers import hours
from azr.config.paths import find
from azr.errors import RunError
from azr.run.protocol import read_driver_beat
from azr.run.rundir import RunDir, run_meant
from azr.system.disks import explain_os_error

COMMANDS = ("stop", "checkpoint", "pause", "resume", "budget", "status")


def main(words: Sequence[str]) -> int:
    parser = command_parser("control", __doc__)
    parser.add_argument("run", type=find, help="run directory")
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument(
        "hours",
        type=hours,
        nargs="?",
        help="with budget: hours, counted from the campaign's beginning",
    )
    if words and words[0] in COMMANDS and all(re.fullmatch(r"\+?[\d.]+h?", word) for word in words[1:]):
        raise RunError(f"the run is missing: azr control runs/NAME {' '.join(words)}")
    if len(words) > 1 and words[0] in COMMANDS and words[1] not in COMMANDS:
        raise RunError(f"the run comes first: azr control {words[1]} {words[0]}")
    if len(words) > 2 and words[2].startswith("+"):
        raise RunError(f"{words[2]}: give the hours of the whole campaign, counted from its beginning")
    options = parser.parse_args(words)
    if options.hours is not None and options.command != "budget":
        raise RunError(
            f"{options.command} takes no number; only budget does: azr control {options.run} budget {options.hours:g}"
        )
    run = RunDir(options.run.absolute())
    try:
        print(obey(run, options.command, options.hours))
    except OSError as error:
        raise RunError(_not_left(run, options.command, error)) from error
    if told := suspended_driver(run) or (driver_is_running(run) and stopping_driver(run)):
        print(told)
    return 0


def _not_left(run: RunDir, command: str, error: OSError) -> str:
    """A request is a file in the run's folder; a driver of this machine takes a stop without one."""
    driver = recorded_driver(run) if command == "stop" else None
    otherwise = f". `kill -INT {driver.pid}` stops it in the same way" if driver and driver.alive else ""
    return f"the request could not be left: {explain_os_error(error, run.root)}{otherwise}"


def obey(run: RunDir, command: str, hours: float | None) -> str:
    """Makes the request and says what will come of it.

    Raises:
        RunError: there is no such run, nothing to stop, or the hours are missing.
    """
    if not run.state.exists() and load_state(run)[0] is None:
        if run.lock.exists() and driver_is_running(run):
            beat = read_driver_beat(run)
            raise RunError(
                f"{run.root} is only just starting: its model is looked at, or fetched. Ask again once it has begun"
                + (f"; `kill -INT {beat.pid}` ends it before" if beat and command == "stop" else "")
            )
        raise RunError(f"{run.root} holds no campaign (no state.json); {run_meant(run.root)}")
    running = driver_is_running(run)
    if command == "status":
        state, repairs = load_state(run)
        told = "nothing yet" if state is None else describe_state(run, state, running=running)
        return "\n".join([*repairs, told])
    if command in ("stop", "checkpoint"):
        if not running:
            raise RunError(f"no driver is running for {run.root}, so there is nothing to {command}")
        request_control(run, Control(command))
        if command == "stop":
            return "requested: it saves at the next step boundary and ends"
        return (
            "requested: it saves at the next step boundary. Like any checkpoint, it is removed once campaign.keep_last newer ones are "
            f"saved, unless it is the best: `azr export {run.root} --step N` keeps its model"
        )
    if command == "pause":
        request_control(run, Control.PAUSE)
        if running:
            return "requested: it saves at the next step boundary and frees the card"
        return "the next start will wait until `resume`"
    if command == "resume":
        if not withdraw_control(run, Control.PAUSE):
            return "it was not paused"
        return "requested: it continues" if running else "the pause is cancelled; the next start continues"
    if hours is None:
        raise RunError(
            "budget needs the hours of the whole campaign, for example `budget 72`; 0 means no limit"
        )
    request_control(run, Control.BUDGET, hours=hours)
    return (
        f"requested: the campaign has {budget_of(hours)}"
        if running
        else f"the next start has {budget_of(hours)}"
    )
