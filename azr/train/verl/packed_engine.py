"""What makes the update fast and small, as a layer over verl's FSDP engine: packed attention and a chunked output head.

verl asks for both by its own configuration: ``use_remove_padding`` packs the sequences of a micro-batch into one row,
and ``use_fused_kernels`` makes the model return log-probs and entropy instead of logits. This layer gives the model
those two abilities, and says which rows the loss will look at: with prompts of 600 and responses of 300 tokens two
thirds of the output head's work (a quarter of all arithmetic at 0.5B) would be thrown away.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from verl.utils import tensordict_utils as tu
from verl.utils.metric import Metric
from verl.workers.engine.fsdp.transformer_impl import FSDPEngineWithLMHead

from azr.train.kernels import attention, logprobs
from azr.train.kernels.compile_layers import compile_layers
from azr.train.verl.int4_base import build_int4_module, has_int4_base
from azr.train.verl.update import (
    AGGREGATIONS,
    difference_from_engine,
    packed_passes,
    policy_loss_config,
    response_places,
)

if TYPE_CHECKING:  # verl's engines carry no types
    Base: Any = object
else:
    Base = FSDPEngineWithLMHead


class PackedEngine(Base):
    """verl's FSDP engine for packed sequences without flash-attn and without materialised logits."""

    def _build_module(self) -> torch.nn.Module:
        attention.register()
        if has_int4_base(self.model_config):
            module = build_int4_module(self)
        else:
            module = super()._build_module()
            restore_buffers(module)
        if getattr(module.config, "_attn_implementation", None) == attention.IMPLEMENTATION:
            attention.pass_boundaries(module)
        options = self.model_config.fused_kernel_options or {}
        if self.model_config.use_fused_kernels:
            chunk_tokens = int(options.get("chunk_tokens", logprobs.DEFAULT_CHUNK_TOKENS))
            logprobs.install_chunked_logprobs(
                module, chunk_tokens, vocabulary=len(self.model_config.tokenizer)
            )
        if options.get("compile_layers"):
            compile_layers(module)
        return module

    def prepare_model_inputs(self, micro_batch: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """verl's arguments of the model (``input_ids``, ``position_ids`` and ``shift_labels``, int64 ``[1, T]``), and
        ``rows`` int64 ``[R]`` of ``scored_rows``; and what verl needs to read the output.

        Args:
            micro_batch: a TensorDict with nested ``input_ids`` ``[N, (prompt + response)]``.
        """
        inputs, output_args = super().prepare_model_inputs(micro_batch)
        fused = tu.get_non_tensor_data(data=micro_batch, key="use_fused_kernels", default=False)
        packed = tu.get_non_tensor_data(data=micro_batch, key="use_remove_padding", default=True)
        if fused and packed and not self.use_ulysses_sp:
            rows = scored_rows(micro_batch)
            if rows is not None:
                inputs["rows"] = rows
        return inputs, output_args

    def forward_backward_batch(self, data: Any, loss_function: Any, forward_only: bool = False) -> Any:
        """verl's; an update of packed sequences goes through ``update.packed_passes``, which does not wait for the
        card."""
        config = None if forward_only else policy_loss_config(self, data, loss_function)
        if config is None:
            return super().forward_backward_batch(data, loss_function, forward_only)
        return packed_passes(self, data, config)

    def forward_step(
        self, micro_batch: Any, loss_function: Any, forward_only: bool
    ) -> tuple[torch.Tensor, dict[str, Any]]:
        """verl's step; the update also reports how far the engine's token probabilities are from the trainer's own.

        verl measures that only where it recomputes the old log-probs in a pass of its own.

        Returns:
            the loss (a scalar), and verl's output: under ``model_output`` ``log_probs`` and ``entropy``, nested
            float32 ``[N, (prompt + response)]``, and ``metrics``.
        """
        loss, output = super().forward_step(micro_batch, loss_function, forward_only)
        if not forward_only and "log_probs" in output["model_output"]:
            output["metrics"] |= rollout_difference(output["model_output"]["log_probs"], micro_batch)
        return loss, output


def restore_buffers(module: Any) -> None:
    """Buffers that are in no file, as transformers makes them. verl casts a loaded model whole: rotary frequencies in
    bfloat16 are up to 0.4 % off, and those of the engine are not.
    """
    from accelerate import init_empty_weights

    with init_empty_weights(include_buffers=False):
        made = type(module)._from_config(copy.deepcopy(module.config), dtype=module.dtype)
    for name, buffer in made.named_buffers():
        place, _, attribute = name.rpartition(".")
        owner = module.get_submodule(place)
        if attribute in owner._non_persistent_buffers_set:
            setattr(owner, attribute, buffer)


def rollout_difference(log_probs: torch.Tensor, micro_batch: Any) -> dict[str, Metric]:
    """``update.difference_from_engine`` for a micro-batch of verl's own loop.

    Args:
        log_probs: nested ``[rows, (prompt + response)]``, as the model returned them.
        micro_batch: with the engine's log-probs under ``rollout_log_probs``, or ``old_log_probs`` where those
            are the engine's.
    """
    keys = set(micro_batch.keys())
    name = "rollout_log_probs" if "rollout_log_probs" in keys else "old_log_probs"
    rows = scored_rows(micro_batch)
    if name not in keys or rows is None or not micro_batch[name].is_nested:
        return {}

    trainer = log_probs.values()[rows.to(log_probs.device)]
    engine = micro_batch[name].values().to(trainer.device)
    counts = torch.ones_like(trainer)
    mask = micro_batch["loss_mask"] if "loss_mask" in keys else None
    if mask is not None and mask.is_nested and mask.values().numel() == trainer.numel():
        counts = mask.values().to(trainer.device)
    tokens = float(tu.get_non_tensor_data(micro_batch, "batch_num_tokens", trainer.numel()))
    share = float(tu.get_non_tensor_data(micro_batch, "dp_size", 1)) / tokens
    figures = difference_from_engine(trainer, engine, counts, share)
    return {name: Metric(aggregation=AGGREGATIONS[name], value=value) for name, value in figures.items()}


def scored_rows(micro_batch: Any) -> torch.Tensor | None:
    """``update.response_places`` of a micro-batch of verl's own loop: int64 ``[R]``; None where the batch does not say."""
    if "prompts" not in micro_batch.keys() or "responses" not in micro_batch.keys():  # noqa: SIM118  (a TensorDict)
        return None
    prompts, responses = micro_batch["prompts"], micro_batch["responses"]
    if not (prompts.is_nested and responses.is_nested):
        return None

    # [N] tokens of each
    asked, answered = (each.offsets().diff().cpu().numpy() for each in (prompts, responses))
    lengths, total = asked + answered, micro_batch["input_ids"].values().shape[0]
    assert lengths.sum() == total, (
        f"prompts and responses hold {lengths.sum()} tokens, the packed row {total}"
    )
    return torch.from_numpy(response_places(lengths, answered)).to(responses.device)
