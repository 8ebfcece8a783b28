"""Writes a Qwen2.5-shaped model with random weights: for memory and speed work where no real weights are at
hand.

    python scripts/dev/make_random_model.py 0.5b build/random-0.5b
    python scripts/dev/make_random_model.py tiny build/random-tiny

Its tokenizer encodes single bytes only, but has a word for every row of the vocabulary: verl keeps the engine
from writing tokens that the tokenizer does not know, and the engine's log-probs would then not be those of
the trainer. Runs on a GPU or a CPU.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from azr.terminal import outlive_the_terminal

SIZES: dict[str, dict[str, Any]] = {
    "tiny": {
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "vocab_size": 1024,
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
    from transformers import AutoModelForCausalLM, Qwen2Config

    from azr.train.tokenizer_check import name_the_class

    folder.mkdir(parents=True, exist_ok=True)
    end = byte_tokenizer(folder, SIZES[size]["vocab_size"])
    config = Qwen2Config(
        **SIZES[size],
        num_key_value_heads=2,
        tie_word_embeddings=True,
        max_position_embeddings=32768,
        rms_norm_eps=1e-6,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
    )
    torch.manual_seed(seed)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    name_the_class(folder)  # transformers takes the family's splitting rules otherwise
    return sum(parameter.numel() for parameter in model.parameters())


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("size", choices=sorted(SIZES))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    count = make_random_model(options.size, options.folder, options.seed)
    print(f"{options.folder}: {count / 1e9:.3f} billion random parameters")
    return 0


if __name__ == "__main__":
    outlive_the_terminal()
    sys.exit(main())
