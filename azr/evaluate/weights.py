"""From a checkpoint of the trainer to an ordinary Hugging Face folder: shards joined, LoRA merged, weights in one type.

``torch.load`` unpickles, so a file is opened only after its hash matched our manifest, and with
``weights_only``, which admits tensors and nothing that runs. Shards of several ranks hold DTensors, which
``weights_only`` refuses: they are opened without it, after the same check of hashes.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from azr.config.load import read_config
from azr.errors import CheckpointError, ModelError
from azr.evaluate.older_readers import write_for_older_readers
from azr.models.quantised import quantisation_of
from azr.models.weight_files import mapping_trouble
from azr.run.checkpoints import Checkpoint, require_sound
from azr.run.rundir import RunDir
from azr.system.files import read_json, safetensors_written_to, set_mode, whole_folder, write_json_atomic
from azr.train.base_model import trained_folder
from azr.train.model_source import local_model_folder
from azr.train.tokenizer_check import name_the_class
from azr.wording import first_line

if TYPE_CHECKING:
    import torch

WEIGHT_FILES = ("actor/model_", "actor/fsdp_config", "actor/lora", "actor/huggingface/")
"""Beginnings of the names of the files that a model is made of; what else a checkpoint holds is for going on
with training."""
_TRAINER_ONLY = ("attn_implementation", "_attn_implementation")
"""What the trainer writes into config.json for itself; plain transformers would look for our attention function."""
_LORA_NAME = re.compile(r"(?P<module>.+)\.lora_(?P<half>[AB])(?:\.default)?\.weight")
_PEFT_PREFIX = "base_model.model."


def require_new_folder(target: Path) -> None:
    """
    Raises:
        ModelError: ``target`` exists, or would lie where files cannot be mapped into memory, as safetensors reads them: what
            is written there could not be checked.
    """
    if target.exists():
        holds_us = Path.cwd().is_relative_to(target.resolve())
        way_out = f"such as {target / 'my-model'}" if holds_us else "or remove it"
        raise ModelError(f"{target} exists; give another --out, {way_out}")
    above = next(folder for folder in target.absolute().parents if folder.is_dir())
    trouble = ""
    # a full disk tells of itself later
    with contextlib.suppress(OSError), tempfile.TemporaryFile(dir=above) as file:
        file.write(b"1")
        file.flush()
        trouble = mapping_trouble(file)
    if trouble:
        raise ModelError(
            f"files in {above} {trouble}, so weights written there could not be checked; give an --out on a disk of this machine, "
            "and copy the folder then"
        )


def write_model_folder(
    checkpoint: Checkpoint, target: Path, *, dtype: str = "bfloat16", trust_remote_code: bool = False
) -> None:
    """Writes config, tokenizer and safetensors of a checkpoint; ``target`` appears whole or not at all.

    What was written is loaded again by plain transformers and compared with the checkpoint, tensor by tensor.

    Raises:
        CheckpointError: the checkpoint is damaged or of a layout that cannot be read.
        ModelError: as ``require_new_folder``, or what was written differs from the checkpoint.
    """
    require_new_folder(target)
    require_sound(checkpoint.path, only=WEIGHT_FILES)
    from transformers.utils import logging

    logging.disable_progress_bar()  # the caller reports progress
    actor = checkpoint.path / "actor"
    with whole_folder(target) as staging:
        state = merged_state_dict(checkpoint, dtype=dtype, trust_remote_code=trust_remote_code)
        config = _plain_config(actor / "huggingface", dtype, trust_remote_code)
        _save(state, config, actor / "huggingface", staging, dtype, trust_remote_code)
        _compare(state, staging, dtype, trust_remote_code)


def write_configuration(checkpoint: Checkpoint, target: Path, *, trust_remote_code: bool = False) -> None:
    """Writes what ``write_model_folder`` does except the weights: plain config.json, generation settings and
    tokenizer, in milliseconds.

    Raises:
        CheckpointError: one of those files is damaged.
        ModelError: the tokenizer cannot be read as it was trained with.
    """
    require_sound(checkpoint.path, only="actor/huggingface/")
    source = checkpoint.path / "actor" / "huggingface"
    shutil.copytree(source, target)
    write_json_atomic(target / "config.json", _plain_values(source))
    name_the_class(target, trust_remote_code=trust_remote_code)


def merged_state_dict(
    checkpoint: Checkpoint, *, dtype: str, trust_remote_code: bool = False
) -> dict[str, Any]:
    """Plain names and tensors of ``dtype``; hashes must have been checked before.

    Raises:
        CheckpointError: files are missing, or hold something else than tensors.
        ModelError: a weight is NaN or infinite.
    """
    import torch

    kind = getattr(torch, dtype)
    state = _saved_state(checkpoint)
    if any(".lora_" in name for name in state):
        state = _merge_lora(state, checkpoint, kind, trust_remote_code)
    return {name: as_numbers(str(checkpoint.path), name, tensor, kind) for name, tensor in state.items()}


def as_numbers(place: str, name: str, tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """A weight in ``dtype``; integers as they are.

    Raises:
        ModelError: it is NaN or infinite, there or in that type.
    """
    if not tensor.is_floating_point():
        return tensor
    from azr.train.finite import is_finite, require_finite  # torch

    given = tensor.to(dtype)
    if not is_finite(given):
        require_finite(place, name, tensor)
        raise ModelError(f"{place}: {name} is too large for {dtype}; take bfloat16 or float32 (--dtype)")
    return given


def lora_adapters(checkpoint: Checkpoint) -> dict[str, dict[str, Any]]:
    """Of each adapted module its halves ``A`` and ``B`` as they were saved; hashes must have been checked before.

    Raises:
        CheckpointError: files are missing, or the adapters are of another kind.
    """
    return _split(_saved_state(checkpoint), checkpoint.path / "actor")[1]


def lora_alpha(checkpoint: Checkpoint) -> float:
    """
    Raises:
        CheckpointError: the checkpoint does not say.
    """
    return _number_in(checkpoint.path / "actor" / "lora_train_meta.json", "lora_alpha")


def _number_in(file: Path, key: str) -> float:
    try:
        return float(read_json(file)[key])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{file} does not say {key}: {error!r}") from error


def _saved_state(checkpoint: Checkpoint) -> dict[str, Any]:
    """What all ranks saved, joined in the type in which it was trained: verl's own merger rounds to bfloat16, in which a
    small update is lost."""
    import pickle

    import torch
    from torch.distributed.tensor import DTensor

    actor = checkpoint.path / "actor"
    ranks = int(_number_in(actor / "fsdp_config.json", "world_size"))
    is_plain = ranks == 1

    def load(rank: int) -> dict[str, Any]:
        path = actor / f"model_world_size_{ranks}_rank_{rank}.pt"
        read = partial(torch.load, path, map_location="cpu", weights_only=is_plain)
        try:
            try:
                state = read(mmap=is_plain)
            except RuntimeError as error:
                if "unable to mmap" not in str(error):
                    raise
                state = read()  # a share that maps no files
        except (OSError, RuntimeError, pickle.UnpicklingError) as error:
            wanted = " as plain tensors" if is_plain else ""
            raise CheckpointError(f"{path} cannot be read{wanted}: {first_line(error)}") from error
        for name, tensor in state.items():
            if is_plain and type(tensor) is not torch.Tensor:
                raise CheckpointError(f"{path}: {name} is a {type(tensor).__name__}, not a plain tensor")
        return dict(state)

    first = load(0)
    # the ranks of a row of the mesh hold a whole model together; further rows hold copies of it
    meshes = (value.device_mesh.mesh for value in first.values() if isinstance(value, DTensor))
    row = next((mesh.shape[-1] for mesh in meshes), 1)
    shards = [first, *(load(rank) for rank in range(1, row))]
    return {name: _joined(actor, name, [shard.pop(name) for shard in shards]) for name in list(first)}


def _joined(actor: Path, name: str, parts: list[Any]) -> Any:
    """The tensor whose shards ``parts`` are, one of each rank; what is no DTensor is the same on all of them."""
    import torch
    from torch.distributed.tensor import DTensor, Replicate, Shard

    whole = parts[0]
    if not isinstance(whole, DTensor):
        return whole
    placement = whole.placements[-1]
    with torch.no_grad():
        if isinstance(placement, Replicate):
            return whole.to_local()
        if isinstance(placement, Shard):
            return torch.cat([part.to_local() for part in parts], dim=placement.dim)
    raise CheckpointError(f"{actor}: {name} was split as {placement}, which cannot be joined here")


def _merge_lora(
    state: dict[str, Any], checkpoint: Checkpoint, dtype: torch.dtype, trust_remote_code: bool
) -> dict[str, Any]:
    """W + (alpha / r) B A for every adapted weight, one at a time: what peft's ``merge_and_unload`` computes,
    without a second copy of the model in memory, and in bfloat16 without losing small adapters to rounding.
    A checkpoint always gives the same weights."""
    import torch

    from azr.train.kernels.merging import merged, rounding_seed

    actor = checkpoint.path / "actor"
    alpha = lora_alpha(checkpoint)
    plain, adapters = _split(state, actor)
    if not plain:  # adapters were saved alone: the base is where the run took it from
        plain = _base_state(checkpoint, trust_remote_code)
    for module, halves in adapters.items():
        weight = f"{module}.weight"
        if weight not in plain:
            raise CheckpointError(f"{actor}: the model has no {weight}, which an adapter belongs to")
        scale = alpha / halves["A"].shape[0]
        generator = torch.Generator().manual_seed(rounding_seed(0, checkpoint.step, module))
        plain[weight] = merged(plain[weight], halves["A"], halves["B"], scale, dtype, generator)  # [out, in]
    return plain


def _split(state: dict[str, Any], actor: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Plain weights under plain names, and the halves of each adapter."""
    plain: dict[str, Any] = {}
    adapters: dict[str, dict[str, Any]] = {}
    for name, tensor in state.items():
        name = name.removeprefix(_PEFT_PREFIX)
        found = _LORA_NAME.fullmatch(name)
        if found:
            adapters.setdefault(found["module"], {})[found["half"]] = tensor
        elif ".lora_" in name:
            raise CheckpointError(
                f"{actor}: {name} belongs to an adapter that is not plain LoRA; it cannot be merged"
            )
        else:
            plain[name.replace(".base_layer.", ".")] = tensor
    incomplete = [module for module, halves in adapters.items() if set(halves) != {"A", "B"}]
    if incomplete:
        raise CheckpointError(f"{actor}: the adapter of {incomplete[0]} is incomplete")
    return plain, adapters


