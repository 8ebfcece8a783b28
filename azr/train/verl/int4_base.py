"""verl's model building over an int4 base: empty, then filled from the packed file. verl itself would use
transformers, whose quantised layers are different.

The engine serves the same folder and is sent the adapters alone. So far that is so on a CPU only: on a GPU the
sleeping engine drops its weights, and sending packed ones back into its kernels' layout is not built.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from verl.models.transformers.monkey_patch import apply_monkey_patch
from verl.utils.device import get_device_name
from verl.utils.torch_dtypes import PrecisionType

from azr.errors import TrainingError
from azr.train.quantize.model import int4_model


def has_int4_base(model_config: Any) -> bool:
    return bool(getattr(model_config.hf_config, "quantization_config", None))


def build_int4_module(engine: Any) -> torch.nn.Module:
    """In place of the ``_build_module`` of verl's engine.

    Raises:
        TrainingError: the base does not go with what is configured.
    """
    options, model_config = engine.engine_config, engine.model_config
    dtype = PrecisionType.to_dtype(options.model_dtype)
    _require_supported(options, model_config, dtype)
    module: Any = int4_model(Path(model_config.local_path), dtype, model_config.hf_config)
    apply_monkey_patch(
        model=module,
        use_remove_padding=engine.use_remove_padding,
        ulysses_sp_size=engine.ulysses_sequence_parallel_size,
        use_fused_kernels=model_config.use_fused_kernels,
    )
    if model_config.enable_gradient_checkpointing:
        module.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return module


def _require_supported(options: Any, model_config: Any, dtype: torch.dtype) -> None:
    wrong = ""
    if get_device_name() != "cpu":
        wrong = "it cannot be trained on a GPU yet; use the original model"
    elif torch.distributed.get_world_size() > 1:
        wrong = "it needs a single process; set train.n_gpus_per_node=1 and train.n_nodes=1"
    elif not model_config.lora_rank:
        wrong = "int4 weights themselves cannot be trained; set model.lora_rank=32 to train adapters"
    elif model_config.lora.get("merge"):
        wrong = "adapters cannot be merged into int4 weights; set rollout.merge_adapters=false"
    elif model_config.use_liger:
        wrong = "Liger's kernels were not tested with it; set train.liger_kernels=false"
    elif dtype != PrecisionType.to_dtype(options.dtype):
        wrong = "its words cannot be cast; set train.master_dtype and train.compute_dtype to the same type"
    elif dtype != torch.bfloat16 and (model_config.fused_kernel_options or {}).get("compile_layers"):
        wrong = "compiled in float32 it would not be rounded to bfloat16; set train.compile_layers=false"
    if wrong:
        raise TrainingError(f"{model_config.local_path} is an int4 model: {wrong}")
