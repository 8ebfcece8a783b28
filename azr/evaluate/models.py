"""Which model is meant: a run (latest, best, a step), a checkpoint, a Hugging Face folder, or a hub name.

================ ==========================================================================
RUN              its newest sound checkpoint (``RUN@latest``)
RUN@best         the checkpoint with the best probe score
RUN@12           the checkpoint of step 12
RUN@0            the model that the run started from, asked as the run asks
RUN/checkpoints/step_00000012
FOLDER, HUB/NAME as ``model.path`` in the configuration
================ ==========================================================================
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from azr.campaign.lost_files import no_checkpoint
from azr.campaign.state import load_state
from azr.config import Config
from azr.config.load import read_config
from azr.config.paths import find
from azr.config.sandbox import Limits, SandboxConfig
from azr.config.selfplay import SelfPlayConfig
from azr.errors import CheckpointError, DataError, RunError
from azr.evaluate.weights import WEIGHT_FILES
from azr.models.exported import EXPORT_RECORD, TRAINED_RECORD, frame_of, written_for_others
from azr.models.hub import HubName
from azr.models.model_hash import hash_model
from azr.models.weight_files import require_whole_files
from azr.models.weights_check import refuse_unclean_merge
from azr.run import metric_names as names
from azr.run.asked_otherwise import asked_otherwise
from azr.run.checkpoints import (
    MANIFEST,
    Checkpoint,
    best_checkpoint,
    checkpoint_problems,
    damaged_checkpoints,
    latest_verified_checkpoint,
    list_checkpoints,
    read_checkpoint,
    require_sound,
)
from azr.run.protocol import read_metrics
from azr.run.records import Incident, from_json, read_log, to_json
from azr.run.rundir import RunDir, is_run, run_meant, run_named
from azr.system.files import file_hash, read_json
from azr.system.hashes import json_hash
from azr.system.locks import to_stderr
from azr.train.base_model import trained_folder
from azr.train.model_source import local_model_folder

DEFAULT_RESPONSE_TOKENS = 1024
DEFAULT_PROMPT_TOKENS = 2048


@dataclass(frozen=True)
class ModelSource:
    """A model found on disk, and how it wants to be asked."""

    label: str
    """For people, and the name of the folder with its results."""
    identity: str
    """Hash of weights, configuration and tokenizer: answers belong to one identity."""
    folder: Path | None
    """Hugging Face folder; None for a checkpoint, which has to be merged first."""
    checkpoint: Checkpoint | None = None
    run: RunDir | None = None
    selfplay: SelfPlayConfig = field(default_factory=SelfPlayConfig)
    sandbox: SandboxConfig = field(default_factory=SandboxConfig)
    max_prompt_tokens: int = DEFAULT_PROMPT_TOKENS
    max_response_tokens: int = DEFAULT_RESPONSE_TOKENS
    dtype: str = "bfloat16"
    device: str = "auto"
    trust_remote_code: bool = False
    note: str = ""
    """What a reader of its figures has to know."""
    probes: Path | None = None
    """The probe tasks that it is asked, where they are not those of its run or the shipped ones."""
    picked: bool = False
    """The best of a run's checkpoints by its probes: its score on these is in part the luck by which it was picked."""
    framed: bool = False
    """The frame is one that the model was trained with, or that its run will train with."""


def resolve(spec: str) -> ModelSource:
    """
    Raises:
        RunError: the run has no such checkpoint, or its folder is not named in full.
        CheckpointError: the checkpoint is damaged.
        ModelError: neither run, checkpoint, folder nor hub name.
    """
    path_text, which = split_spec(spec)
    path = find(path_text)
    if is_run(path):
        if spec != path_text and not which:
            raise RunError(
                f"{spec} names no checkpoint behind its @; is a variable of the shell not set? Write {path_text}@best, @latest or @STEP"
            )
        run = RunDir(path.resolve())
        if which == "0":
            return _base_of(run)
        return replace(of_checkpoint(find_checkpoint(run, which or "latest"), run), picked=which == "best")
    if which and not path.exists() and HubName.parse(spec):
        return of_folder(local_model_folder(spec), label=spec)
    if which and not find(spec).is_dir():
        remedy = "give only the folder" if path.is_dir() else run_meant(path)
        raise RunError(f"{spec}: {path} is not a run directory, so @{which} has no meaning; {remedy}")
    if which:  # a folder whose name has an @
        path, path_text = find(spec), spec
    if not path.is_dir() and HubName.parse(path_text) is None and (meant := run_named(path)):
        raise RunError(f"{spec} is neither a run nor a model; give {meant}")
    if (path / MANIFEST).is_file() and (path / "actor").is_dir():
        path = path.resolve()
        run = RunDir(path.parent.parent) if path.parent.name == "checkpoints" else None
        return of_checkpoint(read_checkpoint(path), run)
    return of_folder(local_model_folder(path_text), label=path_text)