def base_of(checkpoint: Checkpoint) -> Path:
    """The folder of the model that a checkpoint's adapters were trained over, quantised if they were trained so.

    Raises:
        ModelError: it is not there any more, or cannot be quantised again.
    """
    from azr.train.quantize.prepare import prepared_int4

    run = RunDir(checkpoint.path.parent.parent)
    has_run = checkpoint.path.parent == run.checkpoints and run.config_record.is_file()
    if has_run:
        return trained_folder(run, read_config(run.config_record))
    folder = local_model_folder(str(checkpoint.info.get("model", "")))
    return prepared_int4(folder, "cpu") if checkpoint.info.get("base_format") == "int4" else folder


def _base_state(checkpoint: Checkpoint, trust_remote_code: bool) -> dict[str, Any]:
    from transformers import AutoModelForCausalLM

    from azr.train.quantize.model import dequantised_state

    folder = base_of(checkpoint)
    if quantisation_of(folder):  # the adapters were trained over the values that it stands for
        return dequantised_state(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", trust_remote_code=trust_remote_code)
    return dict(model.state_dict())


def _plain_values(folder: Path) -> dict[str, Any]:
    """config.json without what the trainer writes into it for itself."""
    values = read_json(folder / "config.json")
    return {key: value for key, value in values.items() if key not in _TRAINER_ONLY}


def _plain_config(folder: Path, dtype: str, trust_remote_code: bool) -> Any:
    from transformers import AutoConfig

    values = _plain_values(folder) | {"dtype": dtype}
    values.pop("torch_dtype", None)
    config = AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
    return type(config).from_dict(values)


def _save(
    state: dict[str, Any], config: Any, source: Path, staging: Path, dtype: str, trust_remote_code: bool
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(
            config, dtype=getattr(torch, dtype), trust_remote_code=trust_remote_code
        )
    missing, unexpected = model.load_state_dict(state, strict=False, assign=True)
    tied = {"lm_head.weight"} if getattr(config, "tie_word_embeddings", False) else set()
    wrong = [*(set(missing) - tied), *unexpected]
    if wrong:
        raise CheckpointError(
            f"the checkpoint does not fit its config.json: {wrong[0]} is missing or unexpected"
        )
    model.tie_weights()
    with safetensors_written_to(staging):
        model.save_pretrained(staging)
    for extra in source.iterdir():  # tokenizer files as they are, chat template, remote code
        # generation settings too: transformers refuses to write some that it reads
        if extra.is_file() and (
            extra.name == "generation_config.json" or not (staging / extra.name).exists()
        ):
            shutil.copyfile(extra, staging / extra.name)
    write_for_older_readers(staging)
    name_the_class(staging, trust_remote_code=trust_remote_code)
    for file in staging.iterdir():
        set_mode(file)  # safetensors writes files that nobody else may read


def _compare(state: dict[str, Any], folder: Path, dtype: str, trust_remote_code: bool) -> None:
    """Loads the folder as any user would, and compares every tensor."""
    import torch
    from transformers import AutoModelForCausalLM

    answer: Any = AutoModelForCausalLM.from_pretrained(
        folder, dtype=getattr(torch, dtype), trust_remote_code=trust_remote_code, output_loading_info=True
    )
    model, report = answer
    kinds = ("missing_keys", "unexpected_keys", "mismatched_keys")
    if wrong := [key for kind in kinds for key in report.get(kind, ())]:
        raise ModelError(
            f"the exported folder does not load completely: {wrong[0]} is missing, unexpected or of another shape"
        )
    loaded = model.state_dict()
    for name, tensor in state.items():
        if name in loaded and not torch.equal(loaded[name], tensor):
            raise ModelError(
                f"the exported weight {name} differs from the checkpoint's; nothing was exported"
            )
    if not set(state) & set(loaded):
        raise ModelError(
            "no exported weight has the checkpoint's name; nothing could be compared, so nothing was exported"
        )
