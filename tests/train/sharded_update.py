"""Run by test_two_workers.py: one update of a small model by one process, and the same by two, its rows spread
over the ranks; rank 0 saves the weights. All of them are forks of one that has imported.

python tests/train/sharded_update.py FOLDER
"""

from __future__ import annotations

import multiprocessing
import sys

import torch
import torch.distributed as dist
from torch.distributed.fsdp import MixedPrecision
from transformers import Qwen2Config, Qwen2ForCausalLM

from azr.train.kernels import attention, logprobs
from azr.train.verl.training_engine import _assert_sharding, fully_sharded

LIMIT_S = 120
LENGTHS = (9, 14, 6, 11, 8, 17)
"""Of the sequences; each ends in a response of a third of it."""


def model() -> Qwen2ForCausalLM:
    config = Qwen2Config(
        vocab_size=128, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        tie_word_embeddings=True,
    )  # fmt: skip
    config._attn_implementation = attention.register()
    torch.manual_seed(0)
    made = Qwen2ForCausalLM(config)
    logprobs.install_chunked_logprobs(made, 16)
    return made


def packed(lengths: list[int], offset: int) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """The model's input for these sequences in one row, and the places of their response tokens'
    predictions."""
    generator = torch.Generator().manual_seed(offset)
    ids = torch.randint(0, 128, (1, sum(lengths)), generator=generator)
    rows, start = [], 0
    for length in lengths:
        rows.append(torch.arange(start + length - length // 3 - 1, start + length - 1))
        start += length
    positions = torch.cat([torch.arange(length) for length in lengths])[None]
    return {"input_ids": ids, "position_ids": positions, "shift_labels": torch.roll(ids, -1, 1)}, torch.cat(
        rows
    )


def update(folder: str, rank: int, ranks: int) -> None:
    torch.set_num_threads(1)
    rendezvous = f"file://{folder}/{ranks}.rendezvous"
    dist.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=ranks)
    wrapped = fully_sharded(
        model(), torch.device("cpu"), MixedPrecision(torch.float32, torch.float32, torch.float32)
    )
    _assert_sharding(wrapped, ranks)
    optimizer = torch.optim.AdamW(wrapped.parameters(), lr=1e-3)
    total_tokens = sum(length // 3 for length in LENGTHS)
    for number in range(rank, len(LENGTHS), ranks):  # a micro-batch a sequence
        inputs, rows = packed([LENGTHS[number]], number)
        output = wrapped(**inputs, use_cache=False, attention_mask=None, rows=rows, temperature=1.0)
        # verl's token mean over the whole batch: FSDP averages over the ranks, so each one's part counts
        # `ranks` times
        loss = -(output.log_probs[0, rows].sum() + 0.1 * output.entropy[0, rows].sum()) * ranks / total_tokens
        loss.backward()
    norm = wrapped.clip_grad_norm_(0.5)
    optimizer.step()
    weights = {name: value.clone() for name, value in wrapped.state_dict().items()}
    if rank == 0:
        torch.save({"norm": float(norm), "weights": weights}, f"{folder}/{ranks}.pt")
    dist.destroy_process_group()


def main(folder: str) -> None:
    fork = multiprocessing.get_context("fork")
    ranks = [fork.Process(target=update, args=(folder, *place)) for place in ((0, 1), (0, 2), (1, 2))]
    for process in ranks:
        process.start()
    try:
        for process in ranks:
            process.join(LIMIT_S)
        sys.exit([process.exitcode for process in ranks] != [0] * len(ranks))
    finally:
        for process in ranks:
            process.kill()


if __name__ == "__main__":
    main(sys.argv[1])
