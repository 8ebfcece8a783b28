"""What identifies a run and never changes: model, tokenizer, adapters, recipe, prompt frame, and the layout
of its checkpoints.

``RUN/identity.json`` is written once, at the run's first start, and compared at every later one. Each attempt has a
copy, for a disk whose oldest files are cleared.
"""

from __future__ import annotations

import operator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from uuid import uuid4

from azr.config import Config
from azr.errors import DataError, ModelError, RunError
from azr.models.exported import copy_records, earlier_runs
from azr.models.model_hash import ModelHash, hash_model
from azr.run.checkpoints import list_checkpoints
from azr.run.records import from_json
from azr.run.rundir import RunDir
from azr.system.files import read_json, write_json_atomic

FORMAT = 1


@dataclass(frozen=True)
class RunIdentity:
    model: str
    """``model.path`` as it was given."""
    folder: str
    """Where the model was found; for a hub name the snapshot of its commit in the cache."""
    model_hash: str
    tokenizer_hash: str
    recipe: str
    frame: str
    lora_rank: int
    lora_alpha: int
    """0 without adapters."""
    master_dtype: str
    optimizer: str
    n_gpus_per_node: int
    n_nodes: int
    """Checkpoints are cut into as many shards as there are cards, and each machine keeps its own."""
    base_format: str
    seed: int
    """The checkpoints' buffers continue its random streams."""
    tensors_hash: str = ""
    """As ``model_hash``, however the weights are cut into files; empty in records of earlier versions."""
    origin: str = ""
    """The run's own word, which its checkpoints repeat; made when this is first written."""

    @classmethod
    def of(cls, config: Config, folder: Path, content: ModelHash) -> RunIdentity:
        settings = {name: operator.attrgetter(key)(config) for name, key in SETTINGS.items()}
        if not config.model.lora_rank:
            settings["lora_alpha"] = 0
        return cls(
            config.model.path,
            str(folder),
            content.files,
            content.tokenizer,
            tensors_hash=content.model,
            **settings,
        )

    @property
    def content(self) -> ModelHash:
        return ModelHash(self.tensors_hash, self.tokenizer_hash, files=self.model_hash)


SETTINGS = {
    "recipe": "recipe",
    "frame": "selfplay.frame",
    "base_format": "model.base_format",
    "lora_rank": "model.lora_rank",
    "lora_alpha": "model.lora_alpha",
    "master_dtype": "train.master_dtype",
    "optimizer": "train.optimizer",
    "n_gpus_per_node": "train.n_gpus_per_node",
    "n_nodes": "train.n_nodes",
    "seed": "seed",
}
"""Field of the identity -> configuration key, of all that is not the model itself."""


def read_identity(run: RunDir) -> RunIdentity | None:
    """From the newest copy where the file itself is gone; None for a run that never started, or has no copy.

    Raises:
        RunError: the record is damaged.
    """
    path = next(iter(run.records(run.identity.name)), None)
    if path is None:
        return None
    try:
        return from_json(RunIdentity, read_json(path), path)
    except DataError as error:
        if isinstance(error.__cause__, OSError):  # no permission, say: the record may be as good as ever
            raise RunError(str(error)) from error
        raise RunError(
            f"{path} is damaged ({error}); it says what the run was started with. Put a copy back, or, when you are sure that "
            "config.yaml names the model that the run began with, remove the file: it is then written again"
        ) from error


def kept_keys(run: RunDir) -> tuple[str, ...]:
    """Keys of the configuration that a run which has begun keeps; none for a new one."""
    begun = run.records(run.identity.name) or run.records(run.config.name)
    return ("model.path", *SETTINGS.values()) if begun else ()


def base_records(run: RunDir) -> Path:
    """The folder with what the model that the run began with says of its own training (``azr.models.exported``): the run's
    copies, in runs of earlier versions the model's own, as long as its place holds no other one.

    Raises:
        RunError: as ``read_identity``.
    """
    identity = None if run.base_model.is_dir() else read_identity(run)
    folder = Path(identity.folder) if identity else run.base_model
    with suppress(ModelError):
        if identity and earlier_runs(folder) and identity.content.is_of(hash_model(folder)):
            return folder
    return run.base_model


def write_identity(run: RunDir, identity: RunIdentity, folder: Path) -> None:
    """Writes it down, with what the model says of its own training.

    Args:
        folder: where that model is now; its place at the run's first start may hold another one by now.
    """
    copy_records(folder, run.base_model)
    if not identity.origin:
        saved = [checkpoint.info.get("origin") for checkpoint in list_checkpoints(run)]
        identity = replace(
            identity, origin=next((word for word in reversed(saved) if word), uuid4().hex[:16])
        )
    write_json_atomic(run.identity, {"format": FORMAT, **asdict(identity)})


def copy_identity(run: RunDir, folder: Path) -> None:
    """A copy in an attempt's ``folder``; nothing where nothing is recorded."""
    if identity := read_identity(run):
        write_json_atomic(folder / run.identity.name, {"format": FORMAT, **asdict(identity)})
