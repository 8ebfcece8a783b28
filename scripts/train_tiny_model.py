#!/usr/bin/env python
"""Trains the bundled model from scratch on synthetic self-play dialogues (``scripts/tiny``).

    python scripts/train_tiny_model.py                      # one GPU: minutes; without one: hours (try --dialogues 20000)
    python scripts/train_tiny_model.py --tasks-only         # only the seeds and the frozen probe sets

Writes a Hugging Face folder: Qwen2 architecture, bf16 safetensors, own BPE tokenizer. The same seed gives the same data on
every machine and worker count; weights agree up to the arithmetic of the device. Left out on purpose: a validation loss,
packing, checkpoints to resume from. ``scripts/evaluate_tiny_model.py`` measures the result through the sandbox.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from random import Random

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

import numpy as np  # noqa: E402
import torch  # noqa: E402
from transformers import AutoTokenizer, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM  # noqa: E402

from azr.errors import ModelError  # noqa: E402
from azr.files import write_jsonl_atomic  # noqa: E402
from azr.tasks import TaskType  # noqa: E402
from tiny.dialogues import Habits, draw_dialogue, draw_tasks  # noqa: E402
from tiny.programs import FAMILIES, HELD_OUT_FAMILIES  # noqa: E402
from tiny.tokenizer import train_tokenizer  # noqa: E402

SHARD = 5_000
"""Dialogues of one shard; a shard's generator is seeded by its number, so the data do not depend on the worker count."""
MAX_PROMPT_TOKENS = 250
MAX_RESPONSE_TOKENS = 122

_worker_tokenizer: PreTrainedTokenizerFast | None = None


def draw_shard(number: int, *, seed: int, habits: Habits) -> list[tuple[str, str]]:
    rng = Random(f"tiny-{seed}-{number}")
    return [(dialogue.prompt, dialogue.response) for dialogue in (draw_dialogue(rng, habits) for _ in range(SHARD))]


def encode_shard(number: int, *, seed: int, habits: Habits) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Token ids of a shard end to end, and per dialogue its prompt's and its whole length."""
    assert _worker_tokenizer is not None
    pairs = draw_shard(number, seed=seed, habits=habits)
    prompts = _worker_tokenizer([prompt for prompt, _ in pairs]).input_ids
    responses = _worker_tokenizer([response for _, response in pairs]).input_ids
    kept = [(p, r) for p, r in zip(prompts, responses, strict=True) if len(p) <= MAX_PROMPT_TOKENS and len(r) <= MAX_RESPONSE_TOKENS]
    ids = np.fromiter((token for p, r in kept for token in (*p, *r)), dtype=np.int16)
    return ids, np.array([len(p) for p, _ in kept], np.int16), np.array([len(p) + len(r) for p, r in kept], np.int16)


def make_data(count: int, seed: int, habits: Habits, workers: int, tokenizer: PreTrainedTokenizerFast) -> tuple[np.ndarray, ...]:
    """(ids end to end, offset, prompt length, length) of ``count`` dialogues, less the few that are too long."""
    global _worker_tokenizer
    _worker_tokenizer = tokenizer
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    job = partial(encode_shard, seed=seed, habits=habits)
    with multiprocessing.get_context("fork").Pool(workers) as pool:
        shards = pool.map(job, range(1, 1 + math.ceil(count / SHARD)), chunksize=1)
    ids, prompts, lengths = (np.concatenate([shard[part] for shard in shards]) for part in range(3))
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)[:-1]])
    return ids, offsets, prompts, lengths