def split_spec(spec: str) -> tuple[str, str]:
    """``RUN@STEP`` as path and step. Folders above it, and the run itself, may have an @ in their names."""
    if "@" not in spec or is_run(find(spec)):
        return spec, ""
    above, _, which = spec.rpartition("@")
    if is_run(find(above)):
        return above, which
    path, _, which = spec.partition("@")
    return path, which


def find_checkpoint(run: RunDir, which: str) -> Checkpoint:
    """The checkpoint that ``latest``, ``best`` or a step number names; every byte of its weights is verified.

    Raises:
        RunError: there is none, or ``which`` is nonsense.
        CheckpointError: it is damaged.
    """
    found = {checkpoint.step: checkpoint for checkpoint in list_checkpoints(run)}
    if not found:
        if unread := damaged_checkpoints(run, hashes=False):
            raise CheckpointError(f"no checkpoint of {run.root} can be used: {unread[-1]}")
        raise RunError(no_checkpoint(run))
    if which == "latest":
        newest = latest_verified_checkpoint(run)
        if newest is None:
            raise CheckpointError(
                f"no checkpoint of {run.root} matches its manifest: {damaged_checkpoints(run)[-1]}"
            )
        for sentence in damaged_checkpoints(run, after=newest.step):
            to_stderr(sentence)
        return newest

    if which == "best":
        step = _best_step(run, found)
        for sentence in damaged_checkpoints(run, hashes=False):
            to_stderr(sentence)
    elif which.isdigit():
        step = int(which)
    else:
        raise RunError(f"{which!r} names no checkpoint; give a step number, best or latest")

    if step not in found:
        began = (
            "step 0 is the model that the run began with, which is taken from its own place: "
            if not step
            else ""
        )
        raise RunError(
            f"{began}{run.root} has no checkpoint of step {step}; there are {', '.join(map(str, sorted(found)))}"
        )
    problems = checkpoint_problems(found[step].path, only=WEIGHT_FILES)
    if problems:
        raise CheckpointError(f"{found[step].path} is damaged: {problems[0]}; choose another step")
    return found[step]


def probe_scores(run: RunDir, step: int) -> dict[str, float]:
    """The probe metrics that the trainer recorded at ``step``; empty where it did not evaluate then."""
    for record in read_metrics(run):
        if record.step == step:
            return {
                name: value for name, value in record.values.items() if name.startswith(names.PROBE_PREFIX)
            }
    return {}


def of_checkpoint(checkpoint: Checkpoint, run: RunDir | None) -> ModelSource:
    """A checkpoint, asked as its run asks.

    Raises:
        CheckpointError: the checkpoint is damaged.
    """
    require_sound(checkpoint.path, hashes=False)
    manifest = read_json(checkpoint.path / MANIFEST)
    weights = {
        name: entry["blake2b"] for name, entry in manifest["files"].items() if name.startswith("actor/")
    }
    name = run.root.name if run else checkpoint.path.parent.name
    source = ModelSource(
        f"{name}@{checkpoint.step}", json_hash(weights, 16), folder=None, checkpoint=checkpoint, run=run
    )
    return (
        _configured(source, read_config(run.config_record)) if run and run.config_record.is_file() else source
    )


def of_folder(folder: Path, label: str = "") -> ModelSource:
    """A Hugging Face folder; one that we exported says itself how to ask it.

    Raises:
        ModelError: its files are damaged, or not the weights that ``config.json`` describes.
    """
    tensors = require_whole_files(folder)
    refuse_unclean_merge(folder, tensors)
    content = hash_model(folder)
    identity = json_hash([content.model, content.tokenizer], 16)
    source = ModelSource(label or folder.name, identity, folder=folder)
    source = _within_context(source, folder)
    if told := written_for_others(folder):
        source = replace(source, note=f"{source.label}: {told}")
    elif (folder / EXPORT_RECORD).is_file():
        source = _as_exported(source, read_json(folder / EXPORT_RECORD), folder)
    return source


