"""The signals that the driver has blocked for every process of an attempt stay blocked."""

from __future__ import annotations

from multiprocessing import resource_tracker
from typing import Any

_tracker: Any = resource_tracker


def keep_signals_blocked() -> None:
    """``multiprocessing`` blocks SIGTERM and SIGINT while it starts its tracker, and unblocks both whatever was before."""
    _tracker._HAVE_SIGMASK = False


def end_ray_at_once() -> None:
    """Ray gives each of its processes a second to heed SIGTERM, which is blocked in all of them."""
    import ray._private.worker  # pyright: ignore[reportPrivateImportUsage]

    node: Any = ray._private.worker._global_node  # None where Ray did not start
    for info in [info for infos in node.all_processes.values() for info in infos] if node is not None else []:
        info.process.terminate = info.process.kill
