"""The update phase alone: packed sequences through FSDP NO_SHARD as the trainer wraps it, gradients
accumulated, one optimizer step.

    python scripts/dev/bench_update.py --size 0.5b --ways stock ours ours+liger [--tokens 262144] [--json FILE]

``stock`` is what verl does without flash-attn: SDPA with a dense mask over each packed row, whole logits,
torch's AdamW. ``ours`` is azr.train: packed attention, chunked head over response rows only, the recipe's
optimizer. Equal tokens, equal sequences (600 + 300 tokens on average). ``--lora-rank 32`` trains adapters on
a frozen base; ``ours+units`` wraps each adapter as verl does, an FSDP unit of its own. MFU = 6 x parameters x
tokens / time / measured matmul peak. Weights are random. Each way has a process of its own: in one process,
what the way before left behind is in the peak of the next.
"""

from __future__ import annotations

import _project

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.fsdp import FullyShardedDataParallel, MixedPrecision, ShardingStrategy

from azr.system.files import write_text_atomic
from azr.system.terminal import outlive_the_terminal
from make_random_model import SIZES

GIB = 2**30
STOCK_TOKENS_AT_ONCE = 8192
WAY_LIMIT_S = 300.0


def lengths(total_tokens: int, prompt: int, response: int, seed: int = 0) -> list[tuple[int, int]]:
    """(prompt, response) lengths, half to one and a half of their means, until the tokens are used up."""
    draw, pairs, used = random.Random(seed), [], 0
    while used < total_tokens:
        pair = (
            draw.randint(prompt // 2, prompt + prompt // 2),
            draw.randint(response // 2, response + response // 2),
        )
        pairs.append(pair)
        used += sum(pair)
    return pairs


def packed(
    pairs: list[tuple[int, int]], at_once: int, vocabulary: int, device: torch.device
) -> Iterator[dict[str, torch.Tensor]]:
    """Rows of at most ``at_once`` tokens: ids, positions, labels, scored places."""
    group: list[tuple[int, int]] = []
    for index, pair in enumerate(pairs):
        group.append(pair)
        following = sum(pairs[index + 1]) if index + 1 < len(pairs) else at_once + 1
        if sum(map(sum, group)) + following > at_once:
            total = sum(map(sum, group))
            ids = torch.randint(0, min(vocabulary, 150_000), (1, total), device=device)
            positions = torch.cat([torch.arange(p + r) for p, r in group])[None].to(device)
            rows, start = [], 0
            for p, r in group:
                rows.append(torch.arange(start + p - 1, start + p + r - 1))
                start += p + r
            yield {
                "ids": ids,
                "positions": positions,
                "labels": torch.roll(ids, -1, 1),
                "rows": torch.cat(rows).to(device),
            }
            group = []


def build(size: str, way: str, master: torch.dtype, chunk: int, lora_rank: int, device: torch.device) -> Any:
    from transformers import AutoModelForCausalLM, Qwen2Config
    from verl.utils.fsdp_utils import get_fsdp_wrap_policy

    from azr.train.kernels import attention, logprobs
    from azr.train.kernels.compile_layers import compile_layers
    from azr.train.verl.training_engine import fully_sharded

    config = Qwen2Config(
        **SIZES[size], num_key_value_heads=2, tie_word_embeddings=True, max_position_embeddings=32768
    )
    config._attn_implementation = "sdpa" if way == "stock" else attention.register()
    with device:
        model = AutoModelForCausalLM.from_config(config, dtype=master)
    if "liger" in way:
        from liger_kernel.transformers.monkey_patch import _apply_liger_kernel_to_instance

        _apply_liger_kernel_to_instance(model=model, fused_linear_cross_entropy=False, swiglu=True)
    if way != "stock":
        attention.pass_boundaries(model)
        logprobs.install_chunked_logprobs(model, chunk)
    if "compile" in way:
        compile_layers(model)
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.train()
    if lora_rank:
        from peft import LoraConfig, get_peft_model

        model.enable_input_require_grads()
        settings = LoraConfig(
            task_type="CAUSAL_LM", r=lora_rank, lora_alpha=2 * lora_rank, target_modules="all-linear"
        )
        model = get_peft_model(model, settings, autocast_adapter_dtype=False)
    reduce = torch.float32 if master == torch.float32 else torch.bfloat16
    precision = MixedPrecision(param_dtype=torch.bfloat16, reduce_dtype=reduce, buffer_dtype=torch.float32)
    if "units" not in way:
        return fully_sharded(model, device, precision)
    return FullyShardedDataParallel(
        model,
        auto_wrap_policy=get_fsdp_wrap_policy(model, is_lora=True),
        device_id=device,
        sharding_strategy=ShardingStrategy.NO_SHARD,
        mixed_precision=precision,
    )


def score(model: Any, row: dict[str, torch.Tensor], way: str) -> torch.Tensor:
    """The loss of one packed row: a policy-gradient-like sum over response tokens with an entropy bonus."""
    if way == "stock":
        import verl.utils.torch_functional as functional

        logits = model(
            input_ids=row["ids"], position_ids=row["positions"], attention_mask=None, use_cache=False
        ).logits[0]
        entropy = functional.entropy_from_logits(logits)
        log_probs = functional.logprobs_from_logits(
            logits=logits, labels=row["labels"][0], inplace_backward=False
        )
        return -(log_probs[row["rows"]].mean() + 0.001 * entropy[row["rows"]].mean())
    output = model(
        input_ids=row["ids"], position_ids=row["positions"], attention_mask=None, use_cache=False,
        shift_labels=row["labels"], rows=row["rows"], temperature=1.0,
    )  # fmt: skip
    return -(output.log_probs[0, row["rows"]].mean() + 0.001 * output.entropy[0, row["rows"]].mean())


def train_step(
    model: Any,
    optimizer: torch.optim.Optimizer,
    rows: list[dict[str, torch.Tensor]],
    way: str,
    device: torch.device,
) -> float:
    """Gradients of all rows, clipped, one optimizer step; returns the gradient norm."""
    for row in rows:
        with torch.autocast(device.type, dtype=torch.bfloat16):
            loss = score(model, row, way) / len(rows)
        loss.backward()
    norm = model.clip_grad_norm_(1.0)
    optimizer.step()
    optimizer.zero_grad()
    return float(norm)


def measure(size: str, way: str, options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    from azr.train.kernels.optimizers import AdamW8bit

    ours_8bit = way != "stock" and options.optimizer == "adamw_8bit"
    master = torch.bfloat16 if ours_8bit else torch.float32
    model = build(size, way, master, options.chunk, options.lora_rank, device)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    if ours_8bit:
        optimizer: torch.optim.Optimizer = AdamW8bit(model.parameters(), lr=1e-6)
    else:
        optimizer = torch.optim.AdamW(
            model.parameters(), lr=1e-6, fused=(way != "stock" and device.type == "cuda") or None
        )
    at_once = STOCK_TOKENS_AT_ONCE if way == "stock" else options.at_once
    pairs = lengths(options.tokens, options.prompt, options.response)
    rows = list(packed(pairs, at_once, SIZES[size]["vocab_size"], device))
    tokens = sum(row["ids"].numel() for row in rows)

    # warm-up: kernels for rows of all sizes, optimizer states
    train_step(model, optimizer, rows, way, device)
    synchronize(device)
    reset_peak(device)
    started = time.perf_counter()
    norm = train_step(model, optimizer, rows, way, device)
    synchronize(device)
    seconds = time.perf_counter() - started
    peak, reserved = peak_gib(device), reserved_gib(device)
    if options.explain_peak and device.type == "cuda":
        torch.cuda.memory._record_memory_history(stacks="python", max_entries=2_000_000)
        train_step(model, optimizer, rows[:3], way, device)
        snapshot: Any = torch.cuda.memory._snapshot()
        trace = snapshot["device_traces"][torch.cuda.current_device()]
        torch.cuda.memory._record_memory_history(enabled=None)
        for line in live_at_peak(trace):
            print(line, flush=True)
    explained: dict[str, float] = {}
    if options.explain_time:
        explained, lines = explain_time(lambda: train_step(model, optimizer, rows[:3], way, device), device)
        explained["tokens"] = sum(row["ids"].numel() for row in rows[:3])
        print("\n".join(lines), flush=True)
    result = {
        "size": size, "way": way, "parameters": parameters, "tokens": tokens, "sequences": len(pairs),
        "at_once": at_once, "optimizer": "adamw_8bit" if ours_8bit else "adamw", "lora_rank": options.lora_rank,
        "seconds": round(seconds, 3), "tokens_per_s": round(tokens / seconds),
        "mfu": round(6 * parameters * tokens / seconds / (options.peak_tflops * 1e12), 4),
        "peak_gib": round(peak, 2), "reserved_gib": round(reserved, 2), "grad_norm": round(norm, 5),
    }  # fmt: skip
    return result | ({"three_micro_batches": explained} if explained else {})


def measure_or_say_why(way: str, options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    try:
        return measure(options.size, way, options, device)
    except (torch.OutOfMemoryError, ImportError, RuntimeError) as error:
        return {"size": options.size, "way": way, "failed": f"{type(error).__name__}: {str(error)[:300]}"}


def measure_alone(way: str, options: argparse.Namespace) -> dict[str, Any]:
    """One way in a process of its own; what it prints beside its figures is printed here too."""
    with tempfile.TemporaryDirectory(prefix="azr-bench-") as folder:
        figures = Path(folder) / "figures.json"
        command = [sys.executable, __file__, "--ways", way, "--json", str(figures)]
        for name in (
            "size",
            "optimizer",
            "lora_rank",
            "tokens",
            "at_once",
            "chunk",
            "prompt",
            "response",
            "peak_tflops",
        ):
            command += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
        command += ["--explain-peak"] * options.explain_peak + ["--explain-time"] * options.explain_time
        try:
            child = subprocess.run(
                command, stdout=subprocess.PIPE, text=True, timeout=WAY_LIMIT_S, check=False
            )
        except subprocess.TimeoutExpired:
            return {"size": options.size, "way": way, "failed": f"not done within {WAY_LIMIT_S:g} s"}
        if not figures.exists():
            return {
                "size": options.size,
                "way": way,
                "failed": f"its process ended with status {child.returncode}",
            }
        # the first names the machine, which this process has done
        lines = child.stdout.splitlines(keepends=True)[1:]
        print("".join(line for line in lines if not line.startswith("{")), end="")
        return json.loads(figures.read_text(encoding="utf-8"))["results"][0]


def explain_time(
    step: Callable[[], object], device: torch.device, lines: int = 20
) -> tuple[dict[str, float], list[str]]:
    """Where a step's time goes: seconds, those of kernels, launches; and in words, with the costliest kernels
    and host operations."""
    from torch.profiler import ProfilerActivity, profile

    on_gpu = device.type == "cuda"
    step()
    synchronize(device)
    started = time.perf_counter()
    step()
    synchronize(device)
    # the profiler slows the host, so the share of work is of a step without it
    plain_s = time.perf_counter() - started
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]) as recorded:
        step()
        synchronize(device)
    averages: list[Any] = list(recorded.key_averages())
    hosts = [entry for entry in averages if entry.device_type.name == "CPU"]
    kernels = [
        entry for entry in averages if entry.device_type.name != "CPU" and not entry.is_user_annotation
    ]
    busy_s, launches = (
        sum(entry.self_device_time_total for entry in kernels) / 1e6,
        sum(entry.count for entry in kernels),
    )
    told = [
        f"a step of {plain_s:.3f} s; kernels take {busy_s:.3f} s ({100 * busy_s / plain_s:.0f} %) in {launches} launches"
    ]
    for name, entries, spent in (
        ("kernel", kernels, lambda e: e.self_device_time_total),
        ("host", hosts, lambda e: e.self_cpu_time_total),
    ):
        for entry in sorted(entries, key=spent, reverse=True)[:lines]:
            told.append(f"{name:6} {spent(entry) / 1e3:8.1f} ms {entry.count:6} times  {entry.key[:110]}")
    return {"seconds": round(plain_s, 3), "kernels_s": round(busy_s, 3), "launches": launches}, told


def live_at_peak(trace: list[dict[str, Any]], lines: int = 30) -> list[str]:
    """What a traced step held at its largest, beyond what it began with, by place in the source; the largest
    first.

    Args:
        trace: ``device_traces`` of torch's memory snapshot: events with ``action``, ``addr``, ``size`` in
            bytes and ``frames``.
    """
    live: dict[int, dict[str, Any]] = {}
    at_peak: list[dict[str, Any]] = []
    now = largest = 0
    rising = False
    for event in trace:
        if event["action"] == "alloc":
            live[event["addr"]] = event
            now += event["size"]
            rising = rising or now > largest
            largest = max(largest, now)
        elif event["action"] == "free_completed" and event["addr"] in live:
            if rising and now == largest:
                at_peak = list(live.values())
            rising = False
            now -= live.pop(event["addr"])["size"]
    if rising and now == largest:
        at_peak = list(live.values())
    places: dict[str, list[int]] = {}
    for event in at_peak:
        places.setdefault(_place(event["frames"]), []).append(event["size"])
    ordered = sorted(places.items(), key=lambda item: -sum(item[1]))[:lines]
    return [f"{largest / GIB:.2f} GiB at the peak:"] + [
        f"{sum(sizes) / GIB:7.3f} GiB in {len(sizes):4} pieces, largest {max(sizes) / 2**20:8.1f} MiB  {place}"
        for place, sizes in ordered
    ]


def _place(frames: list[dict[str, Any]]) -> str:
    """The four innermost Python frames; a backward pass that has none says so."""
    named = [
        f"{'/'.join(Path(frame['filename']).parts[-2:])}:{frame['line']} {frame['name']}" for frame in frames
    ]
    return " < ".join(named[:4]) or "backward, no Python frame"


def matmul_peak_tflops(device: torch.device) -> float:
    """bf16 product of 8,192 x 8,192 matrices, the mean of ten after three."""
    if device.type != "cuda":
        return 0.1
    a, b = (torch.randn(8192, 8192, device=device, dtype=torch.bfloat16) for _ in range(2))
    for _ in range(3):
        torch.mm(a, b)
    synchronize(device)
    started = time.perf_counter()
    for _ in range(10):
        torch.mm(a, b)
    synchronize(device)
    return 10 * 2 * 8192**3 / (time.perf_counter() - started) / 1e12


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()


def peak_gib(device: torch.device) -> float:
    return torch.cuda.max_memory_allocated() / GIB if device.type == "cuda" else 0.0


def reserved_gib(device: torch.device) -> float:
    return torch.cuda.max_memory_reserved() / GIB if device.type == "cuda" else 0.0


def main() -> int:
    parser = _project.argument_parser(__doc__)
    parser.add_argument("--size", choices=sorted(SIZES), default="0.5b")
    parser.add_argument(
        "--ways",
        nargs="+",
        default=["stock", "ours"],
        help="stock, ours, ours+liger, ours+compile, ours+units",
    )
    parser.add_argument("--optimizer", choices=["adamw", "adamw_8bit"], default="adamw", help="of ours")
    parser.add_argument(
        "--lora-rank", type=int, default=0, help="train adapters alone; MFU still counts 6 x parameters"
    )
    parser.add_argument("--tokens", type=int, default=131072, help="tokens of the timed step")
    parser.add_argument("--at-once", type=int, default=16384, help="tokens in one forward pass of ours")
    parser.add_argument("--chunk", type=int, default=1024)
    parser.add_argument("--prompt", type=int, default=600)
    parser.add_argument("--response", type=int, default=300)
    parser.add_argument("--peak-tflops", type=float, default=0.0, help="0: measure it")
    parser.add_argument(
        "--explain-peak",
        action="store_true",
        help="print what a step holds at its largest, by place in the source",
    )
    parser.add_argument(
        "--explain-time",
        action="store_true",
        help="print the costliest kernels and host operations of a step",
    )
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(random.randrange(20000, 60000)))
    dist.init_process_group("nccl" if on_gpu else "gloo", rank=0, world_size=1)
    options.peak_tflops = options.peak_tflops or matmul_peak_tflops(device)
    machine = torch.cuda.get_device_name() if on_gpu else platform.processor() or "cpu"
    print(f"{machine}; matmul peak {options.peak_tflops:.0f} TFLOP/s (bf16); torch {torch.__version__}")
    results = []
    for way in options.ways:
        results.append(
            measure_alone(way, options) if len(options.ways) > 1 else measure_or_say_why(way, options, device)
        )
        print(json.dumps(results[-1]), flush=True)
        if options.json:  # after each: a limit from outside loses the last one at most
            options.json.parent.mkdir(parents=True, exist_ok=True)
            report = {"machine": machine, "peak_tflops": options.peak_tflops, "results": results}
            write_text_atomic(options.json, json.dumps(report, indent=1) + "\n")
    first, last = results[0], results[-1]
    if len(results) > 1 and "failed" not in first and "failed" not in last:
        print(
            f"{last['way']} is {last['tokens_per_s'] / first['tokens_per_s']:.2f} times as fast as {first['way']}"
        )
    dist.destroy_process_group()
    return 0


if __name__ == "__main__":
    outlive_the_terminal()
    sys.exit(main())
