"""Layers and models over an int4 base train exactly as over the same base in bfloat16: outputs, gradients, through
FSDP, gradient checkpointing, compiled layers, offload, checkpoint and resume."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from tiny_int4 import KINDS, write_tiny
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel, MixedPrecision

from azr.errors import ModelError, TrainingError
from azr.train.kernels import attention, logprobs
from azr.train.kernels.compile_layers import compile_layers
from azr.train.patches.fsdp import state_dict_without_copies, tensors_left_in_files
from azr.train.quantize.folder import int4_folder
from azr.train.quantize.int4 import dequantise, pack_int4, quantise
from azr.train.quantize.linear import Int4Linear
from azr.train.quantize.model import int4_model, served
from azr.train.verl.no_shard import (
    base_was_read,
    base_weights,
    named_weights,
    offload,
    point_to_flat_parameters,
)
from azr.train.verl.training_engine import fully_sharded, require_sound_weights

pytestmark = pytest.mark.usefixtures("one_process")

DTYPES = [torch.bfloat16, torch.float32]
IDS = torch.arange(5, 45)[None]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """An int4 folder of each kind."""
    root = tmp_path_factory.mktemp("int4")

    def make(kind: str) -> Path:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AZR_CACHE", str(root / "cache"))
            if not (root / kind).exists():
                write_tiny(root / kind, kind)
            return int4_folder(root / kind, say=lambda text: None)

    return make


def layer(dtype: torch.dtype, bias: bool, group: int = 64) -> tuple[Int4Linear, nn.Linear]:
    """The same layer twice."""
    torch.manual_seed(0)
    words, scales = quantise(torch.randn(48, 128), group)
    quantised = Int4Linear(48, 128, group, bias=bias, dtype=dtype)
    quantised.qweight = nn.Parameter(words.view(dtype), requires_grad=False)
    quantised.scales = nn.Parameter(scales.to(dtype), requires_grad=False)
    plain = nn.Linear(128, 48, bias=bias, dtype=dtype)
    plain.weight = nn.Parameter(quantised.dequantised().to(dtype), requires_grad=False)
    if bias:
        quantised.bias = nn.Parameter(plain.bias.detach().clone(), requires_grad=False)
        plain.bias.requires_grad_(False)
    return quantised, plain


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("group", [32, 64, 128])
def test_outputs_and_gradients_are_those_of_a_plain_layer(dtype: torch.dtype, bias: bool, group: int) -> None:
    outcomes = []
    for part in layer(dtype, bias, group):
        entered = (
            torch.randn(3, 5, 128, generator=torch.Generator().manual_seed(1)).to(dtype).requires_grad_()
        )
        left = part(entered)
        left.square().sum().backward()
        outcomes.append((left.detach(), entered.grad))
    assert outcomes[0][0].dtype == dtype
    assert all(torch.equal(*pair) for pair in zip(*outcomes, strict=True))


def test_under_autocast_gradients_are_those_of_a_plain_layer() -> None:
    outcomes = []
    for part in layer(torch.bfloat16, True):
        entered = torch.randn(5, 128, generator=torch.Generator().manual_seed(1)).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            left = part(entered)
        left.float().square().sum().backward()
        assert left.dtype == torch.bfloat16 and entered.grad is not None
        outcomes.append((left.detach(), entered.grad))
    assert torch.equal(outcomes[0][0], outcomes[1][0])
    torch.testing.assert_close(outcomes[0][1], outcomes[1][1], rtol=0.01, atol=0.01)


def test_the_matrix_is_not_kept_for_the_backward_pass() -> None:
    quantised, plain = layer(torch.bfloat16, True)

    def kept(part: nn.Module) -> int:
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.nbytes) or t, lambda t: t):
            part(torch.randn(4, 128, dtype=torch.bfloat16, requires_grad=True))
        return sum(sizes)

    whole = plain.weight.nbytes
    assert kept(plain) >= whole
    assert kept(quantised) == quantised.qweight.nbytes + quantised.scales.nbytes < whole / 3


def test_the_words_are_never_cast() -> None:
    quantised, _ = layer(torch.bfloat16, True)
    before = quantised.dequantised()
    for cast in (nn.Module.float, nn.Module.half, lambda part: part.to(torch.float32), nn.Module.double):
        with pytest.raises(TrainingError, match="cannot be cast"):
            cast(quantised)
    quantised.to("cpu")
    quantised.to(torch.bfloat16)
    assert torch.equal(quantised.dequantised(), before)


def pair(folder: Path, dtype: torch.dtype) -> tuple[Any, Any]:
    """The int4 model, and the same with plain layers."""
    quantised = int4_model(folder, dtype)
    plain = copy.deepcopy(quantised)
    for name, part in quantised.named_modules():
        if isinstance(part, Int4Linear):
            other = nn.Linear(part.in_features, part.out_features, bias=part.bias is not None, dtype=dtype)
            other.weight = nn.Parameter(part.dequantised().to(dtype), requires_grad=False)
            if part.bias is not None:
                other.bias = nn.Parameter(part.bias.detach().clone(), requires_grad=False)
            plain.set_submodule(name, other)
    return quantised, plain


def adapted(model: Any, *, compiled: str = "", recompute: bool = True) -> Any:
    """As verl does it: adapters of the base's type on all linear layers, gradient checkpointing."""
    if recompute:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if compiled:
        compile_layers(model, backend=compiled)
    model.enable_input_require_grads()
    torch.manual_seed(2)
    settings = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights=False)
    return get_peft_model(model, settings, autocast_adapter_dtype=False).train()


