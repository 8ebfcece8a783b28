"""What a process needs whose forks are to use a card, although it has imported torch, verl and vLLM.

CUDA that a process has initialised does not work in its forks, and files that NVML has open are closed in them. So both
are kept out while modules are imported, and a fork tries whether it sees the card.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn
from unittest import mock

from azr.train.environment import worker_environment

NVML, CUDA = "libnvidia-ml.so.1", "libcuda.so.1"
NVML_CHECK = {"PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
ASK_THE_CARD = ("vllm.model_executor.layers.fla", "torchao", "bitsandbytes")
"""Modules that initialise CUDA while they are imported; who needs one imports it after the fork. verl imports the first for
its list of models with experts, transformers and peft the others where they are installed; all do without."""
TRIAL_LIMIT_S = 60.0
_NVML_USERS = 1000
"""More calls of nvmlInit than any import makes."""
_HIGHEST_FILE = 4096


def importing_environment() -> dict[str, str]:
    """Variables for a process that imports for others: theirs, that torch is to ask NVML whether there is a card
    (else asking initialises CUDA; vLLM wants the same), and whose card it is, for which verl would start nvidia-smi."""
    return {"VERL_PLATFORM": "nvidia", **os.environ, **worker_environment(), **NVML_CHECK}


def set_by_imports(before: Mapping[str, str]) -> dict[str, str]:
    """Variables that modules have set while they were imported, as they do in every process that imports them."""
    return NVML_CHECK | {name: value for name, value in os.environ.items() if before.get(name) != value}


@contextlib.contextmanager
def not_there(modules: Iterable[str] = ASK_THE_CARD) -> Iterator[None]:
    """Importing these modules meanwhile raises ImportError; afterwards it works."""
    hidden = [name for name in modules if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


@contextlib.contextmanager
def noting_who_asks_cuda(asked: list[str]) -> Iterator[None]:
    """Adds ``file:line`` of whoever has torch initialise CUDA meanwhile, the innermost outside torch."""
    import torch

    def noted(call: Callable[..., Any]) -> Callable[..., Any]:
        def note(*arguments: Any) -> Any:
            places = [(frame.filename, frame.lineno) for frame in traceback.extract_stack()[:-1]]
            foreign = [f"{file}:{line}" for file, line in places if "/torch/" not in file and file[0] != "<"]
            asked.append(foreign[-1] if foreign else "torch")
            return call(*arguments)

        return note

    with contextlib.ExitStack() as stack:
        for name in ("_cuda_getDeviceCount", "_cuda_init"):
            stack.enter_context(mock.patch.object(torch._C, name, noted(getattr(torch._C, name))))
        yield


def hear_everybody() -> None:
    """A library that vLLM's server imports sets the root logger to errors only; it would for all processes."""
    root = logging.getLogger()
    root.setLevel(logging.WARNING)  # as verl does
    for handler in root.handlers:
        handler.setLevel(logging.NOTSET)


def release_nvml() -> None:
    """Ends NVML, which counts its users: torch starts it without ending it. Whoever asks it next starts it again."""
    with contextlib.suppress(OSError):
        nvml = ctypes.CDLL(NVML)
        for _ in range(_NVML_USERS):
            if nvml.nvmlShutdown():  # nobody is left
                return


def as_imported_anew(variables: Mapping[str, str]) -> None:
    """In a fork that has its own environment: what torch reads from it only while it is imported, random numbers of
    its own, and the variables that imports set."""
    torch: Any = sys.modules["torch"]
    torch.default_generator.seed()
    sys.modules["numpy"].random.seed()
    threads, compilers = (
        os.environ.get(name, "") for name in ("OMP_NUM_THREADS", "TORCHINDUCTOR_COMPILE_THREADS")
    )
    if threads.isdigit() and int(threads):
        torch.set_num_threads(int(threads))
    if compilers.isdigit() and int(compilers):
        config: Any = sys.modules["torch._inductor.config"]
        config.compile_threads = int(compilers)
    for name, value in variables.items():
        os.environ.setdefault(name, value)


def why_no_fork_sees_a_card(limit_s: float = TRIAL_LIMIT_S) -> str:
    """Tries in a fork of this process, which has none of its files, as a real one.

    Returns:
        what is wrong, for a log; empty if nothing is.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _try_and_tell(writing)
    os.close(writing)
    try:
        if not select.select([reading], [], [], limit_s)[0]:
            return f"a process made from it did not see the card within {limit_s:.0f} s"
        said = os.read(reading, 4096).decode("utf-8", "replace")
        return said.removeprefix(_FINE) if said else "a process made from it died when it looked for the card"
    finally:
        os.close(reading)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


_FINE = "fine"


def _try_and_tell(writing: int) -> NoReturn:
    said = "it could not be tried"
    try:
        signal.set_wakeup_fd(-1)
        os.closerange(3, writing)
        os.closerange(writing + 1, _HIGHEST_FILE)
        said = _trouble_here() or _FINE
    except Exception as error:  # noqa: BLE001 - whatever it is, no card can be used
        said = f"{type(error).__name__}: {error}"
    finally:
        os.write(writing, said.encode()[:4000])
        os._exit(0)


def _trouble_here() -> str:
    import torch

    if torch._C._cuda_isInBadFork():  # pyright: ignore[reportAttributeAccessIssue]
        return "one of the modules has initialised CUDA"
    nvml = ctypes.CDLL(NVML).nvmlInit_v2()
    if nvml:
        return f"NVML fails in a process made from it (nvmlInit returns {nvml})"
    driver = ctypes.CDLL(CUDA).cuInit(0)
    if driver:
        return f"CUDA fails in a process made from it (cuInit returns {driver})"
    seen = torch._C._cuda_getDeviceCount()
    return "" if seen else "a process made from it sees no card"


def card_files() -> list[str]:
    """What this process has open of a card's driver; for the log."""
    found: set[str] = set()
    for file in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.add(str(file.readlink()))
    return sorted(name for name in found if name.startswith(("/dev/nvidia", "/dev/dxg")))
