"""Compiled decoder layers: the same numbers, through the checkpointing and the FSDP that the trainer puts
around them."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.distributed.fsdp import MixedPrecision
from transformers import Qwen2Config, Qwen2ForCausalLM

from azr.config.load import load_config
from azr.errors import ConfigError, ModelError
from azr.train.kernels import attention, logprobs
from azr.train.kernels.compile_layers import compile_layers
from azr.train.verl.training_engine import fully_sharded

pytestmark = pytest.mark.usefixtures("one_process")


@pytest.fixture(autouse=True)
def fresh_dynamo():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def tiny_model(dtype=torch.float32):
    config = Qwen2Config(
        vocab_size=128,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    config._attn_implementation = attention.register()
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(config).to(dtype)
    attention.pass_boundaries(model)
    logprobs.install_chunked_logprobs(model, chunk_tokens=16)
    return model


def row(lengths, seed=1):
    ids = torch.randint(0, 128, (1, sum(lengths)), generator=torch.Generator().manual_seed(seed))
    return {"input_ids": ids, "position_ids": torch.cat([torch.arange(length) for length in lengths])[None]}


def wrapped(model, compute=torch.float32, *, recompute=True):
    if recompute:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.train()
    return fully_sharded(
        model, torch.device("cpu"), MixedPrecision(param_dtype=compute, reduce_dtype=torch.float32)
    )


def gradients(model, rows):
    for inputs in rows:
        output = model(**inputs, use_cache=False)
        (output.log_probs.mean() + 0.1 * output.entropy.mean()).backward()
    return output.log_probs.detach(), torch.cat(
        [p.grad.flatten() for p in model.parameters() if p.grad is not None]
    )


ROWS = [row((7, 1, 19)), row((30, 4), seed=2), row((11, 12, 13, 14), seed=3), row((21,), seed=4)]


def traceable_flash(q, k, v, cu_seqlens, longest, scaling, window):
    """In the place of a GPU's kernel: it can be traced, as the kernel can, and depends on all that the kernel
    gets."""
    grouped = (tensor.repeat_interleave(2, 1) for tensor in (k, v))
    q, k, v = (tensor.transpose(0, 1)[None] for tensor in (q, *grouped))
    out = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scaling)
    return out[0].transpose(0, 1) * (1.0 + cu_seqlens.sum() / 1e6 + longest / 1e6).to(out.dtype)


@pytest.fixture
def flash(monkeypatch):
    monkeypatch.setattr(attention, "_has_flash", lambda q: True)
    monkeypatch.setattr(attention, "_flash", traceable_flash)


@pytest.mark.parametrize("recompute", [True, False])
@pytest.mark.parametrize("whole_layers", [False, True])
@pytest.mark.parametrize(("compute", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_the_update_through_fsdp_and_checkpointing_is_the_same(
    compute, tolerance, whole_layers, recompute, request
):
    """With activations kept, too. In bfloat16 with gradients summed in float32, as the recipes have it; a CPU's attention cuts layers in
    pieces, a GPU's does not."""
    if whole_layers:
        request.getfixturevalue("flash")
    plain = gradients(wrapped(tiny_model(), compute), ROWS)
    model = tiny_model()
    assert compile_layers(model, backend="aot_eager") == 3
    compiled = gradients(wrapped(model, compute, recompute=recompute), ROWS)
    torch.testing.assert_close(compiled[0], plain[0], atol=tolerance, rtol=tolerance)
    assert plain[1].norm() > 0
    assert (compiled[1] - plain[1]).norm() < tolerance * plain[1].norm()


@pytest.mark.usefixtures("flash")
def test_rows_of_all_sizes_and_all_layers_share_one_graph():
    graphs = []

    def count(graph, _):
        graphs.append(graph)
        return graph

    model = tiny_model()
    compile_layers(model, backend=count)
    model = wrapped(model)
    gradients(model, ROWS[:3])
    assert len(graphs) == 1
    with torch.no_grad():  # the pass of train.recompute_logprobs
        for inputs in ROWS[:3]:
            model(**inputs, use_cache=False)
    gradients(model, ROWS)  # with a row of one sequence
    assert len(graphs) <= 4  # a few more, and far from 8, where torch gives up


