"""Where a run's processes put their files: temporary folder, home, user name, and the path of the
interpreter.

Ray, Triton, torch and vLLM each take some of these for granted and fail minutes later, in their own words,
where one is unusual: a blank in a path, a temporary folder that is long, mounted ``noexec`` or read-only, a
user id without a passwd entry. ``prepare_places`` looks once, before anything starts, puts right what it can for
this process and its children, and says what it changed.
"""

from __future__ import annotations

import glob
import os
import pwd
import re
import stat
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from azr.errors import ConfigError
from azr.system.hashes import text_hash
from azr.system.process_limits import raise_limits
from azr.system.variables import of_another_machine, unwanted_variables, whose

SOCKET_PATH_BYTES = 107
"""Longest path of a UNIX socket."""
RAY_SOCKET = "/ray/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store"
"""What Ray appends to its temporary folder."""
TEMPORARY_BYTES = SOCKET_PATH_BYTES - len(RAY_SOCKET)
SHARED = Path("/tmp")
"""Where temporary files go when TMPDIR does not say."""
PLAIN = re.compile(r"[\w./+@%=,~-]*", re.ASCII)
TEMPORARY_VARIABLES = ("TMPDIR", "RAY_TMPDIR")
NO_BYTECODE, BYTECODE_FOLDER = "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"
NAME_VARIABLES = ("LOGNAME", "USER", "LNAME", "USERNAME")


@dataclass(frozen=True)
class Trouble:
    """What is wrong with a place, and what to do about it."""

    subject: str
    seen: str
    fix: str
    harmless: bool = False
    """A run has a way around it that costs nothing."""


# ---------------------------------------------------------------- looking


def is_shell_safe(path: str) -> bool:
    """Nothing in it that a shell command without quotes would take for something else."""
    return PLAIN.fullmatch(path) is not None


def temporary_problem(folder: str) -> str:
    """Why Ray's sockets and compiled kernels cannot live in ``folder``; empty where they can."""
    path = Path(folder)
    if not path.is_absolute():
        return "is not an absolute path"
    if not os.path.isdir(path):  # noqa: PTH112 - pathlib's raises where a folder above may not be read
        return "is not a readable folder"
    if not is_shell_safe(folder):
        return "has a space or another special character in its path, and Ray starts its workers without quoting it"
    length = len(os.fsencode(folder))
    if length > TEMPORARY_BYTES:
        return f"is {length} bytes long; Ray's sockets need a path of at most {TEMPORARY_BYTES}"
    if problem := unwritable(path):
        return problem
    is_noexec = os.statvfs(path).f_flag & os.ST_NOEXEC
    return "is mounted noexec, and compiled kernels are loaded from there" if is_noexec else ""


