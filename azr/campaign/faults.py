"""Which errors of a trainer no restart can fix. Pure: decided from its log and its result.

Before the first finished step of an attempt, an error of imports, configuration, model files or device ends
the run at once, and any other when it comes twice. What is known to pass (a busy machine, memory that another
program took) is tried again.
"""

from __future__ import annotations

import re
import sysconfig
from dataclasses import dataclass
from enum import Enum

from azr.campaign.incidents import FROM_OUTSIDE, SHOWN_CHARACTERS, dying_words, known_causes, signal_name
from azr.commands import command
from azr.system.cards import AFTER_SUSPEND
from azr.system.imports import loader_advice
from azr.system.tracebacks import ANSI, Raised, root_cause
from azr.train.engine_start import FREED, NO_ROOM


class FaultKind(str, Enum):
    IMPORT = "a Python module cannot be imported"
    CONFIGURATION = "the configuration is refused"
    MODEL = "the model cannot be loaded"
    DEVICE = "the card cannot be used"
    COMPILER = "the card's programs cannot be compiled"
    MEMORY = "memory ran out"
    PASSING = "the machine was busy, or the trainer was killed"
    NO_RAY = "Ray's processes do not find each other in time"
    SLOW = "no step was finished in time"
    OTHER = "an error"


_REMEDIES = {
    FaultKind.IMPORT: "The installed packages do not fit together: remove .venv and start `bash scripts/run.sh`, which installs the "
    "pinned set, and leave PYTHONPATH empty",
    FaultKind.CONFIGURATION: "Correct the setting that it names and start again",
    FaultKind.MODEL: f"Check the files of model.path={{model}}; `{command('doctor')}` checks them too",
    FaultKind.DEVICE: f"`nvidia-smi` and `{command('doctor')}` say more; where they find nothing wrong, reboot, or {AFTER_SUSPEND}",
    FaultKind.COMPILER: "Install a C compiler and Python's headers, as in: sudo apt-get install gcc "
    f"python{sysconfig.get_python_version()}-dev; if they are there, the trainer's log has what the compiler says",
}
_LOADERS = {
    "from_pretrained", "load_weights", "load_model", "get_model", "get_tokenizer", "hf_tokenizer", "load_state_dict_from_file",
    "load_safetensors", "safe_open",
}  # fmt: skip
"""Functions that read a model; what is raised below them is the model's fault, if it is not a fault of another kind."""

_PATTERNS: tuple[tuple[FaultKind, str], ...] = (
    (FaultKind.PASSING, rf"{FREED}|RPC error: Deadline"),
    (FaultKind.NO_RAY, r"timed out during startup|GCS has become overloaded"),
    # the driver's own look at the disk decides
    (FaultKind.PASSING, r"No space left on device|Disk quota exceeded"),
    (
        FaultKind.MEMORY,
        rf"out of memory|OutOfMemory|MemoryError|Cannot allocate memory|CUDNN_STATUS_ALLOC_FAILED|Bus error|NVML_SUCCESS == "
        rf"|{NO_ROOM}",
    ),
    # before the card: Triton's command line names libcuda.so
    (FaultKind.COMPILER, r"Failed to find C compiler|Command '\['[^']*(gcc|clang|cc)\b"),
    (
        FaultKind.DEVICE,
        r"No CUDA GPUs are available|CUDA driver version is insufficient|no NVIDIA driver|NVIDIA driver on your system is too old"
        r"|no kernel image is available|no CUDA-capable device|CUDA-capable device\(s\) is/are busy|invalid device ordinal"
        r"|not compiled with CUDA enabled|libcuda\.so|CUDA unknown error|forward compatibility was attempted|system not yet initialized"
        r"|Total available GPUs \d+ is less than|Failed to infer device type|compute capability (of )?at least",
    ),
    (
        FaultKind.IMPORT,
        r"^(ModuleNotFoundError|ImportError|PackageNotFoundError|VersionConflict)\b|undefined symbol|cannot open shared object file"
        r"|invalid ELF header|Failed to import \S+ because|^AttributeError: (partially initialized )?module '.*' has no attribute",
    ),
    (
        FaultKind.MODEL,
        r"^ModelError\b|^SafetensorError\b|Can't load (the )?(model|tokenizer|configuration|config)|does not appear to have a file named"
        r"|but Transformers does not recognize|Unrecognized model|no file named|size mismatch for|Error\(s\) in loading state_dict"
        r"|Model architectures \[.*\] (are not supported|failed)|Error while deserializing header|Unable to load weights"
        r"|max_model_len \(\d+\) is greater than the derived",
    ),
    (
        FaultKind.CONFIGURATION,
        r"^(ConfigError|ValidationError|ConfigAttributeError|ConfigKeyError|MissingMandatoryValue|OmegaConfBaseException"
        r"|HydraException|ConfigTypeError|InterpolationKeyError)\b",
    ),
)

