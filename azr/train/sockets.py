"""Sockets of an attempt, in a folder of their own.

verl 0.9.1 names the socket through which weights go to the engine by Ray's job id, which is the first one in every
cluster: in ``/tmp`` two runs of one machine would have the same, and an engine could be sent the other run's weights.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath

from azr.system.scratch import scratch_folder

FOLDER_VARIABLE = "AZR_SOCKETS"
SHARED = "ipc:///tmp/"
"""How verl's socket names begin."""


@contextmanager
def sockets_folder() -> Iterator[None]:
    """A folder for the sockets of verl and vLLM, which vLLM leaves behind; removed with them.

    All processes of the attempt inherit its name.
    """
    with scratch_folder("s") as folder:
        os.environ[FOLDER_VARIABLE] = str(folder)
        os.environ.setdefault("VLLM_RPC_BASE_PATH", str(folder))
        yield


def own_socket(name: str) -> str:
    """verl's socket in this attempt's folder; unchanged without one (a Ray cluster that was there before)."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder or not name.startswith(SHARED):
        return name
    return f"ipc://{folder}/{PurePosixPath(name).name}"
