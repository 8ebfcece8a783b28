"""Checks before a run begins, so that no directory is created and no process started for a run that cannot
work."""

from __future__ import annotations

import difflib
import socket
import time
from dataclasses import replace
from pathlib import Path

from azr.budget.advice import CLOSE_THEM, card_in_use, file_limit, require_fit
from azr.budget.shape import shape_for
from azr.campaign.identity_check import require_same_run
from azr.commands import command
from azr.config import Config
from azr.data.check import require_readable
from azr.data.guard import bare_name, configured_probes
from azr.errors import BudgetError, ConfigError, RunError
from azr.run.identity import kept_keys, read_identity
from azr.run.metric_names import probe_metric, verdict
from azr.run.rundir import RunDir, is_run
from azr.system.disks import missing_disk
from azr.system.hardware import Machine, detect, device_for
from azr.system.imports import require_engine
from azr.system.resources import process_limit
from azr.system.shared_memory import no_shared_memory
from azr.train.base_model import at_its_commit
from azr.train.model_source import local_folder, require_usable_model

LOOPBACK, LOOPBACK_LIMIT_S = "127.0.0.1", 5.0
MIN_PROCESSES = 512
"""Processes and threads without which not even the bundled model's run goes on: it had 522 on a machine of 2 cores."""
CARD_FREED_S = 10.0
"""Within this time the memory of a process that has just ended is free again."""


def require_startable(config: Config, machine: Machine, run: RunDir) -> None:
    """Is it this run, are the data files there, does it fit, is the model there and can it be trained?

    A hub model is fetched, after it is known to fit.

    Raises:
        RunError: the run in that folder began with another model or recipe, the folder is not a run, or its disk is not
            mounted.
        DataError: a configured data file is missing or damaged.
        BudgetError: the run does not fit the machine, needs a card and there is none, or others hold too much of the card.
        ConfigError: the installed engine does not compute where the run does, or the machine does not reach itself,
            has no shared memory, or allows too few processes or too small files.
        ModelError: no such model, it cannot be fetched, or it cannot be trained as configured.
    """
    if told := missing_disk(run.checkpoints):  # they may be on another disk than the run
        raise RunError(told)
    require_a_run_or_nothing(run)
    require_same_run(run, config)
    require_card_of(run, config, machine)
    require_readable(config.data, run)
    require_verdict_probes(config)
    require_scores(config, run)
    begun = run.state.exists()
    if not begun:  # one that has begun goes on as it is, and a record of it can be read
        _refuse(_one_sample(config))
    path = at_its_commit(config.model.path, read_identity(run))
    asked, is_here = replace(config, model=replace(config.model, path=path)), local_folder(path) is not None
    if is_here:
        # before its size, which a model of another kind does not tell
        require_usable_model(asked, begun=begun)
    kept = kept_keys(run)
    judged = require_fit(config, machine, run.root.parent, kept)
    if not begun:  # else its own old trainer may hold the card, which the driver ends first
        require_free_card(config)
    # files over the limit: Ray does not start, or the first checkpoint ends the attempt
    _refuse(file_limit(config, machine, shape_for(config)))
    if not config.train.ray_address:  # else other machines compute
        _refuse(_no_loopback(), no_shared_memory(), _few_processes(process_limit()))
        require_engine(device_for(machine, config.train.device, config.train.n_gpus_per_node).kind)
    if not is_here:
        require_usable_model(asked, begun=begun)
    if judged is None:  # its size is known only now
        require_fit(config, machine, run.root.parent, kept)
        _refuse(file_limit(config, machine, shape_for(config)))


def _one_sample(config: Config) -> str:
    """A sentence where no proposal would be worth more than another."""
    play = config.selfplay
    if play.difficulty_samples > 1 or not play.train_propose or play.learnability == "inverse":
        return ""
    return (
        "selfplay.difficulty_samples=1 finds each task solved by all answers or by none, and both are worth nothing, so that no "
        "proposal is better than another; set it to 2 or more, or selfplay.train_propose=false"
    )


def require_verdict_probes(config: Config) -> None:
    """
    Raises:
        ConfigError: the probe file that is to decide the verdict is named with its ending or its path, or misspelt; all
            files together would decide. A name like none of them is left over from the recipe.
    """
    named = config.train.verdict_probes
    names = sorted({bare_name(file) for file in configured_probes(config.data)[0]})
    if not named or named in names:
        return
    if named == "all":
        raise ConfigError(
            "train.verdict_probes=all: all files together decide if it is empty; write train.verdict_probes="
        )
    for word in (bare_name(Path(named)), named):
        if close := difflib.get_close_matches(word, names, n=1, cutoff=0.75):
            raise ConfigError(
                f"train.verdict_probes={named} is none of the probe files ({', '.join(names)}), which are named without their ending; "
                f"write train.verdict_probes={close[0]}"
            )