def unwritable(folder: Path) -> str:
    """Why no file can be made in ``folder``; empty where one can. Tried, because permissions do not say everything
    (read-only, full, quotas)."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
            file.flush()
    except OSError as error:
        return f"cannot be written ({error.strerror or error})"
    return ""


def troubles(environment: MutableMapping[str, str]) -> Iterator[Trouble]:
    """What ``prepare_places`` would have to put right; for the doctor."""
    for variable, folder in temporary_folders(environment):
        if problem := temporary_problem(folder):
            fix = f"export TMPDIR={SHARED}, or another short folder of yours"
            yield Trouble("temporary folder", f"{variable}{folder} {problem}", fix)
    if not _has_name(environment):
        fix = f"export USER=azr (in a container also: --user NAME, or mount /etc/passwd); a run uses {_made_up_name()}"
        yield Trouble("user", f"user id {os.getuid()} has no name", fix)
    if problem := _home_problem(environment):
        fix = "export HOME=/a/folder/that/you/can/write; a run keeps its caches under the temporary folder"
        yield Trouble("home", problem, fix)
    unset = "unset {}; a run starts its processes without it"
    for name in unwanted_variables(environment):
        yield Trouble(whose(name), f"{name}={environment[name]}", unset.format(name), harmless=True)
    for name, value, what in of_another_machine(environment):
        seen = f"{name}={value} names no {what} of this machine"
        yield Trouble("network", seen, unset.format(name), harmless=True)
    if not is_shell_safe(sys.executable):
        seen = f"{sys.executable} has a space or another special character in its path"
        fix = "nothing to do: a run starts its workers through a link; to be safe, move the project to a path of letters, digits, - and _"
        yield Trouble("environment", seen, fix, harmless=True)


def temporary_folders(environment: MutableMapping[str, str]) -> list[tuple[str, str]]:
    """(``NAME=`` or nothing, folder) of each temporary folder that would be used."""
    found = [(f"{name}=", environment[name]) for name in TEMPORARY_VARIABLES if environment.get(name)]
    return found if environment.get("TMPDIR") else [*found, ("", str(SHARED))]


def _has_name(environment: MutableMapping[str, str]) -> bool:
    return any(environment.get(name) for name in NAME_VARIABLES) or _passwd_entry() is not None


def _passwd_entry() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwuid(os.getuid())
    except KeyError:
        return None


def _made_up_name() -> str:
    return f"uid{os.getuid()}"


def _home_problem(environment: MutableMapping[str, str]) -> str:
    entry = _passwd_entry()
    home = environment.get("HOME") or (entry.pw_dir if entry else "")
    if not home:
        return f"HOME is not set, and user id {os.getuid()} has no passwd entry that names one"
    path = Path(home)
    if not path.is_absolute() or not os.path.isdir(path):  # noqa: PTH112
        return f"HOME={home} is not a readable folder"
    problem = unwritable(path)
    return f"HOME={home} {problem}" if problem else ""


# ---------------------------------------------------------------- putting right


def prepare_places(
    environment: MutableMapping[str, str] | None = None,
    say: Callable[[str], None] = lambda text: print(text, file=sys.stderr),
) -> None:
    """Sets for this process and its children what is missing or unfit. Doing it again changes nothing.

    Args:
        environment: this process's, unless a test gives another.
        say: called with a sentence for each change.

    Raises:
        ConfigError: no folder serves as the temporary one; names each and what is wrong with it. Or too few
            files may be open.
    """
    raise_limits(say)
    environment = os.environ if environment is None else environment
    if not _has_name(environment):
        for name in ("USER", "LOGNAME"):
            environment[name] = _made_up_name()
        say(f"User id {os.getuid()} has no name here; the run calls it {_made_up_name()}.")
    for name, why in unwanted_variables(environment).items():
        say(f"{name}={environment.pop(name)} is set; the run's processes start without it, because {why}.")
    for name, value, what in of_another_machine(environment):
        del environment[name]
        say(f"{name}={value} names no {what} of this machine; the run's processes start without it.")
    _choose_temporary_folder(environment, say)
    if problem := _home_problem(environment):
        _choose_home(environment, problem, say)
    keep_bytecode(environment, say)


def keep_bytecode(
    environment: MutableMapping[str, str], say: Callable[[str], None], packages: Path | None = None
) -> None:
    """Keeps compiled modules under the home directory where Python neither finds nor leaves them beside their sources:
    else each process of each start compiles all of torch, verl, vLLM and Ray that it imports. Container images forbid
    them (``PYTHONDONTWRITEBYTECODE``) or are read-only, and uv installs without them.

    Args:
        packages: where the packages are installed; this interpreter's, unless a test gives another.
    """
    torch = (packages or Path(sysconfig.get_path("purelib"))) / "torch"
    if environment.get(BYTECODE_FOLDER) or not torch.is_dir() or (torch / "__pycache__").is_dir():
        return
    if environment.get(NO_BYTECODE):
        why = f"{NO_BYTECODE}={environment[NO_BYTECODE]} is set"
    elif not os.access(torch, os.W_OK):
        why = f"{torch} cannot be written"
    else:
        return
    folder = cache_folder("bytecode", environment)
    if folder is None:
        return  # a start takes longer, and that is all
    environment.pop(NO_BYTECODE, None)
    environment[BYTECODE_FOLDER] = str(folder)
    if environment is os.environ:
        sys.dont_write_bytecode, sys.pycache_prefix = False, str(folder)
    say(f"{why}; the run keeps compiled modules in {folder}, else each process would compile them again.")


def cache_folder(name: str, environment: MutableMapping[str, str]) -> Path | None:
    """A folder that this user alone can write and that outlives a boot; None where there can be none."""
    caches = environment.get("XDG_CACHE_HOME") or Path(environment.get("HOME") or Path.home()) / ".cache"
    folder = Path(caches).absolute() / "azr" / name  # processes work in folders of their own
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return None if make_private(folder) or unwritable(folder) else folder


def _choose_temporary_folder(environment: MutableMapping[str, str], say: Callable[[str], None]) -> None:
    for name in TEMPORARY_VARIABLES:
        if not environment.get(name, "unset"):
            del environment[name]  # empty: Ray would take the working folder, everybody else the usual one
    for variable, folder in temporary_folders(environment):
        if problem := temporary_problem(folder):
            private = str(private_folder(environment))
            environment[variable.rstrip("=") or "TMPDIR"] = private
            say(f"{variable}{folder} {problem}; the run uses {private}.")
            tempfile.tempdir = None  # Python remembers its first choice


def private_folder(environment: MutableMapping[str, str] | None = None) -> Path:
    """A folder of this user's alone, short, plain and executable: the same one at every call.

    Raises:
        ConfigError: there is none.
    """
    refused = []
    for parent in dict.fromkeys(parents_of_private(os.environ if environment is None else environment)):
        name = f"azr-{os.getuid()}"
        folder = parent if parent.name == name else parent / name  # TMPDIR is this very folder already
        problem = make_private(folder) or temporary_problem(str(folder))
        if not problem:
            return folder
        refused.append(f"{folder} {problem}")
    raise ConfigError(
        f"no folder is suitable for Ray's sockets and compiled kernels: {'; '.join(refused)}. Set TMPDIR to a folder of yours "
        f"with a path of at most {TEMPORARY_BYTES} bytes, without spaces, not mounted noexec"
    )


def parents_of_private(environment: MutableMapping[str, str]) -> list[Path]:
    """Where the private folder may lie, the best place first."""
    named = (("XDG_RUNTIME_DIR", ""), ("HOME", ".cache"))
    own = [Path(environment[name]) / tail for name, tail in named if environment.get(name)]
    return [Path(environment.get("TMPDIR") or SHARED), SHARED, Path("/var/tmp"), Path("/dev/shm"), *own]


def make_private(folder: Path) -> str:
    """Makes the folder, and trusts one that is there only if nobody else can write it; why it cannot be used, or
    nothing."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        return f"cannot be made ({error.strerror or error})"
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        return "is not a folder of yours"
    if stat.S_IMODE(found.st_mode) & 0o022:
        return "can be written by others"
    return ""


