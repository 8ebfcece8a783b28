"""Packed attention and the chunked head against each family's own eager attention and logits, sequence by
sequence.

Random models of a few thousand weights, with the features of their family turned up so that leaving one out
shows: windows shorter than the sequences, caps below the scores, scales far from 1, head sizes that are not
width / heads, layers without positions.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from azr.budget.shape import shape_from_config
from azr.errors import TrainingError
from azr.models.families import CHECKED, DROPOUT_KEYS, WITHOUT_ADAPTERS
from azr.models.weight_files import require_whole_files
from azr.models.weights_check import absent_tensor
from azr.train.kernels import attention, logprobs
from azr.train.kernels.compile_layers import compile_layers

SHAPE = {
    "vocab_size": 128, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 512, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    "tie_word_embeddings": False, **dict.fromkeys(DROPOUT_KEYS, 0.0),
}  # fmt: skip
SOME_SLIDE = {
    "sliding_window": 5,
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
}
OWN = {
    "cohere": {"logit_scale": 0.3},
    "cohere2": {"logit_scale": 0.3, **SOME_SLIDE},
    "exaone4": {**SOME_SLIDE},
    "gemma2": {
        "attn_logit_softcapping": 0.5,
        "final_logit_softcapping": 0.3,
        "query_pre_attn_scalar": 7,
        **SOME_SLIDE,
    },
    "gemma3_text": {"query_pre_attn_scalar": 7, "tie_word_embeddings": True, **SOME_SLIDE},
    "granite": {
        "logits_scaling": 0.2,
        "attention_multiplier": 0.3,
        "residual_multiplier": 0.5,
        "embedding_multiplier": 3.0,
    },
    "mistral": {"sliding_window": 5},
    "olmo3": {**SOME_SLIDE},
    "phi3": {"sliding_window": 5},
    "qwen2": {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1},
    "qwen3": {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1},
    "smollm3": {"no_rope_layers": [1, 0, 1], "use_sliding_window": True, "sliding_window": 5},
    "starcoder2": {"sliding_window": 5},
}
LENGTHS = (7, 1, 12, 19)
WEIGHTS = torch.linspace(-1, 1, sum(LENGTHS))


def family(model_type: str):
    config = AutoConfig.for_model(model_type, **{**SHAPE, **OWN.get(model_type, {})})
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.train()


@pytest.mark.parametrize("model_type", CHECKED)
def test_the_start_check_misses_no_tensor_of_a_whole_model(model_type: str, tmp_path: Path) -> None:
    family(model_type).save_pretrained(tmp_path)
    tensors = require_whole_files(tmp_path)
    assert absent_tensor(tensors, model_type, SHAPE["num_hidden_layers"]) == ""


def trained_our_way(stock, *, compiled: bool = False):
    model = copy.deepcopy(stock)
    model.set_attn_implementation(attention.register())
    attention.pass_boundaries(model)
    logprobs.install_chunked_logprobs(model, chunk_tokens=7)
    if compiled:
        compile_layers(model, backend="aot_eager")
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return model


def rows(device: str = "cpu") -> list[torch.Tensor]:
    return [
        torch.randint(3, 128, (length,), generator=torch.Generator().manual_seed(length)).to(device)
        for length in LENGTHS
    ]


def together(model, device: str = "cpu") -> torch.Tensor:
    """Log-probabilities of all rows, packed into one."""
    ids = rows(device)
    positions = torch.cat([torch.arange(length, device=device) for length in LENGTHS])[None]
    labels = torch.cat([torch.roll(row, -1) for row in ids])[None]
    output = model(
        input_ids=torch.cat(ids)[None],
        position_ids=positions,
        attention_mask=None,
        shift_labels=labels,
        use_cache=False,
    )
    return output.log_probs[0]


def one_by_one(model, device: str = "cpu") -> torch.Tensor:
    found = []
    for row in rows(device):
        log_p = torch.log_softmax(model(input_ids=row[None], use_cache=False).logits[0].float(), dim=-1)
        found.append(log_p.gather(1, torch.roll(row, -1)[:, None])[:, 0])
    return torch.cat(found)


def gradient(model, log_probs: torch.Tensor) -> torch.Tensor:
    (log_probs * WEIGHTS.to(log_probs.device)).sum().backward()
    parts = [
        (p.grad if p.grad is not None else torch.zeros_like(p)).flatten().double().cpu()
        for p in model.parameters()
    ]
    return torch.cat(parts)


@pytest.mark.parametrize("model_type", sorted(CHECKED))
def test_packed_sequences_have_the_probabilities_of_single_ones(model_type):
    stock = family(model_type)
    ours = trained_our_way(stock)
    found, wanted = together(ours), one_by_one(stock)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    expected = gradient(stock, wanted)
    assert expected.norm() > 0
    assert (gradient(ours, found) - expected).norm() < 1e-5 * expected.norm()


@pytest.mark.parametrize("model_type", sorted(OWN))
def test_what_is_special_in_a_family_shows_in_its_tiny_model(model_type):
    """Else the test above would prove nothing of it."""
    special = family(model_type)
    plain = copy.deepcopy(special)
    changes = {
        "sliding_window": 512,
        "attn_logit_softcapping": 100.0,
        "final_logit_softcapping": 100.0,
        "logits_scaling": 1.0,
    }
    for key, value in {**changes, "logit_scale": 1.0}.items():
        if getattr(plain.config, key, None) is not None:
            setattr(plain.config, key, value)
    for module in plain.modules():
        for key in ("sliding_window", "attn_logit_softcapping", "logits_scaling", "logit_scale"):
            if isinstance(getattr(module, key, None), int | float):
                setattr(module, key, getattr(plain.config, key))
    with torch.no_grad():
        assert (one_by_one(special) - one_by_one(plain)).abs().max() > 1e-3


@pytest.mark.parametrize("model_type", ["gemma2", "gemma3_text", "granite", "mistral", "phi3", "smollm3"])
def test_compiled_layers_of_other_families_are_the_same(model_type):
    torch._dynamo.reset()
    stock = family(model_type)
    found, wanted = together(trained_our_way(stock, compiled=True)), one_by_one(stock)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    torch._dynamo.reset()


def test_all_families_are_known_to_the_engine():
    pytest.importorskip("vllm")
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    from vllm.model_executor.models.interfaces import supports_lora
    from vllm.model_executor.models.registry import ModelRegistry

    assert {key: MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[key] for key in CHECKED} == CHECKED
    classes: dict[str, Any] = {key: ModelRegistry.models[name] for key, name in CHECKED.items()}
    assert {
        key for key, entry in classes.items() if not supports_lora(entry.load_model_cls())
    } == WITHOUT_ADAPTERS


@pytest.mark.parametrize("model_type", sorted(CHECKED))
def test_the_budget_knows_the_size_of_every_family(model_type):
    """As its config.json has it where nothing is said of the output head; never too small by more than a
    hundredth."""
    shape = {
        "vocab_size": 32000,
        "hidden_size": 512,
        "intermediate_size": 2048,
        "num_hidden_layers": 2,
        "num_attention_heads": 8,
    }
    config = AutoConfig.for_model(model_type, **shape, num_key_value_heads=2, head_dim=64, pad_token_id=0)
    with torch.device("meta"):
        real = sum(parameter.numel() for parameter in AutoModelForCausalLM.from_config(config).parameters())
    written = {key: value for key, value in config.to_dict().items() if key != "tie_word_embeddings"}
    assert 0.99 * real < shape_from_config(written).parameters < 1.1 * real


@pytest.mark.parametrize("model_type", sorted(CHECKED))
def test_fsdp_finds_the_layers_of_every_family(model_type):
    from verl.utils.fsdp_utils import get_fsdp_wrap_policy

    assert get_fsdp_wrap_policy(family(model_type)) is not None


@pytest.mark.parametrize("length", [1, 5, 300])
@pytest.mark.parametrize("window", [None, 3, 280])
def test_capped_attention_in_blocks_is_the_whole(length, window):
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(length, 4, 8, generator=generator)
    k, v = (torch.randn(length, 2, 8, generator=generator) for _ in range(2))
    ends = torch.tensor([0, length], dtype=torch.int32)
    found = attention.capped_attention(q, k, v, ends, 0.7, window, 0.5)
    scores = torch.einsum("qhd,khd->hqk", q, k.repeat_interleave(2, 1)) * 0.7
    distance = torch.arange(length)[:, None] - torch.arange(length)
    seen = (distance >= 0) & (distance < (window or length))
    weights = torch.softmax((0.5 * torch.tanh(scores / 0.5)).masked_fill(~seen, -torch.inf), -1)
    torch.testing.assert_close(
        found, torch.einsum("hqk,khd->qhd", weights, v.repeat_interleave(2, 1)), atol=1e-6, rtol=1e-5
    )


def attend(**options):
    q = torch.zeros(1, 2, 4, 8)
    module = torch.nn.Module()
    module.config = AutoConfig.for_model("gpt_oss")
    return attention.packed_attention(module, q, q, q, None, **options)


def test_an_argument_that_is_not_known_is_refused_by_its_name():
    with pytest.raises(
        TrainingError, match=r"the attention of gpt_oss takes s_aux, .*train\.packed_sequences=false"
    ):
        attend(s_aux=torch.zeros(2))
    attend(s_aux=None, use_cache=False)


def test_attention_that_looks_ahead_is_refused():
    with pytest.raises(TrainingError, match="not causal"):
        attend(is_causal=False)


def test_masks_in_chunks_are_refused():
    config = AutoConfig.for_model(
        "llama4_text", **{**SHAPE, "attention_chunk_size": 4, "num_local_experts": 1}
    )
    model = AutoModelForCausalLM.from_config(config, attn_implementation=attention.register())
    with pytest.raises(TrainingError, match="llama4_text masks its attention in chunks"):
        model(input_ids=torch.zeros(1, 8, dtype=torch.long), use_cache=False)


@pytest.mark.gpu
@pytest.mark.parametrize("model_type", sorted(CHECKED))
def test_on_a_gpu_the_kernels_agree_with_eager_attention_within_bfloat16(model_type):
    """Both in bfloat16, against float32: the variable-length kernel costs no more than eager attention
    does."""
    stock = family(model_type).cuda()
    exact = one_by_one(stock, "cuda")
    exact_gradient = gradient(stock, exact)
    half = copy.deepcopy(stock).bfloat16()
    half.zero_grad()
    ours = trained_our_way(half)
    plain, found = one_by_one(half, "cuda"), together(ours, "cuda")
    assert (found - exact).norm() < 1.5 * (plain - exact).norm() + 1e-2
    errors = [
        (gradient(model, values) - exact_gradient).norm() for model, values in ((half, plain), (ours, found))
    ]
    assert errors[1] < 1.5 * errors[0] + 1e-3 * exact_gradient.norm()
