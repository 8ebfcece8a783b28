"""Packs a run that nobody works on: its newest sound checkpoint, and what a resume needs beside it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from azr.campaign.control import lock_run
from azr.campaign.lost_files import no_checkpoint
from azr.config.paths import at_home
from azr.errors import RunError
from azr.moving.archive import TENSOR_LEVEL, TEXT_LEVEL, ArchiveWriter, FileToPack, deflated_bytes
from azr.moving.selection import files_of, is_tensor_file, select_files
from azr.run.checkpoints import (
    checkpoint_problems,
    damaged_checkpoints,
    latest_verified_checkpoint,
    list_checkpoints,
)
from azr.run.identity import RunIdentity, read_identity
from azr.run.rundir import RunDir, run_meant
from azr.system.files import whole_file

MIB = 1 << 20
SMALLEST_TAIL_BYTES = 16 << 10
"""A log of which less than this would travel stays here."""


@dataclass(frozen=True)
class PackOptions:
    limit_mib: float | None = None
    """Largest archive; None = none."""
    every_checkpoint: bool = False


_OTHER_ARCHIVES = frozenset({".tar", ".gz", ".tgz", ".xz", ".txz", ".bz2", ".tbz", ".zst", ".7z", ".rar"})


def archive_file(root: Path, out: str) -> Path:
    """The file that ``out`` means: itself, or ``NAME.azr.zip`` in the folder that it names.

    Raises:
        RunError: it is called like an archive of another kind.
    """
    path = at_home(out).absolute()
    if path.suffix.lower() in _OTHER_ARCHIVES and not path.is_dir():
        plain = path.name.split(".")[0]
        raise RunError(
            f"{out}: a run is packed as a ZIP file, which other programs do not look for there; call it {plain}.azr.zip"
        )
    is_folder = path.is_dir() or out.endswith("/")
    return path / f"{root.name}.azr.zip" if is_folder else path


def pack_run(root: Path, out: Path, options: PackOptions, say: Callable[[str], None] = print) -> Path:
    """Writes the archive; ``out`` appears whole or not at all.

    Raises:
        RunError: the run is in use, it has nothing to resume from, or it does not fit the limit.
        DataError: a file's name cannot travel.
        OSError: the disk is full.
    """
    run = RunDir(root)
    if not run.config.is_file() or not run.state.is_file():  # more than ``is_run``: what going on takes
        if run.records(run.config.name):
            raise RunError(
                f"{root} lacks {run.config.name if run.state.is_file() else run.state.name}, which travels with it; start the run once "
                "more, which writes it anew, and stop it, then pack"
            )
        raise RunError(
            f"{root} is not a run that has begun (it has no config.yaml and state.json); {run_meant(root)}"
        )
    if out.resolve().is_relative_to(root.resolve()):
        raise RunError(
            f"{out} would be inside the run itself, which packing does not change; write it beside the run: {root}.azr.zip"
        )
    if out.exists():
        raise RunError(f"{out} exists; give another name, or remove it")
    lock = lock_run(run)
    try:
        return _pack(run, out, options, say)
    finally:
        lock.release()


def _pack(run: RunDir, out: Path, options: PackOptions, say: Callable[[str], None]) -> Path:
    identity = read_identity(run)
    if identity is None:
        raise RunError(
            f"{run.root} has no {run.identity.name}, which says what it began with; start it once more and stop it, then pack"
        )
    if identity.lora_rank and identity.n_gpus_per_node * identity.n_nodes > 1:
        raise RunError(
            f"{run.root} trains adapters on several cards, whose checkpoints hold the whole frozen model beside them; it does not travel "
            "(scripts/export.py makes a model of a checkpoint)"
        )
    steps = _steps(run, options, say)
    chosen = select_files(files_of(run.root), steps)
    with whole_file(out) as file, ArchiveWriter(file) as writer:
        for path in chosen.needed:
            level = TENSOR_LEVEL if is_tensor_file(path) else TEXT_LEVEL
            writer.add(FileToPack(path, run.root / path, level=level))
        limit = options.limit_mib * MIB if options.limit_mib is not None else float("inf")
        if writer.size_bytes > limit:
            raise RunError(_too_large(run, chosen.needed, writer.size_bytes, options))
        left_out = _add_what_people_read(run, writer, chosen.read, limit) + _others(run, chosen.others)
        manifest = writer.finish(_info(run, identity, steps, left_out))
        size = file.tell()
    packed = [run.root / file.path for file in manifest.files]
    places = {place for path in packed for place in (path, *path.parents) if run.root in place.parents}
    for link in sorted(filter(Path.is_symlink, places)):
        say(f"{link} is a link: packed from {link.resolve()}")
    for line in left_out:
        say(f"Left out: {line}")
    say(
        f"{out}: {size / MIB:.1f} MiB, {len(manifest.files)} files, step {steps[-1]} of {run.root.name}. Nothing in the run was changed."
    )
    return out


def _steps(run: RunDir, options: PackOptions, say: Callable[[str], None]) -> list[int]:
    """Steps of the checkpoints that travel, each of them read whole and found sound."""
    steps = []
    if options.every_checkpoint:
        for checkpoint in list_checkpoints(run):
            if problems := checkpoint_problems(checkpoint.path):
                say(f"Left out: the checkpoint of step {checkpoint.step}, which is damaged: {problems[0]}")
            else:
                steps.append(checkpoint.step)
    elif (newest := latest_verified_checkpoint(run)) is not None:
        for sentence in damaged_checkpoints(run, after=newest.step):
            say(sentence)
        steps.append(newest.step)
    if steps:
        return steps
    if damaged := damaged_checkpoints(run):
        raise RunError(f"{run.root} has no sound checkpoint to resume from: {damaged[-1]}")
    raise RunError(f"nothing to resume from: {no_checkpoint(run)}")


def _add_what_people_read(
    run: RunDir, writer: ArchiveWriter, paths: tuple[str, ...], limit: float
) -> list[str]:
    """Adds whole files while there is room, then the end of the first that does not fit.

    Returns:
        a line for each that does not travel whole.
    """
    left_out = []
    for path in paths:
        source = FileToPack(path, run.root / path)
        size = source.file.stat().st_size
        room = limit - writer.size_bytes
        tail = source if deflated_bytes(source) <= room else _tail(source, size, room)
        if tail is not None:
            writer.add(tail)
        if tail is not source:
            kept = f"all but its last {len(tail.data or b'') / MIB:.2f} MiB" if tail is not None else "all"
            left_out.append(f"{kept} of {path} ({size / MIB:.2f} MiB), for the limit")
    return left_out


def _others(run: RunDir, paths: tuple[str, ...]) -> list[str]:
    """A line for each file, or folder, that is no part of the run."""
    sizes = Counter[str]()
    for path in paths:
        parts = path.split("/")
        depth = {run.checkpoints.name: 2, run.pool.name: 2, run.cycle(1).parent.name: 3}.get(parts[0], 1)
        sizes["/".join(parts[:depth])] += (run.root / path).stat().st_size
    return [
        f"all of {name} ({size / MIB:.2f} MiB), which is no part of the run; copy it too if it is needed there"
        for name, size in sizes.items()
    ]


def _tail(source: FileToPack, size: int, room: float) -> FileToPack | None:
    """The last whole lines of a file that fit into ``room``; None where that would be next to nothing."""
    length = size
    while (length := length // 2) >= SMALLEST_TAIL_BYTES:
        with open(source.file, "rb") as file:
            file.seek(size - length)
            data = file.read(length).partition(b"\n")[2]
        part = replace(source, data=data)
        if deflated_bytes(part) <= room:
            return part
    return None


def _too_large(run: RunDir, paths: tuple[str, ...], size: int, options: PackOptions) -> str:
    largest = sorted(paths, key=lambda path: -(run.root / path).stat().st_size)[:3]
    named = ", ".join(f"{path} ({(run.root / path).stat().st_size / MIB:.1f} MiB)" for path in largest)
    return (
        f"what {run.root} needs to resume takes {size / MIB:.1f} MiB packed, above --limit-mib {options.limit_mib:g}. The largest files: "
        f"{named}. Give a higher limit or none; full weights do not get smaller, adapters of a lower rank do"
    )


def _info(run: RunDir, identity: RunIdentity, steps: list[int], left_out: list[str]) -> dict[str, object]:
    return {
        "run": run.root.name,
        "steps": steps,
        "model": identity.model,
        "model_hash": identity.model_hash,
        "lora_rank": identity.lora_rank,
        "packed_unix_s": time.time(),
        "left_out": left_out,
    }
