"""Unpacks an archive into a run directory that was not there, after everything in it was checked."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from azr.campaign.state import read_state_file, write_state_file
from azr.config import Config, flat, to_container
from azr.config.load import compose_container, read_config, recipe_names, write_config
from azr.config.paths import PROJECT, find, resolve_paths, runs_folder
from azr.errors import AzrError, DataError, ModelError, RunError
from azr.models.model_hash import hash_model
from azr.moving.archive import ArchiveReader, open_archive
from azr.moving.selection import belongs_to_a_run, files_of, is_tensor_file
from azr.moving.tensor_files import tensor_file_problem
from azr.prompts import SHIPPED_FRAMES
from azr.run.checkpoints import MANIFEST, checkpoint_problems, list_checkpoints
from azr.run.identity import read_identity
from azr.run.rundir import RunDir, is_run
from azr.system.disks import explain_os_error, free_gib
from azr.system.files import fsync_directory, set_mode, whole_folder
from azr.train.model_source import local_folder

SPARE_GIB = 0.5
"""Room that must stay free on the disk."""
REQUIRED = ("config.yaml", "state.json", "identity.json")


def unpack_run(
    archive: Path, root: Path, *, model: str = "", trust: bool = False, say: Callable[[str], None] = print
) -> RunDir:
    """``root`` appears whole or not at all.

    Args:
        model: folder of the model that the run began with, where it lies elsewhere now.
        trust: load what the checkpoint's files name, whatever it is; for checkpoints of several GPUs, from
            the user's own machine.

    Raises:
        DataError: the archive is damaged or foreign.
        RunError: ``root`` exists or would lie in another run, or the disk is too small.
        ModelError: the model here is not the one that the run began with.
    """
    if root.exists() or root.is_symlink():
        raise RunError(
            f"{root} exists, and an archive never overwrites a run. Give a folder that does not exist yet, such as "
            f"{root.parent if is_run(root) else root}/NAME, or move that one away"
        )
    if is_run(root.parent):
        raise RunError(
            f"{root.parent} is itself a run, and a run in another cannot go on; give another folder, such as {root.parent}-2"
        )
    with open_archive(archive) as reader:
        _require_run(archive, reader)
        needed = reader.manifest.total_bytes / 2**30
        if free_gib(root.parent) < needed + SPARE_GIB:
            raise RunError(
                f"{root.parent}: {free_gib(root.parent):.1f} GiB free, but the run takes {needed:.1f} GiB. Free some, or give another place"
            )
        try:
            with whole_folder(root) as staging:
                run = RunDir(staging)
                for entry in reader.manifest.files:
                    reader.extract(entry, staging / entry.path)
                _check_content(archive, run, trust)
                config, notes = _settle_model(archive, run, model)
                notes += _to_bring(config)
                # the run that was packed may continue where it is: nothing here may point to its folder or processes
                state = read_state_file(run.state)
                write_state_file(run.state, replace(state, run_id="", folder=None, driver=None))
                for path in run.probes.glob("*.jsonl"):
                    set_mode(path, 0o444)
                for folder in [staging, *(path for path in staging.rglob("*") if path.is_dir())]:
                    fsync_directory(folder)
            fsync_directory(root.parent)
        except OSError as error:
            raise RunError(f"nothing was unpacked: {explain_os_error(error, root.parent)}") from error
    steps = [checkpoint.step for checkpoint in list_checkpoints(RunDir(root))]
    say(f"{root}: step {steps[-1]}, {len(reader.manifest.files)} files, each with the right hash.")
    for text in _texts(reader.manifest.info.get("left_out")):
        say(f"Not in the archive: {text}")
    for line in notes:
        say(line)
    say(f"Resume with: {resume_command(config, root)}")
    return RunDir(root)


def _require_run(archive: Path, reader: ArchiveReader) -> None:
    paths = [entry.path for entry in reader.manifest.files]
    foreign = [path for path in paths if not belongs_to_a_run(path)]
    if foreign:
        raise DataError(
            f"{archive} is not accepted: {foreign[0]!r} is not needed to resume a run; nothing was written"
        )
    missing = [name for name in REQUIRED if name not in paths]
    if not any(path.startswith("checkpoints/step_") and path.endswith(f"/{MANIFEST}") for path in paths):
        missing.append("a checkpoint")
    if missing:
        raise DataError(f"{archive} holds no run that could be resumed: {missing[0]} is not in it")


def _check_content(archive: Path, run: RunDir, trust: bool) -> None:
    """What the hashes cannot say: that the parts are a run's, and that nothing in them is more than data."""
    try:
        read_state_file(run.state)
        folders = [path for path in run.checkpoints.iterdir() if path.is_dir()]
        problems = [problem for folder in folders for problem in checkpoint_problems(folder)]
        if problems or len(list_checkpoints(run)) != len(folders):
            raise DataError(problems[0] if problems else "a folder among the checkpoints is none")
        listed = [path for path in files_of(run.root) if is_tensor_file(path)]
    except AzrError as error:
        raise DataError(
            f"{archive} is not accepted: {str(error).replace(f'{run.root}{os.sep}', '')}; nothing was kept of it"
        ) from error
    for path in () if trust else sorted(listed):
        if problem := tensor_file_problem(run.root / path):
            raise DataError(
                f"{archive} is not accepted: {path} is to be loaded by the trainer, but {problem}. If you packed it yourself, of a run on "
                "several GPUs, give --trust; if it is somebody else's, do not"
            )


