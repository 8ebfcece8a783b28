#!/usr/bin/env python
"""Trains the bundled model from scratch on synthetic self-play dialogues (``scripts/dev/tiny``).

    python scripts/dev/train_tiny_model.py                      # minutes on a GPU; else hours (try --steps 2000 --batch-tokens 4096)
    python scripts/dev/train_tiny_model.py --tasks-only         # only the seeds and the frozen probe sets

Writes a Hugging Face folder: Qwen2 architecture, bf16 safetensors, own BPE tokenizer. The same seed gives the
same data on every machine and worker count; weights agree up to the arithmetic of the device. Left out on
purpose: a validation loss, packing, checkpoints to resume from. ``scripts/evaluate.py`` measures the result
through the sandbox.
"""

from __future__ import annotations

import _project  # noqa: F401

import argparse
import json
import math
import multiprocessing
import os
import queue
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
import numpy as np  # noqa: E402
import torch  # noqa: E402
from transformers import AutoTokenizer, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM  # noqa: E402

from azr.system.files import write_jsonl_atomic  # noqa: E402
from azr.system.terminal import outlive_the_terminal  # noqa: E402
from azr.tasks import TaskType  # noqa: E402
from tiny.dialogues import CAREFUL, VARIED, Habits, draw_dialogue, draw_tasks  # noqa: E402
from tiny.programs import FAMILIES, HELD_OUT_FAMILIES  # noqa: E402
from tiny.tokenizer import train_tokenizer  # noqa: E402

SHARD = 5_000
"""Dialogues of one shard; a shard's generator is seeded by its number, so the data do not depend on the
worker count."""
SHARDS_TOGETHER = 8
PASSES = 2
MAX_PROMPT_TOKENS = 250
MAX_RESPONSE_TOKENS = 122

_worker_tokenizer: PreTrainedTokenizerFast | None = None


def draw_shard(number: int, *, seed: int, habits: Habits) -> list[tuple[str, str]]:
    rng = Random(f"tiny-{seed}-{number}")
    return [
        (dialogue.prompt, dialogue.response)
        for dialogue in (draw_dialogue(rng, habits) for _ in range(SHARD))
    ]


def encode_shard(number: int, *, seed: int, habits: Habits) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Token ids of a shard end to end, and per dialogue its prompt's and its whole length."""
    assert _worker_tokenizer is not None
    pairs = draw_shard(number, seed=seed, habits=habits)
    prompts = _worker_tokenizer([prompt for prompt, _ in pairs]).input_ids
    responses = _worker_tokenizer([response for _, response in pairs]).input_ids
    kept = [
        (p, r)
        for p, r in zip(prompts, responses, strict=True)
        if len(p) <= MAX_PROMPT_TOKENS and len(r) <= MAX_RESPONSE_TOKENS
    ]
    ids = np.fromiter((token for p, r in kept for token in (*p, *r)), dtype=np.int16)
    return (
        ids,
        np.array([len(p) for p, _ in kept], np.int16),
        np.array([len(p) + len(r) for p, r in kept], np.int16),
    )