def earlier_identity(folder: Path) -> str:
    """What earlier versions recorded for a folder: a hash of its files, byte for byte."""
    files = {
        path.name: file_hash(path)
        for path in sorted(folder.iterdir())
        if path.suffix in (".safetensors", ".json", ".model", ".jinja", ".bin")
        and path.name not in (EXPORT_RECORD, TRAINED_RECORD)
    }
    return json_hash(files, 16)


def ask_record(config: Config) -> dict[str, Any]:
    """How a run's model is asked and judged, for ``azr.json``: with all settings of the game, so that none is missing by
    which it is judged elsewhere than in the run."""
    return {
        "frame": config.selfplay.frame,
        "selfplay": to_json(config.selfplay),
        "sandbox_limits": to_json(config.sandbox.limits),
        "max_prompt_tokens": config.rollout.max_prompt_tokens,
        "max_response_tokens": config.rollout.max_response_tokens,
        "engine_dtype": config.rollout.dtype,
    }


def tokenizer_folder(source: ModelSource) -> Path:
    """Where the model's configuration and tokenizer lie, weights or not."""
    if source.folder is not None:
        return source.folder
    assert source.checkpoint is not None
    return source.checkpoint.path / "actor" / "huggingface"


def slug(text: str) -> str:
    """A label as a folder name."""
    return re.sub(r"[^\w@.+-]+", "-", text.strip("/.~")).strip("-") or "model"


def _best_step(run: RunDir, found: dict[int, Checkpoint]) -> int:
    config = read_config(run.config_record) if run.config_record.is_file() else Config()
    metric = config.campaign.best_metric
    changes = asked_otherwise(read_log(Incident, run.incidents))
    step, _ = best_checkpoint(found, read_metrics(run), metric, changes)
    if step is None:
        state, _ = load_state(run)  # the campaign's own choice, where the metrics are gone
        step = state.best_step if state else None
    if step is None:
        raise RunError(
            f"{run.root}: no checkpoint has a score of {metric}, so none is best; give a step, or latest"
        )
    return step


def _base_of(run: RunDir) -> ModelSource:
    """
    Raises:
        ModelError: the model that the run began with is not there any more.
    """
    config = read_config(run.config_record)
    folder = trained_folder(run, config)
    note = (
        ""
        if run.identity.exists()
        else f"{run.root.name}@0: no record of what the run began with (identity.json is gone); using {folder}"
    )
    return _configured(replace(of_folder(folder, label=f"{run.root.name}@0"), run=run, note=note), config)


def _configured(source: ModelSource, config: Config) -> ModelSource:
    return replace(
        source,
        selfplay=config.selfplay,
        sandbox=config.sandbox,
        max_prompt_tokens=config.rollout.max_prompt_tokens,
        max_response_tokens=config.rollout.max_response_tokens,
        dtype=config.rollout.dtype,
        device=config.train.device,
        trust_remote_code=config.model.trust_remote_code,
        framed=True,
    )


def _as_exported(source: ModelSource, record: dict[str, Any], folder: Path) -> ModelSource:
    try:
        ask = record["ask"]
        game = {**ask.get("selfplay", {}), "frame": frame_of(folder, str(ask["frame"]))}
        limits = from_json(Limits, ask.get("sandbox_limits", {}), folder / EXPORT_RECORD)
        return replace(
            source,
            selfplay=from_json(SelfPlayConfig, game, folder / EXPORT_RECORD),
            sandbox=replace(source.sandbox, limits=limits),
            max_prompt_tokens=int(ask["max_prompt_tokens"]),
            max_response_tokens=int(ask["max_response_tokens"]),
            dtype=str(ask["engine_dtype"]),
            picked=record.get("picked") is True,
            framed=True,
        )
    except (DataError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{folder / EXPORT_RECORD} is damaged ({error!r}); export the model again, or remove that file"
        ) from error


def _within_context(source: ModelSource, folder: Path) -> ModelSource:
    """Prompt and response limits of a model whose context is smaller than the defaults."""
    context = read_json(folder / "config.json").get("max_position_embeddings")
    if not isinstance(context, int) or context >= source.max_prompt_tokens + source.max_response_tokens:
        return source
    response = max(1, min(source.max_response_tokens, context // 4))
    return replace(source, max_prompt_tokens=context - response, max_response_tokens=response)