def batches(data: tuple[np.ndarray, ...], batch_tokens: int, seed: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """One epoch: (ids [B, T], labels [B, T], -100 outside responses), dialogues of like length together, batches shuffled."""
    ids, offsets, prompts, lengths = data
    rng = np.random.default_rng(seed)
    order = np.argsort(lengths + rng.random(len(lengths)) * 8, kind="stable")
    groups, start = [], 0
    while start < len(order):
        size = max(1, batch_tokens // int(lengths[order[min(start + batch_tokens // 64, len(order) - 1)]]))
        groups.append(order[start : start + size])
        start += size
    rng.shuffle(groups)  # type: ignore[arg-type]
    for group in groups:
        columns = np.arange(int(lengths[group].max()))
        inside = columns[None] < lengths[group][:, None]
        places = np.where(inside, offsets[group][:, None] + columns[None], 0)
        tokens = np.where(inside, ids[places], 0).astype(np.int64)
        labels = np.where(inside & (columns[None] >= prompts[group][:, None]), tokens, -100)
        yield torch.from_numpy(tokens), torch.from_numpy(labels)


def new_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> Qwen2ForCausalLM:
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=math.ceil(len(tokenizer) / 64) * 64,
        hidden_size=256,
        intermediate_size=896,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    return Qwen2ForCausalLM(config)


def train(model: Qwen2ForCausalLM, data: tuple[np.ndarray, ...], args: argparse.Namespace, device: str, save) -> None:
    """Warm-up, constant, then linear decay over the last half. ``save(name)`` is called at the asked fractions."""
    epochs = math.ceil(args.epochs)
    total = int(args.epochs * sum(1 for _ in batches(data, args.batch_tokens, 0)))
    decay = [p for p in model.parameters() if p.ndim > 1]
    rest = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}], lr=args.lr, betas=(0.9, 0.95), fused=True
    )
    marks = {max(1, round(total * fraction)): fraction for fraction in args.keep}
    warm, step, began, seen, loss_sum = max(10, total // 50), 0, time.monotonic(), 0, torch.zeros((), device=device)
    for epoch in range(epochs):
        for tokens, labels in batches(data, args.batch_tokens, 1000 + epoch):
            if step >= total:
                return
            for group in optimizer.param_groups:
                group["lr"] = args.lr * min((step + 1) / warm, 1.0, 0.02 + 0.98 * 2 * (total - step) / total)
            tokens, labels = tokens.to(device, non_blocking=True), labels.to(device, non_blocking=True)
            with torch.autocast(device, torch.bfloat16, enabled=device != "cpu"):
                hidden = model.model(input_ids=tokens).last_hidden_state[:, :-1]
                wanted = labels[:, 1:]
                chosen = wanted != -100
                logits = model.lm_head(hidden[chosen])  # only response positions: [N, V]
            loss = torch.nn.functional.cross_entropy(logits.float(), wanted[chosen])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            step += 1
            seen += tokens.numel()
            loss_sum += loss.detach()
            if step % 100 == 0 or step == total:
                rate = seen / (time.monotonic() - began)
                print(f"step {step}/{total} loss {loss_sum.item() / (step % 100 or 100):.4f} {rate:,.0f} tokens/s", flush=True)
                loss_sum.zero_()
            if step in marks:
                save(f"{marks[step]:g}")


def save_model(model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """A bf16 copy of the model with its tokenizer, in a form that ``AutoTokenizer`` loads as it was trained.

    Told a ``tokenizer_class`` in tokenizer_config.json, transformers 5 takes Qwen2Tokenizer for every qwen2 model, which brings
    its own pre-tokenizer; named in config.json instead, the class in tokenizer.json is kept.
    """
    copy = Qwen2ForCausalLM(model.config)
    copy.load_state_dict(model.state_dict())
    copy.config.tokenizer_class = "PreTrainedTokenizerFast"
    copy.to(torch.bfloat16).save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    settings = {key: value for key, value in json.loads(path.read_text()).items() if key != "tokenizer_class"}
    path.write_text(json.dumps(settings, indent=2) + "\n")
    loaded = AutoTokenizer.from_pretrained(folder)
    sample = "\n    return x[::-1]\n```\n</think>"
    if loaded(sample).input_ids != tokenizer(sample).input_ids:
        raise ModelError(f"{folder}: AutoTokenizer loads another tokenizer ({type(loaded).__name__}) than was trained; check tokenizer_config.json")


def write_tasks(data: Path) -> None:
    """The seeds and the frozen probe sets: part of the same generator, disjoint from the training programs by their hash."""
    io, all_types = (TaskType.DEDUCTION, TaskType.ABDUCTION), (TaskType.DEDUCTION, TaskType.ABDUCTION, TaskType.INDUCTION)
    seeds = draw_tasks(Random("tiny-seeds-io"), 256, FAMILIES, io, part="seeds")
    seeds += draw_tasks(Random("tiny-seeds-induction"), 128, FAMILIES, (TaskType.INDUCTION,), part="seeds")
    write_jsonl_atomic(data / "seeds" / "azr_tiny.jsonl", seeds)
    write_jsonl_atomic(data / "probes" / "azr_tiny_train_families.jsonl", draw_tasks(Random("tiny-probes"), 400, FAMILIES, all_types, part="probes"))
    held_out = draw_tasks(Random("tiny-held-out"), 200, HELD_OUT_FAMILIES, all_types, part="probes")
    write_jsonl_atomic(data / "probes" / "azr_tiny_heldout.jsonl", held_out)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "data" / "models" / "azr-tiny")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dialogues", type=int, default=500_000)
    parser.add_argument("--epochs", type=float, default=3.0)
    parser.add_argument("--batch-tokens", type=int, default=32_768)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--keep", type=float, nargs="*", default=[1.0], help="fractions of the training after which to save a copy")
    parser.add_argument("--tasks-only", action="store_true", help="write seeds and probes, train nothing")
    for name, value in asdict(Habits()).items():
        parser.add_argument(f"--{name}", type=float, default=value, help="share of a habit in the dialogues (scripts/tiny/dialogues.py)")
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    if args.tasks_only:
        write_tasks(ROOT / "data")
        return
    habits = replace(Habits(), **{name: getattr(args, name) for name in asdict(Habits())})
    began = time.monotonic()
    texts = [prompt + response for prompt, response in draw_shard(0, seed=args.seed, habits=Habits())]
    tokenizer = train_tokenizer(texts)
    data = make_data(args.dialogues, args.seed, habits, args.workers, tokenizer)
    print(f"{len(data[3]):,} dialogues, {len(data[0]):,} tokens, vocabulary {len(tokenizer):,}: {time.monotonic() - began:.0f} s", flush=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = new_model(tokenizer, args.seed).to(device)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters on {device}", flush=True)
    train(
        model, data, args, device, lambda name: save_model(model, tokenizer, args.out if name == "1" else args.out.with_name(f"{args.out.name}-{name}"))
    )
    print(f"{time.monotonic() - began:.0f} s in all; saved {args.out}", flush=True)


if __name__ == "__main__":
    main()
