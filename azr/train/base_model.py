"""The model that a run began with: identified at its start, and found again whenever it is needed later.

Trainer, evaluation and export ask here, so that no figure is ever compared with a model that the run did not
start from.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from azr.config import Config
from azr.config.load import read_config
from azr.errors import ModelError
from azr.models.hub import HubName
from azr.models.model_hash import hash_model
from azr.prompts import load_frame
from azr.run.identity import RunIdentity, read_identity
from azr.run.rundir import RunDir
from azr.train.model_source import local_folder, local_model_folder


def identify(config: Config, recorded: RunIdentity | None = None) -> RunIdentity:
    """What a run with this configuration is made of. A hub model is fetched if need be.

    Args:
        recorded: of the run that is to be resumed; a hub name then means the commit that the run began with.

    Raises:
        ModelError: the model cannot be found or read.
    """
    path = config.model.path
    if recorded is not None and recorded.model == path and local_folder(path) is None:
        folder = folder_on_disk(recorded.folder)
        if folder is not None and recorded.content.is_of(found := hash_model(folder)):
            return RunIdentity.of(config, folder, found)
        path = at_its_commit(path, recorded)
    folder = local_model_folder(path)
    return RunIdentity.of(config, folder, hash_model(folder))


def at_its_commit(path: str, recorded: RunIdentity | None) -> str:
    """``org/name@commit`` of a hub name that a run began with: its branch may have moved on, and the cache may have been
    cleared. Any other path as it is."""
    cached = HubName.of_cached(recorded.folder) if recorded and recorded.model == path else None
    return str(cached) if cached and HubName.parse(path) and local_folder(path) is None else path


def base_folder(run: RunDir, config: Config) -> Path:
    """The folder of the model that ``run`` began with.

    Args:
        config: the run's own. It names the model where the record of it is gone.

    Raises:
        ModelError: no folder holds that model any more.
    """
    identity = read_identity(run)
    if identity is None:
        return local_model_folder(config.model.path)
    looked: dict[str, str] = {}
    for path in dict.fromkeys(
        (identity.folder, at_its_commit(config.model.path, identity), at_its_commit(identity.model, identity))
    ):
        try:
            folder = local_model_folder(path)
            found = hash_model(folder)
        except ModelError as error:
            looked[path] = str(error)
            continue
        if identity.content.is_of(found):
            return folder
        looked[str(folder)] = f"{folder} now {identity.content.changed_to(found)}"
    raise ModelError(
        f"{run.root} began with model.path={identity.model} (content {identity.content.known_as[:8]}), and that model is no longer there: "
        f"{'; '.join(looked.values())}. Put it back"
    )


def trained_folder(run: RunDir, config: Config, device: str = "cpu") -> Path:
    """``base_folder`` as trainer and engine read it: with the tokenizer that the frame needs, and quantised
    where ``model.base_format`` says so (once; later from the cache).

    Args:
        device: where it is quantised; on ``cuda`` the engine's kernel is tried first.

    Raises:
        ModelError: as ``base_folder``, or the model cannot be quantised.
        BudgetError: the disk is too small for the int4 copy.
        TrainingError: the card or the installed vLLM cannot serve int4 weights.
    """
    folder = local_model_folder(str(base_folder(run, config)), load_frame(config.selfplay.frame).raw)
    if config.model.base_format == "plain":
        return folder
    from azr.train.quantize.prepare import prepared_int4

    return prepared_int4(folder, device)


def require_base_unchanged(run: RunDir) -> RunIdentity | None:
    """What the run began with, for whoever names it; None where nothing was recorded. A model that is gone
    may still be named. Where its path is a link that leads elsewhere now, the folder that holds it is named.

    Raises:
        ModelError: another model lies where that one lay, so that naming the place would name the wrong model.
    """
    identity = read_identity(run)
    if identity is None:
        return None
    folder = folder_on_disk(identity.model)
    found = hash_model(folder) if folder is not None else None
    if found is None or identity.content.is_of(found):
        return identity
    latest = [read_config(run.config_record).model.path] if run.config_record.is_file() else []
    for path in (identity.folder, *latest):
        elsewhere = folder_on_disk(path)
        if elsewhere is not None and identity.content.is_of(hash_model(elsewhere)):
            return replace(identity, model=str(elsewhere))
    raise ModelError(
        f"{run.root} began with model.path={identity.model}, but {folder} now {identity.content.changed_to(found)}, "
        f"so the model card cannot name it. Put the model back, or move the other one away"
    )


def folder_on_disk(path: str) -> Path | None:
    """The model folder that ``path`` names on this machine; None where there is none (any more)."""
    try:
        return local_folder(path)
    except ModelError:  # a folder that holds no model
        return None
