"""A replacement for the ``python`` executable, served by ``warm_python.py``. Standard library only; starts in
milliseconds."""

import array
import contextlib
import json
import os
import signal
import socket
import sys

FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2, signal.SIGQUIT)
START_LIMIT_S = 300.0


def main() -> None:
    address, *arguments = sys.argv[1:]
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(START_LIMIT_S)
    own = connection.fileno()
    open_files = []
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - pathlib takes longer to import than all the rest
        number = int(name)
        with contextlib.suppress(OSError):  # the one that listed them is closed again
            os.fstat(number)
            if number != own:
                open_files.append(number)
    folder = os.getcwd()  # noqa: PTH109
    request = {"arguments": arguments, "folder": folder, "environment": dict(os.environ), "files": open_files}
    try:
        connection.connect(address)
        connection.sendmsg([b" "], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", open_files))])
        connection.sendall(json.dumps(request).encode() + b"\n")
        child = int(_line(connection))
    except (OSError, ValueError) as error:
        print(f"warm python: {error}; starting a cold one", file=sys.stderr)
        os.execv(sys.executable, [sys.executable, *arguments])

    def forward(number: int, _: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)

    for number in FORWARDED:
        signal.signal(number, forward)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})  # the child has a handler, and is asked itself
    for number in open_files:
        if number > 2:
            os.close(number)
    connection.settimeout(None)
    try:
        status = int(_line(connection))
    except (OSError, ValueError):  # the server is gone, and its children with it
        os._exit(1)
    if os.WIFSIGNALED(status):
        with contextlib.suppress(OSError):  # SIGKILL has no handler to reset
            signal.signal(os.WTERMSIG(status), signal.SIG_DFL)
        os.kill(os.getpid(), os.WTERMSIG(status))
    os._exit(os.WEXITSTATUS(status))


def _line(connection: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\n"):
        more = connection.recv(1)
        if not more:
            raise OSError("no answer")
        data += more
    return data


main()