@pytest.mark.parametrize(
    "other",
    [
        ["model.lora_rank=32", "train.n_gpus_per_node=2"],
        ["train.liger_kernels=true"],
        ["train.packed_sequences=false"],
    ],
)
def test_what_compiled_layers_do_not_go_with_is_refused(other):
    with pytest.raises(ConfigError, match=r"train\.compile_layers"):
        load_config(["recipe=0_5b_16gb", *other])
    load_config(["recipe=0_5b_16gb", *other, "train.compile_layers=false"])
    load_config(
        [
            "recipe=0_5b_16gb",
            other[0]
            .replace("train.liger_kernels=true", "name=a")
            .replace("train.packed_sequences=false", "name=a"),
        ]
    )


@pytest.mark.usefixtures("flash")
@pytest.mark.parametrize("backend", [None, "aot_eager"])
def test_layers_with_adapters_are_compiled_as_one_graph(backend):
    """On one device, where FSDP has the frozen base alone; verl's dtypes: adapters in the base's."""
    graphs = []

    def count(graph, _):
        graphs.append(graph)
        return graph

    def adapted(compiled):
        model = tiny_model(torch.bfloat16)
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        if compiled:
            compile_layers(model, backend=backend or count)
        model.enable_input_require_grads()
        torch.manual_seed(2)
        settings = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights=False)
        model = get_peft_model(model, settings, autocast_adapter_dtype=False).train()
        precision = MixedPrecision(
            param_dtype=torch.bfloat16, reduce_dtype=torch.bfloat16, buffer_dtype=torch.float32
        )
        return fully_sharded(model, torch.device("cpu"), precision)

    plain, compiled = gradients(adapted(False), ROWS), gradients(adapted(True), ROWS)
    assert plain[1].norm() > 0 and plain[1].numel() == 3 * sum(4 * (i + o) for i, o in LINEAR)
    torch.testing.assert_close(compiled[0], plain[0], atol=2e-2, rtol=2e-2)
    assert (compiled[1] - plain[1]).norm() < 2e-2 * plain[1].norm()
    assert len(graphs) == (0 if backend else 1)


LINEAR = [(32, 32), (32, 16), (32, 16), (32, 32), (32, 64), (32, 64), (64, 32)]
"""Inputs and outputs of q, k, v, o, gate, up and down in the tiny model."""


class Traced(Exception):
    pass


def test_with_the_kernel_of_a_gpu_a_layer_is_one_graph(monkeypatch):
    """The kernel is not there on a CPU, so the graph is looked at and never run."""
    monkeypatch.setattr(attention, "_has_flash", lambda q: True)
    seen = []

    def look(graph, _):
        seen.append([str(node.target) for node in graph.graph.nodes])

        def never(*_):
            raise Traced

        return never

    model = tiny_model(torch.bfloat16)
    compile_layers(model, backend=look)
    with pytest.raises(Traced):
        model(**ROWS[0], use_cache=False)
    assert len(seen) == 1
    assert sum("varlen_attn" in target for target in seen[0]) == 1
    assert sum("linear" in target for target in seen[0]) == 7  # q, k, v, o, gate, up, down: the whole layer


def test_a_model_without_named_layers_is_refused():
    with pytest.raises(ModelError, match=r"train\.compile_layers=false"):
        compile_layers(torch.nn.Linear(2, 2))


@pytest.mark.gpu
def test_on_a_gpu_the_gradients_are_those_of_the_plain_layers():
    def step(model):
        model = model.cuda().train()
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        for inputs in ROWS:
            output = model(**{name: value.cuda() for name, value in inputs.items()}, use_cache=False)
            (output.log_probs.mean() + 0.1 * output.entropy.mean()).backward()
        return torch.cat([parameter.grad.flatten().float() for parameter in model.parameters()])

    exact = step(tiny_model(torch.float32))
    plain = step(tiny_model(torch.bfloat16))
    model = tiny_model(torch.bfloat16)
    compile_layers(model)
    compiled = step(model)
    assert (compiled - exact).norm() < 1.2 * (plain - exact).norm()  # bfloat16 costs both the same
