"""Makes an int4 model with calibration (GPTQ, arXiv:2210.17323), as authors publish one, to compare with the rounding
without data that a run does by itself ("How scales are chosen" in docs/quantised.md says why it does no other).

    python scripts/dev/make_gptq.py path/of/model OUT [--tokens 16384] [--device cuda]
    python scripts/dev/int4_quality.py path/of/model --int4 OUT

Calibrated on prompts with seed programs. The whole model is held in float32 on the device. Scales are those without data;
inputs are rounded in the order of their magnitude, and each rounding's error is made up for by those not yet rounded. OUT has
the compressed-tensors layout, and is a ``model.path`` for recipes with adapters.
"""

from __future__ import annotations

import _project

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from azr.models.quantised import GROUP
from azr.system.files import read_jsonl, write_json_atomic
from azr.train.quantize.architecture import empty_model, parts_of
from azr.train.quantize.folder import SCALES, SHAPE, WORDS, int4_config
from azr.train.quantize.int4 import dequantise, pack_int4, quantise

SEEDS = Path(__file__).resolve().parents[2] / "data/seeds/seed_io.jsonl"
SAME_INPUTS = (
    ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    ("self_attn.o_proj",),
    ("mlp.gate_proj", "mlp.up_proj"),
    ("mlp.down_proj",),
)
ROW_TOKENS = 256
ROWS_AT_ONCE = 8
BLOCK = 128
"""Inputs that are rounded before the inputs after them are corrected."""
DAMPING = 0.01
"""Of the mean of the Hessian's diagonal, added to it."""


class _Caught(Exception):
    """The first layer's inputs are known."""


def calibration_rows(folder: Path, tokens: int) -> torch.Tensor:
    """Token ids ``[rows, ROW_TOKENS]`` of chats about seed programs."""
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    ids: list[int] = []
    for seed in read_jsonl(SEEDS):
        question = f"```python\n{seed['snippet']}\n```\n\nWhat does f({seed['input']}) return?"
        chat = question + "\n\n"
        if tokenizer.chat_template:
            message = {"role": "user", "content": question}
            chat = tokenizer.apply_chat_template([message], tokenize=False, add_generation_prompt=True)
        ids += tokenizer(chat + seed["output"] + "\n", add_special_tokens=False).input_ids
        if len(ids) >= tokens:
            break
    rows = min(len(ids), tokens) // ROW_TOKENS
    return torch.tensor(ids[: rows * ROW_TOKENS]).view(rows, ROW_TOKENS)


def first_inputs(model: Any, rows: torch.Tensor) -> tuple[list[torch.Tensor], dict[str, Any]]:
    """What reaches the first layer: hidden states ``[rows, tokens, width]``, and the other arguments of a layer."""
    hidden: list[torch.Tensor] = []
    others: dict[str, Any] = {}

    def catch(_: nn.Module, args: tuple[torch.Tensor, ...], kwargs: dict[str, Any]) -> None:
        hidden.append(args[0] if args else kwargs["hidden_states"])
        others.update({name: value for name, value in kwargs.items() if name != "hidden_states"})
        raise _Caught

    hook = model.model.layers[0].register_forward_pre_hook(catch, with_kwargs=True)
    for some in rows.split(ROWS_AT_ONCE):
        try:
            model(input_ids=some, use_cache=False)
        except _Caught:
            continue
    hook.remove()
    return hidden, others


def run_layer(layer: nn.Module, hidden: list[torch.Tensor], others: dict[str, Any]) -> list[torch.Tensor]:
    """Its outputs, shaped as its inputs; ``others`` are of the first batch, and the last may be smaller."""
    found = []
    for states in hidden:
        result = layer(states, **others)
        found.append(result[0] if isinstance(result, tuple) else result)
    return found