_MISFIT = re.compile(r"(?P<name>[\w.{}, ]+?) *\| MISMATCH \| .*?(?P<shapes>ckpt: .*\))")
"""A line of transformers' load report, to which its exception points."""


@dataclass(frozen=True)
class Fault:
    """Why a trainer ended before it finished a step."""

    kind: FaultKind
    cause: str
    """The exception, or how the process ended."""

    @property
    def signature(self) -> str:
        """Equal for the same error met again: without numbers, addresses and paths of temporary files."""
        return re.sub(r"0x[0-9a-f]+|\d+|/tmp/\S+", "N", self.cause)[:SHOWN_CHARACTERS]

    def final(self, before: str, *, has_trained: bool) -> bool:
        """Whether starting again cannot help.

        Args:
            before: signature of the fault that ended the attempt before this one, before its first step;
                empty if none did.
            has_trained: the run finished steps in an earlier attempt, so it can work here.
        """
        if self.kind in _REMEDIES:
            return True
        passes = self.kind is FaultKind.PASSING or (
            has_trained and self.kind in (FaultKind.MEMORY, FaultKind.SLOW, FaultKind.NO_RAY)
        )
        return before == self.signature and not passes

    def sentence(self, model: str) -> str:
        """Why the run ends, and what to do."""
        if self.kind in _REMEDIES:
            of_loader = loader_advice(self.cause) if self.kind is FaultKind.IMPORT else ""
            remedy = of_loader or _REMEDIES[self.kind].format(model=model)
            return f"The trainer cannot start: {self.kind.value} ({shown(self.cause)}). {remedy[0].upper()}{remedy[1:]}."
        if self.kind is FaultKind.NO_RAY:
            return (
                f"The trainer cannot start: {self.kind.value}, three tries at each of two starts ({shown(self.cause)}). End other heavy "
                "programs (`top`), and let a firewall or VPN leave 127.0.0.1 alone; then run the same command."
            )
        twice = "The trainer ended twice in the same way before it finished a step"
        known = known_causes(self.cause)
        told = f"{known[0]} ({shown(self.cause)})" if known else shown(self.cause)
        return f"{twice}: {told}. Starting once more would not help."


def read_fault(status: int, log: str, reason: str = "") -> Fault:
    """
    Args:
        status: exit status as of ``subprocess.Popen.returncode``.
        log: what the attempt wrote.
        reason: of the trainer's own result, where it left one.
    """
    if not reason and -status in FROM_OUTSIDE:
        return Fault(FaultKind.PASSING, f"killed by {signal_name(-status)}")
    raised = root_cause(log) if reason else dying_words(status, log)
    if reason:
        own = Raised("", reason)
        explained = raised is not None and (raised.message[:80] in reason or own.points_elsewhere)
        # the trainer's own words, where the end of the log does not explain better
        raised = raised if explained else own
    if raised is None:
        how = f"it was killed by {signal_name(-status)}" if status < 0 else f"it ended with status {status}"
        return Fault(FaultKind.OTHER, f"{how} and left no message")
    misfit = _MISFIT.search(ANSI.sub("", log)) if "look at the above report" in raised.message else None
    if misfit:
        where = f"{misfit['name']}, {misfit['shapes']}"
        return Fault(FaultKind.MODEL, f"weights and config.json do not fit together: {where}")
    return Fault(classify(raised), str(raised))


def classify(raised: Raised) -> FaultKind:
    for kind, pattern in _PATTERNS:
        if re.search(pattern, str(raised)):
            return kind
    return FaultKind.MODEL if _LOADERS & set(raised.functions) else FaultKind.OTHER


def shown(text: str) -> str:
    """For a sentence: one line, not too long, without a full stop at its end."""
    text = " ".join(text.split()).rstrip(".")
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 3]}..."