def wrapped(model: Any, dtype: torch.dtype) -> FullyShardedDataParallel:
    return fully_sharded(model, torch.device("cpu"), MixedPrecision(dtype, dtype, torch.float32))


def trained(model: Any) -> dict[str, torch.Tensor]:
    return {
        name.replace("_fsdp_wrapped_module.", ""): parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_model_trains_as_over_the_plain_base(
    kind: str, dtype: torch.dtype, folders: Callable[[str], Path]
) -> None:
    """Three optimizer steps of two batches each, with FSDP around the int4 model and none around the other."""
    quantised, plain = map(adapted, pair(folders(kind), dtype))
    linears = sum(isinstance(part, Int4Linear) for part in quantised.modules())
    assert linears == 14 and len(trained(quantised)) == 2 * linears == len(trained(plain))
    quantised = wrapped(quantised, dtype)
    losses: list[list[float]] = []
    for model in (quantised, plain):
        optimizer = torch.optim.AdamW([part for part in model.parameters() if part.requires_grad], lr=0.01)
        losses.append([])
        for _ in range(3):
            for ids in (IDS, IDS + 7):
                loss = model(input_ids=ids, labels=ids).loss
                loss.backward()
                losses[-1].append(loss.item())
            optimizer.step()
            optimizer.zero_grad()
    assert losses[0] == losses[1] and losses[0][-1] < losses[0][0]
    expected = trained(plain)
    for name, parameter in trained(quantised).items():
        assert torch.equal(parameter, expected[name]), name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_fsdp_keeps_every_bit_of_the_words(
    kind: str, dtype: torch.dtype, folders: Callable[[str], Path]
) -> None:
    """Many words are NaN as numbers, and the copies in between are of numbers."""
    folder = folders(kind)
    model = adapted(int4_model(folder, dtype))
    nans = sum(bool(part.qweight.isnan().any()) for part in model.modules() if isinstance(part, Int4Linear))
    assert nans > 7
    require_sound_weights(model, str(folder))
    model = wrapped(model, dtype)
    model(input_ids=IDS, labels=IDS).loss.backward()
    expected = load_file(next(folder.glob("*.safetensors")))
    for _ in range(2):
        offload(model, empty_cache=False)
        found = dict(base_weights(model))
        for name, tensor in expected.items():
            if name.endswith(".weight_packed"):
                words = found[name.replace(".weight_packed", ".base_layer.qweight")]
                assert torch.equal(words.contiguous().view(torch.int32), tensor), name
        for part in FullyShardedDataParallel.fsdp_modules(model):
            handle: Any = part._handle
            handle.flat_param.data = handle.flat_param.data.clone()  # back on a card
            handle.flat_param._local_shard = handle.flat_param.data
        point_to_flat_parameters(model)
        base_was_read(model)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_engine_is_sent_what_the_folder_holds(
    kind: str, dtype: torch.dtype, folders: Callable[[str], Path]
) -> None:
    """The base under adapters, with FSDP around it and waiting in host memory."""
    folder = folders(kind)
    model = wrapped(adapted(int4_model(folder, dtype)), dtype)
    model(input_ids=IDS, labels=IDS).loss.backward()
    offload(model)
    sent = {name.replace(".base_layer.", "."): tensor.clone() for name, tensor in served(base_weights(model))}
    expected = load_file(next(folder.glob("*.safetensors")))
    wanted = {name: tensor for name, tensor in expected.items() if not name.endswith("weight_shape")}
    assert sent.keys() == wanted.keys()
    assert all(
        torch.equal(tensor, wanted[name]) and tensor.dtype == wanted[name].dtype
        for name, tensor in sent.items()
    )


@pytest.mark.parametrize(
    "backend", ["aot_eager_decomp_partition", pytest.param("inductor", marks=pytest.mark.slow)]
)
def test_a_compiled_layer_keeps_no_matrix_for_the_backward_pass(backend: str) -> None:
    """The compiler saw that both passes dequantise the same words, and kept the matrix of the first."""
    torch._dynamo.reset()
    words, scales = quantise(torch.randn(256, 192))
    layer = Int4Linear(256, 192, 64, bias=False, dtype=torch.bfloat16)
    layer.qweight = torch.nn.Parameter(words.view(torch.bfloat16), requires_grad=False)
    layer.scales = torch.nn.Parameter(scales, requires_grad=False)
    compiled = torch.compile(lambda x: layer(layer(x)[..., :192].sigmoid()), backend=backend)
    x = torch.randn(3, 192, dtype=torch.bfloat16, requires_grad=True)
    kept: list[int] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.nbytes)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        found = compiled(x)
    assert words.nbytes in kept and max(kept) == words.nbytes
    found.sum().backward()
    [by_compiled], x.grad = [x.grad], None
    layer(layer(x)[..., :192].sigmoid()).sum().backward()
    assert by_compiled is not None and x.grad is not None
    torch.testing.assert_close(by_compiled, x.grad, rtol=0.05, atol=0.05)


