"""What makes the update fast and small, as a layer over verl's FSDP engine: packed attention and a chunked output head.

verl asks for both by its own configuration: ``use_remove_padding`` packs the sequences of a micro-batch into one row, and
``use_fused_kernels`` makes the model return log-probs and entropy instead of logits. This layer gives the model those two
abilities, and tells it which rows the loss will look at: with prompts of 600 and responses of 300 tokens two thirds of the
output head's work (a quarter of all arithmetic at 0.5B) would be thrown away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from verl.utils import tensordict_utils as tu
from verl.workers.engine.fsdp.transformer_impl import FSDPEngineWithLMHead

from azr.train import attention, logprobs

if TYPE_CHECKING:  # verl's engines carry no types
    Base: Any = object
else:
    Base = FSDPEngineWithLMHead


class PackedEngine(Base):
    """verl's FSDP engine for packed sequences without flash-attn and without materialised logits."""

    def _build_module(self) -> torch.nn.Module:
        attention.register()
        module = super()._build_module()
        if self.model_config.use_fused_kernels:
            options = self.model_config.fused_kernel_options or {}
            logprobs.install(module, int(options.get("chunk_tokens", logprobs.DEFAULT_CHUNK_TOKENS)))
        return module

    def prepare_model_inputs(self, micro_batch: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        inputs, output_args = super().prepare_model_inputs(micro_batch)
        fused = tu.get_non_tensor_data(data=micro_batch, key="use_fused_kernels", default=False)
        packed = tu.get_non_tensor_data(data=micro_batch, key="use_remove_padding", default=True)
        if fused and packed and not self.use_ulysses_sp:
            rows = scored_rows(micro_batch)
            if rows is not None:
                inputs["rows"] = rows
        return inputs, output_args


def scored_rows(micro_batch: Any) -> torch.Tensor | None:
    """Places in the packed row whose next token is a response token: int64 ``[R]``; None where the batch does not say.

    The token at place i predicts the one at i + 1, so a response of n tokens at the end of its sequence is scored at the n
    places before its last.
    """
    if "prompts" not in micro_batch.keys() or "responses" not in micro_batch.keys():  # noqa: SIM118  (a TensorDict)
        return None
    prompts, responses = micro_batch["prompts"], micro_batch["responses"]
    if not (prompts.is_nested and responses.is_nested):
        return None
    lengths = responses.offsets().diff()
    ends = (prompts.offsets().diff() + lengths).cumsum(0)
    total = micro_batch["input_ids"].values().shape[0]
    first = ends - lengths - 1
    shift = first - (lengths.cumsum(0) - lengths)
    rows = torch.arange(responses.values().shape[0], device=lengths.device) + torch.repeat_interleave(
        shift, lengths, output_size=responses.values().shape[0]
    )
    assert int(ends[-1]) == total, f"prompts and responses hold {int(ends[-1])} tokens, the packed row {total}"
    return rows.long()