def _settle_model(archive: Path, run: RunDir, model: str) -> tuple[Config, list[str]]:
    """Compares the model here with the run's, and writes its path into the run's configuration."""
    identity = read_identity(run)
    assert identity is not None, "required above"
    try:
        config = read_config(run.config)
    except AzrError as error:
        text = str(error).replace(f"{run.root}{os.sep}", "")
        raise DataError(
            f"{archive} was packed by another version, whose settings this one does not know: {text}"
        ) from error
    if model:
        config = replace(config, model=replace(config.model, path=model))
        config = resolve_paths(config, {"model.path"}, Path.cwd())
        write_config(run.config, config)
    folder = local_folder(config.model.path)
    if folder is None:
        if model:
            raise ModelError(f"--model {model}: no such model folder; give the folder of {identity.model}")
        return config, [
            f"The model {identity.model} (content {identity.content.known_as[:8]}) is not here. Copy it here, and give its folder with "
            f"model.path=FOLDER; it is checked at the start. Base weights never travel ({identity.content.known_as})."
        ]
    found = hash_model(folder)
    if not identity.content.is_of(found):
        raise ModelError(
            f"the run began with {identity.model}, and {folder} {identity.content.changed_to(found)}; "
            "nothing was unpacked. Give the right folder: --model FOLDER"
        )
    return config, [f"The model in {folder} is the one that the run began with."]


def _to_bring(config: Config) -> list[str]:
    """What the run's owner made that does not travel, and without which the command that resumes it is refused."""
    lines = []
    if config.recipe and config.recipe not in recipe_names():
        file = f"configs/recipe/{config.recipe}.yaml"
        lines.append(
            f"Its recipe {config.recipe} is not here; copy {file} from the other machine to {PROJECT / file}."
        )
    frame = config.selfplay.frame
    if frame not in SHIPPED_FRAMES and not find(frame).is_dir():
        lines.append(
            f"Its prompt frame {frame} is not here; copy that folder, and give its place with selfplay.frame=FOLDER."
        )
    return lines


def resume_command(config: Config, root: Path) -> str:
    """The command that resumes the run in ``root``: its recipe, and every setting that differs from
    it, except those that the next card decides."""
    recipe = [f"recipe={config.recipe}"] if config.recipe in recipe_names() else []
    base = flat(compose_container(recipe))
    usual = root.parent == runs_folder(Config())
    runs_dir = Config().runs_dir if usual else str(root.parent)
    now = flat(to_container(replace(config, name=root.name, runs_dir=runs_dir)))
    automatic, before = now.pop("budget.automatic"), base.pop("budget.automatic")
    settings = [f"{key}=auto" for key in automatic if key not in before]
    settings += [
        f"{key}={_typed(value)}"
        for key, value in now.items()
        if key not in ("recipe", *automatic) and (value != base.get(key) or key in before)
    ]
    script = "azr_single_gpu_pipeline.py"
    return shlex.join(
        ["python", script if Path.cwd() == PROJECT else str(PROJECT / script), *recipe, *settings]
    )


def _typed(value: Any) -> str:
    if isinstance(value, list):
        return f"[{','.join(map(_typed, value))}]"
    return json.dumps(value) if isinstance(value, bool) or value is None else str(value)


def _texts(value: object) -> list[str]:
    return [text[:300] for text in value if isinstance(text, str)][:50] if isinstance(value, list) else []
