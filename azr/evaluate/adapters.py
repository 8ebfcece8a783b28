"""The LoRA adapters of a run as a PEFT folder: a few hundred MiB beside a base of many GiB, and nothing is rounded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from azr.config.load import read_config
from azr.errors import CheckpointError, ModelError
from azr.evaluate.export_cards import caveats, how_trained
from azr.evaluate.models import find_checkpoint
from azr.evaluate.older_readers import keep_what_older_peft_reads
from azr.evaluate.weights import WEIGHT_FILES, lora_adapters, lora_alpha, require_new_folder
from azr.models.hub import HubName
from azr.models.model_hash import hash_model
from azr.run.checkpoints import Checkpoint, reading, require_sound
from azr.run.identity import RunIdentity
from azr.run.rundir import RunDir
from azr.system.files import safetensors_written_to, set_mode, whole_folder
from azr.train.base_model import folder_on_disk, require_base_unchanged

WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."


def export_adapters(run: RunDir, target: Path, step: str, say: Callable[[str], None] = print) -> Path:
    """Writes adapter_config.json and adapter_model.safetensors, which peft and vLLM load over the model that the run
    began with. ``target`` appears whole or not at all.

    Raises:
        RunError: the run has no such checkpoint.
        CheckpointError: it is damaged, or holds adapters of another kind.
        ModelError: the folder exists, the run trained no adapters, or its base model was replaced.
    """
    require_new_folder(target)
    config = read_config(run.config_record)
    if not config.model.lora_rank:
        raise ModelError(
            f"{run.root} trained all weights (model.lora_rank=0), so it has no adapters; leave out --adapters"
        )
    identity = require_base_unchanged(run)
    checkpoint = find_checkpoint(run, step)
    base = _base_now(identity, config.model.path)
    with reading(checkpoint), whole_folder(target) as staging:
        require_sound(checkpoint.path, only=WEIGHT_FILES)
        write_adapters(checkpoint, staging, base)
    quantised = " in int4" if config.model.base_format == "int4" else ""
    say(
        f"wrote the adapters of {run.root.name}, step {checkpoint.step}, to {target}; their base is {base}{quantised}"
    )
    for told in caveats(how_trained(run, checkpoint.step, config)):
        say(told)
    return target


def _base_now(identity: RunIdentity | None, latest: str) -> str:
    """What peft finds the base model by: a name of the hub, or the folder in which it lies now, which may have moved."""
    began_with = identity.model if identity else latest
    folder = folder_on_disk(began_with)
    if folder is None and identity and HubName.parse(began_with) is None:
        moved = folder_on_disk(latest)
        folder = moved if moved and identity.content.is_of(hash_model(moved)) else None
    return began_with if folder is None else str(folder.absolute())


def write_adapters(checkpoint: Checkpoint, folder: Path, base: str) -> None:
    """A PEFT folder of a checkpoint whose hashes were checked.

    Args:
        base: what the folder says that the adapters belong to.

    Raises:
        CheckpointError: it holds adapters of another kind.
        ModelError: what was written is not what was read.
    """
    from peft import LoraConfig
    from safetensors.torch import load_file, save_file

    adapters = lora_adapters(checkpoint)
    ranks = sorted({halves["A"].shape[0] for halves in adapters.values()})
    if len(ranks) != 1:
        raise CheckpointError(f"{checkpoint.path} holds adapters of ranks {ranks}; one rank is expected")
    alpha: Any = lora_alpha(checkpoint)
    hub = None if Path(base).is_absolute() else HubName.parse(base)
    settings: Any = LoraConfig(
        r=ranks[0],
        lora_alpha=int(alpha) if alpha.is_integer() else alpha,
        target_modules=sorted({module.rpartition(".")[2] for module in adapters}),
        task_type="CAUSAL_LM",
        base_model_name_or_path=hub.name if hub else base,
        revision=hub.revision if hub else None,
        inference_mode=True,
    )
    tensors = {
        f"{_PREFIX}{module}.lora_{half}.weight": tensor
        for module, halves in adapters.items()
        for half, tensor in halves.items()
    }
    settings.save_pretrained(str(folder))
    keep_what_older_peft_reads(folder / "adapter_config.json")
    with safetensors_written_to(folder):
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / WEIGHTS)
    written = load_file(folder / WEIGHTS)
    same = written.keys() == tensors.keys()
    if not same or not all(tensor.equal(tensors[name]) for name, tensor in written.items()):
        raise ModelError("the adapters on the disk differ from the checkpoint's; nothing was exported")
    set_mode(folder / WEIGHTS)
