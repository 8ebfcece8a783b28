"""What a program must not be able to do: each is tried once, in a process that is confined as a program's is.

Standard library only, like the zygote that does it.
"""

from __future__ import annotations

import _socket
import os
import signal
from collections.abc import Callable

from azr.sandbox import confine


def how_stopped(seccomp: confine.Filter | None) -> dict[str, str]:
    """Each attempt -> how it was stopped, or ``done``."""
    return {name: _tried(attempt, seccomp) for name, attempt in ATTEMPTS.items()}


def _tried(attempt: Callable[[], object], seccomp: confine.Filter | None) -> str:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            confine.limit_program(2.0, 1024)
            if seccomp is not None:
                seccomp.install()
            attempt()
            os.write(writing, b"done")
        except OSError as error:
            os.write(writing, os.strerror(error.errno or 0).encode())
        except BaseException as error:  # noqa: BLE001 - what could not be tried proves nothing
            os.write(writing, f"not tried: {type(error).__name__}".encode())
        finally:
            os._exit(0)
    os.close(writing)
    said = os.read(reading, 100).decode()
    os.close(reading)
    _, status = os.waitpid(pid, 0)
    return f"killed by {signal.Signals(os.WTERMSIG(status)).name}" if os.WIFSIGNALED(status) else said


def _connect() -> None:
    connection = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
    connection.connect(("127.0.0.1", 9))
    connection.send(b"x")


def _write() -> None:
    path = f"/tmp/.azr-probe-{os.getpid()}"
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    os.unlink(path)


ATTEMPTS: dict[str, Callable[[], object]] = {
    "read": lambda: os.open("/", os.O_RDONLY),
    "write": _write,
    "connect": _connect,
    "fork": lambda: os.fork() or os._exit(0),
    "kill": lambda: os.kill(os.getppid() or 1, 0),
}