@pytest.mark.parametrize(
    ("backend", "dtype", "tolerance"),
    [
        ("aot_eager", torch.float32, 1e-5),
        pytest.param("inductor", torch.bfloat16, 0.03, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("recompute", [True, False])
def test_compiled_layers_give_the_same_gradients(
    recompute: bool, backend: str, dtype: torch.dtype, tolerance: float, folders: Callable[[str], Path]
) -> None:
    torch._dynamo.reset()
    config: Any = int4_model(folders("qwen2"), dtype).config
    config._attn_implementation = attention.register()
    outcomes = []
    for compiled in ("", backend):
        model: Any = int4_model(folders("qwen2"), dtype, config)
        attention.pass_boundaries(model)
        logprobs.install_chunked_logprobs(model, chunk_tokens=16)
        model = wrapped(adapted(model, compiled=compiled, recompute=recompute or not compiled), dtype)
        output = model(input_ids=IDS, position_ids=torch.arange(IDS.shape[1])[None], use_cache=False)
        output.log_probs.mean().backward()
        outcomes.append(
            torch.cat([p.grad.flatten().float() for p in model.parameters() if p.grad is not None])
        )
    torch._dynamo.reset()
    assert outcomes[0].norm() > 0
    assert (outcomes[0] - outcomes[1]).norm() < tolerance * outcomes[0].norm()


@pytest.mark.slow
def test_the_compiler_rounds_the_matrix_as_well() -> None:
    """It leaves a rounding out where a wider type follows, which is why float32 is refused there."""
    words, scales = quantise(torch.randn(64, 128, generator=torch.Generator().manual_seed(0)))
    compiled = torch.compile(dequantise)
    assert torch.equal(compiled(words.view(torch.bfloat16), scales), dequantise(words, scales))


def test_a_checkpoint_holds_the_adapters_alone_and_training_goes_on_alike(
    folders: Callable[[str], Path], tmp_path: Path
) -> None:
    """Read by a second model over the same int4 folder, as after a crash, through verl's checkpoint manager."""
    from omegaconf import OmegaConf
    from verl.utils.checkpoint.fsdp_checkpoint_manager import FSDPCheckpointManager

    contents = {key: ["model", "optimizer", "extra"] for key in ("save_contents", "load_contents")}

    def start() -> tuple[Any, Any, Any, Any]:
        model = wrapped(adapted(int4_model(folders("qwen3"), torch.bfloat16)), torch.bfloat16)
        optimizer = torch.optim.AdamW([part for part in model.parameters() if part.requires_grad], lr=0.01)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.9**step)
        manager: Any = partial(FSDPCheckpointManager, checkpoint_config=OmegaConf.create(contents))
        return model, optimizer, scheduler, manager(model, optimizer, scheduler)

    def steps(model: Any, optimizer: Any, scheduler: Any, count: int) -> None:
        for _ in range(count):
            model(input_ids=IDS, labels=IDS).loss.backward()
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()

    model, optimizer, scheduler, manager = start()
    steps(model, optimizer, scheduler, 2)
    with state_dict_without_copies(model):
        manager.save_checkpoint(str(tmp_path))
    steps(model, optimizer, scheduler, 2)
    saved = torch.load(tmp_path / "model_world_size_1_rank_0.pt", weights_only=True)
    assert len(saved) == 2 * 14 and all(".lora_" in name for name in saved)

    second, optimizer, scheduler, manager = start()
    with tensors_left_in_files():
        manager.load_checkpoint(str(tmp_path))
    steps(second, optimizer, scheduler, 2)
    expected = dict(named_weights(model))
    for name, weight in named_weights(second):
        assert torch.equal(weight.view(torch.uint8), expected[name].view(torch.uint8)), name


def test_nothing_is_built_on_a_device_before_it_is_read(folders: Callable[[str], Path]) -> None:
    """Every parameter has the bytes of its file, and nothing else of the model's size was allocated."""
    model = int4_model(folders("llama"), torch.bfloat16)
    total = sum(parameter.nbytes for parameter in model.parameters())
    files = load_file(next(folders("llama").glob("*.safetensors")))
    assert total == sum(tensor.nbytes for name, tensor in files.items() if not name.endswith("weight_shape"))
    assert all(parameter.device.type == "cpu" for parameter in model.parameters())
    assert all(buffer.device.type == "cpu" for buffer in model.buffers())
    assert not any(
        p.requires_grad for m in model.modules() if isinstance(m, Int4Linear) for p in m.parameters()
    )


@pytest.mark.parametrize(
    ("name", "to", "why"),
    [
        ("model.layers.0.mlp.up_proj.weight_packed", None, "missing"),
        ("model.layers.0.mlp.up_proj.weight_packed", lambda words: words.float(), "packed in int32"),
        ("model.layers.0.mlp.up_proj.weight_packed", lambda words: words[:, :4].contiguous(), "shape"),
        ("model.layers.0.mlp.up_proj.weight_scale", lambda scales: scales * torch.nan, "NaN"),
        ("model.layers.0.mlp.up_proj.weight_shape", lambda shape: shape + 1, "says"),
        ("model.layers.0.mlp.up_proj.weight_zero_point", torch.zeros(2, 2), "not part of its architecture"),
    ],
)
def test_a_damaged_folder_is_refused(
    name: str, to: Any, why: str, folders: Callable[[str], Path], tmp_path: Path
) -> None:
    [file] = folders("qwen2").glob("*.safetensors")
    tensors = {key: tensor.clone() for key, tensor in load_file(file).items()}
    if to is None:
        del tensors[name]
    else:
        tensors[name] = to if isinstance(to, torch.Tensor) else to(tensors[name])
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text((folders("qwen2") / "config.json").read_text())
    with pytest.raises(ModelError, match=why) as raised:
        int4_model(tmp_path, torch.bfloat16)
    assert name in str(raised.value)


def test_a_plain_folder_is_no_int4_base(tmp_path: Path) -> None:
    write_tiny(tmp_path / "plain", "qwen2")
    with pytest.raises(ModelError, match="not an int4 model"):
        int4_model(tmp_path / "plain", torch.bfloat16)
    assert pack_int4(torch.zeros(1, 8, dtype=torch.int8)).item() == -0x77777778, "eight above what is meant"
