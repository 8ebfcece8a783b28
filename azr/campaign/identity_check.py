"""Does this start belong to the run in its directory? A start that differs is refused before a byte of the
run is changed."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from azr.config import Config
from azr.config.load import read_config, recipe_names
from azr.errors import AzrError, RunError
from azr.models.exported import copy_records, trained_in_another_frame
from azr.models.hub import HubName, cached_folder
from azr.models.model_hash import ModelHash, hash_model
from azr.prompts import SHIPPED_FRAMES, frame_hash
from azr.report.versions import read_versions
from azr.run.checkpoints import list_checkpoints
from azr.run.identity import SETTINGS, RunIdentity, read_identity, write_identity
from azr.run.rundir import RunDir
from azr.train.base_model import folder_on_disk, identify
from azr.train.model_source import local_folder

_MOVED = {
    "recipe": "The recipe {before} that {run} began with is no longer there; the run continues with recipe={now}.",
    "frame": "{now} holds the prompt frame that {run} began with; the run continues with it.",
}
"""What may have another name now."""


@dataclass(frozen=True)
class Difference:
    key: str
    before: str
    now: str
    remedy: str
    """What continues the run: a setting for its command line, or files to put back."""
    is_setting: bool = True

    def __str__(self) -> str:
        return f"{self.key}: {self.before} at its start, {self.now} now"


def settle_identity(run: RunDir, config: Config) -> str:
    """Writes down what the run is made of at its first start; compares at later ones. The caller holds the
    run's lock.

    Returns:
        a sentence for the user where there is something to say; else empty.

    Raises:
        RunError: this start would make another run of it.
        ModelError: the model cannot be found.
    """
    require_same_run(run, config)
    recorded = read_identity(run)
    now = identify(config, recorded)
    folder = Path(now.folder)
    if recorded is None:
        begun_before = bool(run.records(run.config.name))
        write_identity(run, now, folder)
        if begun_before:
            return (
                f"{run.root.name} has no record of the content of the model that it began with (identity.json); it uses only this "
                f"one from now on (content {now.content.known_as[:8]})."
            )
        return trained_in_another_frame(folder, now.frame)
    if not recorded.content.is_of(now.content):
        if _has_used_its_model(run):  # a hub model that had to be fetched first
            raise RunError(identity_refusal(run, [_model_difference(recorded, now)]))
        shutil.rmtree(run.base_model, ignore_errors=True)
        write_identity(run, now, folder)
        return (
            f"{run.root.name} has trained nothing yet; it begins with the model that is in {now.folder} now."
        )
    was_gone = not run.identity.exists()
    if not recorded.tensors_hash:  # an earlier version began it
        recorded = replace(recorded, tensors_hash=now.tensors_hash)
        write_identity(run, recorded, folder)
    if not run.base_model.is_dir():
        copy_records(folder, run.base_model)
    moved = [
        told.format(before=getattr(recorded, name), now=getattr(now, name), run=run.root.name)
        for name, told in _MOVED.items()
        if getattr(recorded, name) != getattr(now, name)
    ]
    if moved:
        write_identity(run, replace(recorded, frame=now.frame, recipe=now.recipe), folder)
        return " ".join(moved)
    if was_gone:
        write_identity(run, recorded, folder)
        return f"{run.identity} was gone; it is restored from the latest attempt's copy."
    if recorded.folder != now.folder:
        return f"{now.folder} holds the model that {run.root.name} began with (model.path={recorded.model}); the run continues with it."
    return ""


def require_same_run(run: RunDir, config: Config) -> None:
    """As ``settle_identity``, without writing, and without fetching a model.

    Raises:
        RunError: this start would make another run of it.
        ModelError: the model's folder cannot be read.
    """
    recorded = read_identity(run)
    configs = run.records(run.config.name)
    if recorded is None and not configs:
        if list_checkpoints(run):
            raise RunError(
                f"{run.root} has checkpoints, but nothing says which model they were made from: identity.json, config.yaml and their "
                "copies in cycles/*/attempts are gone. Put one of them back, or start another run: name=OTHER"
            )
        return

    folder = local_folder(config.model.path)
    differing: list[Difference] = []
    used = _has_used_its_model(run)
    if recorded is None:
        before = read_config(configs[0])
        recorded, now = _as_configured(before), _as_configured(config)
        is_another = folder is None or folder != folder_on_disk(before.model.path)
        if used and recorded.model != now.model and is_another:
            differing.append(_difference("model.path", recorded.model, now.model))
    elif folder is None:  # a hub model, known by its name until it is fetched
        now = RunIdentity.of(config, Path(recorded.folder), recorded.content)
        if used and recorded.model != now.model and not _is_cached(config.model.path, recorded.content):
            differing.append(_difference("model.path", recorded.model, now.model))
    else:
        now = identify(config, recorded)
        if used and not recorded.content.is_of(now.content):
            differing.append(_model_difference(recorded, now))

    for name, key in SETTINGS.items():
        before, after = getattr(recorded, name), getattr(now, name)
        moved = (name == "frame" and _is_moved_frame(run, after)) or (
            name == "recipe" and before not in recipe_names()
        )
        if before != after and not moved:
            differing.append(_difference(key, str(before), str(after)))
    if differing:
        raise RunError(identity_refusal(run, differing))


def refusal_of_start(run: RunDir, config: Config) -> str:
    """Why a start with this configuration would not go on with the run, for commands that only show what it would do;
    empty where it would, or begins a new one."""
    try:
        require_same_run(run, config)
    except AzrError as error:
        return f"A run with these settings would be refused: {error}"
    return ""


def _has_used_its_model(run: RunDir) -> bool:
    """Whether anything in the run came from its model: one that was refused while it loaded left nothing, and may be
    repaired or replaced."""
    scores = (run.first_probe_scores, run.first_verdict_scores, run.metrics)
    written = [*scores, *run.in_cycles("shard.jsonl").values(), *run.in_cycles("transcripts.jsonl").values()]
    return any(run.checkpoints.glob("*")) or any(path.exists() and path.stat().st_size for path in written)


def _is_moved_frame(run: RunDir, now: str) -> bool:
    """The prompt frame lies in another folder than at the start, with the files that the latest attempt used."""
    recorded = (version for name, version in read_versions(run.root).items() if name.startswith("frame "))
    return now not in SHIPPED_FRAMES and frame_hash(now) in recorded


def _is_cached(path: str, content: ModelHash) -> bool:
    """Is it the same model under another name: with the revision that the run began with, or on the hub what
    was a folder before?"""
    name = HubName.parse(path)
    folder = cached_folder(name) if name is not None else None
    return folder is not None and content.is_of(hash_model(folder))


def identity_refusal(run: RunDir, differing: list[Difference]) -> str:
    """Both values of each difference, and the ways out."""
    lines = [
        f"{run.root} began with other settings. A run keeps these to its end, because its checkpoints and scores depend on them:"
    ]
    lines += [f"  {item}" for item in differing]
    lines.append("To start another run: name=OTHER")
    settings = " ".join(item.remedy for item in differing if item.is_setting)
    put_back = [item.remedy for item in differing if not item.is_setting]
    lines.append(f"To continue this one: {', and '.join(filter(None, [settings, *put_back]))}")
    if not any(run.checkpoints.glob("*")):  # one that this version cannot read is one as well
        lines.append(
            f"This one has no checkpoint yet; if you need nothing in it, remove {run.root} to use the name again."
        )
    return "\n".join(lines)


def _as_configured(config: Config) -> RunIdentity:
    return RunIdentity.of(config, Path(), ModelHash("", "", ""))


def _difference(key: str, before: str, now: str) -> Difference:
    return Difference(key, before, now, f"{key}={before}")


def _model_difference(recorded: RunIdentity, now: RunIdentity) -> Difference:
    """Another model, or the same weights with another tokenizer beside them."""
    key, what = "model.path", "model"
    if recorded.content.same_model(now.content):
        key, what = "tokenizer", "tokenizer's files (tokenizer*.json, vocabulary, chat template)"
    contents = recorded.content.shown(now.content)
    before, after = (
        f"{path} (content {content})"
        for path, content in zip((recorded.model, now.model), contents, strict=True)
    )
    if recorded.model != now.model:
        return Difference(key, before, after, f"model.path={recorded.model}")
    return Difference(key, before, after, f"the {what} put back into {recorded.model}", is_setting=False)
