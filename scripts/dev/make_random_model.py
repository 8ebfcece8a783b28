"""Writes a Qwen2.5-shaped model with random weights: for memory and speed work where no real weights are at
hand.

    python scripts/dev/make_random_model.py 0.5b build/random-0.5b
    python scripts/dev/make_random_model.py tiny build/random-tiny
    python scripts/dev/make_random_model.py 7b build/random-7b --int4       random words and scales at once: 5.3 GiB, not 14

Its tokenizer encodes single bytes only, but has a word for every row of the vocabulary: verl keeps the engine
from writing tokens that the tokenizer does not know, and the engine's log-probs would then not be those of
the trainer. Runs on a GPU or a CPU.
"""

from __future__ import annotations

import _project

import json
import math
import sys
from pathlib import Path
from typing import Any

from azr.system.terminal import outlive_the_terminal

SIZES: dict[str, dict[str, Any]] = {
    "tiny": {
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "vocab_size": 1024,
    },
    "40m": {
        "hidden_size": 512,
        "intermediate_size": 1536,
        "num_hidden_layers": 12,
        "num_attention_heads": 8,
        "vocab_size": 8192,
    },
    "0.5b": {
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "vocab_size": 151936,
    },
    "1.5b": {
        "hidden_size": 1536,
        "intermediate_size": 8960,
        "num_hidden_layers": 28,
        "num_attention_heads": 12,
        "vocab_size": 151936,
    },
    "3b": {
        "hidden_size": 2048,
        "intermediate_size": 11008,
        "num_hidden_layers": 36,
        "num_attention_heads": 16,
        "vocab_size": 151936,
    },
    "7b": {
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "vocab_size": 152064,
        "tie_word_embeddings": False,
    },
}
END_TOKEN = "<|endoftext|>"


def byte_tokenizer(folder: Path, size: int) -> int:
    """Writes a tokenizer of ``size`` tokens: 256 bytes, the end token, and words that no text is encoded to;
    returns the end token's id."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {symbol: index for index, symbol in enumerate([*alphabet, END_TOKEN])}
    vocabulary |= {f"w{index}": index for index in range(len(vocabulary), size)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    tokenizer.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    tokenizer.add_special_tokens([END_TOKEN])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": END_TOKEN,
        "pad_token": END_TOKEN,
        "model_max_length": 32768,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return vocabulary[END_TOKEN]


def make_random_model(size: str, folder: Path, seed: int = 0) -> int:
    """Writes config, bf16 weights and tokenizer into ``folder``; returns the number of parameters."""
    import torch
    from transformers import AutoModelForCausalLM

    from azr.train.tokenizer_check import name_the_class

    config = _config(size, folder)
    torch.manual_seed(seed)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    name_the_class(folder)  # transformers takes the family's splitting rules otherwise
    return sum(parameter.numel() for parameter in model.parameters())


def make_random_int4(size: str, folder: Path, seed: int = 0) -> int:
    """The same with random int4 weights, as ``int4_folder`` writes them, a tensor at a time."""
    import torch

    from azr.models.weight_files import Tensor
    from azr.train.quantize.architecture import empty_model, parts_of
    from azr.train.quantize.files import safetensors_file
    from azr.train.quantize.folder import SCALES, SHAPE, WORDS, int4_config
    from azr.train.quantize.int4 import GROUP, PER_WORD
    from azr.train.tokenizer_check import name_the_class

    config = _config(size, folder)
    config.architectures = ["Qwen2ForCausalLM"]
    config.save_pretrained(folder)
    name_the_class(folder)
    parts = parts_of(empty_model(folder), folder, GROUP)
    tensors = {name: Tensor("BF16", shape) for name, shape in parts.others.items()}
    for name, (outputs, inputs) in parts.linears.items():
        tensors[f"{name}.{WORDS}"] = Tensor("I32", (outputs, inputs // PER_WORD))
        tensors[f"{name}.{SCALES}"] = Tensor("BF16", (outputs, inputs // GROUP))
        tensors[f"{name}.{SHAPE}"] = Tensor("I64", (2,))
    torch.manual_seed(seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with safetensors_file(folder / "model.safetensors", tensors) as writer:
        for name, (outputs, inputs) in parts.linears.items():
            writer.write(f"{name}.{WORDS}", random_words(outputs, inputs, device))
            writer.write(f"{name}.{SCALES}", random_scales(outputs, inputs, GROUP, device))
            writer.write(f"{name}.{SHAPE}", torch.tensor([outputs, inputs]))
        for name, shape in parts.others.items():
            spread = 1 / shape[-1] ** 0.5 if len(shape) > 1 else 0.1
            values = torch.randn(shape, device=device).mul_(spread).add_(1.0 if "norm" in name else 0.0)
            writer.write(name, values.bfloat16())
    (folder / "config.json").write_text(json.dumps(int4_config(folder, GROUP)), encoding="utf-8")
    every = [*parts.linears.values(), *parts.others.values()]
    return sum(math.prod(shape) for shape in every)


def random_words(outputs: int, inputs: int, device: str = "cpu") -> Any:
    import torch

    return torch.randint(-(2**31), 2**31, (outputs, inputs // 8), dtype=torch.int32, device=device)


def random_scales(outputs: int, inputs: int, group: int, device: str = "cpu") -> Any:
    """Of both signs, as ours are; weights are 1 / sqrt(inputs) in size (4.6 is what values of -8 to 7 are)."""
    import torch

    shape = outputs, inputs // group
    signs = torch.randint(0, 2, shape, device=device) * 2 - 1
    return (signs * (0.5 + torch.rand(shape, device=device)) / (4.6 * inputs**0.5)).bfloat16()


def _config(size: str, folder: Path) -> Any:
    """The model's configuration; its tokenizer is written."""
    from transformers import Qwen2Config

    folder.mkdir(parents=True, exist_ok=True)
    end = byte_tokenizer(folder, SIZES[size]["vocab_size"])
    defaults: dict[str, Any] = {"num_key_value_heads": 2, "tie_word_embeddings": True}
    return Qwen2Config(
        **{**defaults, **SIZES[size]},
        max_position_embeddings=32768,
        rms_norm_eps=1e-6,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
    )


def main() -> int:
    parser = _project.argument_parser(__doc__)
    parser.add_argument("size", choices=sorted(SIZES))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--int4", action="store_true", help="weights of 4.25 bits (docs/quantised.md)")
    options = parser.parse_args()
    make = make_random_int4 if options.int4 else make_random_model
    count = make(options.size, options.folder, options.seed)
    print(f"{options.folder}: {count / 1e9:.3f} billion random parameters")
    return 0


if __name__ == "__main__":
    outlive_the_terminal()
    sys.exit(main())
