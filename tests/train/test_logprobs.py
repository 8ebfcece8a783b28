import copy
import os
import subprocess
import sys

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from azr.errors import ModelError
from azr.train.kernels.logprobs import install_chunked_logprobs, token_logprobs

TOKENS, WIDTH, VOCABULARY = 37, 24, 301


def plain(hidden, weight, labels, temperature, scale=1.0, cap=None):
    logits = (hidden @ weight.T).double() * scale
    log_p = torch.log_softmax(
        (logits if cap is None else cap * torch.tanh(logits / cap)) / temperature, dim=-1
    )
    return log_p.gather(1, labels[:, None])[:, 0], -(log_p.exp() * log_p).sum(-1)


def inputs(dtype=torch.float32, device="cpu", vocabulary=VOCABULARY):
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(TOKENS, WIDTH, generator=generator).to(device, dtype).requires_grad_()
    weight = torch.randn(vocabulary, WIDTH, generator=generator).to(device, dtype).requires_grad_()
    labels = torch.randint(0, vocabulary, (TOKENS,), generator=generator).to(device)
    return hidden, weight, labels


def compare(dtype, device, chunk, temperature, with_entropy, tolerance, **bend):
    hidden, weight, labels = inputs(dtype, device)
    reference = [tensor.detach().double().requires_grad_() for tensor in (hidden, weight)]
    log_probs, entropy = token_logprobs(
        hidden, weight, labels, temperature=temperature, chunk_tokens=chunk, **bend
    )
    expected_log_probs, expected_entropy = plain(*reference, labels, temperature, **bend)
    torch.testing.assert_close(log_probs.double(), expected_log_probs, atol=tolerance, rtol=tolerance)
    torch.testing.assert_close(entropy.double(), expected_entropy, atol=tolerance, rtol=tolerance)
    g = torch.linspace(-1, 1, TOKENS, device=device)
    loss = (log_probs * g).sum() + (with_entropy * (entropy * g.flip(0)).sum() if with_entropy else 0)
    expected = (expected_log_probs * g).sum() + with_entropy * (expected_entropy * g.flip(0)).sum()
    loss.backward()
    expected.backward()
    for tensor, wanted in zip((hidden, weight), reference, strict=True):
        assert tensor.grad is not None and wanted.grad is not None
        error = (tensor.grad.double() - wanted.grad).norm() / wanted.grad.norm()
        assert error < tolerance, error


@pytest.mark.parametrize("chunk", [1, 8, 37, 1000])
@pytest.mark.parametrize(("temperature", "with_entropy"), [(1.0, 0.0), (1.0, 0.3), (0.7, 0.3)])
def test_chunks_agree_with_plain(chunk, temperature, with_entropy):
    compare(torch.float32, "cpu", chunk, temperature, with_entropy, 1e-5)


BENDS = [{"scale": 0.125}, {"cap": 3.0}, {"scale": 0.5, "cap": 2.0}]
"""Granite's, Gemma 2's, and both."""


def test_rows_of_the_head_beyond_the_tokenizer_are_no_words():
    """The engine never samples them, so their probability is 0; their weights get a gradient of 0."""
    hidden, weight, labels = inputs()
    labels = labels % 200
    log_probs, entropy = token_logprobs(hidden, weight, labels, vocabulary=200, chunk_tokens=8)
    (log_probs.sum() + entropy.sum()).backward()
    assert weight.grad is not None
    gradient = weight.grad.clone()
    weight.grad = None
    expected = plain(hidden, weight[:200], labels, 1.0)
    torch.testing.assert_close(log_probs.double(), expected[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(entropy.double(), expected[1], atol=1e-5, rtol=1e-5)
    (expected[0].sum() + expected[1].sum()).backward()
    torch.testing.assert_close(gradient, weight.grad, atol=1e-5, rtol=1e-4)
    assert not gradient[200:].any()


@pytest.mark.parametrize("bend", BENDS)
def test_bent_logits_agree_with_plain(bend):
    compare(torch.float32, "cpu", 8, 0.7, 0.3, 1e-5, **bend)


def test_bf16_within_its_rounding():
    compare(torch.bfloat16, "cpu", 8, 1.0, 0.1, 5e-2)


@pytest.mark.gpu
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-3), (torch.bfloat16, 5e-2)])
def test_gpu_kernels_agree_with_plain(dtype, tolerance):
    for bend in ({}, *BENDS):
        compare(dtype, "cuda", 8, 0.7, 0.1, tolerance, **bend)


