"""A Python interpreter that has already imported everything, and forks instead of importing again.

Importing torch, transformers, verl and vLLM takes a core more than ten seconds, and an attempt has ten
processes that need them. One process (``serve``) imports them once. Where Ray or vLLM then start an
interpreter they start ``warm_python_client.py`` in its place; it hands arguments, environment and open files
to the server, which forks a child that continues as that interpreter would. The client waits: it passes signals
on, ends as the child ends, and when it is killed the child is killed too.

Only what is safe to share is imported before the fork: no threads, no connection to Ray, and no CUDA
(``azr.train.card_fork``).
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import fcntl
import gc
import importlib
import json
import os
import runpy
import select
import shlex
import signal
import socket
import subprocess
import sys
import time
import types
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

import setproctitle

from azr.system.stacks import answer_as_the_attempt_asks
from azr.train import card_fork

CLIENT = Path(__file__).with_name("warm_python_client.py")
MODULES = (
    "torch._inductor.lowering", "torch.distributed.fsdp", "tensordict", "transformers.modeling_utils",
    "transformers.models.qwen2.modeling_qwen2", "datasets", "peft", "fastapi", "openai", "xgrammar", "compressed_tensors",
    "scipy.optimize", "pydantic.v1.fields",
)  # fmt: skip
"""Imported at once. None of them may import Ray, whose library reads its environment when it is loaded and
never again."""
_ONLY_CPU = "vllm.v1.worker.cpu_worker"
"""Gives torch.cuda events and streams that do nothing."""
RAY_MODULES = (
    "azr.train.patches.ray_ids",  # before any class is declared for Ray
    "vllm.v1.engine.core",  # before verl, whose plugins patch what they find
    "azr.train.patches.model_classes",
    _ONLY_CPU,
    "verl.workers.rollout.vllm_rollout.vllm_async_server",
    "azr.train.verl.policy_worker",
    "azr.train.verl.agent_worker",
    "azr.train.verl.trainer",
    "azr.train.verl.runner",
    "azr.train.loop",
    "ray.dag.compiled_dag_node",
    "transfer_queue.storage.simple_storage",
)
"""Imported when the first client has brought the environment that Ray gives its workers; it is the same for
all of a cluster."""
CARD_RAY_MODULES = (
    *("vllm.v1.worker.gpu_worker" if name == _ONLY_CPU else name for name in RAY_MODULES),
    "azr.train.verl.training_engine",
    "azr.train.verl.engine_worker",
    "azr.train.verl.weight_sender",
    "torch.distributed.checkpoint",
)
"""The same where the children use a card. Without flashinfer and what imports it (``vllm.compilation.backends``): it asks
CUDA for the kind of card."""
RAY_VARIABLES = "RAY_"
PR_SET_PDEATHSIG = 1
MAX_REQUEST_BYTES = 1 << 20
MAX_FDS = 250
REQUEST_LIMIT_S = 30.0
SPARE_FD = 600
"""Where received descriptors are put aside before they take their own numbers."""


class WarmPython(contextlib.AbstractContextManager["WarmPython"]):
    """The server, seen from the process that starts it. Ends it, and with it every child, on exit."""

    def __init__(
        self,
        folder: Path,
        modules: Iterable[str] = MODULES,
        ray_modules: Iterable[str] | None = None,
        *,
        for_a_card: bool = False,
    ) -> None:
        """
        Args:
            for_a_card: children are to use one; where they could not, the server says so and ends, and each process
                imports for itself.
        """
        address = str(folder / "warm_python.sock")
        self.executable = folder / "python"
        """What to start in place of the interpreter; who starts it before ``start`` waits."""
        if ray_modules is None:
            ray_modules = CARD_RAY_MODULES if for_a_card else RAY_MODULES
        self._modules = [",".join(modules), ",".join(ray_modules)]
        self._for_a_card = for_a_card
        self._process: subprocess.Popen[bytes] | None = None
        write_client(self.executable, address)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(address)
        self._listener.listen(64)

    def start(self) -> None:
        """Starts the server, if it is not there yet, which begins to import: some ten seconds of a core."""
        if self._process is not None:
            return
        listener = self._listener.fileno()
        command = [sys.executable, "-m", "azr.train.warm_python", str(listener)]
        command += [str(self.executable), *self._modules, *(["card"] if self._for_a_card else [])]
        environment = card_fork.importing_environment() if self._for_a_card else None
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[listener], env=environment)
        self._listener.close()

    def __exit__(self, *_: Any) -> None:
        self._listener.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def write_client(path: Path, address: str) -> None:
    """An executable file that behaves like the interpreter and is served by ``address``."""
    words = shlex.join([sys.executable, "-I", "-S", str(CLIENT), address])
    path.write_text(f'#!/bin/sh\nexec {words} "$@"\n', encoding="utf-8")
    path.chmod(0o755)


class Server:
    def __init__(
        self,
        listener: socket.socket,
        executable: str,
        ray_modules: list[str],
        *,
        started_s: float,
        for_a_card: bool = False,
    ) -> None:
        self.started_s = started_s
        self.listener = listener
        self.ray_modules = ray_modules
        self.for_a_card = for_a_card
        self.set_by_imports: dict[str, str] = {}
        self.asked_cuda: list[str] = []
        self.executable = executable
        self.clients: dict[int, tuple[socket.socket, int]] = {}
        """Descriptor of a client's connection -> (connection, process id of its child)."""
        reading, self.waker = os.pipe()
        self.awake = reading
        os.set_blocking(self.waker, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self.waker, warn_on_full_buffer=False)

    def serve(self) -> NoReturn:
        """Until standard input is closed, which its owner's death does too."""
        while True:
            watched = [0, self.awake, self.listener.fileno(), *self.clients]
            ready: list[int] = select.select(watched, [], [])[0]
            if 0 in ready and not os.read(0, 1):
                for _, pid in self.clients.values():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                os._exit(0)
            if self.awake in ready:
                os.read(self.awake, 4096)
                self.reap()
            if self.listener.fileno() in ready:
                self.start(self.listener.accept()[0])
            for descriptor in [item for item in ready if item in self.clients]:
                connection, pid = self.clients[descriptor]
                if not connection.recv(1):  # the client was killed, so its child is
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)

    def reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            for descriptor, (connection, child) in list(self.clients.items()):
                if child == pid:
                    with contextlib.suppress(OSError):
                        connection.sendall(b"%d\n" % status)
                    connection.close()
                    del self.clients[descriptor]

    def start(self, connection: socket.socket) -> None:
        # one that connects and says nothing must not hold up the others
        connection.settimeout(REQUEST_LIMIT_S)
        try:
            request, files = receive_request(connection)
        except (OSError, ValueError, EOFError):
            connection.close()
            return

        if self.ray_modules:
            given = request["environment"].items()
            os.environ.update({name: value for name, value in given if name.startswith(RAY_VARIABLES)})
            if self.for_a_card:
                self.import_beside_a_card()
            else:
                import_modules(self.ray_modules)
            self.ray_modules = []

        pid = os.fork()
        if pid == 0:
            self.become(request, files)
        for file in files:
            os.close(file)
        self.clients[connection.fileno()] = (connection, pid)
        with contextlib.suppress(OSError):
            connection.sendall(b"%d\n" % pid)

    def import_beside_a_card(self) -> None:
        """Ends this process where its children could not use the card; clients then start cold interpreters."""
        waited_s = time.monotonic() - self.started_s
        before = dict(os.environ)
        with card_fork.not_there(), card_fork.noting_who_asks_cuda(self.asked_cuda):
            import_modules(self.ray_modules)
        self.set_by_imports = card_fork.set_by_imports(before)
        card_fork.hear_everybody()
        card_fork.release_nvml()
        imported_s = time.monotonic() - self.started_s
        seen = ", ".join([*dict.fromkeys(self.asked_cuda), *card_fork.card_files()])
        trouble = card_fork.why_no_fork_sees_a_card()
        if trouble:
            print(
                f"azr.train: {trouble}{f' (seen: {seen})' if seen else ''}, so train.one_interpreter is of no use here and every "
                "process imports for itself. This takes longer and changes nothing else.",
                file=sys.stderr,
                flush=True,
            )
            os._exit(0)
        print(
            f"azr.train: one interpreter has imported for all processes in {imported_s:.1f} s, verl and vLLM since {waited_s:.1f} s; "
            f"a process made from it sees the card ({time.monotonic() - self.started_s - imported_s:.1f} s)",
            flush=True,
        )

    def become(self, request: dict[str, Any], files: list[int]) -> NoReturn:
        """In the child: the client's files, folder, environment and arguments, then its program. Never returns."""
        code = 1
        try:
            die_with_server()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            take_files(dict(zip(request["files"], files, strict=True)))
            os.chdir(request["folder"])
            os.environ.clear()
            os.environ.update(request["environment"])
            import multiprocessing

            multiprocessing.set_executable(self.executable)
            gc.enable()
            if self.for_a_card:
                card_fork.as_imported_anew(self.set_by_imports)
            answer_as_the_attempt_asks()  # the server's own file is not among those that were handed over
            run_as_interpreter(request["arguments"])
            code = 0
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
            if isinstance(error.code, str):
                print(error.code, file=sys.stderr)
        except BaseException:  # noqa: BLE001 - as the interpreter does at its top
            sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        finally:
            leave(code)