def input_hessians(
    layer: nn.Module, hidden: list[torch.Tensor], others: dict[str, Any]
) -> dict[tuple[str, ...], torch.Tensor]:
    """Of each group of linears with the same inputs the mean of 2 x x^T over these, float32 ``[in, in]``."""
    found: dict[tuple[str, ...], torch.Tensor] = {}
    tokens = sum(states.shape[0] * states.shape[1] for states in hidden)

    def gatherer(total: torch.Tensor) -> Any:
        def gather(_: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
            inputs = args[0].flatten(0, -2)
            total.addmm_(inputs.t(), inputs, alpha=2 / tokens)

        return gather

    with ExitStack() as hooks:
        for names in SAME_INPUTS:
            first: Any = layer.get_submodule(names[0])
            found[names] = torch.zeros(first.in_features, first.in_features, device=first.weight.device)
            hooks.callback(first.register_forward_pre_hook(gatherer(found[names])).remove)
        run_layer(layer, hidden, others)
    return found


def rounded(weight: torch.Tensor, hessian: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Words and scales of a weight ``[out, in]`` (``azr.train.quantize.int4``).

    Args:
        hessian: ``[in, in]``, of the inputs.
    """
    scales = quantise(weight)[1]
    order = hessian.diagonal().argsort(descending=True)
    left = weight[:, order].clone()
    each = scales.float().repeat_interleave(GROUP, dim=1)[:, order]
    values = torch.zeros_like(left)
    upper = _inverse_factor(hessian[order][:, order])
    for start in range(0, left.shape[1], BLOCK):
        block = slice(start, min(start + BLOCK, left.shape[1]))
        own, scale, factor = left[:, block], each[:, block], upper[block, block]
        errors = torch.zeros_like(own)
        for column in range(own.shape[1]):
            value = (own[:, column] / scale[:, column]).nan_to_num(0.0).round().clamp(-8, 7)
            values[:, start + column] = value
            errors[:, column] = (own[:, column] - value * scale[:, column]) / factor[column, column]
            own[:, column:] -= errors[:, column : column + 1] * factor[column, column:]
        left[:, block.stop :] -= errors @ upper[block, block.stop :]
    return pack_int4(values[:, order.argsort()].to(torch.int8)), scales


def _inverse_factor(hessian: torch.Tensor) -> torch.Tensor:
    """U of hessian^-1 = U^T U, upper triangular; inputs that are always 0 count as independent of the others."""
    diagonal = hessian.diagonal()
    diagonal[diagonal == 0] = 1
    diagonal += DAMPING * diagonal.mean()
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian))
    return torch.linalg.cholesky(inverse, upper=True)


def quantised_layers(model: Any, rows: torch.Tensor) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
    """Name, words and scales of every linear. Each layer's inputs are those that the quantised layers before it give."""
    hidden, others = first_inputs(model, rows)
    for number, layer in enumerate(model.model.layers):
        print(f"layer {number + 1} of {len(model.model.layers)}", flush=True)
        for names, hessian in input_hessians(layer, hidden, others).items():
            for name in names:
                linear = layer.get_submodule(name)
                words, scales = rounded(linear.weight, hessian.clone())
                linear.weight.copy_(dequantise(words, scales))
                yield f"model.layers.{number}.{name}", words, scales
        hidden = run_layer(layer, hidden, others)


@torch.no_grad()
def main() -> None:
    parser = _project.argument_parser(__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tokens", type=int, default=16384)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    if options.out.exists():
        parser.error(f"{options.out} exists; name another folder, or remove it")
    options.out.mkdir(parents=True)
    parts = parts_of(empty_model(options.model), options.model, GROUP)
    plain: Any = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.bfloat16)
    tensors = {name: tensor.clone() for name, tensor in plain.state_dict().items() if name in parts.others}
    model = plain.to(options.device, torch.float32).eval()
    rows = calibration_rows(options.model, options.tokens).to(options.device)
    print(f"calibrated on {rows.numel()} tokens", flush=True)
    for name, words, scales in quantised_layers(model, rows):
        tensors |= {f"{name}.{WORDS}": words.cpu(), f"{name}.{SCALES}": scales.cpu()}
        tensors[f"{name}.{SHAPE}"] = torch.tensor(parts.linears[name])
    for extra in options.model.iterdir():
        if extra.suffix in (".json", ".jinja", ".model", ".txt") and not extra.name.endswith(".index.json"):
            shutil.copyfile(extra, options.out / extra.name)
    write_json_atomic(options.out / "config.json", int4_config(options.model, GROUP))
    save_file(tensors, options.out / "model.safetensors", metadata={"format": "pt"})
    print(json.dumps({"out": str(options.out), "tensors": len(tensors)}))


if __name__ == "__main__":
    main()