KERNELS = """
import torch
from azr.train.kernels import logprobs, logprob_kernels
torch.manual_seed(0)
for bend in (logprobs.Bend(temperature=0.8), logprobs.Bend(scale=0.3, cap=2.0, temperature=0.8)):
    logits, labels = torch.randn(5, 9001) * 3, torch.randint(0, 9001, (5,))
    wanted, out = torch.empty(3, 5), torch.empty(3, 5)
    logprobs._forward_chunk(logits, labels, bend, wanted)
    logprob_kernels.forward(logits, labels, bend, out)
    torch.testing.assert_close(out, wanted, atol=1e-4, rtol=1e-4)
    g, h = torch.randn(5), torch.randn(5)
    wanted = logprobs._backward_chunk(logits, labels, bend, out[0], out[2], g, h)
    found = logprob_kernels.backward(logits.clone(), labels, bend, out[0], out[2], g, h)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)
print("agree")
"""


def test_kernels_in_tritons_interpreter():
    """The GPU's kernels, run by Triton's own interpreter on the CPU, against the torch operations."""
    pytest.importorskip("triton")
    answer = subprocess.run(
        [sys.executable, "-c", KERNELS],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert answer.stdout.strip() == "agree", answer.stderr


def tiny_model(**changes):
    torch.manual_seed(0)
    shape = {"vocab_size": 128, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    return Qwen2ForCausalLM(
        Qwen2Config(
            **shape, num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True, **changes
        )
    )


@pytest.mark.parametrize("only_some_rows", [False, True])
def test_installed_model_agrees_with_logits(only_some_rows):
    stock = tiny_model()
    chunked = copy.deepcopy(stock)
    install_chunked_logprobs(chunked, chunk_tokens=5)
    ids = torch.randint(0, 128, (1, 23), generator=torch.Generator().manual_seed(1))
    labels = torch.roll(ids, -1, dims=1)
    keep = torch.tensor([3, 4, 9, 20]) if only_some_rows else torch.arange(23)
    output = chunked(
        input_ids=ids,
        shift_labels=labels,
        rows=keep if only_some_rows else None,
        temperature=1.0,
        return_dict=True,
        use_cache=False,
    )
    log_p = torch.log_softmax(stock(input_ids=ids, use_cache=False).logits[0], dim=-1)
    expected = log_p.gather(1, labels[0][:, None])[:, 0]
    torch.testing.assert_close(output.log_probs[0, keep], expected[keep], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(
        output.entropy[0, keep], -(log_p.exp() * log_p).sum(-1)[keep], atol=1e-5, rtol=1e-4
    )
    assert output.log_probs.sum() == output.log_probs[0, keep].sum()
    output.log_probs.sum().backward()
    expected[keep].sum().backward()
    for (name, left), (_, right) in zip(chunked.named_parameters(), stock.named_parameters(), strict=True):
        torch.testing.assert_close(left.grad, right.grad, atol=1e-5, rtol=1e-3, msg=name)


def test_no_chunk_larger_than_asked_exists(monkeypatch):
    """The promise is memory: every product with the head has at most ``chunk`` rows."""
    from azr.train.kernels import logprobs

    seen = []
    original = logprobs._forward_chunk
    monkeypatch.setattr(
        logprobs,
        "_forward_chunk",
        lambda logits, *rest: (seen.append(logits.shape[0]), original(logits, *rest)),
    )
    hidden, weight, labels = inputs()
    token_logprobs(hidden, weight, labels, chunk_tokens=10)
    assert seen == [10, 10, 10, 7]


class Louder(Qwen2ForCausalLM):
    """Multiplies its hidden states before the head, and no field of its configuration that is known here says
    so."""

    def forward(self, *args, **kwargs):
        output = self.model(*args, **kwargs)
        return type("Output", (), {"logits": self.lm_head(output.last_hidden_state * 3)})


def test_weights_that_are_nan_are_not_told_as_a_head_of_another_kind():
    """The advice was train.chunked_logprobs=false, where the file is damaged."""
    model = tiny_model()
    model.lm_head.weight.data[3] = torch.nan
    install_chunked_logprobs(model)  # require_sound_weights looks at the weights next


@pytest.mark.parametrize("kind", ["scale", "bias"])
def test_a_head_that_is_more_than_a_product_is_refused(kind):
    model = tiny_model()
    if kind == "bias":
        model.lm_head = torch.nn.Linear(32, 128, bias=True)
    else:
        model = Louder(model.config)
    with pytest.raises(ModelError, match=r"qwen2 is more than a product.*chunked_logprobs=false"):
        install_chunked_logprobs(model)
    assert model.model.forward.__func__ is type(model.model).forward  # the layers are the model's own again
