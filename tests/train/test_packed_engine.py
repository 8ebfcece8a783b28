"""verl's own engine methods around our model: packed and chunked against padded and whole, on the same
micro-batch."""

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from small_qwen import small_qwen
from transformers import Qwen2Config, Qwen2ForCausalLM
from verl.utils import tensordict_utils as tu

from azr.train.kernels import attention, logprobs
from azr.train.verl.packed_engine import PackedEngine, rollout_difference, scored_rows

PROMPTS, RESPONSES = (5, 9, 2), (4, 1, 7)


def nested(lengths, seed, high=128):
    generator = torch.Generator().manual_seed(seed)
    rows = [torch.randint(0, high, (length,), generator=generator) for length in lengths]
    return torch.nested.as_nested_tensor(rows, layout=torch.jagged)


def micro_batch(**flags):
    prompts, responses = nested(PROMPTS, 0), nested(RESPONSES, 1)
    whole = [torch.cat(pair) for pair in zip(prompts.unbind(), responses.unbind(), strict=True)]
    tensors = {
        "prompts": prompts,
        "responses": responses,
        "input_ids": torch.nested.as_nested_tensor(whole, layout=torch.jagged),
        "position_ids": torch.nested.as_nested_tensor(
            [torch.arange(len(row)) for row in whole], layout=torch.jagged
        ),
    }
    batch = tu.get_tensordict(tensors)
    tu.assign_non_tensor(batch, temperature=1.0, calculate_entropy=True, **flags)
    return batch


def engine(model):
    """The engine without processes: what its two methods read, and nothing else."""
    bare: Any = object.__new__(PackedEngine)
    bare.module, bare.pad_to_length, bare.use_ulysses_sp, bare.pass_packed_cu_seqlens = (
        model,
        False,
        False,
        False,
    )
    bare.engine_config = type(
        "Config", (), {"entropy_checkpointing": False, "entropy_from_logits_with_chunking": False}
    )()
    import verl.utils.torch_functional as functional

    bare.compute_entropy_from_logits = functional.entropy_from_logits
    return bare


def model(implementation):
    config = Qwen2Config(
        vocab_size=128,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    config._attn_implementation = implementation
    torch.manual_seed(0)
    return Qwen2ForCausalLM(config)


def forward(bare, batch):
    inputs, arguments = bare.prepare_model_inputs(batch)
    output = bare.module(**inputs, use_cache=False)
    return inputs, bare.prepare_model_outputs(
        output=output, output_args=arguments, micro_batch=batch, logits_processor_func=None
    )


def responses_of(column):
    """What the loss takes from a nested column [sum of (prompt + response)]: the places before each response
    token."""
    pieces, start = [], 0
    for prompt, response in zip(PROMPTS, RESPONSES, strict=True):
        pieces.append(column.values()[start + prompt - 1 : start + prompt + response - 1])
        start += prompt + response
    return torch.cat(pieces)


@pytest.mark.parametrize("stock_packed", [False, True])
def test_same_log_probs_and_gradients_as_stock(stock_packed):
    stock = model("sdpa")
    ours = copy.deepcopy(stock)
    ours.config._attn_implementation = attention.register()
    logprobs.install_chunked_logprobs(ours, chunk_tokens=6)
    inputs, found = forward(engine(ours), micro_batch(use_remove_padding=True, use_fused_kernels=True))
    _, wanted = forward(
        engine(stock), micro_batch(use_remove_padding=stock_packed, use_fused_kernels=False, pad_token_id=0)
    )
    assert inputs["rows"].numel() == sum(RESPONSES)
    for name in ("log_probs", "entropy"):
        torch.testing.assert_close(
            responses_of(found[name]), responses_of(wanted[name]), atol=1e-5, rtol=1e-4
        )
    weights = torch.linspace(-1, 1, sum(RESPONSES))
    for output in (found, wanted):
        (responses_of(output["log_probs"]) * weights + 0.1 * responses_of(output["entropy"])).sum().backward()
    for (name, left), (_, right) in zip(ours.named_parameters(), stock.named_parameters(), strict=True):
        torch.testing.assert_close(left.grad, right.grad, atol=1e-5, rtol=1e-3, msg=name)


def test_scored_rows_are_the_places_before_response_tokens():
    rows = scored_rows(micro_batch())
    assert rows is not None
    assert rows.tolist() == [4, 5, 6, 7, 9 + 8, 19 + 1, 20 + 1, 21 + 1, 22 + 1, 23 + 1, 24 + 1, 25 + 1]


def test_batches_without_lengths_are_scored_everywhere():
    assert scored_rows({"input_ids": nested((3, 4), 0)}) is None


def test_engine_difference_is_that_of_response_tokens():
    """Two micro-batches of one batch add up to the mean over all response tokens that count."""
    log_probs = torch.nested.as_nested_tensor(
        [-torch.rand(p + r) for p, r in zip(PROMPTS, RESPONSES, strict=True)], layout=torch.jagged
    )
    own = responses_of(log_probs)
    engine_side = (own + 0.1 * torch.randn(len(own))).clamp(max=0)
    batch = micro_batch(batch_num_tokens=2 * (sum(RESPONSES) - 1), dp_size=1)
    mask = torch.ones(len(own))
    mask[-1] = 0
    split = list(RESPONSES)
    batch["old_log_probs"] = torch.nested.as_nested_tensor(
        list(engine_side.split(split)), layout=torch.jagged
    )
    batch["loss_mask"] = torch.nested.as_nested_tensor(list(mask.split(split)), layout=torch.jagged)
    found = rollout_difference(log_probs, batch)
    expected = (own.exp() - engine_side.exp()).abs()[:-1]
    assert 2 * found["rollout_probs_diff_mean"].aggregate() == pytest.approx(expected.mean().item(), rel=1e-5)
    nats = (own - engine_side).abs()[:-1].mean().item()
    assert 2 * found["rollout_log_probs_diff_mean"].aggregate() == pytest.approx(nats, rel=1e-5)
    assert found["rollout_probs_diff_max"].aggregate() == pytest.approx(expected.max().item(), rel=1e-5)
    assert rollout_difference(log_probs, micro_batch()) == {}


@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
def test_rotary_frequencies_are_not_cast_with_the_weights(dtype, tmp_path):
    """verl casts the whole model; the engine rotates by frequencies in float32."""
    made = small_qwen()
    made.save_pretrained(tmp_path)
    bare: Any = object.__new__(PackedEngine)
    bare.model_config = SimpleNamespace(
        hf_config=Qwen2Config.from_pretrained(tmp_path), model_type="language_model", local_path=str(tmp_path),
        trust_remote_code=False, use_liger=False, use_fused_kernels=False, fused_kernel_options={},
        enable_gradient_checkpointing=False,
    )  # fmt: skip
    bare.engine_config = SimpleNamespace(model_dtype=dtype, forward_only=False)
    bare.use_remove_padding, bare.ulysses_sequence_parallel_size, bare.device_mesh = True, 1, None
    built = bare._build_module()
    exact = made.model.rotary_emb.inv_freq
    assert built.dtype == (torch.bfloat16 if dtype == "bf16" else torch.float32)
    assert built.model.rotary_emb.inv_freq.dtype == torch.float32
    assert torch.equal(built.model.rotary_emb.inv_freq, exact)