def require_scores(config: Config, run: RunDir) -> None:
    """
    Raises:
        ConfigError: what the best checkpoint or the judges go by is no score of the probes: none would be best, and nothing
            judged.
    """
    files = [*configured_probes(config.data)[0], *run.probes.glob("*.jsonl")]
    probes = ["all", *sorted({bare_name(file) for file in files})]
    known = [probe_metric(what) for what in (*probes, *config.selfplay.task_types)]
    known += [verdict(what, "accuracy") for what in probes]
    named = {"monitor.probe_metric": config.monitor.probe_metric}
    if config.campaign.best_metric:
        named["campaign.best_metric"] = config.campaign.best_metric
    for key, name in named.items():
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1, cutoff=0) or known
            raise ConfigError(
                f"{key}={name} is no score of the probes, so nothing would go by it; the nearest is {key}={close[0]}"
            )


def require_a_run_or_nothing(run: RunDir) -> None:
    """A run writes, prunes and repairs under its folder, so it must not hold anybody else's files. Plain files,
    such as a log, are in nobody's way.

    Raises:
        RunError: the folder holds other things and no run, or would lie in another run.
    """
    try:
        # a start that was killed early may have left nothing but its lock
        if is_run(run.root) or run.lock.exists():
            return
        found = sorted(run.root.iterdir()) if run.root.is_dir() else []
    except OSError as error:
        raise RunError(f"{run.root} cannot be looked into: {error.strerror}") from error
    above = run.root.parent
    if is_run(above):
        raise RunError(
            f"{above} is itself a run, and {run.root.name} would be another one in it; to resume it: name={above.name} "
            f"runs_dir={above.parent}"
        )
    others = [path.name for path in found if path.name.startswith(".") or path.is_dir()]
    if others:
        raise RunError(
            f"{run.root} is not a run, and holds {others[0]}; a run there could change files that are not its own. "
            "Use another name= or another runs_dir="
        )


def require_card_of(run: RunDir, config: Config, machine: Machine) -> None:
    """A run that began on a card waits for the card; what else a machine without one could train is no way
    out for it.

    Raises:
        BudgetError: the run needs a card, and none is visible.
    """
    if run.state.exists() and config.needs_gpu and not machine.cards:
        raise BudgetError(
            f"{run.root} began with recipe={config.recipe}, which needs an NVIDIA GPU, and none is visible "
            f"({machine.why_no_card}). "
            f"Nothing was changed; run the same command once the card is visible again. `nvidia-smi` and {command('doctor')} say more"
        )


def require_free_card(config: Config) -> None:
    """
    Raises:
        BudgetError: other programs hold so much of the card that the run would die while it loads.
    """
    if config.train.ray_address or "gpu" in config.budget.override:
        return
    shape, deadline_s = shape_for(config), time.monotonic() + CARD_FREED_S
    while in_use := card_in_use(config, detect(), shape):
        if time.monotonic() >= deadline_s:
            raise BudgetError(f"{in_use}; {CLOSE_THEM}. To start anyway: budget.override=[gpu]")
        time.sleep(0.5)


def _few_processes(limited: tuple[int, str] | None) -> str:
    """A sentence where Ray's workers would die with "Resource temporarily unavailable" while the start goes on.

    Args:
        limited: how many processes and threads are allowed, and what says so.
    """
    if limited is None or limited[0] >= MIN_PROCESSES:
        return ""
    return (
        f"{limited[1]} allows {limited[0]} processes and threads, and a run needs at least {MIN_PROCESSES}, most need 2048: "
        "ulimit -u 8192, or for a container --pids-limit=-1"
    )


def _no_loopback() -> str:
    """A sentence where processes cannot reach each other on this machine: Ray would wait half an hour to start."""
    try:
        with socket.create_server((LOOPBACK, 0)) as server:
            socket.create_connection(server.getsockname(), timeout=LOOPBACK_LIMIT_S).close()
    except OSError as error:
        return (
            f"this machine does not reach itself at {LOOPBACK} ({error.strerror or error}), where a run's processes talk to each other; "
            "bring the loopback interface up (sudo ip link set lo up), or let the firewall allow it"
        )
    return ""


def _refuse(*sentences: str) -> None:
    """Raises: ConfigError: with the first that says something."""
    for told in filter(None, sentences):
        raise ConfigError(told)