Data = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Ids end to end, and per dialogue its offset, prompt length and whole length."""


def stream_data(
    first: int, count: int, seed: int, habits: Habits, workers: int, tokenizer: PreTrainedTokenizerFast
) -> Iterator[Data]:
    """Dialogues of ``count`` shards from number ``first`` on, some shards at a time, made by other processes
    meanwhile."""
    global _worker_tokenizer
    _worker_tokenizer = tokenizer
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    job = partial(encode_shard, seed=seed, habits=habits)
    with multiprocessing.get_context("fork").Pool(workers) as pool:
        waiting = []
        for number, shard in enumerate(pool.imap(job, range(first, first + count)), 1):
            waiting.append(shard)
            if len(waiting) == SHARDS_TOGETHER or number == count:
                ids, prompts, lengths = (
                    np.concatenate([item[part] for item in waiting]) for part in range(3)
                )
                waiting = []
                yield ids, np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)[:-1]]), prompts, lengths


Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def batches(data: Data, batch_tokens: int, seed: int) -> Iterator[Batch]:
    """One pass: (ids [B, T], places [N], wanted [N]). ``places`` index the flattened positions before each
    response token.

    Dialogues of like length stand together; batches come in random order.
    """
    ids, offsets, prompts, lengths = data
    rng = np.random.default_rng(seed)
    order = np.argsort(lengths + rng.random(len(lengths)) * 8, kind="stable")
    groups, start = [], 0
    while start < len(order):
        longest = int(lengths[order[min(start + batch_tokens // 64, len(order) - 1)]])
        groups.append(order[start : start + batch_tokens // longest])
        start += batch_tokens // longest
    for position in rng.permutation(len(groups)):
        group = groups[position]
        columns = np.arange(int(lengths[group].max()))
        inside = columns[None] < lengths[group][:, None]
        tokens = np.where(
            inside, ids[np.where(inside, offsets[group][:, None] + columns[None], 0)], 0
        ).astype(np.int64)
        answered = np.flatnonzero(inside & (columns[None] >= prompts[group][:, None]))
        yield (
            torch.from_numpy(tokens),
            torch.from_numpy(answered - 1),
            torch.from_numpy(tokens.reshape(-1)[answered]),
        )


def ahead(source: Iterator[Batch], device: str, depth: int = 8) -> Iterator[Batch]:
    """The same batches on the device, prepared by a thread while the device works; closing it closes the
    source."""
    waiting: queue.Queue[Batch | None] = queue.Queue(depth)
    stop = threading.Event()

    def fill() -> None:
        for batch in source:
            ready = tuple(tensor.pin_memory() for tensor in batch) if device == "cuda" else batch
            while not stop.is_set():
                try:
                    waiting.put(ready, timeout=0.2)  # type: ignore[arg-type]
                    break
                except queue.Full:
                    continue
            if stop.is_set():
                break
        source.close()  # type: ignore[attr-defined]
        if not stop.is_set():
            waiting.put(None)

    thread = threading.Thread(target=fill, daemon=True)
    thread.start()
    try:
        while (batch := waiting.get()) is not None:
            yield tuple(tensor.to(device, non_blocking=True) for tensor in batch)  # type: ignore[misc]
    finally:
        stop.set()
        thread.join(60)


def new_model(tokenizer: Any, seed: int) -> Qwen2ForCausalLM:
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


def hidden_states(model: Any, tokens: torch.Tensor) -> torch.Tensor:
    """What ``model.model(tokens)`` gives, [B, T, hidden], with fewer and fused operations: at this size
    launching them is the cost."""
    config = model.config
    h = model.model.embed_tokens(tokens)
    cos, sin = (
        x.unsqueeze(1)
        for x in model.model.rotary_emb(h, torch.arange(tokens.shape[1], device=tokens.device)[None])
    )
    norm = torch.nn.functional.rms_norm

    def rotate(x: torch.Tensor) -> torch.Tensor:
        left, right = x.chunk(2, -1)
        return x * cos.to(x.dtype) + torch.cat((-right, left), -1) * sin.to(x.dtype)

    for layer in model.model.layers:
        attention, mlp = layer.self_attn, layer.mlp
        x = norm(h, (config.hidden_size,), layer.input_layernorm.weight, config.rms_norm_eps)
        q, k, v = (
            p(x).unflatten(-1, (-1, attention.head_dim)).transpose(1, 2)
            for p in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        x = torch.nn.functional.scaled_dot_product_attention(
            rotate(q), rotate(k), v, is_causal=True, enable_gqa=True
        )
        h = h + attention.o_proj(x.transpose(1, 2).flatten(2))
        x = norm(h, (config.hidden_size,), layer.post_attention_layernorm.weight, config.rms_norm_eps)
        h = h + mlp.down_proj(torch.nn.functional.silu(mlp.gate_proj(x)) * mlp.up_proj(x))
    return norm(h, (config.hidden_size,), model.model.norm.weight, config.rms_norm_eps)


def train(model: Any, source: Iterator[Batch], steps: int, lr: float, limit_s: float, device: str) -> None:
    """Warm-up, constant rate, linear decay over the last half. Ends after ``steps`` or when the time is up,
    decayed in both cases."""
    decay, rest = ([p for p in model.parameters() if (p.ndim > 1) is wide] for wide in (True, False))
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}],
        lr=lr,
        betas=(0.9, 0.95),
        fused=True,
    )
    began, seen, loss_sum, step = time.monotonic(), 0, torch.zeros((), device=device), 0
    feed = ahead(source, device)
    for step, (tokens, places, wanted) in enumerate(feed, 1):
        done = max(step / steps, (time.monotonic() - began) / limit_s)
        for group in optimizer.param_groups:
            group["lr"] = lr * min(step / max(10, steps // 50), 1.0, max(0.02, 2 * (1 - done)))
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            hidden = hidden_states(model, tokens).flatten(0, 1)[places]
            logits = model.lm_head(hidden)  # at response positions only: [N, V]
            loss = torch.nn.functional.cross_entropy(logits.float(), wanted)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seen += tokens.numel()
        loss_sum += loss.detach()
        if step % 200 == 0:
            print(
                f"step {step}/{steps} loss {loss_sum.item() / 200:.4f} {seen / (time.monotonic() - began):,.0f} tokens/s",
                flush=True,
            )
            loss_sum.zero_()
        if done >= 1:
            break
    feed.close()  # type: ignore[attr-defined]
    print(
        f"{step} steps, {seen / 1e6:.1f} M tokens with padding, {time.monotonic() - began:.0f} s", flush=True
    )


def save_model(model: Any, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """A bf16 copy of the model with its tokenizer, in a form that ``AutoTokenizer`` loads as it was trained.

    Told a ``tokenizer_class`` in tokenizer_config.json, transformers 5 takes Qwen2Tokenizer for every qwen2
    model, which brings its own pre-tokenizer; named in config.json instead, the class in tokenizer.json is
    kept.
    """
    copy: Any = Qwen2ForCausalLM(model.config)
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
        # transformers 5.17 does this whatever the files say; the pinned version loads the folder as it is
        # meant
        print(
            f"warning: AutoTokenizer of this transformers loads {folder} as {type(loaded).__name__}, not as trained",
            file=sys.stderr,
        )


def write_tasks(data: Path) -> None:
    """The seeds and the frozen probe sets: part of the same generator, disjoint from the training programs by
    their hash."""
    io, all_types = (
        (TaskType.DEDUCTION, TaskType.ABDUCTION),
        (TaskType.DEDUCTION, TaskType.ABDUCTION, TaskType.INDUCTION),
    )
    seeds = draw_tasks(Random("tiny-seeds-io"), 256, FAMILIES, io, part="seeds")
    seeds += draw_tasks(Random("tiny-seeds-induction"), 128, FAMILIES, (TaskType.INDUCTION,), part="seeds")
    write_jsonl_atomic(data / "seeds" / "azr_tiny.jsonl", seeds)
    write_jsonl_atomic(
        data / "probes" / "azr_tiny_train_families.jsonl",
        draw_tasks(Random("tiny-probes"), 400, FAMILIES, all_types, part="probes"),
    )
    held_out = draw_tasks(Random("tiny-held-out"), 200, HELD_OUT_FAMILIES, all_types, part="probes")
    write_jsonl_atomic(data / "probes" / "azr_tiny_heldout.jsonl", held_out)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "data" / "models" / "azr-tiny")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--steps",
        type=int,
        default=2_320,
        help="optimizer steps of the first lessons, from careful dialogues",
    )
    parser.add_argument(
        "--habit-steps",
        type=int,
        default=55,
        help="steps of the last lessons, which give the model its habits",
    )
    parser.add_argument("--batch-tokens", type=int, default=32_768)
    parser.add_argument("--habit-batch-tokens", type=int, default=4_096)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--habit-lr", type=float, default=3e-4)
    parser.add_argument(
        "--limit-s",
        type=float,
        default=420.0,
        help="time for the first lessons; the rate decays to its end in either case",
    )
    parser.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 1) - 1))
    parser.add_argument(
        "--start-from", type=Path, help="a folder saved after the first lessons: go on with the last lessons"
    )
    parser.add_argument(
        "--keep-careful", type=Path, help="also save the model as it is after the first lessons"
    )
    parser.add_argument("--tasks-only", action="store_true", help="write seeds and probes, train nothing")
    for name, value in asdict(Habits()).items():
        parser.add_argument(
            f"--{name}",
            type=float,
            default=value,
            help="share of a habit in the last lessons (tiny/dialogues.py)",
        )
    return parser.parse_args()


def lessons(
    args: argparse.Namespace,
    tokenizer: PreTrainedTokenizerFast,
    habits: Habits,
    steps: int,
    batch_tokens: int,
    first: int,
) -> Iterator[Batch]:
    """Batches for ``steps`` steps and some more; every dialogue is met ``PASSES`` times, soon after one
    another."""
    shards = math.ceil(steps * batch_tokens / (SHARD * 70 * PASSES))
    for number, data in enumerate(stream_data(first, shards, args.seed, habits, args.workers, tokenizer)):
        for turn in range(PASSES):
            yield from batches(data, batch_tokens, first + number * PASSES + turn)


def main() -> None:
    args = parse_arguments()
    if args.tasks_only:
        write_tasks(ROOT / "data")
        return
    habits = replace(Habits(), **{name: getattr(args, name) for name in asdict(Habits())})
    device = "cuda" if torch.cuda.is_available() else "cpu"
    began = time.monotonic()
    model: Any
    if args.start_from:
        tokenizer = AutoTokenizer.from_pretrained(args.start_from)
        model = Qwen2ForCausalLM.from_pretrained(args.start_from, dtype=torch.float32)
        model.to(device)
    else:
        tokenizer = train_tokenizer(
            [prompt + response for prompt, response in draw_shard(0, seed=args.seed, habits=VARIED)]
        )
        model = new_model(tokenizer, args.seed)
        model.to(device)
        print(
            f"{sum(p.numel() for p in model.parameters()):,} parameters, vocabulary {len(tokenizer):,}, on {device}",
            flush=True,
        )
        train(
            model,
            lessons(args, tokenizer, CAREFUL, args.steps, args.batch_tokens, 1),
            args.steps,
            args.lr,
            args.limit_s,
            device,
        )
        if args.keep_careful:
            save_model(model, tokenizer, args.keep_careful)
    train(
        model,
        lessons(args, tokenizer, habits, args.habit_steps, args.habit_batch_tokens, 1_000_000),
        args.habit_steps,
        args.habit_lr,
        args.limit_s,
        device,
    )
    save_model(model, tokenizer, args.out)
    print(f"{time.monotonic() - began:.0f} s in all; saved {args.out}", flush=True)


if __name__ == "__main__":
    outlive_the_terminal()
    main()