def die_with_server() -> None:
    """The server's end ends its children, also when it was killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def receive_request(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Raises:
    OSError, ValueError, EOFError: the client went away or is not a client.
    """
    files: array.array[int] = array.array("i")
    data, ancillary, _, _ = connection.recvmsg(1 << 16, socket.CMSG_SPACE(MAX_FDS * files.itemsize))
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            files.frombytes(content[: len(content) - len(content) % files.itemsize])
    while b"\n" not in data:
        more = connection.recv(1 << 16)
        if not more or len(data) > MAX_REQUEST_BYTES:
            raise EOFError
        data += more
    return json.loads(data), list(files)


def take_files(wanted: dict[int, int]) -> None:
    """Gives received descriptors the client's numbers and closes everything else.

    Args:
        wanted: number -> received descriptor.
    """
    aside = {number: fcntl.fcntl(file, fcntl.F_DUPFD, SPARE_FD) for number, file in wanted.items()}
    os.closerange(0, SPARE_FD)
    for number, file in aside.items():
        os.dup2(file, number, inheritable=True)
    os.closerange(SPARE_FD, SPARE_FD + 2 * MAX_FDS)


def run_as_interpreter(arguments: list[str]) -> None:
    """``[options] -c CODE ...`` or ``[options] FILE ...``; options of the interpreter itself are the server's."""
    rest = list(arguments)
    while rest and rest[0].startswith("-") and rest[0] != "-c":
        option = rest.pop(0)
        if option in ("-X", "-W"):
            rest.pop(0)
    if rest and rest[0] == "-c":
        code = rest[1]
        sys.argv = ["-c", *rest[2:]]
        main = types.ModuleType("__main__")
        sys.modules["__main__"] = main
        exec(compile(code, "<string>", "exec"), main.__dict__)
    else:
        sys.argv = rest
        sys.path[0] = str(Path(rest[0]).parent)
        runpy.run_path(rest[0], run_name="__main__")


