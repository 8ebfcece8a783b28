"""verl's model building over an int4 base: empty, then filled from the packed file. verl itself would use
transformers, whose quantised layers are different.

The engine serves the same folder. On a CPU it reads the weights itself and is sent the adapters alone; on a GPU it is
sent both (``int4_engine.py``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from verl.models.transformers.monkey_patch import apply_monkey_patch
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
    _require_dtype(options, model_config, dtype)
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


def _require_dtype(options: Any, model_config: Any, dtype: torch.dtype) -> None:
    wrong = ""
    if dtype != PrecisionType.to_dtype(options.dtype):
        wrong = "its words cannot be cast; set train.master_dtype and train.compute_dtype to the same type"
    elif dtype != torch.bfloat16 and (model_config.fused_kernel_options or {}).get("compile_layers"):
        wrong = "compiled in float32 it would not be rounded to bfloat16; set train.compile_layers=false"
    if wrong:
        raise TrainingError(f"{model_config.local_path} is an int4 model: {wrong}")