def _choose_home(environment: MutableMapping[str, str], problem: str, say: Callable[[str], None]) -> None:
    """A home under the private folder; models in an old one that can be read stay in reach."""
    models = Path(environment.get("HOME") or "/nonexistent") / ".cache" / "huggingface"
    if "HF_HOME" not in environment and os.access(models, os.R_OK | os.X_OK):
        environment["HF_HOME"] = str(models)
    home = private_folder(environment) / "home"
    home.mkdir(mode=0o700, exist_ok=True)
    environment["HOME"] = str(home)
    say(f"{problem}; the run keeps its caches in {home}.")


def plain_python() -> str:
    """The running interpreter by a path that nothing has to quote: its own, or one through a link to its
    environment.

    Raises:
        ConfigError: there is no place for the link.
    """
    if is_shell_safe(sys.executable):
        return sys.executable
    link = _link_to(Path(sys.prefix))
    return str(link / Path(sys.executable).relative_to(sys.prefix))


def restart_with_plain_path(module: str, arguments: Sequence[str]) -> None:
    """Becomes ``python -m module arguments`` under the plain path; returns where the path is plain already.

    Raises:
        ConfigError: there is no place for the link.
    """
    python = plain_python()
    if python != sys.executable:
        sys.stdout.flush()
        os.execv(python, [python, "-m", module, *arguments])


def without_wildcards(folder: Path) -> Path:
    """The folder, or a link to it where its path has a ``[``, ``*`` or ``?``: the engine looks for weights by a pattern
    below it, and finds none.

    Raises:
        ConfigError: there is no place for the link.
    """
    return folder if glob.escape(str(folder)) == str(folder) else _link_to(folder)


def _link_to(folder: Path) -> Path:
    link = private_folder() / f"link-{text_hash(str(folder), 12)}"
    if link.is_symlink() and link.readlink() == folder:
        return link
    staging = link.with_name(f".{link.name}.{os.getpid()}")
    staging.unlink(missing_ok=True)
    staging.symlink_to(folder)
    staging.rename(link)
    return link
