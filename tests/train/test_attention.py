import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from azr.errors import TrainingError
from azr.train.kernels.attention import boundaries_of, packed_attention, register

LENGTHS = (7, 1, 19, 64, 3)


def positions(lengths):
    return torch.cat([torch.arange(length) for length in lengths])[None]


def reference(q, k, v, lengths, scale, window=None):
    """Attention written out in float64, one sequence and one head at a time. q [H, T, D], k and v [H_kv, T,
    D]."""
    q, k, v = (tensor.double() for tensor in (q, k, v))
    out, start = torch.zeros_like(q), 0
    for length in lengths:
        here = slice(start, start + length)
        for head in range(q.shape[0]):
            kv = head // (q.shape[0] // k.shape[0])
            scores = q[head, here] @ k[kv, here].T * scale
            for row in range(length):
                low = 0 if window is None else max(0, row - window + 1)
                weights = torch.softmax(scores[row, low : row + 1], dim=0)
                out[head, start + row] = weights @ v[kv, start + low : start + row + 1]
        start += length
    return out.transpose(0, 1)  # [T, H, D]


def heads(dtype, device="cpu"):
    generator = torch.Generator().manual_seed(0)
    tokens = sum(LENGTHS)
    shapes = [(1, 4, tokens, 16), (1, 2, tokens, 16), (1, 2, tokens, 16)]
    return [torch.randn(shape, generator=generator).to(device, dtype).requires_grad_() for shape in shapes]


def check_against_reference(dtype, device, window, tolerance):
    q, k, v = heads(dtype, device)
    out, weights = packed_attention(
        torch.nn.Module(),
        q,
        k,
        v,
        None,
        scaling=0.25,
        position_ids=positions(LENGTHS).to(device),
        sliding_window=window,
    )
    assert weights is None
    expected_inputs = [tensor.detach().cpu().double()[0].requires_grad_() for tensor in (q, k, v)]
    expected = reference(*expected_inputs, LENGTHS, 0.25, window)
    torch.testing.assert_close(
        out[0].detach().cpu().double(), expected.detach(), atol=tolerance, rtol=tolerance
    )
    direction = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    (out[0] * direction.to(device, dtype)).sum().backward()
    (expected * direction).sum().backward()
    for tensor, wanted in zip((q, k, v), expected_inputs, strict=True):
        assert tensor.grad is not None and wanted.grad is not None
        torch.testing.assert_close(
            tensor.grad[0].cpu().double(), wanted.grad, atol=4 * tolerance, rtol=4 * tolerance
        )


@pytest.mark.parametrize("window", [None, 5])
def test_fallback_agrees_with_float64(window):
    check_against_reference(torch.float32, "cpu", window, 1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("window", [None, 5])
def test_varlen_agrees_with_float64(window):
    check_against_reference(torch.bfloat16, "cuda", window, 2e-2)


def test_boundaries_need_whole_sequences():
    for position_ids, lengths in ((positions(LENGTHS), LENGTHS), (positions((4,)).expand(3, -1), (4, 4, 4))):
        boundaries, longest = boundaries_of(position_ids)
        assert tuple(boundaries.diff().tolist()) == lengths and longest == max(lengths)
        assert boundaries[0] == 0 and boundaries.dtype == torch.int32
    with pytest.raises(TrainingError, match="do not begin at 0"):
        boundaries_of(torch.arange(3, 9)[None])


def tiny_model(implementation, dtype=torch.float32):
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
    return Qwen2ForCausalLM(config).to(dtype)


def test_packed_model_agrees_with_padded_model():
    packed, padded = tiny_model(register()), tiny_model("sdpa")
    packed.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    packed.train()
    rows = [
        torch.randint(0, 128, (length,), generator=torch.Generator().manual_seed(length))
        for length in LENGTHS
    ]
    together = packed(
        input_ids=torch.cat(rows)[None], position_ids=positions(LENGTHS), attention_mask=None, use_cache=False
    ).logits[0]
    together.sum().backward()

    ids, mask = (
        torch.zeros(len(rows), max(LENGTHS), dtype=torch.long),
        torch.zeros(len(rows), max(LENGTHS), dtype=torch.long),
    )
    for row, tokens in enumerate(rows):
        ids[row, : len(tokens)], mask[row, : len(tokens)] = tokens, 1
    alone = padded(input_ids=ids, attention_mask=mask, use_cache=False).logits[mask.bool()]
    alone.sum().backward()
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    for (name, left), (_, right) in zip(packed.named_parameters(), padded.named_parameters(), strict=True):
        torch.testing.assert_close(left.grad, right.grad, atol=1e-4, rtol=1e-3, msg=name)


def test_sequences_do_not_see_each_other():
    model = tiny_model(register()).eval()
    ids = torch.randint(0, 128, (1, sum(LENGTHS)), generator=torch.Generator().manual_seed(3))
    changed = ids.clone()
    changed[0, 0] = (ids[0, 0] + 1) % 128  # first token of the first sequence
    with torch.no_grad():
        before, after = (
            model(input_ids=x, position_ids=positions(LENGTHS), use_cache=False).logits[0]
            for x in (ids, changed)
        )
    assert not torch.equal(before[: LENGTHS[0]], after[: LENGTHS[0]])
    assert torch.equal(before[LENGTHS[0] :], after[LENGTHS[0] :])


def test_padding_is_refused_not_ignored():
    model = tiny_model(register())
    mask = torch.ones(2, 8, dtype=torch.long)
    mask[0, 5:] = 0
    with pytest.raises(TrainingError, match="padded batch"):
        model(input_ids=torch.zeros(2, 8, dtype=torch.long), attention_mask=mask, use_cache=False)