def leave(code: int) -> NoReturn:
    """Ends as an interpreter does: threads, then exit handlers, then buffers."""
    import atexit
    import threading

    with contextlib.suppress(Exception):
        threading._shutdown()  # type: ignore[attr-defined]
    with contextlib.suppress(Exception):
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(code)


def import_modules(names: Iterable[str]) -> None:
    gc.disable()  # hundreds of thousands of objects that stay: the collector would look at them again and again
    for name in names:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


def main(arguments: list[str]) -> NoReturn:
    listener, executable, modules, ray_modules, *card = arguments
    started_s = time.monotonic()
    # vLLM gives its processes names; the library that does it must see the interpreter's own argument area,
    # which no child can find again
    os.environ["SPT_NOENV"] = "1"  # as in azr/train/environment.py
    setproctitle.setproctitle("azr: warm python")
    asked_cuda: list[str] = []
    with contextlib.ExitStack() as stack:
        if card:
            stack.enter_context(card_fork.not_there())
            stack.enter_context(card_fork.noting_who_asks_cuda(asked_cuda))
        import_modules(filter(None, modules.split(",")))
    if "ray" in sys.modules:
        raise AssertionError("one of the modules that are imported first has imported Ray")
    later = list(filter(None, ray_modules.split(",")))
    server = Server(
        socket.socket(fileno=int(listener)), executable, later, started_s=started_s, for_a_card=bool(card)
    )
    server.asked_cuda = asked_cuda
    server.serve()


if __name__ == "__main__":
    main(sys.argv[1:])
