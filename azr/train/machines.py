"""The machines of a Ray cluster that the user started: that all are there, see the run's folder, and stay.

Ray waits without a limit for machines that are missing, and a collective whose other side is gone may wait as long.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from azr.errors import ClusterError, MachineLeftError
from azr.system.tracebacks import root_cause

CPUS_PER_WORKER = 3
"""That verl reserves beside each card."""
OTHER_CPUS = 4
"""Queue, its storage, the runner, and one to spare; agent workers come on top."""
LOOK_INTERVAL_S = 2.0
NOTICED_S = 30.0
"""Within which Ray knows that a machine is gone: it asks each every 3 s and gives up after five failures."""
JOIN_LIMIT_S = 30.0
"""For machines to appear before a run's first attempt, when the user is looking."""
RETURN_LIMIT_S = 300.0
"""For machines to come back, in a run that has been going."""
SHOWN_LIMIT_S = 60.0
"""For a file that was written just now to be seen from other machines: NFS remembers for so long that there was none."""
LOOK_LIMIT_S = 120.0
"""For each machine to import Ray and this module, and look."""


@dataclass(frozen=True)
class RayMachine:
    node_id: str
    address: str
    cpus: float
    cards: float


def cpus_needed(cards: int, agent_workers: int) -> int:
    """Logical CPUs of all machines together."""
    return CPUS_PER_WORKER * cards + agent_workers + OTHER_CPUS


def what_is_missing(
    machines: Sequence[RayMachine], *, n_machines: int, cards_each: int, agent_workers: int
) -> str:
    """Why a run over ``n_machines`` of ``cards_each`` does not fit these; empty where it does."""
    able = [machine for machine in machines if machine.cards >= cards_each]
    if len(able) < n_machines:
        there = ", ".join(f"{machine.address} has {machine.cards:.0f}" for machine in machines)
        there = there or "it has none"
        return (
            f"train.n_nodes={n_machines} needs as many machines with {cards_each} cards each (train.n_gpus_per_node), and "
            f"{len(able)} can be used ({there}). On each one that is missing: ray start --address=HEAD:PORT"
        )
    wanted = CPUS_PER_WORKER * cards_each
    for machine in able:
        if machine.cpus < wanted:
            return (
                f"{machine.address} offers Ray {machine.cpus:.0f} CPUs, and {cards_each} workers with a card reserve {wanted}. "
                f"Start Ray there with --num-cpus={cpus_needed(cards_each, agent_workers)}; the number need not be true"
            )
    total = sum(machine.cpus for machine in machines)
    needed = cpus_needed(n_machines * cards_each, agent_workers)
    if total < needed:
        return (
            f"the machines offer Ray {total:.0f} CPUs together, and the run's processes reserve {needed}. Start Ray with a "
            "higher --num-cpus; the number need not be true"
        )
    return ""


def gone(before: Sequence[RayMachine], now: Sequence[RayMachine]) -> list[RayMachine]:
    present = {machine.node_id for machine in now}
    return [machine for machine in before if machine.node_id not in present]


def on_this_one() -> NodeAffinitySchedulingStrategy:
    return _on(ray.get_runtime_context().get_node_id())


def _on(node_id: str) -> NodeAffinitySchedulingStrategy:
    return NodeAffinitySchedulingStrategy(node_id, soft=False)


def machines_now() -> list[RayMachine]:
    def machine(node: Any) -> RayMachine:
        cpus, cards = (node["Resources"].get(kind, 0.0) for kind in ("CPU", "GPU"))
        return RayMachine(node["NodeID"], node["NodeManagerAddress"], cpus, cards)

    return [machine(node) for node in ray.nodes() if node["Alive"]]


def wait_for_machines(
    missing: Callable[[Sequence[RayMachine]], str],
    limit_s: float,
    look: Callable[[], list[RayMachine]] = machines_now,
) -> list[RayMachine]:
    """The cluster's machines as soon as none is missing.

    Args:
        missing: ``what_is_missing`` for this run.

    Raises:
        ClusterError: one still is after ``limit_s``.
    """
    deadline_s, told = time.monotonic() + limit_s, ""
    while True:
        machines = look()
        reason = missing(machines)
        if not reason:
            return machines
        if time.monotonic() >= deadline_s:
            raise ClusterError(f"the Ray cluster is not complete after {limit_s:.0f} s: {reason}")
        if reason != told:
            print(f"Waiting up to {limit_s:.0f} s: {reason}", flush=True)
            told = reason
        time.sleep(LOOK_INTERVAL_S)


def require_one_folder(machines: Sequence[RayMachine], file: Path) -> None:
    """Each machine reads the run's folder, where its share of a checkpoint will lie.

    Raises:
        ClusterError: one has another folder there, none, or not this project.
    """
    look = ray.remote(num_cpus=0, max_retries=0)(_shown)
    expected = _content(str(file))
    places = [_on(machine.node_id) for machine in machines]
    asked = [look.options(scheduling_strategy=place).remote(str(file), expected) for place in places]
    for machine, answer in zip(machines, asked, strict=True):
        try:
            found: Any = ray.get(answer, timeout=LOOK_LIMIT_S + SHOWN_LIMIT_S)
        except RayError as error:
            raise ClusterError(
                f"{machine.address} cannot run this project ({root_cause(str(error)) or error}). The project and its "
                "environment must have the same paths on all machines"
            ) from error
        if found != expected:
            seen = "is not there" if found is None else "has another content"
            raise ClusterError(
                f"{machine.address} does not share the run's folder: {file} {seen} on it. Put runs_dir on storage that all "
                "machines share under the same path (NFS, for example): each writes its part of a checkpoint there"
            )


def _shown(file: str, expected: bytes | None, limit_s: float = SHOWN_LIMIT_S) -> bytes | None:
    """The file's content, which has ``limit_s`` to become the expected one."""
    deadline_s = time.monotonic() + limit_s
    while (found := _content(file)) != expected and time.monotonic() < deadline_s:
        time.sleep(LOOK_INTERVAL_S / 4)
    return found


def _content(file: str) -> bytes | None:
    path = Path(file)
    return path.read_bytes() if path.is_file() else None


def result_of(answer: Any, machines: Sequence[RayMachine]) -> bool:
    """What the runner's ``answer`` becomes, unless a machine leaves the cluster before.

    Raises:
        MachineLeftError: one left, which also explains a failure.
        RayError: a process died or raised.
    """
    while not ray.wait([answer], timeout=LOOK_INTERVAL_S)[0]:
        _require_all(machines)
    failed: RayError | None = None
    try:
        if ray.get(answer):
            return True
    except RayError as error:
        failed = error
    # that a process is gone is often known before its machine is given up
    deadline_s = time.monotonic() + NOTICED_S
    while len(machines) > 1 and time.monotonic() < deadline_s:
        _require_all(machines)
        time.sleep(LOOK_INTERVAL_S)
    if failed:
        raise failed
    return False


def _require_all(machines: Sequence[RayMachine]) -> None:
    left = gone(machines, machines_now())
    if left:
        names = " and ".join(machine.address for machine in left)
        raise MachineLeftError(
            f"{names} left the Ray cluster in mid-run (switched off, restarted, or out of reach), so this attempt ends. "
            "The run goes on from its latest checkpoint when the machine is back: ray start --address=HEAD:PORT there"
        )
