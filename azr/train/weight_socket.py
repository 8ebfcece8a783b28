"""Where the trainer hands its weights to the engine: a socket of this attempt alone.

verl 0.9.1 names the socket in /tmp by Ray's job id, which is ``01000000`` in every cluster that has one job. Two runs on one machine
then share it: one trainer's weights reach the other's engine, or both wait for ever (seen with runs on cards of their own).
"""

from __future__ import annotations

import os
from pathlib import PurePosixPath

SOCKET_FOLDER = "VLLM_RPC_BASE_PATH"
"""The attempt's own folder, which every process inherits (``azr.train.__main__``)."""
IPC = "ipc://"


def private_handle(handle: str) -> str:
    """The same socket in the attempt's folder; unchanged where there is none (processes of a cluster that the user started)."""
    folder = os.environ.get(SOCKET_FOLDER)
    if not folder or not handle.startswith(IPC):
        return handle
    return f"{IPC}{folder}/{PurePosixPath(handle.removeprefix(IPC)).name}"
